#include "store/doctor.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <set>

#include "store/adoption.h"
#include "store/engine.h"
#include "store/journal.h"
#include "store/key_rotation.h"
#include "store/rescue.h"
#include "store/sqlite/integrity.h"
#include "store/timestamp.h"
#include "store/uid.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRepairs = "`authdb doctor --repair` does it now; the next use would too.";

// Names that create_durable() and its like leave when their process is killed.
bool is_leftover(const std::string& name) { return name.find(".new") != std::string::npos; }
bool is_set_aside(const std::string& name) { return name.find(".damaged-") != std::string::npos; }

class Examination {
 public:
  explicit Examination(const Store& store) : engine_(store.engine()) {}

  std::vector<Finding> run() {
    attempt("database", [&] { integrity(); });
    attempt("journal", [&] { journals(); });
    attempt("rescue", [&] { rescues(); });
    attempt("key", [&] { keys(); });
    attempt("leftover", [&] { leftovers(); });
    return std::move(findings_);
  }

 private:
  void find(std::string code, Severity severity, std::string message, std::string hint = {}) {
    findings_.push_back({std::move(code), severity, std::move(message), std::move(hint), false});
  }

  template <typename F>
  void attempt(const std::string& code, F&& body) {
    const auto done = Engine::guarded(body);
    if (!done) find(code, Severity::damage, done.error().message, done.error().hint);
  }

  void integrity() {
    for (std::string& line : sqlite::check_integrity(engine_.files, engine_.options.clock)) {
      find("database", Severity::damage, "the database: " + line,
           "`authdb restore FILE` makes it anew from a backup and the journals.");
    }
  }

  // ---- journals --------------------------------------------------------------------------------

  void journals() {
    for (const Uid& uid : Journal::all(engine_.files.directory)) {
      const auto journal = Journal::look(engine_.files.directory, engine_.files.store_id, uid);
      if (journal) {
        look_at(uid, *journal);
      } else if (journal.error().code != Errc::not_found) {
        find("journal_damaged", Severity::damage, journal.error().message,
             "Put the right file back; or `authdb doctor --repair` sets it aside, holds the "
             "credential as uncertain, and login, remove and refresh --replay work again.");
      }
    }
  }

  void look_at(const Uid& uid, const Journal& journal) {
    const auto stored = engine_.backend->view()->load(uid);
    const auto& settled = journal.settled();
    if (!stored) {
      if (settled) {
        find("journal_alone", Severity::attention,
             "the journal of " + uid + " holds a grant, and the database does not know it",
             "`authdb doctor --repair` brings it back; `authdb restore FILE` with all else.");
      }
      return;
    }
    if (stored->row.removed_at) return;
    const std::string name = name_of(stored->row);
    if (settled && settled->generation > stored->row.generation) {
      find("database_older", Severity::attention,
           "the journal of " + name + " is at generation " + std::to_string(settled->generation) +
               ", the database at " + std::to_string(stored->row.generation) +
               ": an older database was put back",
           std::string("The journal's tokens are taken. ") + kRepairs);
    } else if (settled && settled->generation < stored->row.generation &&
               journal.record().state == JournalState::settled) {
      find("journal_older", Severity::note,
           "the journal of " + name + " is at generation " + std::to_string(settled->generation) +
               ", the database at " + std::to_string(stored->row.generation) +
               ": it was put back, or its last word was lost in a power cut",
           "The database counts, and the next rotation writes the journal.");
    }
    look_at_attempt(name, stored->row, journal);
  }

  bool is_at_work(const JournalRecord& record) const {
    return record.boot_id == engine_.boot_id() && ::kill(static_cast<pid_t>(record.pid), 0) == 0;
  }

  void look_at_attempt(const std::string& name, const Credential& row, const Journal& journal) {
    const JournalRecord& record = journal.record();
    if (record.state == JournalState::settled || is_at_work(record)) return;
    if (record.state == JournalState::answered) {
      find("answer_unsettled", Severity::attention,
           "an answer for " + name + " is in its journal and not in the database yet",
           std::string("It is settled. ") + kRepairs);
      return;
    }
    const bool sent = journal.mark() == JournalMark::sent || journal.mark() == JournalMark::damaged;
    if (sent && row.hold != Hold::uncertain && row.refresh_hash) {
      find("sent_unanswered", Severity::attention,
           "process " + std::to_string(record.pid) + " (" + record.process +
               ") sent the refresh token of " + name + " at " + format_iso(record.started_at) +
               " and was gone before the answer came",
           "It is held as uncertain by the next use, and sent again when nothing else works.");
    }
  }

  // ---- rescue files ----------------------------------------------------------------------------

  void rescues() {
    for (const fs::path& path : rescue_files(engine_.files.store_id)) {
      find("rescue", Severity::attention,
           "a rotated token waits in " + path.string() +
               ": neither journal nor database could be written",
           std::string("It is lost at the next boot. It is settled with XDG_RUNTIME_DIR set as it "
                       "was then. ") +
               kRepairs);
    }
  }

  // ---- keys ------------------------------------------------------------------------------------

