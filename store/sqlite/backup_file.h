// Backup files: writing one, looking into one, merging one back, and taking one as the database.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/backend.h"
#include "store/clock.h"
#include "store/sqlite/opening.h"

namespace SQLite {
class Database;
}

namespace authdb::sqlite {

class Connection;

// Copies what the connection sees into a new file, compacted; checked, synced and named only when
// it is whole. refused if `file` exists, or the schema is not what authdb writes: no backup of it
// could be restored.
Result<void> write_backup(Connection& connection, const std::filesystem::path& file, Clock clock);

// Throws BackendError unless the schema of the database `name` is exactly what authdb writes;
// `file` is the backup that it comes from.
void require_our_schema(SQLite::Database& db, const std::string& name,
                        const std::filesystem::path& file);

// Opens a backup to read; throws BackendError: damaged, no authdb store, altered, newer. The pool
// and the retired tokens in it are read like a store's.
std::unique_ptr<View> open_backup(const std::filesystem::path& file, Clock clock);

// True if auth.db is missing, or no SQLite database that could be read through: `why` says so.
// Errors: refused, if it is another program's database, or one we may not touch.
Result<bool> needs_rebuilding(const StoreFiles& files, Clock clock);

// What rebuild_from() did.
struct Rebuilt {
  // The damaged database, with its log beside it; or the log alone. Empty: there was none.
  std::filesystem::path set_aside;
  std::int64_t held = 0;
};

// Takes a copy of the backup as auth.db, under the write gate. A grant whose journal is not among
// `journalled` is put on hold: nobody can tell whether it was rotated since.
Result<Rebuilt> rebuild_from(const std::filesystem::path& backup, const StoreFiles& files,
                             const std::vector<Uid>& journalled, Clock clock, Milliseconds wait);

// Makes auth.db.d anew where it is lost beside a whole auth.db, under the write gate. A grant whose
// journal is lost is put on hold first: its token may have been sent. How many; nullopt: it is not
// lost.
Result<std::optional<std::int64_t>> remake_directory(const std::filesystem::path& database,
                                                     const Clock& clock, Milliseconds wait);

}  // namespace authdb::sqlite
