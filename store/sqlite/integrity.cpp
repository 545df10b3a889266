#include "store/sqlite/integrity.h"

#include "store/sqlite/connection.h"

namespace authdb::sqlite {
namespace {

constexpr int kMostToTell = 20;

template <typename Say>
void each_row(SQLite::Database& db, const char* sql, Say say) {
  SQLite::Statement statement(db, sql);
  for (int told = 0; told < kMostToTell && statement.executeStep(); ++told) say(statement);
}

}  // namespace

std::string first_text(SQLite::Database& db, const char* sql) {
  SQLite::Statement statement(db, sql);
  return statement.executeStep() ? statement.getColumn(0).getString() : "";
}

bool is_empty(SQLite::Database& db) { return first_text(db, "PRAGMA page_count") == "0"; }

std::string trouble_in(SQLite::Database& db) {
  const std::string check = first_text(db, "PRAGMA quick_check(1)");
  return check == "ok" ? "" : check;
}

std::optional<StrangeSchema> check_schema(const StoreFiles& files, Clock clock) {
  const ClockVfs vfs(std::move(clock));
  try {
    Connection connection(files.database, Access::read, vfs);
    return look_for_strange_schema(connection.database());
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot check", files.database, 0);
  }
}

std::vector<std::string> check_integrity(const StoreFiles& files, Clock clock) {
  const ClockVfs vfs(std::move(clock));
  std::vector<std::string> wrong;
  try {
    Connection connection(files.database, Access::read, vfs);
    SQLite::Database& db = connection.database();
    each_row(db, "PRAGMA quick_check(20)", [&](SQLite::Statement& row) {
      const std::string line = row.getColumn(0).getString();
      if (line != "ok") wrong.push_back("SQLite's check: " + line);
    });
    each_row(db, "PRAGMA foreign_key_check", [&](SQLite::Statement& row) {
      wrong.push_back("a row of " + row.getColumn(0).getString() + " refers to a missing row of " +
                      row.getColumn(2).getString());
    });
    each_row(db,
             "SELECT c.uid FROM token_set t JOIN retired_token r ON r.refresh_hash = "
             "t.refresh_hash JOIN credential c ON c.id = t.credential",
             [&](SQLite::Statement& row) {
               wrong.push_back("the current refresh token of " + row.getColumn(0).getString() +
                               " is retired; it is not sent");
             });
  } catch (const SQLite::Exception& error) {
    throw_backend_error(error, "cannot check", files.database, 0);
  }
  return wrong;
}

}  // namespace authdb::sqlite
