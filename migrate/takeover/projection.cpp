#include "migrate/takeover/projection.h"

#include <algorithm>
#include <set>

#include "migrate/formats/format.h"
#include "migrate/formats/json_edit.h"
#include "migrate/formats/json_text.h"
#include "migrate/migrate.h"
#include "migrate/source_file.h"
#include "migrate/takeover/tool_lock.h"
#include "store/draft.h"
#include "store/pool.h"
#include "store/shell_word.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// The credentials that are not there any more leave their last token where it is.
struct Rewrite {
  Secret was;  // the file's bytes
  json tree;
  std::vector<ProjectedToken> tokens;  // what the file will hold
  bool changed = false;
  std::vector<std::string> own_logins;  // places with a refresh token: the tool's doing
  std::vector<std::string> spent;       // places with one that we have spent: an old copy
  std::vector<std::string> unknown;     // places of ours with a bearer that is not for them
  std::optional<Instant> behind_since;  // since when the store has had what the file lacks
};

// Whose token the place has: the one it was given, one that its credential had before, or the one
// whose place its tool has emptied. nullptr: nobody knows.
Result<const ProjectedToken*> given(const Store& store, const Projection& projection,
                                    const GrantPlace& place) {
  const auto find = [&](auto fits) {
    const auto& tokens = projection.tokens;
    const auto it = std::find_if(tokens.begin(), tokens.end(), fits);
    return it == tokens.end() ? nullptr : &*it;
  };
  if (place.access_token().empty()) {
    return find([&](const auto& token) { return token.place == place.place(); });
  }
  const std::string shown = fingerprint(token_hash(place.access_token()));
  const auto* token = find([&](const auto& one) { return one.fingerprint == shown; });
  if (token != nullptr) return token;
  const auto owner = store.owner_of_bearer(shown);  // an earlier file, or an earlier database
  if (!owner) return fail(owner.error());
  return find([&](const auto& one) { return *owner && one.credential == **owner; });
}

// An access token that is not for this place. What was given there last stays registered: a
// cut-over goes by that. The place of a login that is gone is nobody's any more.
Result<void> note_unknown(const Store& store, const Projection& projection, const GrantPlace& place,
                          Rewrite& rewrite) {
  for (const ProjectedToken& one : projection.tokens) {
    if (one.place != place.place()) continue;
    const auto row = store.find(one.credential);
    if (!row && row.error().code == Errc::not_found) continue;
    if (!row) return fail(row.error());
    rewrite.tokens.push_back(one);
    rewrite.unknown.push_back(one.place);
  }
  return {};
}

Result<void> rewrite_place(const Store& store, const Projection& projection, GrantPlace& place,
                           Rewrite& rewrite) {
  if (!place.refresh_token().empty()) {
    const auto retired = store.retired(token_hash(place.refresh_token()));
    if (!retired) return fail(retired.error());
    const bool spent = *retired && (*retired)->reason == Retirement::spent;
    (spent ? rewrite.spent : rewrite.own_logins).push_back(place.place());
    return {};
  }
  const auto found = given(store, projection, place);
  if (!found) return fail(found.error());
  const ProjectedToken* token = *found;
  if (token == nullptr) return note_unknown(store, projection, place, rewrite);
  auto held = store.unseal(token->credential);
  if (!held && held.error().code == Errc::not_found) return {};
  if (!held) return fail(std::move(held.error()));
  if (held->row.identity.provider != place.provider()) {
    return note_unknown(store, projection, place, rewrite);
  }
  drop_rejected(*held);
  if (held->access_token.empty()) {  // until there is a better one, what stands there stays
    rewrite.tokens.push_back({token->credential, place.place(), token->fingerprint});
    return {};
  }
  const Instant now = store.now();
  const Instant obtained = held->row.obtained_at.value_or(now);
  doubt_times(held->row, now);
  const bool doubted = held->row.obtained_at.value_or(now) != obtained;
  // Whoever wrote the file may have gone by the clock that was ahead.
  if (place.access_token() != held->access_token.reveal() || (doubted && place.ends_after(now))) {
    place.put(*held, false);
    rewrite.changed = true;
    rewrite.behind_since = std::min(rewrite.behind_since.value_or(now), obtained);
  }
  rewrite.tokens.push_back({token->credential, place.place(), held->row.access_fingerprint});
  return {};
}

