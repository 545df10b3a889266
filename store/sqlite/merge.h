// The merge of a backup into the store, in SQL: both databases are attached, and cells are bound to
// uid and generation, so that they can be copied as they are.
#pragma once

#include "store/backend.h"
#include "store/sqlite/connection.h"

namespace authdb::sqlite {

// Before the transaction begins.
void attach_backup(Connection& connection, const std::filesystem::path& file);
// Inside it. The rules are restore()'s (store/backup.h).
Merged merge_attached(Connection& connection, Instant at);

}  // namespace authdb::sqlite
