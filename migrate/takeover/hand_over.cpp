#include "migrate/takeover/hand_over.h"

#include <algorithm>
#include <map>
#include <set>

#include "migrate/formats/format.h"
#include "migrate/formats/json_edit.h"
#include "migrate/formats/json_text.h"
#include "migrate/plan/store_snapshot.h"
#include "migrate/source_file.h"
#include "migrate/sources.h"
#include "migrate/takeover/projection.h"
#include "migrate/takeover/tool_lock.h"
#include "store/descriptors.h"
#include "store/draft.h"
#include "store/files.h"
#include "store/rotation.h"
#include "store/shell_word.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

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

struct Match {
  GrantPlace place;
  Uid uid;
};

// What a file shows of this store.
struct Shown {
  std::vector<Match> found;
  std::map<Uid, Error> given_elsewhere;
};

// Whose login is handed over already, and not to `path`: a second file would be a second spender.
class Places {
 public:
  static Result<Places> of(const Store& store, std::string path) {
    const auto receipts = store.receipts();
    if (!receipts) return fail(receipts.error());
    return Places(places_of_hand_overs(*receipts), std::move(path));
  }

  Result<void> may_go_here(const Credential& row) const {
    if (row.hold != Hold::handed_over) return {};
    const auto place = places_.find(row.uid);
    if (place != places_.end() && place->second == path_) return {};
    const std::string name = "\"" + row.identity.label + "\" (" + row.uid + ")";
    if (place == places_.end()) {
      return fail(Errc::refused,
                  name + " is handed over, and this store does not know any more to which file",
                  "`authdb migrate --prefer PATH` takes it back from the file that has it.");
    }
    const std::string file = shell_quoted(place->second);
    return fail(Errc::refused, name + " is handed over to " + place->second + " already",
                "`authdb migrate " + file + "` takes it back, `authdb export --hand-over -o " +
                    file + "` finishes what was cut off.");
  }

 private:
  Places(std::unordered_map<Uid, std::string> places, std::string path)
      : places_(std::move(places)), path_(std::move(path)) {}

  std::unordered_map<Uid, std::string> places_;
  std::string path_;
};

Result<Shown> matches(Store& store, const std::string& path, const Document& document, json& tree) {
  auto all = store.projections();
  if (!all) return fail(std::move(all.error()));
  std::vector<ProjectedToken> projected;
  for (Projection& one : *all) {
    if (one.path == path) projected = std::move(one.tokens);
  }
  const auto owners = Owners::of(store, projected);
  if (!owners) return fail(owners.error());
  const auto places = Places::of(store, path);
  if (!places) return fail(places.error());
  Shown shown;
  for (GrantPlace& place : places_in(tree, document.format)) {
    const auto owner = owners->of_place(place);
    if (!owner) return fail(owner.error());
    if (*owner == nullptr || !(*owner)->refresh_hash) continue;
    if (auto may = places->may_go_here(**owner); !may) {
      shown.given_elsewhere.emplace((*owner)->uid, std::move(may.error()));
      continue;
    }
    if (auto may = may_go(**owner); !may) return fail(std::move(may.error()));
    shown.found.push_back({place, (*owner)->uid});
  }
  return shown;
}

