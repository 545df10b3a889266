// Whether the schema of a database is the one that authdb writes.
//
// SQLite runs what the schema of a file says: a trigger at the next write, a view where somebody
// looks. So a file that others may have had in their hands is used only if its schema is ours.
#pragma once

#include <optional>
#include <string>

namespace SQLite {
class Database;
}

namespace authdb::sqlite {

struct StrangeSchema {
  std::string what;    // "it has a trigger copy_tokens, which authdb does not make"
  bool newer = false;  // it is of a later step than this program knows: nobody here can tell
};

// Compares every row of the schema with what the steps up to the database's own make. Nothing of
// the database but sqlite_schema is read before it is known to be ours. nullopt: it is exactly
// that. `name` is the database's in the connection. Throws SQLite::Exception.
std::optional<StrangeSchema> look_for_strange_schema(SQLite::Database& db,
                                                     const std::string& name = "main");

}  // namespace authdb::sqlite
