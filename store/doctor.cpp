#include "store/doctor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <set>

#include "store/draft.h"
#include "store/examination.h"
#include "store/files.h"
#include "store/locked.h"
#include "store/rescue.h"
#include "store/shell_word.h"
#include "store/sqlite/integrity.h"
#include "store/timestamp.h"
#include "store/uid.h"
#include "store/words.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRepairs = "`authdb doctor --repair` does it now; the next use would too.";

std::optional<Finding> access_to(const sqlite::StoreFiles& files) {
  const auto find = [](const fs::path& path, const std::string& what, std::string hint) {
    return Finding{"unwritable", Severity::damage,
                   path.string() + " " + what + ": nothing can be written to the store",
                   std::move(hint), false};
  };
  std::vector<fs::path> all{files.directory / "gate"};
  for (const char* suffix : {"", "-wal", "-shm"}) all.push_back(beside(files.database, suffix));
  for (const fs::path& path : all) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) continue;  // made anew when it is needed
    if (!S_ISREG(st.st_mode)) {
      return find(path, "is no regular file", "Move it away: authdb makes it anew.");
    }
    if (::faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) != 0 && errno == EACCES) {
      return find(path, "cannot be written", "`chmod 600 " + shell_quoted(path.string()) + "`.");
    }
  }
  if (::faccessat(AT_FDCWD, files.directory.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0 ||
      errno != EACCES) {
    return std::nullopt;
  }
  return find(files.directory, "cannot be written",
              "`chmod 700 " + shell_quoted(files.directory.string()) + "`.");
}

class Examination {
 public:
  explicit Examination(const Store& store) : engine_(store.engine()) {}

  std::vector<Finding> look_at_one(const Uid& uid) {
    attempt("journal", [&] {
      const auto stored = engine_.backend->view()->load(uid);
      look_at(uid, stored);
      if (stored) cells_of(*stored);
    });
    return std::move(findings_);
  }

  std::vector<Finding> run() {
    if (auto found = access_to(engine_.files)) findings_.push_back(std::move(*found));
    attempt("schema", [&] { schema(); });
    attempt("database", [&] { integrity(); });
    attempt("journal", [&] { journals(); });
    attempt("rescue", [&] { rescues(); });
    attempt("key", [&] { keys(); });
    attempt("cell_damaged", [&] { cells(); });
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

  void schema() {
    const auto strange = sqlite::check_schema(engine_.files, engine_.options.clock);
    if (!strange) return;
    if (strange->newer) {
      find("schema_newer", Severity::note, "the database was not compared: " + strange->what,
           "A newer authdb has used the store; its `authdb doctor` can tell.");
      return;
    }
    find("schema", Severity::damage, "the database is not as authdb makes it: " + strange->what,
         "Drop what you have put in yourself (`sqlite3 auth.db`, then DROP). Else somebody could "
         "write to it: move auth.db and auth.db-wal away, and `authdb restore FILE` makes it anew "
         "from a backup and the journals.");
  }

  void integrity() {
    for (std::string& line : sqlite::check_integrity(engine_.files, engine_.options.clock)) {
      find("database", Severity::damage, "the database: " + line,
           "`authdb restore FILE` makes it anew from a backup and the journals. Without any backup "
           "move auth.db and auth.db-wal away: `authdb doctor --repair` makes it anew from the "
           "journals alone.");
    }
  }

  // ---- journals --------------------------------------------------------------------------------

  void journals() {
    const auto view = engine_.backend->view();
    std::set<Uid> there;
    for (Uid& uid : Journal::all(engine_.files.directory)) {
      look_at(uid, view->load(uid));
      there.insert(std::move(uid));
    }
    for (const Credential& row : view->list({})) {
      if (!there.contains(row.uid)) look_at_lost(row);
    }
  }

  // No journal at all, of a credential whose row knows of one.
  void look_at_lost(const Credential& row) {
    const bool is_sendable = row.refresh_hash && !row.removed_at && row.hold == Hold::none;
    if (is_sendable && newer_side(CredentialState{}, row) == Side::row_and_lost) {
      find_older(row, "was lost");
    }
  }

  void find_older(const Credential& row, const std::string& what) {
    find("journal_older", Severity::attention, "the journal of " + name_of(row) + " " + what,
         "The database counts; whether the token was sent meanwhile cannot be known, so it is "
         "held as uncertain by the next use.");
  }

  void look_at(const Uid& uid, const std::optional<StoredCredential>& stored) {
    const auto journal = Journal::look(engine_.place(uid));
    if (journal) {
      look_at_access(uid);
      look_at(uid, *journal, stored);
    } else if (journal.error().code != Errc::not_found) {
      find("journal_damaged", Severity::damage, journal.error().message,
           stored ? "Put the right file back; or `authdb doctor --repair` sets it aside, holds the "
                    "credential as uncertain, and login, remove and refresh --replay work again."
                  : "The database does not know its login. Bring that back first (`authdb restore "
                    "FILE`), or delete the journal if nothing else has it.");
    } else if (stored) {
      look_at_lost(stored->row);
    }
  }

  void look_at_access(const Uid& uid) {
    const fs::path path = engine_.place(uid).path();
    if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0 || errno != EACCES) return;
    find("journal_read_only", Severity::damage,
         "the journal " + path.string() + " cannot be written: nothing can be sent",
         "`chmod u+w` it, and the others in auth.db.d.");
  }