// The logins that the file shows, out of everybody else's reach until they are let go.
Result<std::vector<LockedCredential>> lock_matches(const Store& store, const fs::path& path,
                                                   const std::vector<Match>& found) {
  std::set<Uid> uids;
  for (const Match& match : found) uids.insert(match.uid);
  if (auto room = room_for_descriptors(uids.size()); !room) return fail(std::move(room.error()));
  auto locked = LockedCredential::acquire(store, uids, {store.lock_wait()});
  if (!locked) return locked;
  const auto places = Places::of(store, path.string());  // who was first to lock them was first
  if (!places) return fail(places.error());
  for (const auto& one : *locked) {
    if (auto may = places->may_go_here(one.held().row); !may) return fail(std::move(may.error()));
    if (auto may = may_go(one.held().row); !may) return fail(std::move(may.error()));
  }
  return locked;
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

Result<HandedOver> describe(const Store& store, const fs::path& file, const std::string& profile,
                            const std::vector<LockedCredential>& locked) {
  HandedOver done{file, {}, {}};
  for (const auto& one : locked) {
    done.credentials.push_back(one.held().row);
    if (auto warned = warn_of_others(store, profile, one.held().row, done); !warned) {
      return fail(std::move(warned.error()));
    }
  }
  return done;
}

Secret with_live_pairs(const Secret& was, json&& tree, std::vector<Match>& found,
                       const std::vector<LockedCredential>& locked, Instant now) {
  std::map<Uid, Held> pairs;
  for (const auto& one : locked) {
    Held held = one.held().clone();
    doubt_times(held.row, now);
    pairs.emplace(held.row.uid, std::move(held));
  }
  for (Match& match : found) match.place.put(pairs.at(match.uid), true);
  return edited_text(was.reveal(), std::move(tree));
}

// The store takes back what it has held for a file that is as it was. What is in the file decides,
// never the error: a rename whose directory could not be synced has happened, and a commit that
// failed may have been written.
Error take_back(const fs::path& path, const std::string& sha256, Error why,
                const std::vector<LockedCredential*>& held) {
  const auto there = read_source(path);
  const bool as_it_was = there && there->sha256 == sha256;
  if (as_it_was && LockedCredential::set_hold(held, Hold::none)) return why;
  why.message += as_it_was ? ". Its logins could not be taken back and may be held as handed over"
                           : ". It may have the live pair all the same, so its tool refreshes it";
  why.hint += (why.hint.empty() ? "" : " ") + std::string("Handing over again finishes it.");
  return why;
}

// Hold, then write, so that at no moment two may spend. Killed or without power between the two,
// nobody does until it is done again; the other way round the tool and the store both would, for
// good if the hold cannot be written. The commit is durable before the rename can be.
// False: the file changed after it was read, and nothing is handed over.
Result<bool> hold_and_replace(const fs::path& path, const SourceBytes& before, const Secret& text,
                              std::vector<LockedCredential>& locked) {
  std::vector<LockedCredential*> ours;  // the others are the tool's since an earlier time
  for (auto& one : locked) {
    if (one.held().row.hold == Hold::none) ours.push_back(&one);
  }
  auto held = LockedCredential::set_hold(ours, Hold::handed_over);
  auto done = held ? replace_if_same(path, before.text, text) : fail(std::move(held.error()));
  if (!done) return fail(take_back(path, before.sha256, std::move(done.error()), ours));
  if (*done) return true;
  auto lifted = LockedCredential::set_hold(ours, Hold::none);
  if (lifted) return false;
  lifted.error().message += ". The logins of " + path.string() + " may be held as handed over";
  lifted.error().hint +=
      (lifted.error().hint.empty() ? "" : " ") + std::string("Handing over again finishes it.");
  return fail(std::move(lifted.error()));
}

// Before anything else: by it the logins are taken back.
Result<void> note_place(Store& store, const fs::path& path, const Document& document,
                        const Secret& text, const std::vector<LockedCredential>& locked) {
  Change change;
  for (const auto& one : locked) {
    ImportReceipt& receipt = change.receipts.emplace_back();
    receipt.path = path.string();
    receipt.sha256 = sha256_of(text);
    receipt.format = std::string(kHandedOver) + one.held().row.uid;
    receipt.profile = document.profile;
  }
  const auto noted = store.apply(change);
  if (!noted) return fail(noted.error());
  return {};
}

// Last, because by it a file is known again that was not finished.
Result<void> forget_projection(Store& store, const fs::path& path) {
  auto dropped = store.drop_projection(path.string());
  if (dropped) return {};
  return fail(dropped.error().code,
              path.string() + " has the live pair now, and still counts as a projection: " +
                  dropped.error().message,
              "Handing over again finishes it.");
}

// The locks of the logins are kept to the end, so that what is written is what they have. nullopt:
// the file changed after it was read.
Result<std::optional<HandedOver>> give(Store& store, const fs::path& file, const Document& document,
                                       const SourceBytes& before, json&& tree,
                                       std::vector<Match>& found) {
  const fs::path path = real_path(file);
  auto locked = lock_matches(store, path, found);
  if (!locked) return fail(std::move(locked.error()));
  auto done = describe(store, file, document.profile, *locked);
  if (!done) return fail(std::move(done.error()));
  // As Hermes does on each save. It also tells this file from the one that was imported: the next
  // migration takes back only what was written since.
  if (document.format == "hermes") tree["updated_at"] = format_iso(store.now());
  if (auto note = note_of_privacy(path); !note.empty()) done->warnings.push_back(std::move(note));
  const Secret text = with_live_pairs(before.text, std::move(tree), found, *locked, store.now());
  const auto uninterrupted = locked->front().shield();
  if (auto noted = note_place(store, path, document, text, *locked); !noted) {
    return fail(std::move(noted.error()));
  }
  const auto given = hold_and_replace(path, before, text, *locked);
  if (!given) return fail(given.error());
  if (!*given) return std::optional<HandedOver>();
  if (auto forgotten = forget_projection(store, path); !forgotten) {
    return fail(std::move(forgotten.error()));
  }
  for (Credential& row : done->credentials) row.hold = Hold::handed_over;
  return std::move(*done);
}

// Those that another file was given. Fails if they are not to be left alone.
Result<std::vector<std::string>> leave_alone(const fs::path& path, const Shown& shown,
                                             GivenElsewhere given) {
  std::vector<std::string> warnings;
  for (const auto& [uid, why] : shown.given_elsewhere) {
    if (given == GivenElsewhere::refuse) return fail(why);
    warnings.push_back(path.string() + " does not get a login that it shows: " + why.message +
                       ". " + why.hint);
  }
  return warnings;
}

Result<std::optional<HandedOver>> read_and_give(Store& store, const fs::path& file,
                                                const Document& document, GivenElsewhere given) {
  const fs::path path = real_path(file);
  if (auto may = check_replaceable(path); !may) return fail(std::move(may.error()));
  const auto bytes = read_source(path);
  if (!bytes) return fail(bytes.error());
  auto tree = parse_json(bytes->text.reveal(), path.string());
  if (!tree) return fail(std::move(tree.error()));
  auto shown = matches(store, path.string(), document, *tree);
  if (!shown) return fail(std::move(shown.error()));
  const auto left = leave_alone(path, *shown, given);
  if (!left) return fail(left.error());
  if (shown->found.empty() && !left->empty()) return HandedOver{file, {}, *left};
  if (shown->found.empty()) {
    return fail(Errc::not_found, path.string() + " shows no login of this store",
                "Give the tool's own file with -o; `authdb list` shows what the store has.");
  }
  auto done = give(store, file, document, *bytes, std::move(*tree), shown->found);
  if (done && *done) (*done)->warnings.insert((*done)->warnings.end(), left->begin(), left->end());
  return done;
}

}  // namespace

