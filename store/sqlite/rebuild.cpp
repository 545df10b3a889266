#include "store/sqlite/rebuild.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "store/draft.h"
#include "store/engine.h"
#include "store/file_lock.h"
#include "store/files.h"
#include "store/journal.h"
#include "store/ownership.h"
#include "store/seal.h"
#include "store/sqlite/backup_file.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/integrity.h"
#include "store/sqlite/schema_sql.h"
#include "store/timestamp.h"

namespace authdb::sqlite {
namespace {

namespace fs = std::filesystem;

enum class Depth { opening, all_pages };

// Why the database cannot be used; empty: it can. Throws on anything but damage.
std::string damage(const fs::path& database, const ClockVfs& vfs, Depth depth) {
  try {
    Connection connection(database, Access::read, vfs);
    if (is_empty(connection.database())) return "it is empty";
    if (depth == Depth::all_pages) {
      std::string wrong = trouble_in(connection.database());
      if (!wrong.empty()) return wrong;
    }
    if (first_text(connection.database(), "PRAGMA application_id") ==
        std::to_string(kApplicationId)) {
      return {};
    }
    throw BackendError{{Errc::refused, database.string() + " is not an authdb store",
                        "It is some other SQLite database; name the right file with --store."}};
  } catch (const SQLite::Exception& error) {
    if (is_damage(error.getErrorCode())) return error.what();
    throw_backend_error(error, "cannot open", database, 0);
  } catch (const BackendError& error) {
    if (!error.damaged) throw;
    return error.error.message;
  }
}

// The copy as auth.db will be: what is unknown held, with a log, and whole in the one file. The
// number of grants that were put on hold.
std::int64_t finish_database(const fs::path& path, const std::vector<Uid>& journalled) {
  SQLite::Database db(path.string(), SQLite::OPEN_READWRITE);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  db.exec("CREATE TEMP TABLE journalled (uid TEXT PRIMARY KEY)");
  SQLite::Transaction txn(db);
  SQLite::Statement insert(db, "INSERT INTO journalled VALUES (?1)");
  for (const Uid& uid : journalled) {
    insert.bind(1, uid);
    insert.exec();
    insert.reset();
  }
  const int held = db.exec(
      "UPDATE token_set SET hold = 'uncertain' WHERE hold IS NULL AND refresh_hash IS NOT NULL "
      "AND credential NOT IN (SELECT c.id FROM credential c JOIN journalled j ON j.uid = c.uid)");
  txn.commit();
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  return held;
}

bool is_empty_file(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

// Its log goes with it: beside the new database it would be replayed into it. What is returned is
// there: the database, or the log alone.
Result<fs::path> set_aside(const fs::path& database, Instant now) {
  const fs::path log = beside(database, "-wal");
  const bool had_database = is_taken(database);
  if (!had_database && is_empty_file(log)) ::unlink(log.c_str());
  if (!had_database && !is_taken(log)) return fs::path();
  const fs::path aside = beside(database, ".damaged-" + format_compact(now));
  for (const char* suffix : {"", "-wal"}) {
    if (::rename(beside(database, suffix).c_str(), beside(aside, suffix).c_str()) != 0 &&
        errno != ENOENT) {
      return fail(file_error("cannot rename", beside(database, suffix), errno));
    }
  }
  ::unlink(beside(database, "-shm").c_str());
  return had_database ? aside : beside(aside, "-wal");
}

// The copy, and not the backup again: that may have been replaced since it was looked at.
void require_our_schema_in(const fs::path& copy, const fs::path& backup) {
  SQLite::Database db(copy.string(), SQLite::OPEN_READONLY);
  require_our_schema(db, "main", backup);
}

// The write gate, of a store whose files may be gone.
Result<FileLock> take_gate(const StoreFiles& files, Milliseconds wait) {
  if (auto made = create_durable(files.directory / "gate", Secret()); !made) {
    return fail(made.error());
  }
  auto gate = FileLock::acquire(files.directory / "gate", wait);
  if (!gate) return fail(gate.error());
  if (*gate) return std::move(**gate);
  return fail(Errc::busy, "another process is writing to the store", "Nothing was changed.");
}

// The draft in the place of the database.
Result<Rebuilt> put_in_place(Draft& draft, const StoreFiles& files, Instant now) {
  if (auto finished = draft.finish(); !finished) return fail(std::move(finished.error()));
  auto aside = set_aside(files.database, now);
  if (!aside) return fail(aside.error());
  if (auto replaced = draft.replace(); !replaced) return fail(std::move(replaced.error()));
  return Rebuilt{std::move(*aside), 0};
}

Result<bool> is_lost(const StoreFiles& files, const Clock& clock, Depth depth) {
  if (!is_taken(files.database)) return true;
  if (auto checked = check_private(files.database); !checked) return fail(checked.error());
  const ClockVfs vfs(clock);
  return !damage(files.database, vfs, depth).empty();
}

// The newest key of the store, where all of its journals can be opened: else their tokens would
// stay behind.
Sealer sealer_of_journals(const StoreFiles& files, const fs::path& key_file) {
  Sealer sealer = value_or_throw(Sealer::load(key_file));
  for (const Uid& uid : Journal::all(files.directory)) {
    const JournalPlace place{files.directory, files.store_id, uid};
    for (const KeyId& id : Journal::keys_of(place.path())) {
      if (sealer.holds(id)) continue;
      throw BackendError{{Errc::refused,
                          "the journal of " + uid + " is sealed with key " + hex(id) +
                              ", which is not in " + key_file.string(),
                          "Put the key file of the store back, or name it with AUTHDB_KEY_FILE. "
                          "Nothing has been changed."}};
    }
  }
  sealer.activate(newest_key_for(sealer.keys(), files.store_id));
  return sealer;
}

}  // namespace

Result<bool> needs_rebuilding(const StoreFiles& files, const Clock& clock) {
  return is_lost(files, clock, Depth::all_pages);
}

Result<std::optional<Rebuilt>> rebuild_from(const fs::path& backup, const StoreFiles& files,
                                            const std::vector<Uid>& journalled, const Clock& clock,
                                            Milliseconds wait) {
  const auto gate = take_gate(files, wait);
  if (!gate) return fail(gate.error());
  if (!value_or_throw(needs_rebuilding(files, clock))) return std::nullopt;  // it was faster
  auto draft = begin_draft(files.database);
  if (!draft) return fail(std::move(draft.error()));
  const ClockVfs vfs(clock);
  std::int64_t held = 0;
  try {
    Connection from(backup, Access::read, vfs);
    copy_database(from.database(), *draft);
    require_our_schema_in(draft->path(), backup);
    held = finish_database(draft->path(), journalled);
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot copy the backup", backup, 0);
  }
  Rebuilt rebuilt = value_or_throw(put_in_place(*draft, files, clock()));
  rebuilt.held = held;
  return rebuilt;
}

Result<std::optional<Rebuilt>> rebuild_from_journals(const fs::path& database,
                                                     const fs::path& key_file, const Clock& clock,
                                                     Milliseconds wait) {
  const auto found = journalled_files(database);
  if (!found) return fail(found.error());
  if (!*found) return std::nullopt;
  const StoreFiles& files = **found;
  if (!value_or_throw(is_lost(files, clock, Depth::opening))) return std::nullopt;
  const Sealer sealer = sealer_of_journals(files, key_file);
  const auto gate = take_gate(files, wait);
  if (!gate) return fail(gate.error());
  if (!value_or_throw(is_lost(files, clock, Depth::opening))) return std::nullopt;
  auto draft = begin_draft(files.database);
  if (!draft) return fail(std::move(draft.error()));
  build_database(draft->path(), files.store_id, sealer, clock());
  return value_or_throw(put_in_place(*draft, files, clock()));
}

Result<std::optional<std::int64_t>> remake_directory(const fs::path& database, const Clock& clock,
                                                     Milliseconds wait) {
  const auto lost = lost_directory(database);
  if (!lost) return fail(lost.error());
  if (!*lost) return std::nullopt;
  StoreFiles files = **lost;
  const auto gate = take_gate(files, wait);
  if (!gate) return fail(gate.error());
  if (is_taken(files.directory / "store")) return std::nullopt;  // it was faster
  std::int64_t held = 0;
  try {
    const ClockVfs vfs(clock);
    {
      Connection connection(files.database, Access::read, vfs);
      require_our_schema(connection.database(), "main", files.database);
      files.store_id =
          first_text(connection.database(), "SELECT value FROM meta WHERE key = 'store_id'");
    }
    held = finish_database(files.database, Journal::all(files.directory));
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot open", files.database, 0);
  }
  const auto named =
      create_durable(files.directory / "store", Secret::copy_of(files.store_id + "\n"));
  if (!named) return fail(named.error());
  return held;
}

}  // namespace authdb::sqlite
