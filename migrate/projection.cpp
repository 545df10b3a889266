#include "migrate/projection.h"

#include <algorithm>

#include "migrate/json_text.h"
#include "migrate/source_file.h"
#include "migrate/tool_lock.h"
#include "store/files.h"
#include "store/pool.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// The credentials that are not there any more leave their last token where it is.
struct Rewrite {
  json tree;
  std::vector<ProjectedToken> tokens;  // what the file will hold
  bool changed = false;
  std::vector<std::string> own_logins;  // places with a refresh token: the tool's doing
};

Result<json> read_tree(const std::string& path) {
  const auto bytes = read_source(path);
  if (!bytes) return fail(bytes.error());
  return parse_json(bytes->text.reveal(), path);
}

// Whose token the slot has: the one it was given, or the one whose place its tool has emptied.
const ProjectedToken* given(const Projection& projection, const Slot& slot) {
  const auto find = [&](auto fits) {
    const auto& tokens = projection.tokens;
    const auto it = std::find_if(tokens.begin(), tokens.end(), fits);
    return it == tokens.end() ? nullptr : &*it;
  };
  if (!slot.access_token().empty()) {
    const std::string shown = fingerprint(token_hash(slot.access_token()));
    return find([&](const auto& token) { return token.fingerprint == shown; });
  }
  return find([&](const auto& token) { return token.place == slot.place(); });
}

Result<void> rewrite_slot(const Store& store, const Projection& projection, Slot& slot,
                          Rewrite& rewrite) {
  if (!slot.refresh_token().empty()) {
    rewrite.own_logins.push_back(slot.place());
    return {};
  }
  const ProjectedToken* token = given(projection, slot);
  if (token == nullptr) return {};
  auto held = store.unseal(token->credential);
  if (!held && held.error().code == Errc::not_found) return {};
  if (!held) return fail(std::move(held.error()));
  drop_rejected(*held);
  if (held->access_token.empty()) {  // until there is a better one, what stands there stays
    rewrite.tokens.push_back({token->credential, slot.place(), token->fingerprint});
    return {};
  }
  if (slot.access_token() != held->access_token.reveal()) {
    slot.put(*held, false);
    rewrite.changed = true;
  }
  rewrite.tokens.push_back({token->credential, slot.place(), held->row.access_fingerprint});
  return {};
}

Result<Rewrite> rewrite(const Store& store, const Projection& projection) {
  auto tree = read_tree(projection.path);
  if (!tree) return fail(std::move(tree.error()));
  Rewrite rewrite{std::move(*tree), {}, false, {}};
  for (Slot& slot : slots_of(rewrite.tree, projection.format)) {
    if (auto done = rewrite_slot(store, projection, slot, rewrite); !done) {
      return fail(std::move(done.error()));
    }
  }
  return rewrite;
}

std::string about_logins(const Projection& projection, const Rewrite& rewrite) {
  if (rewrite.own_logins.empty()) return {};
  return projection.path + " has a refresh token again at " + rewrite.own_logins.front() +
         ": its tool logged in by itself, or the cut-over did not finish. `authdb migrate "
         "--cutover` takes it over";
}

Result<Projected> project_one(Store& store, const Projection& projection, Milliseconds wait) {
  Projected done{projection.path, false, {}};
  const auto locks = lock_tools({{projection.path, projection.format}}, wait);
  if (!locks) return fail(locks.error());
  auto fresh = rewrite(store, projection);
  if (!fresh) return fail(std::move(fresh.error()));
  done.warning = about_logins(projection, *fresh);
  Projection after = projection;
  after.tokens = std::move(fresh->tokens);
  if (!fresh->changed) {
    wipe_strings(fresh->tree);
    if (after.tokens == projection.tokens) return done;
    after.written_at = store.now();
    if (auto put = store.put_projection(after); !put) return fail(put.error());
    return done;
  }
  if (done.warning.empty()) done.warning = note_of_privacy(projection.path);
  const Secret text = file_text(std::move(fresh->tree));
  if (auto written = write_projection(store, after, projection.tokens, text); !written) {
    return fail(written.error());
  }
  done.written = true;
  return done;
}

Result<std::vector<Projected>> project_those(Store& store, Milliseconds wait,
                                             const std::vector<std::string>* paths) {
  auto all = store.projections();
  if (!all) return fail(std::move(all.error()));
  std::vector<Projected> done;
  for (const Projection& projection : *all) {
    if (paths && std::find(paths->begin(), paths->end(), projection.path) == paths->end()) continue;
    auto one = project_one(store, projection, wait);
    if (!one) {
      one = Projected{projection.path, false,
                      "the access tokens in " + projection.path +
                          " are not up to date: " + one.error().message};
    }
    done.push_back(std::move(*one));
  }
  return done;
}