Result<HandedOver> hand_over(Store& store, const fs::path& file, Milliseconds wait,
                             GivenElsewhere given) {
  const Document document = read_document(real_path(file), profile_of_file(file));
  if (document.failure) return fail(*document.failure);
  const auto tool = lock_tools({{file, document.format}}, wait);
  if (!tool) return fail(tool.error());
  // Not every tool takes its own lock.
  for (int reading = 0; reading < kReadings; ++reading) {
    auto done = read_and_give(store, file, document, given);
    if (!done) return fail(std::move(done.error()));
    if (*done) return std::move(**done);
  }
  return fail(Errc::try_later, file.string() + " changed each time it was read",
              "It is not handed over. Stop the program that writes it, and try again.");
}

Result<std::optional<fs::path>> place_of_hand_over(const Store& store, const Uid& uid) {
  const auto receipts = store.receipts();
  if (!receipts) return fail(receipts.error());
  const auto places = places_of_hand_overs(*receipts);
  const auto place = places.find(uid);
  return place == places.end() ? std::nullopt : std::optional<fs::path>(place->second);
}

Result<std::optional<fs::path>> unfinished_hand_over(const Store& store, const Credential& row) {
  if (row.hold != Hold::handed_over) return std::optional<fs::path>();
  const auto place = place_of_hand_over(store, row.uid);
  if (!place || !*place) return place;
  const fs::path path = **place;
  const auto bytes = read_source(path);
  auto tree = bytes ? parse_json(bytes->text.reveal(), path.string()) : Result<json>(json());
  if (!tree) return std::optional<fs::path>();  // being written, or nobody can tell
  bool has_one = false;
  for (const GrantPlace& grant : places_in(*tree, read_document(path, {}).format)) {
    has_one =
        has_one || (grant.provider() == row.identity.provider && !grant.refresh_token().empty());
  }
  wipe_strings(*tree);
  return has_one ? std::nullopt : std::optional(path);
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
    if (receipt.format.starts_with(kHandedOver)) continue;
    const fs::path path = receipt.path;
    const bool known = std::find(files.begin(), files.end(), path) != files.end();
    if (receipt.profile == profile && !known && fs::exists(path, error)) files.push_back(path);
  }
  return files;
}

}  // namespace authdb::migrate
