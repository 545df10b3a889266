#include "store/sqlite/query.h"

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <utility>

#include "store/sqlite/sealed_column.h"

namespace authdb::sqlite {
namespace {

// What a query may do: read anything that is not sealed.
int authorize(void* refused, int action, const char* first, const char* second, const char*,
              const char*) {
  auto& why = *static_cast<std::string*>(refused);
  const auto or_empty = [](const char* text) { return text == nullptr ? "" : text; };
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_READ:
      if (!is_sealed_column(or_empty(first), or_empty(second))) return SQLITE_OK;
      why = std::string("it reads the sealed column ") + or_empty(first) + "." + or_empty(second);
      return SQLITE_DENY;
    default:
      why = "it does more than read";
      return SQLITE_DENY;
  }
}

// Where the sealed columns are in the database's pages: a table's root page, and the places of the
// columns in its records (of a table without rowids, the key comes first).
using SealedPlaces = std::map<std::int64_t, std::set<std::int64_t>>;

SealedPlaces sealed_places(SQLite::Database& db) {
  SealedPlaces places;
  SQLite::Statement columns(
      db,
      "SELECT s.rootpage, s.name, i.name FROM sqlite_schema s JOIN pragma_table_list l "
      "ON l.schema = 'main' AND l.name = s.name JOIN pragma_table_info(s.name) i "
      "WHERE s.type = 'table' ORDER BY s.rootpage, l.wr AND i.pk = 0, l.wr * i.pk, i.cid");
  std::int64_t root = 0;
  for (std::int64_t place = 0; columns.executeStep(); ++place) {
    if (columns.getColumn(0).getInt64() != root) place = 0;
    root = columns.getColumn(0).getInt64();
    if (is_sealed_column(columns.getColumn(1).getString(), columns.getColumn(2).getString())) {
      places[root].insert(place);
    }
  }
  return places;
}

// While it exists, a query on the connection may read what is not sealed, for so long, and make no
// value that is larger than so much.
class Guard {
 public:
  Guard(SQLite::Database& db, SealedPlaces sealed)
      : db_(db), handle_(db.getHandle()), sealed_(std::move(sealed)), ends_(Now::now() + kTime) {
    sqlite3_set_authorizer(handle_, authorize, &refused_);
    sqlite3_progress_handler(handle_, kInstructions, &Guard::is_over, this);
    length_ = sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, kLongestValue);
  }
  ~Guard() {
    sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, length_);
    sqlite3_progress_handler(handle_, 0, nullptr, nullptr);
    sqlite3_set_authorizer(handle_, nullptr, nullptr);
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  // The authorizer is not asked about the columns that `FULL JOIN ... USING` merges. What was
  // compiled tells: no instruction may read a sealed cell.
  void look_at_instructions(const std::string& sql) {
    if (!runs(sql)) return;
    std::set<std::pair<std::int64_t, std::int64_t>> opened;  // cursor, root page
    std::set<std::pair<std::int64_t, std::int64_t>> read;    // cursor, column
    try {
      const auto begin = std::min(sql.find_first_not_of("; \t\r\n"), sql.size());
      SQLite::Statement explained(db_, "EXPLAIN " + sql.substr(begin));
      while (explained.executeStep()) {
        const std::string code = explained.getColumn(1).getString();
        const std::int64_t cursor = explained.getColumn(2).getInt64();
        const std::int64_t second = explained.getColumn(3).getInt64();
        if (code == "OpenRead" || code == "ReopenIdx") opened.emplace(cursor, second);
        if (code == "Column") read.emplace(cursor, second);
        if (code == "RowData" || code == "RowCell") read.emplace(cursor, kWholeRow);
      }
    } catch (const SQLite::Exception& error) {
      refused_ = std::string("it cannot be looked at: ") + error.what();  // too long, say
    }
    for (const auto& [cursor, root] : opened) {
      const auto sealed = sealed_.find(root);
      if (sealed == sealed_.end()) continue;
      const bool all = read.count({cursor, kWholeRow}) != 0;
      const bool any =
          std::any_of(sealed->second.begin(), sealed->second.end(), [&, c = cursor](auto column) {
            return read.count({c, column});
          });
      if (all || any) refused_ = "it reads a sealed column";
    }
  }
  // Why it was refused; empty: it was not.
  const std::string& refused() const { return refused_; }

