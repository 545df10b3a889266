// What only the database file can say of its own state.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/clock.h"
#include "store/sqlite/opening.h"
#include "store/sqlite/schema_check.h"

namespace SQLite {
class Database;
}

namespace authdb::sqlite {

// The first value that `sql` gives, as text; empty: none.
std::string first_text(SQLite::Database& db, const char* sql);

bool is_empty(SQLite::Database& db);

// What is wrong with a database that can be opened at all, and is not empty; nothing: an empty
// text.
std::string trouble_in(SQLite::Database& db);

// What is strange in the schema of the store (schema_check.h). Throws BackendError.
std::optional<StrangeSchema> check_schema(const StoreFiles& files, Clock clock);

// One line for each thing that is wrong: SQLite's quick check, rows without the row they refer to,
// and current refresh tokens that are retired. Reads all of the file. Throws BackendError.
std::vector<std::string> check_integrity(const StoreFiles& files, Clock clock);

}  // namespace authdb::sqlite