Result<Rewrite> rewrite(const Store& store, const Projection& projection) {
  auto bytes = read_source(projection.path);
  if (!bytes) return fail(std::move(bytes.error()));
  auto tree = parse_json(bytes->text.reveal(), projection.path);
  if (!tree) return fail(std::move(tree.error()));
  Rewrite rewrite{std::move(bytes->text), std::move(*tree), {}, false, {}, {}, {}, {}};
  for (GrantPlace& place : places_in(rewrite.tree, projection.format)) {
    if (auto done = rewrite_place(store, projection, place, rewrite); !done) {
      return fail(std::move(done.error()));
    }
  }
  return rewrite;
}

// A file that is one grant has no place to name.
std::string at_place(const std::string& place) { return place.empty() ? "" : " at " + place; }

std::string about_unknown(const Projection& projection, const Rewrite& rewrite) {
  return projection.path + " has an access token" + at_place(rewrite.unknown.front()) +
         " that is not of the login whose place it is, and is not kept up to date there. "
         "`authdb migrate --cutover " +
         shell_quoted(projection.path) + "` puts that login's own there";
}

std::string about_logins(const Projection& projection, const Rewrite& rewrite) {
  if (!rewrite.spent.empty()) {
    return projection.path + " has a spent refresh token" + at_place(rewrite.spent.front()) +
           ": the tool's next refresh ends the session. `authdb migrate --cutover` replaces it";
  }
  if (rewrite.own_logins.empty()) {
    return rewrite.unknown.empty() ? std::string() : about_unknown(projection, rewrite);
  }
  return projection.path + " has a refresh token again" + at_place(rewrite.own_logins.front()) +
         ": its tool logged in by itself, or the cut-over did not finish. `authdb migrate "
         "--cutover` takes it over";
}

// nullopt: the file changed after it was read.
Result<std::optional<Projected>> rewrite_file(Store& store, const Projection& projection) {
  Projected done{projection.path, false, {}};
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
  const Secret text = edited_text(fresh->was.reveal(), std::move(fresh->tree));
  const auto written = write_projection(store, after, projection.tokens, fresh->was, text);
  if (!written) return fail(written.error());
  if (!*written) return std::optional<Projected>();
  done.written = true;
  return done;
}

Result<Projected> project_one(Store& store, const Projection& projection, Milliseconds wait) {
  const auto locks = lock_tools({{projection.path, projection.format}}, wait);
  if (!locks) return fail(locks.error());
  for (int reading = 0; reading < kReadings; ++reading) {
    auto done = rewrite_file(store, projection);
    if (!done) return fail(std::move(done.error()));
    if (*done) return std::move(**done);
  }
  return fail(Errc::try_later, "it changed each time it was read");
}

Result<std::vector<Projected>> project_those(Store& store, Milliseconds wait,
                                             const std::vector<std::string>* paths) {
  auto all = store.projections();
  if (!all) return fail(std::move(all.error()));
  std::vector<Projected> done;
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (const Projection& projection : *all) {
    if (paths && std::find(paths->begin(), paths->end(), projection.path) == paths->end()) continue;
    const auto left =
        std::chrono::duration_cast<Milliseconds>(deadline - std::chrono::steady_clock::now());
    auto one = project_one(store, projection, std::max(left, Milliseconds(0)));
    if (!one) {
      const bool passes = one.error().code == Errc::busy || one.error().code == Errc::try_later;
      one = Projected{
          projection.path, false,
          "the access tokens in " + projection.path +
              " are not up to date: " + one.error().message +
              (passes ? ". The next refresh brings them, or `authdb keep-fresh --project`" : ""),
          one.error().code == Errc::busy};
    }
    done.push_back(std::move(*one));
  }
  return done;
}