 private:
  using Now = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kTime{60};
  static constexpr int kInstructions = 10'000;
  static constexpr int kLongestValue = 64 << 20;
  static constexpr std::int64_t kWholeRow = -1;

  static int is_over(void* self) {
    auto& query = *static_cast<Guard*>(self);
    if (Now::now() < query.ends_) return 0;
    query.refused_ = "it takes longer than " + std::to_string(kTime.count()) + " s";
    return 1;
  }

  // True of a statement that can be run, and does more than to explain another one.
  bool runs(const std::string& sql) const {
    sqlite3_stmt* statement = nullptr;
    const bool prepared = sqlite3_prepare_v2(handle_, sql.c_str(), -1, &statement, nullptr) == 0;
    const bool explains = statement == nullptr || sqlite3_stmt_isexplain(statement) != 0;
    sqlite3_finalize(statement);
    return prepared && !explains;
  }

  SQLite::Database& db_;
  sqlite3* handle_;
  SealedPlaces sealed_;
  Now::time_point ends_;
  int length_ = 0;
  std::string refused_;
};

Cell read_cell(const SQLite::Column& column) {
  switch (column.getType()) {
    case SQLITE_INTEGER:
      return column.getInt64();
    case SQLITE_FLOAT:
      return column.getDouble();
    case SQLITE_NULL:
      return std::monostate{};
    default:
      return column.getString();
  }
}

QueryRows read_all(SQLite::Statement& statement) {
  QueryRows result;
  for (int i = 0; i < statement.getColumnCount(); ++i) {
    result.columns.emplace_back(statement.getColumnName(i));
  }
  while (statement.executeStep()) {
    std::vector<Cell>& cells = result.rows.emplace_back();
    for (int i = 0; i < statement.getColumnCount(); ++i)
      cells.push_back(read_cell(statement.getColumn(i)));
  }
  return result;
}

BackendError refused(const std::string& why) {
  return {
      {Errc::usage, "this query is refused: " + why,
       "The views freshness, pool, rotation and family have everything but the secrets; `authdb "
       "token` gives a bearer."}};
}

// sqlite3_prepare takes the first statement and leaves the rest. Anything there but blanks,
// comments and semicolons is a mistake of the caller's that would otherwise go unseen; whether it
// could be prepared does not matter.
bool has_second_statement(sqlite3* handle, const std::string& sql) {
  const char* rest = sql.c_str();
  for (int found = 0; *rest != '\0';) {
    sqlite3_stmt* statement = nullptr;
    const char* const begin = rest;
    const int rc = sqlite3_prepare_v2(handle, begin, -1, &statement, &rest);
    const bool is_one = rc != SQLITE_OK || statement != nullptr;
    sqlite3_finalize(statement);
    if (is_one && ++found > 1) return true;
    if (rc != SQLITE_OK || rest == begin) break;
  }
  return false;
}

// Throws SQLite's exceptions.
QueryRows run(SQLite::Database& db, const std::string& sql) {
  SQLite::Statement statement(db, sql);
  if (statement.getColumnCount() == 0) {
    throw BackendError{
        {Errc::usage, "there is no query in this", "`authdb sql --examples` shows the views."}};
  }
  if (has_second_statement(db.getHandle(), sql)) {
    throw BackendError{
        {Errc::usage, "more than one statement in the query", "Give them one by one."}};
  }
  return read_all(statement);
}

}  // namespace

QueryRows run_query(SQLite::Database& db, const std::string& sql) {
  Guard guard(db, sealed_places(db));
  try {
    guard.look_at_instructions(sql);
    if (!guard.refused().empty()) throw refused(guard.refused());
    return run(db, sql);
  } catch (const SQLite::Exception& error) {
    if (!guard.refused().empty()) throw refused(guard.refused());
    if (error.getErrorCode() != SQLITE_ERROR && error.getErrorCode() != SQLITE_TOOBIG) throw;
    throw BackendError{{Errc::usage, std::string("SQL: ") + error.what(),
                        "`authdb sql --examples` shows the views."}};
  }
}

}  // namespace authdb::sqlite