std::optional<Instant> due_at(const Credential& row, Milliseconds lead) {
  const bool sendable = row.refresh_hash && row.hold == Hold::none &&
                        row.health.status != Status::dead && row.expires_at;
  if (!sendable) return std::nullopt;
  // A token that lives shorter than that would be refreshed on each round.
  if (row.obtained_at) lead = std::min(lead, (*row.expires_at - *row.obtained_at) / 2);
  return *row.expires_at - lead;
}

}  // namespace

Seconds projection_lead(std::string_view format, std::string_view provider) {
  return 2 * skew_of(format, provider) + Seconds{60};
}

Result<std::vector<Projected>> project(Store& store, Milliseconds wait) {
  const auto behind = store.projections_behind();
  if (!behind) return fail(behind.error());
  if (behind->empty()) return std::vector<Projected>();
  return project_those(store, wait, &*behind);
}

Result<std::vector<Projected>> project_all(Store& store, Milliseconds wait) {
  return project_those(store, wait, nullptr);
}

Result<std::vector<ProjectionDue>> projections_due(const Store& store) {
  const auto all = store.projections();
  if (!all) return fail(all.error());
  std::unordered_map<Uid, Instant> soonest;
  for (const Projection& projection : *all) {
    for (const ProjectedToken& token : projection.tokens) {
      const auto row = store.find(token.credential);
      if (!row && row.error().code == Errc::not_found) continue;
      if (!row) return fail(row.error());
      const auto at = due_at(*row, projection_lead(projection.format, row->identity.provider));
      if (!at) continue;
      const auto [it, first] = soonest.emplace(row->uid, *at);
      it->second = std::min(it->second, *at);
    }
  }
  std::vector<ProjectionDue> due;
  for (const auto& [uid, at] : soonest) due.push_back({at, uid});
  std::sort(due.begin(), due.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
  return due;
}

std::string note_of_privacy(const std::filesystem::path& path) {
  using std::filesystem::perms;
  std::error_code error;
  const perms mode = std::filesystem::status(path, error).permissions();
  if (error || (mode & (perms::group_all | perms::others_all)) == perms::none) return {};
  return path.string() + " could be read by others; now only its owner can";
}

Secret file_text(json&& tree) {
  Secret text = Secret::take(tree.dump(2) + "\n");
  wipe_strings(tree);
  return text;
}

Result<Owners> Owners::of(const Store& store, const std::vector<ProjectedToken>& projected) {
  Owners owners(store);
  auto all = store.list({});
  if (!all) return fail(std::move(all.error()));
  owners.credentials_ = std::move(*all);
  for (std::size_t i = 0; i < owners.credentials_.size(); ++i) {
    const Credential& row = owners.credentials_[i];
    owners.by_uid_.emplace(row.uid, i);
    if (row.identity.auth_type != AuthType::oauth) continue;
    if (row.refresh_hash) owners.by_token_.emplace(fingerprint(*row.refresh_hash), i);
    if (!row.access_fingerprint.empty()) owners.by_token_.emplace(row.access_fingerprint, i);
  }
  for (const ProjectedToken& token : projected) {
    const auto it = owners.by_uid_.find(token.credential);
    if (it == owners.by_uid_.end()) continue;
    owners.by_token_.emplace(token.fingerprint, it->second);
  }
  return owners;
}

const Credential* Owners::at(const Uid& uid) const {
  const auto it = by_uid_.find(uid);
  return it == by_uid_.end() ? nullptr : &credentials_[it->second];
}

Result<const Credential*> Owners::of_slot(const Slot& slot) const {
  const std::string_view token =
      slot.refresh_token().empty() ? slot.access_token() : slot.refresh_token();
  if (token.empty()) return nullptr;
  if (const auto it = by_token_.find(fingerprint(token_hash(token))); it != by_token_.end()) {
    return &credentials_[it->second];
  }
  if (slot.refresh_token().empty()) return nullptr;
  const auto retired = store_.retired(token_hash(token));
  if (!retired) return fail(retired.error());
  return *retired ? at((*retired)->uid) : nullptr;
}

Result<void> write_projection(Store& store, Projection projection,
                              const std::vector<ProjectedToken>& before, const Secret& text) {
  projection.written_at = store.now();
  Projection both = projection;
  for (const ProjectedToken& token : before) {
    if (std::find(both.tokens.begin(), both.tokens.end(), token) == both.tokens.end()) {
      both.tokens.push_back(token);
    }
  }
  if (auto put = store.put_projection(both); !put) return put;
  if (auto replaced = replace_durable(projection.path, text); !replaced) return replaced;
  if (both.tokens == projection.tokens) return {};
  return store.put_projection(projection);
}

}  // namespace authdb::migrate
