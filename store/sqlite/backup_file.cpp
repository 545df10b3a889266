#include "store/sqlite/backup_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "store/draft.h"
#include "store/file_lock.h"
#include "store/files.h"
#include "store/journal.h"
#include "store/ownership.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/schema_check.h"
#include "store/sqlite/schema_sql.h"
#include "store/sqlite/stand_ins.h"
#include "store/sqlite/view.h"
#include "store/timestamp.h"

namespace authdb::sqlite {
namespace {

namespace fs = std::filesystem;

fs::path beside(const fs::path& path, std::string_view suffix) {
  return path.string() + std::string(suffix);
}

bool is_there(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

std::string first_text(SQLite::Database& db, const char* sql) {
  SQLite::Statement statement(db, sql);
  return statement.executeStep() ? statement.getColumn(0).getString() : "";
}

// What is wrong with a database that can be opened at all; empty: nothing.
std::string trouble(SQLite::Database& db) {
  if (first_text(db, "PRAGMA page_count") == "0") return "it is empty";
  const std::string check = first_text(db, "PRAGMA quick_check(1)");
  return check == "ok" ? "" : check;
}

// A copy without a log.
void copy_database(SQLite::Database& from, const Draft& to) {
  SQLite::Statement vacuum(from, "VACUUM INTO ?1");
  vacuum.bind(1, to.path().string());
  vacuum.exec();
}

Error exists_already(const fs::path& file) {
  return {Errc::usage, "there is a file already: " + file.string(),
          "Name another one; a backup replaces nothing."};
}

// The copy, and not the backup again: that may have been replaced since it was looked at.
void require_our_schema_in(const fs::path& copy, const fs::path& backup) {
  SQLite::Database db(copy.string(), SQLite::OPEN_READONLY);
  require_our_schema(db, "main", backup);
}

// Better no backup than one that nobody can restore.
Error not_restorable(const std::string& what) {
  return {Errc::refused, "the store's database is not as authdb makes it: " + what,
          "No backup was made: restore would refuse it. `authdb doctor` says what to do."};
}

class BackupView final : public Reads<View> {
 public:
  BackupView(std::unique_ptr<ClockVfs> vfs, std::unique_ptr<Connection> connection)
      : Reads<View>(*connection), vfs_(std::move(vfs)), owned_(std::move(connection)) {}

 private:
  std::unique_ptr<ClockVfs> vfs_;
  std::unique_ptr<Connection> owned_;
};

// Its schema before its content: even SQLite's own check runs what a schema says.
void check_backup(Connection& connection, const fs::path& file) {
  SQLite::Database& db = connection.database();
  const auto damaged = [&](const std::string& wrong) {
    return BackendError{{Errc::refused, "the backup " + file.string() + " is damaged: " + wrong,
                         "Use another one. Nothing has been changed."}};
  };
  if (first_text(db, "PRAGMA page_count") == "0") throw damaged("it is empty");
  if (first_text(db, "PRAGMA application_id") != std::to_string(kApplicationId)) {
    throw BackendError{{Errc::refused, file.string() + " is no backup of an authdb store",
                        "`authdb backup FILE` makes one."}};
  }
  const int major = std::stoi(first_text(db, "PRAGMA user_version"));
  if (major > kSchemaMajor) {
    throw BackendError{{Errc::refused,
                        "the backup " + file.string() + " was written by a newer authdb (schema " +
                            std::to_string(major) + ", this one knows " +
                            std::to_string(kSchemaMajor) + ")",
                        "Use the newer authdb. Nothing has been changed."}};
  }
  require_our_schema(db, "main", file);
  if (const std::string wrong = trouble(db); !wrong.empty()) throw damaged(wrong);
}

// Not the store's database is wrong here, but the file that was named as its backup.
BackendError no_database(const fs::path& file, const std::string& why) {
  return BackendError{{Errc::refused,
                       file.string() + " is no backup of an authdb store, or a damaged one: " + why,
                       "Name a file that `authdb backup` wrote; `authdb migrate FILE` is for those "
                       "of other tools. Nothing has been changed."}};
}

// Why the database cannot be used; empty: it can. Throws on anything but damage.
std::string damage(const fs::path& database, const ClockVfs& vfs) {
  try {
    Connection connection(database, Access::read, vfs);
    std::string wrong = trouble(connection.database());
    if (!wrong.empty()) return wrong;
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
  const bool had_database = is_there(database);
  if (!had_database && is_empty_file(log)) ::unlink(log.c_str());
  if (!had_database && !is_there(log)) return fs::path();
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

}  // namespace

Result<void> write_backup(Connection& connection, const fs::path& file, Clock clock) {
  if (is_there(file)) return fail(exists_already(file));
  auto draft = begin_draft(file);
  if (!draft) return fail(std::move(draft.error()));
  try {
    const auto strange = look_for_strange_schema(connection.database());
    if (strange && !strange->newer) return fail(not_restorable(strange->what));
    copy_database(connection.database(), *draft);
    (void)open_backup(draft->path(), std::move(clock));  // a backup that cannot be read is none
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot write the backup", file, 0);
  }
  if (auto synced = draft->finish(); !synced) return synced;
  const auto created = draft->create();
  if (!created) return fail(created.error());
  return *created ? Result<void>() : fail(exists_already(file));
}

void require_our_schema(SQLite::Database& db, const std::string& name, const fs::path& file) {
  const auto strange = look_for_strange_schema(db, name);
  if (!strange) return;
  if (strange->newer) {
    throw BackendError{{Errc::refused,
                        "the backup " + file.string() + " is a newer authdb's: " + strange->what,
                        "Use the newer authdb. Nothing has been changed."}};
  }
  throw BackendError{{Errc::refused,
                      "the backup " + file.string() + " has been altered: " + strange->what,
                      "Use another one; or take out of a copy what you have put in yourself "
                      "(`sqlite3 COPY`, then DROP). Nothing has been changed."}};
}

std::unique_ptr<View> open_backup(const fs::path& file, Clock clock) {
  // SQLite would wait for the writer of a pipe.
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    const fs::path opened = beside(file, suffix);
    // A log of somebody else's would be played into the backup.
    struct stat st {};
    if (::stat(opened.c_str(), &st) == 0 && !is_trusted_owner(st.st_uid)) {
      throw BackendError{belongs_to(opened, st.st_uid)};
    }
    const std::string_view kind = what_is_no_file(opened);
    if (kind.empty()) continue;
    throw BackendError{{Errc::refused,
                        opened.string() + " is " + std::string(kind) + ", not a regular file",
                        "`authdb backup FILE` makes a backup. Nothing has been changed."}};
  }
  auto vfs = std::make_unique<ClockVfs>(std::move(clock));
  try {
    auto connection = std::make_unique<Connection>(file, Access::read, *vfs);
    check_backup(*connection, file);
    const auto minor = schema_minor(*connection);
    if (minor < kSchemaMinor) stand_in_for_steps_after(minor, *connection);
    return std::make_unique<BackupView>(std::move(vfs), std::move(connection));
  } catch (const SQLite::Exception& error) {
    if (is_damage(error.getErrorCode())) throw no_database(file, error.what());
    throw_backend_error(error, "cannot open the backup", file, 0);
  } catch (const BackendError& error) {
    if (error.damaged) throw no_database(file, error.error.message);
    throw;
  }
}

Result<bool> needs_rebuilding(const StoreFiles& files, Clock clock) {
  if (!is_there(files.database)) return true;
  if (auto checked = check_private(files.database); !checked) return fail(checked.error());
  const ClockVfs vfs(std::move(clock));
  return !damage(files.database, vfs).empty();
}

Result<std::optional<std::int64_t>> remake_directory(const fs::path& database, const Clock& clock,
                                                     Milliseconds wait) {
  const auto lost = lost_directory(database);
  if (!lost) return fail(lost.error());
  if (!*lost) return std::nullopt;
  StoreFiles files = **lost;
  const auto gate = FileLock::acquire(files.directory / "gate", wait);
  if (!gate) return fail(gate.error());
  if (!*gate) {
    return fail(Errc::busy, "another process is writing to the store", "Nothing was changed.");
  }
  if (is_there(files.directory / "store")) return std::nullopt;  // it was faster
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

Result<Rebuilt> rebuild_from(const fs::path& backup, const StoreFiles& files,
                             const std::vector<Uid>& journalled, Clock clock, Milliseconds wait) {
  if (auto made = create_durable(files.directory / "gate", Secret()); !made) {
    return fail(made.error());
  }
  const auto gate = FileLock::acquire(files.directory / "gate", wait);
  if (!gate) return fail(gate.error());
  if (!*gate) {
    return fail(Errc::busy, "another process is writing to the store", "Nothing was changed.");
  }
  auto draft = begin_draft(files.database);
  if (!draft) return fail(std::move(draft.error()));
  const Instant now = clock();
  const ClockVfs vfs(std::move(clock));
  Rebuilt rebuilt;
  try {
    Connection from(backup, Access::read, vfs);
    copy_database(from.database(), *draft);
    require_our_schema_in(draft->path(), backup);
    rebuilt.held = finish_database(draft->path(), journalled);
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot copy the backup", backup, 0);
  }
  if (auto finished = draft->finish(); !finished) return fail(std::move(finished.error()));
  auto aside = set_aside(files.database, now);
  if (!aside) return fail(aside.error());
  rebuilt.set_aside = std::move(*aside);
  if (auto replaced = draft->replace(); !replaced) return fail(std::move(replaced.error()));
  return rebuilt;
}

}  // namespace authdb::sqlite