  void look_at(const Uid& uid, const Journal& journal,
               const std::optional<StoredCredential>& stored) {
    const CredentialState& state = journal.state();
    if (!stored) {
      if (!state.grant.empty() && !state.removed_at) {
        find("journal_alone", Severity::attention,
             "the journal of " + uid + " holds a grant, and the database does not know it",
             "`authdb doctor --repair` brings it back; `authdb restore FILE` with all else.");
      }
      return;
    }
    const Credential& row = stored->row;
    const Side side = newer_side(state, row);
    if (side == Side::journal) {
      look_at_older_row(row, state);
    } else if (side == Side::row_and_lost) {
      find_older(row, state.revision == 0 ? "is a blank one: it was lost"
                                          : "is older than the database: it was put back");
    }
    if (!row.removed_at) look_at_attempt(row, state);
  }

  void look_at_older_row(const Credential& row, const CredentialState& state) {
    const bool removal = state.removed_at.has_value() != row.removed_at.has_value();
    if (state.generation > row.generation) {
      find("database_older", Severity::attention,
           "the journal of " + name_of(row) + " is at generation " +
               std::to_string(state.generation) + ", the database at " +
               std::to_string(row.generation) + ": an older database was put back",
           std::string("The journal's tokens are taken. ") + kRepairs);
    } else if (!state.legacy && (removal || state.hold != row.hold)) {
      find("database_older", Severity::attention,
           "the journal of " + name_of(row) + " knows of " +
               (removal                    ? "its removal or return"
                : state.hold == Hold::none ? "the end of its hold"
                                           : "its hold (" + std::string(word(state.hold)) + ")") +
               ", and the database does not: an older database was put back",
           std::string("The journal counts. ") + kRepairs);
    }
  }

  bool is_at_work(const AttemptNote& attempt) const {
    return attempt.boot_id == engine_.boot_id() && ::kill(static_cast<pid_t>(attempt.pid), 0) == 0;
  }

  void look_at_attempt(const Credential& row, const CredentialState& state) {
    const std::string name = name_of(row);
    if (state.phase == Phase::idle && !state.answer.empty()) {
      find("answer_kept", Severity::attention,
           "an answer of " + std::to_string(state.answer_size) + " bytes to the refresh of " +
               name + " is kept sealed in its journal: it " +
               (state.hold == Hold::conflict ? "is for another account" : "could not be read"),
           "Nothing of it is used. Log in again if the login does not work any more.");
    }
    if (state.phase == Phase::idle || is_at_work(state.attempt)) return;
    if (state.phase == Phase::answered) {
      find("answer_unsettled", Severity::attention,
           "an answer for " + name + " is in its journal and not in the database yet",
           std::string("It is settled. ") + kRepairs);
      return;
    }
    if (state.phase == Phase::sent && row.hold != Hold::uncertain && row.refresh_hash) {
      find("sent_unanswered", Severity::attention,
           "process " + std::to_string(state.attempt.pid) + " (" + state.attempt.process +
               ") sent the refresh token of " + name + " at " +
               format_iso(state.attempt.started_at) + " and was gone before the answer came",
           "It is held as uncertain by the next use, and sent again when nothing else works.");
    }
  }

  // ---- rescue files ----------------------------------------------------------------------------

  void rescues() {
    for (const fs::path& path : rescue_files(engine_.files.store_id)) {
      find("rescue", Severity::attention,
           "a rotated token waits in " + path.string() +
               ": neither journal nor database could be written",
           std::string("It is lost at the next boot. ") + kRepairs);
    }
  }

  // ---- keys ------------------------------------------------------------------------------------

