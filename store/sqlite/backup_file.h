// Backup files: writing one, and looking into one.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "store/backend.h"
#include "store/clock.h"
#include "store/draft.h"

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

// A copy without a log, into the file of the draft.
void copy_database(SQLite::Database& from, const Draft& to);

}  // namespace authdb::sqlite