  void keys() {
    const auto file = read_keys(engine_.options.key_file);
    if (!file) return find("key", Severity::damage, file.error().message, file.error().hint);
    const KeyId active = engine_.keys().active();
    std::set<KeyId> held;
    for (const SealKey& key : *file) held.insert(key.id);
    std::map<KeyId, std::int64_t> used = engine_.backend->view()->cells_by_key();
    for (const Uid& uid : Journal::all(engine_.files.directory)) {
      for (const KeyId& id : Journal::keys_of(Journal::path_of(engine_.files.directory, uid))) {
        ++used[id];
      }
    }
    bool unfinished = newest_key_for(*file, engine_.files.store_id) != active;
    for (const auto& [id, cells] : used) {
      if (held.count(id) == 0) {
        find("key_missing", Severity::damage,
             std::to_string(cells) + " cells are sealed with key " + hex(id) +
                 ", which is not in " + engine_.options.key_file.string(),
             "Add its line from your copy of the key file, at the end; or they are damaged.");
      }
      unfinished = unfinished || (id != active && held.count(id) != 0);
    }
    if (unfinished) {
      find("key_rotation_unfinished", Severity::attention,
           "a key rotation is not through: not everything is sealed with the newest key",
           "`authdb key rotate` finishes it.");
    }
    bool behind = false;  // one in front of the active key was only just drawn
    for (const SealKey& key : *file) {
      if (behind && used.count(key.id) == 0 && key.store_id == engine_.files.store_id) {
        find("key_unused", Severity::note,
             "nothing is sealed with key " + hex(key.id) + " any more",
             "`authdb key prune` takes it out of the key file.");
      }
      behind = behind || key.id == active;
    }
  }

  // ---- leftovers -------------------------------------------------------------------------------

  void leftovers() {
    for (const fs::path& path : leftover_files(engine_)) {
      if (is_set_aside(path.filename())) {
        find("set_aside", Severity::note, path.string() + " is a damaged file that was set aside",
             "Nothing reads it; delete it when you need it no more.");
      } else {
        find("leftover", Severity::note,
             path.string() + " is left of a process that was killed, or of one at work",
             "`authdb doctor --repair` removes what is older than an hour.");
      }
    }
  }

 public:
  static std::vector<fs::path> leftover_files(const Engine& engine) {
    std::vector<fs::path> found;
    const std::string database = engine.files.database.filename();
    const auto look_in = [&](const fs::path& directory, const std::string& prefix) {
      std::error_code error;
      for (const auto& entry : fs::directory_iterator(directory, error)) {
        const std::string name = entry.path().filename();
        const bool ours = name.starts_with(prefix) && (is_leftover(name) || is_set_aside(name));
        if (ours && entry.is_regular_file(error)) found.push_back(entry.path());
      }
    };
    look_in(engine.files.database.parent_path(), database + ".");
    look_in(engine.options.key_file.parent_path(),
            engine.options.key_file.filename().string() + ".");
    look_in(engine.files.directory, "");
    std::error_code error;
    for (const auto& folder : fs::directory_iterator(engine.files.directory, error)) {
      if (folder.is_directory(error)) look_in(folder.path(), "");
    }
    return found;
  }

 private:
  Engine& engine_;
  std::vector<Finding> findings_;
};

// ---- repair ------------------------------------------------------------------------------------

class Repair {
 public:
  explicit Repair(Store& store) : store_(store), engine_(store.engine()) {}

  std::vector<Finding> run() {
    damaged_journals();
    adopt();
    finish_key_rotation();
    remove_leftovers();
    return std::move(done_);
  }

 private:
  void did(std::string code, std::string message, std::string hint = {}) {
    done_.push_back({std::move(code), Severity::note, std::move(message), std::move(hint), true});
  }

  // What its journal said is lost: the token may have been sent, or spent.
  void hold(const Uid& uid) {
    const auto txn = engine_.begin_write();
    const auto stored = txn->load(uid);
    if (!stored || !stored->row.refresh_hash || stored->row.hold != Hold::none) return;
    txn->set_hold(stored->row.id, Hold::uncertain);
    txn->commit();
  }

  void damaged_journals() {
    for (const Uid& uid : Journal::all(engine_.files.directory)) {
      const auto looked = Journal::look(engine_.files.directory, engine_.files.store_id, uid);
      if (looked || looked.error().code != Errc::refused) continue;
      const auto aside = Engine::guarded([&] {
        return value_or_throw(Journal::set_aside(engine_.files.directory, engine_.files.store_id,
                                                 uid, engine_.options.lock_wait, engine_.self(),
                                                 [&] { hold(uid); }));
      });
      if (!aside || aside->empty()) continue;
      did("journal_damaged", "the damaged journal of " + uid + " is kept as " + aside->string(),
          "Its credential is held as uncertain: `authdb login` or `authdb refresh --replay` "
          "decides.");
    }
  }

  void adopt() {
    const Adoption adoption = adopt_journals(store_);
    if (adoption.adopted == 0) return;
    did("adopted", std::to_string(adoption.adopted) +
                       " credentials have their newest tokens from their journals now");
  }

  void finish_key_rotation() {
    const auto finished = finish_rotation(store_);
    if (!finished || !*finished || (*finished)->cells + (*finished)->journals == 0) return;
    did("key_rotation_unfinished", "the key rotation to " + (*finished)->key + " is through");
  }

  // A younger one may be at work.
  void remove_leftovers() {
    constexpr std::chrono::hours kAge{1};
    for (const fs::path& path : Examination::leftover_files(engine_)) {
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

std::vector<Finding> cannot_open(const Error& error) {
  const Severity severity = error.code == Errc::not_found ? Severity::note : Severity::damage;
  return {{"open", severity, error.message, error.hint, false}};
}

}  // namespace

std::vector<Finding> examine(const StoreOptions& options) {
  const auto store = Store::open(options, OpenMode::look);
  return store ? Examination(*store).run() : cannot_open(store.error());
}

std::vector<Finding> repair(const StoreOptions& options) {
  auto store = Store::open(options, OpenMode::use);
  if (!store) return cannot_open(store.error());
  std::vector<Finding> findings = Repair(*store).run();
  std::vector<Finding> left = Examination(*store).run();
  std::move(left.begin(), left.end(), std::back_inserter(findings));
  return findings;
}

}  // namespace authdb