  void keys() {
    const auto file = read_keys(engine_.options.key_file);
    if (!file) return find("key", Severity::damage, file.error().message, file.error().hint);
    const KeyId active = engine_.keys().active();
    std::map<KeyId, std::int64_t> used;
    const auto held = key_ids_around(engine_.options.key_file, [&] {
      used = engine_.backend->view()->cells_by_key();
      for (const Uid& uid : Journal::all(engine_.files.directory)) {
        for (const KeyId& id : Journal::keys_of(engine_.place(uid).path())) ++used[id];
      }
    });
    if (!held) return find("key", Severity::damage, held.error().message, held.error().hint);
    bool unfinished = newest_key_for(*file, engine_.files.store_id) != active;
    for (const auto& [id, cells] : used) {
      if (held->count(id) == 0) {
        find("key_missing", Severity::damage,
             std::to_string(cells) + " cells are sealed with key " + hex(id) +
                 ", which is not in " + engine_.options.key_file.string(),
             "Add its line from your copy of the key file, at the end; or they are damaged.");
      }
      unfinished = unfinished || (id != active && held->count(id) != 0);
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

  // ---- cells -----------------------------------------------------------------------------------

  void cells() {
    for (const DamagedCell& cell : damaged_cells(engine_)) {
      find("cell_damaged", cell.removed ? Severity::note : Severity::damage,
           cell.what + " does not open: it is damaged, or its row is", way_out(cell));
    }
  }

  // Those of one credential. That there is no key at all is not about this one.
  void cells_of(const StoredCredential& stored) {
    if (!Engine::guarded([&] { (void)engine_.keys(); })) return;
    const auto opened = Engine::guarded([&] { (void)engine_.unseal(stored); });
    if (!opened) {
      find("cell_damaged", Severity::damage,
           opened.error().message + " (" + name_of(stored.row) + ")",
           "`authdb doctor` says what to do.");
    }
  }

  static std::string way_out(const DamagedCell& cell) {
    if (cell.uid.empty()) return "`authdb restore FILE` brings it back from a backup.";
    if (cell.removed) return "It is wiped a day after the removal; until then no backup is made.";
    return "`authdb doctor --repair` takes it from the credential's journal where that has the "
           "same tokens. Else log in again, or remove it; until then no backup is made.";
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

 private:
  Engine& engine_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> cannot_open(const Error& error) {
  const Severity severity = error.code == Errc::not_found ? Severity::note : Severity::damage;
  return {{"open", severity, error.message, error.hint, false}};
}

bool is_set_aside(const std::string& name) { return name.find(".damaged-") != std::string::npos; }

std::vector<DamagedCell> damaged_cells(Engine& engine) {
  constexpr std::size_t kMostToTell = 100;
  return cells_that_do_not_open(engine, kMostToTell);
}

std::vector<fs::path> leftover_files(const Engine& engine) {
  std::vector<fs::path> found;
  // Of the one file that is ours, or of all.
  const auto look_in = [&](const fs::path& directory, const std::string& only) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      const std::string name = entry.path().filename();
      const std::string_view draft_of = name_of_draft(name);
      const bool aside = is_set_aside(name) && name.starts_with(only);
      const bool draft = only.empty() ? !draft_of.empty() : draft_of == only;
      if (aside || (draft && entry.is_regular_file(error))) found.push_back(entry.path());
    }
  };
  look_in(engine.files.database.parent_path(), engine.files.database.filename());
  look_in(engine.options.key_file.parent_path(), engine.options.key_file.filename());
  look_in(engine.files.directory, "");
  std::error_code error;
  for (const auto& folder : fs::directory_iterator(engine.files.directory, error)) {
    if (folder.is_directory(error)) look_in(folder.path(), "");
  }
  return found;
}

std::vector<Finding> examine(const StoreOptions& options) {
  const auto store = Store::open(options, OpenMode::look);
  return store ? examine(*store) : cannot_open(store.error());
}

std::vector<Finding> examine(const Store& store) { return Examination(store).run(); }

std::optional<Finding> examine_journal(const Store& store, const Uid& uid) {
  for (Finding& finding : Examination(store).look_at_one(uid)) {
    const bool is_in_doubt = finding.code == "sent_unanswered" || finding.code == "journal_older";
    if (finding.severity == Severity::damage || is_in_doubt) return finding;
  }
  return std::nullopt;
}

std::optional<Finding> examine_access(const Store& store) {
  return access_to(store.engine().files);
}

}  // namespace authdb
