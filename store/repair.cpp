// doctor.h's repair(): what can be mended without a guess.
#include <map>
#include <set>

#include "store/adoption.h"
#include "store/examination.h"
#include "store/key_rotation.h"
#include "store/locked.h"
#include "store/sqlite/rebuild.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

class Repair {
 public:
  explicit Repair(Store& store) : store_(store), engine_(store.engine()) {}

  std::vector<Finding> run() {
    damaged_journals();
    const auto damaged = damaged_cells(engine_);
    adopt();
    if (!damaged.empty()) tell_mended(damaged);
    finish_key_rotation();
    remove_leftovers();
    return std::move(done_);
  }

 private:
  void did(std::string code, std::string message, std::string hint = {}) {
    done_.push_back({std::move(code), Severity::note, std::move(message), std::move(hint), true});
  }

  void damaged_journals() {
    for (const Uid& uid : Journal::all(engine_.files.directory)) {
      const auto looked = Journal::look(engine_.place(uid));
      if (looked || looked.error().code != Errc::refused) continue;
      // Where its login is not known, nothing would be held: an older database may yet bring it.
      if (!engine_.backend->view()->load(uid)) continue;
      const auto aside = Engine::guarded([&] { return set_aside_journal(engine_, uid); });
      if (!aside || aside->empty()) continue;
      did("journal_damaged", "the damaged journal of " + uid + " is kept as " + aside->string(),
          "Its credential is held as uncertain: `authdb login` or `authdb refresh --replay` "
          "decides.");
    }
  }

  void adopt() {
    const Adoption adoption = adopt_journals(store_);
    if (adoption.adopted == 0) return;
    const bool one = adoption.adopted == 1;
    did("adopted", std::to_string(adoption.adopted) +
                       (one ? " credential has its newest tokens from its journal now"
                            : " credentials have their newest tokens from their journals now"));
  }

  // Each was mended, where it could be, when its lock was taken.
  void tell_mended(const std::vector<DamagedCell>& damaged) {
    std::set<std::string> left;
    for (const DamagedCell& cell : damaged_cells(engine_)) left.insert(cell.what);
    for (const DamagedCell& cell : damaged) {
      if (left.count(cell.what) == 0) {
        did("cell_damaged", cell.what + " did not open, and is as the journal has it now");
      }
    }
  }

  void finish_key_rotation() {
    const auto finished = finish_rotation(store_);
    if (!finished || !*finished || (*finished)->cells + (*finished)->journals == 0) return;
    did("key_rotation_unfinished", "the key rotation to " + (*finished)->key + " is through");
  }

  // A younger one may be at work.
  void remove_leftovers() {
    constexpr std::chrono::hours kAge{1};
    for (const fs::path& path : leftover_files(engine_)) {
      std::error_code error;
      const auto written = fs::last_write_time(path, error);
      if (error || is_set_aside(path.filename())) continue;
      if (fs::file_time_type::clock::now() - written < kAge) continue;
      if (fs::remove(path, error)) did("leftover", "removed " + path.string());
    }
  }

  Store& store_;
  Engine& engine_;
  std::vector<Finding> done_;
};

// What was lost with auth.db.d: nothing but the knowledge of what was sent.
std::optional<Finding> remake_directory(StoreOptions options) {
  if (options.path.empty()) options.path = default_store_path();
  const auto held = Engine::guarded_result(
      [&] { return sqlite::remake_directory(options.path, options.clock, options.lock_wait); });
  if (held && !*held) return std::nullopt;
  if (!held) {
    return Finding{"directory_lost", Severity::damage, held.error().message, held.error().hint,
                   false};
  }
  return Finding{"directory_lost", Severity::note,
                 "auth.db.d was missing and is there again, without its journals",
                 "Logins held as uncertain: " + std::to_string(**held) +
                     ". Each is served while its bearer lives, and sent when nothing else works; "
                     "`authdb login` or `authdb refresh --replay` decides.",
                 true};
}

// What was lost with auth.db: whatever no journal has.
std::optional<Finding> remake_database(StoreOptions options) {
  if (options.path.empty()) options.path = default_store_path();
  if (options.key_file.empty()) options.key_file = default_key_path();
  const auto rebuilt = Engine::guarded_result([&] {
    return sqlite::rebuild_from_journals(options.path, options.key_file, options.clock,
                                         options.lock_wait);
  });
  if (rebuilt && !*rebuilt) return std::nullopt;
  if (!rebuilt) {
    return Finding{"database_lost", Severity::damage, rebuilt.error().message, rebuilt.error().hint,
                   false};
  }
  const std::string aside = (*rebuilt)->set_aside.string();
  return Finding{"database_lost", Severity::note,
                 "auth.db was " + (aside.empty() ? "missing" : "damaged, is kept as " + aside) +
                     ", and is made anew from the journals",
                 "They have each login that authdb made, has refreshed or cut over, and no API "
                 "key, profile or setting. `authdb restore FILE` brings those back from a backup; "
                 "`authdb migrate` imports what is still in files.",
                 true};
}

}  // namespace

std::vector<Finding> repair(const StoreOptions& options) {
  std::vector<Finding> findings;
  if (auto remade = remake_directory(options)) findings.push_back(*std::move(remade));
  if (auto remade = remake_database(options)) findings.push_back(*std::move(remade));
  auto store = Store::open(options, OpenMode::use);
  if (!store) return findings.empty() ? cannot_open(store.error()) : findings;
  std::vector<Finding> done = Repair(*store).run();
  std::move(done.begin(), done.end(), std::back_inserter(findings));
  std::vector<Finding> left = examine(*store);
  std::move(left.begin(), left.end(), std::back_inserter(findings));
  return findings;
}

}  // namespace authdb