// False if it cannot be read.
Result<bool> looks_projected(const std::filesystem::path& path, const Owners& owners) {
  const auto bytes = read_source(path);
  auto tree = bytes ? parse_json(bytes->text.reveal(), path.string()) : Result<json>(json());
  if (!tree) return false;
  bool looks = false;
  for (const GrantPlace& place : places_in(*tree, read_document(path, {}).format)) {
    if (!place.refresh_token().empty()) continue;
    const auto owner = owners.of_place(place);
    if (!owner) return fail(owner.error());
    looks = looks || (*owner && (*owner)->refresh_hash);
  }
  wipe_strings(*tree);
  return looks;
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
  const Format* known = format_named(format);
  return 2 * (known == nullptr ? usual_skew(provider) : known->skew(provider)) + Seconds{60};
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

Result<std::vector<std::string>> projections_left_behind(const Store& store) {
  constexpr std::chrono::minutes kBeingWritten{1};
  const auto all = store.projections();
  if (!all) return fail(all.error());
  std::vector<std::string> behind;
  for (const Projection& one : *all) {
    auto would = rewrite(store, one);
    if (!would) continue;  // gone, being written, or no key to look with
    wipe_strings(would->tree);
    if (!would->unknown.empty()) {
      behind.push_back(about_unknown(one, *would));
    } else if (would->behind_since && *would->behind_since + kBeingWritten < store.now()) {
      behind.push_back("the access tokens in " + one.path +
                       " are not up to date. `authdb keep-fresh --once --project` brings them, or "
                       "says why it cannot");
    }
  }
  return behind;
}

Result<std::vector<std::string>> forgotten_projections(const Store& store) {
  const auto known = store.projections();
  if (!known) return fail(known.error());
  const auto receipts = store.receipts();
  if (!receipts) return fail(receipts.error());
  const auto owners = Owners::of(store, {});
  if (!owners) return fail(owners.error());
  std::set<std::filesystem::path> places;
  for (const ImportReceipt& receipt : *receipts) places.insert(real_path(receipt.path));
  if (const auto found = read_sources({})) {
    for (const Document& document : *found) places.insert(real_path(document.path));
  }
  for (const Projection& one : *known) places.erase(one.path);
  std::vector<std::string> forgotten;
  for (const auto& place : places) {
    const auto looks = looks_projected(place, *owners);
    if (!looks) return fail(looks.error());
    if (*looks) forgotten.push_back(place.string());
  }
  return forgotten;
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
  if (it == by_uid_.end()) return nullptr;
  const Credential& row = credentials_[it->second];
  return row.identity.auth_type == AuthType::oauth ? &row : nullptr;
}

Result<const Credential*> Owners::of_place(const GrantPlace& place) const {
  auto owner = of_tokens(place);
  if (owner && *owner && (*owner)->identity.provider != place.provider()) return nullptr;
  return owner;
}

Result<const Credential*> Owners::of_tokens(const GrantPlace& place) const {
  const std::string_view token =
      place.refresh_token().empty() ? place.access_token() : place.refresh_token();
  if (token.empty()) return nullptr;
  if (const auto it = by_token_.find(fingerprint(token_hash(token))); it != by_token_.end()) {
    return &credentials_[it->second];
  }
  if (place.refresh_token().empty()) {
    const auto owner = store_.owner_of_bearer(fingerprint(token_hash(token)));
    if (!owner) return fail(owner.error());
    return *owner ? at(**owner) : nullptr;
  }
  const auto retired = store_.retired(token_hash(token));
  if (!retired) return fail(retired.error());
  return *retired ? at((*retired)->uid) : nullptr;
}

Result<bool> write_projection(Store& store, Projection projection,
                              const std::vector<ProjectedToken>& before, const Secret& was,
                              const Secret& text) {
  projection.written_at = store.now();
  Projection both = projection;
  for (const ProjectedToken& token : before) {
    if (std::find(both.tokens.begin(), both.tokens.end(), token) == both.tokens.end()) {
      both.tokens.push_back(token);
    }
  }
  if (auto put = store.put_projection(both); !put) return fail(std::move(put.error()));
  auto replaced = replace_if_same(projection.path, was, text);
  if (!replaced || !*replaced || both.tokens == projection.tokens) return replaced;
  if (auto put = store.put_projection(projection); !put) return fail(std::move(put.error()));
  return true;
}

}  // namespace authdb::migrate
