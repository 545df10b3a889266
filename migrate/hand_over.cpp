#include "migrate/hand_over.h"

#include <algorithm>

#include "migrate/json_text.h"
#include "migrate/projection.h"
#include "migrate/readers.h"
#include "migrate/source_file.h"
#include "migrate/sources.h"
#include "migrate/tool_lock.h"
#include "store/files.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kReplans = 3;

Result<void> may_go(const Credential& row) {
  const std::string name = "\"" + row.identity.label + "\" (" + row.uid + ")";
  if (row.hold == Hold::conflict) {
    return fail(Errc::refused, name + " is in conflict: which pair is the live one is not decided",
                "Decide first: authdb migrate --prefer PATH");
  }
  if (row.hold == Hold::uncertain) {
    return fail(Errc::try_later, name + " is uncertain: its refresh token may be spent",
                "authdb refresh " + row.identity.provider + " " + row.uid + " --replay");
  }
  return {};
}

// Holds it, under its lock and after recovery: from then on nothing in this store spends it.
Result<Credential> hold(Store& store, const Uid& uid) {
  for (int attempt = 0; attempt <= kReplans; ++attempt) {
    auto row = store.find(uid);
    if (!row) return row;
    if (auto may = may_go(*row); !may) return fail(std::move(may.error()));
    if (row->hold == Hold::handed_over) return row;
    CredentialChange change;
    change.uid = uid;
    change.planned_against = row->generation;
    change.hold = Hold::handed_over;
    Change all;
    all.credentials.push_back(std::move(change));
    const auto applied = store.apply(all);
    if (!applied) return fail(applied.error());
    if (!applied->stale_plan) return store.find(uid);
  }
  return fail(Errc::busy, "the credential " + uid + " was refreshed each time", "Try again.");
}

struct Match {
  Slot slot;
  Uid uid;
};

Result<std::vector<Match>> matches(Store& store, const std::string& path, const Document& document,
                                   json& tree) {
  auto all = store.projections();
  if (!all) return fail(std::move(all.error()));
  std::vector<ProjectedToken> projected;
  for (Projection& one : *all) {
    if (one.path == path) projected = std::move(one.tokens);
  }
  const auto owners = Owners::of(store, projected);
  if (!owners) return fail(owners.error());
  std::vector<Match> found;
  for (Slot& slot : slots_of(tree, document.format)) {
    const auto owner = owners->of_slot(slot);
    if (!owner) return fail(owner.error());
    if (*owner == nullptr || !(*owner)->refresh_hash) continue;
    if (auto may = may_go(**owner); !may) return fail(std::move(may.error()));
    found.push_back({slot, (*owner)->uid});
  }
  return found;
}

Result<void> warn_of_others(const Store& store, const std::string& profile, const Credential& row,
                            HandedOver& done) {
  const auto users = store.profiles_of(row.uid);
  if (!users) return fail(users.error());
  for (const std::string& user : *users) {
    if (user == profile) continue;
    done.warnings.push_back("profile " + user + " uses \"" + row.identity.label +
                            "\" too: what it has works until the access token ends");
  }
  return {};
}

}  // namespace

Result<HandedOver> hand_over(Store& store, const fs::path& file, Milliseconds wait) {
  const fs::path path = real_path(file);
  const Document document = read_document(path, profile_of_file(file));
  if (document.failure) return fail(*document.failure);
  const auto locks = lock_tools({{file, document.format}}, wait);
  if (!locks) return fail(locks.error());

  const auto bytes = read_source(path);
  if (!bytes) return fail(bytes.error());
  auto tree = parse_json(bytes->text.reveal(), path.string());
  if (!tree) return fail(std::move(tree.error()));
  auto found = matches(store, path.string(), document, *tree);
  if (!found) return fail(std::move(found.error()));
  if (found->empty()) {
    return fail(Errc::not_found, path.string() + " shows no login of this store",
                "Give the tool's own file with -o; `authdb list` shows what the store has.");
  }

  HandedOver done{file, {}, {}};
  for (Match& match : *found) {
    const auto row = hold(store, match.uid);
    if (!row) return fail(row.error());
    const auto held = store.unseal(match.uid);
    if (!held) return fail(held.error());
    match.slot.put(*held, true);
    const bool known = std::any_of(done.credentials.begin(), done.credentials.end(),
                                   [&](const Credential& one) { return one.uid == row->uid; });
    if (known) continue;
    done.credentials.push_back(*row);
    if (auto warned = warn_of_others(store, document.profile, *row, done); !warned) {
      return fail(warned.error());
    }
  }
  // As Hermes does on each save. It also tells this file from the one that was imported: the next
  // migration takes back only what was written since.
  if (document.format == "hermes") (*tree)["updated_at"] = format_iso(store.now());
  const Secret text = file_text(std::move(*tree));
  if (auto replaced = replace_durable(path, text); !replaced) return fail(replaced.error());
  if (auto dropped = store.drop_projection(path.string()); !dropped) return fail(dropped.error());
  return done;
}

Result<std::vector<fs::path>> files_of_profile(const Store& store, const std::string& profile) {
  std::vector<fs::path> files;
  const auto projections = store.projections();
  if (!projections) return fail(projections.error());
  for (const Projection& one : *projections) {
    if (one.profile == profile) files.emplace_back(one.path);
  }
  if (!files.empty()) return files;
  const auto receipts = store.receipts();
  if (!receipts) return fail(receipts.error());
  std::error_code error;
  for (const ImportReceipt& receipt : *receipts) {
    const fs::path path = receipt.path;
    const bool known = std::find(files.begin(), files.end(), path) != files.end();
    if (receipt.profile == profile && !known && fs::exists(path, error)) files.push_back(path);
  }
  return files;
}

}  // namespace authdb::migrate
