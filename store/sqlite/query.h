// Somebody's own SQL: it reads anything but the sealed columns, and does nothing else.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <string>

#include "store/backend.h"

namespace authdb::sqlite {

// Throws BackendError: usage for what is no query, more than one, refused or too large; and
// SQLite's exceptions for everything that is no fault of the query. The connection is the caller's
// alone meanwhile.
QueryRows run_query(SQLite::Database& db, const std::string& sql);

}  // namespace authdb::sqlite
