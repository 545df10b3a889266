#include "store/sqlite/backup_file.h"

#include <sys/stat.h>

#include "store/draft.h"
#include "store/files.h"
#include "store/ownership.h"
#include "store/sqlite/connection.h"
#include "store/sqlite/integrity.h"
#include "store/sqlite/schema_check.h"
#include "store/sqlite/schema_sql.h"
#include "store/sqlite/stand_ins.h"
#include "store/sqlite/view.h"

namespace authdb::sqlite {
namespace {

namespace fs = std::filesystem;

Error exists_already(const fs::path& file) {
  return {Errc::usage, "there is a file already: " + file.string(),
          "Name another one; a backup replaces nothing."};
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
  if (is_empty(db)) throw damaged("it is empty");
  if (first_text(db, "PRAGMA application_id") != std::to_string(kApplicationId)) {
    throw BackendError{{Errc::refused, file.string() + " is no backup of an authdb store",
                        "`authdb backup FILE` makes one."}};
  }
  const int major = std::stoi(first_text(db, "PRAGMA user_version"));
  if (major < kSchemaMajor) throw damaged("its schema has the number " + std::to_string(major));
  if (major > kSchemaMajor) {
    throw BackendError{{Errc::refused,
                        "the backup " + file.string() + " was written by a newer authdb (schema " +
                            std::to_string(major) + ", this one knows " +
                            std::to_string(kSchemaMajor) + ")",
                        "Use the newer authdb. Nothing has been changed."}};
  }
  require_our_schema(db, "main", file);
  if (const std::string wrong = trouble_in(db); !wrong.empty()) throw damaged(wrong);
}

// Not the store's database is wrong here, but the file that was named as its backup.
BackendError no_database(const fs::path& file, const std::string& why) {
  return BackendError{{Errc::refused,
                       file.string() + " is no backup of an authdb store, or a damaged one: " + why,
                       "Name a file that `authdb backup` wrote; `authdb migrate FILE` is for those "
                       "of other tools. Nothing has been changed."}};
}

}  // namespace

void copy_database(SQLite::Database& from, const Draft& to) {
  SQLite::Statement vacuum(from, "VACUUM INTO ?1");
  vacuum.bind(1, to.path().string());
  vacuum.exec();
}

Result<void> write_backup(Connection& connection, const fs::path& file, Clock clock) {
  if (is_taken(file)) return fail(exists_already(file));
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

}  // namespace authdb::sqlite
