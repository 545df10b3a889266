#include "store/sqlite/query.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "store/sqlite/sealed_column.h"

namespace authdb::sqlite {
namespace {

// What a query may call: functions of SQLite that read nothing but their arguments and the clock,
// and change nothing: of values, of many rows, of time, of numbers, of JSON, of windows. What is
// registered besides, by whatever SQLite was built with, is not called: files, extensions,
// tokenizers, pointers.
constexpr std::string_view kFunctions =
    " abs changes char coalesce concat concat_ws format glob hex if ifnull iif instr"
    " last_insert_rowid length like likelihood likely lower ltrim max min nullif octet_length"
    " printf quote random randomblob replace round rtrim sign soundex sqlite_compileoption_get"
    " sqlite_compileoption_used sqlite_source_id sqlite_version substr substring subtype"
    " total_changes trim typeof unhex unicode unistr unistr_quote unlikely upper zeroblob"
    " avg count group_concat median percentile percentile_cont percentile_disc string_agg sum"
    " total"
    " current_date current_time current_timestamp date datetime julianday strftime time timediff"
    " unixepoch"
    " acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log"
    " log10 log2 mod pi pow power radians sin sinh sqrt tan tanh trunc"
    " -> ->> json json_array json_array_length json_error_position json_extract json_group_array"
    " json_group_object json_insert json_object json_patch json_pretty json_quote json_remove"
    " json_replace json_set json_type json_valid"
    " cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank"
    " row_number ";

bool may_call(const std::string& name) {
  return name.find(' ') == std::string::npos &&
         kFunctions.find(" " + name + " ") != std::string_view::npos;
}

// What a query may do: read anything that is not sealed, and call those.
int authorize(void* refused, int action, const char* first, const char* second, const char*,
              const char*) {
  auto& why = *static_cast<std::string*>(refused);
  const auto or_empty = [](const char* text) { return text == nullptr ? "" : text; };
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      if (may_call(or_empty(second))) return SQLITE_OK;
      why = std::string("it calls ") + or_empty(second) + "(), which a query may not";
      return SQLITE_DENY;
    case SQLITE_READ:
      if (!is_sealed_column(or_empty(first), or_empty(second))) return SQLITE_OK;
      why = std::string("it reads the sealed column ") + or_empty(first) + "." + or_empty(second);
      return SQLITE_DENY;
    default:
      why = "it does more than read";
      return SQLITE_DENY;
  }
}

// An instruction after which there can be one value more in memory.
bool makes_a_value(const std::string& code) {
  constexpr std::array<std::string_view, 7> kCodes{"AggFinal", "AggValue", "Column",  "Concat",
                                                   "Copy",     "Function", "PureFunc"};
  return std::find(kCodes.begin(), kCodes.end(), code) != kCodes.end();
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

// While it exists, a query on the connection may read what is not sealed, within the limits.
class Guard {
 public:
  Guard(SQLite::Database& db, SealedPlaces sealed, const QueryLimits& limits)
      : db_(db),
        handle_(db.getHandle()),
        sealed_(std::move(sealed)),
        limits_(limits),
        ends_(Now::now() + limits.time),
        memory_before_(sqlite3_memory_used()) {
    sqlite3_set_authorizer(handle_, authorize, &refused_);
    sqlite3_progress_handler(handle_, kInstructions, &Guard::is_over, this);
    value_ = sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, static_cast<int>(limits.value));
    pattern_ = sqlite3_limit(handle_, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, kLongestPattern);
  }
  ~Guard() {
    sqlite3_limit(handle_, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, pattern_);
    sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, value_);
    sqlite3_progress_handler(handle_, 0, nullptr, nullptr);
    sqlite3_set_authorizer(handle_, nullptr, nullptr);
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  // The authorizer is not asked about the columns that `FULL JOIN ... USING` merges. What was
  // compiled tells: no instruction may read a sealed cell. And what a row is made of must fit into
  // the memory, whatever it is, since nothing interrupts a statement between two rows.
  void look_at_instructions(const std::string& sql) {
    if (!runs(sql)) return;
    std::set<std::pair<std::int64_t, std::int64_t>> opened;  // cursor, root page
    std::set<std::pair<std::int64_t, std::int64_t>> read;    // cursor, column
    std::int64_t values = 0;
    try {
      const auto begin = std::min(sql.find_first_not_of("; \t\r\n"), sql.size());
      SQLite::Statement explained(db_, "EXPLAIN " + sql.substr(begin));
      while (explained.executeStep()) {
        const std::string code = explained.getColumn(1).getString();
        const std::int64_t cursor = explained.getColumn(2).getInt64();
        const std::int64_t second = explained.getColumn(3).getInt64();
        if (code == "OpenRead" || code == "ReopenIdx") opened.emplace(cursor, second);
        if (code == "Column") read.emplace(cursor, second);
        if (makes_a_value(code)) ++values;
        if (code == "RowData" || code == "RowCell") read.emplace(cursor, kWholeRow);
      }
    } catch (const SQLite::Exception& error) {
      refused_ = std::string("it cannot be looked at: ") + error.what();  // too long, say
    }
    if (values > limits_.memory / limits_.value) {
      refused_ = "it is too large: a row of it is made of " + std::to_string(values) + " values";
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
  // The answer has so many bytes more. False: they are too many.
  bool take(std::int64_t bytes) {
    answer_ += bytes;
    return fits();
  }
  // Why it was refused; empty: it was not.
  const std::string& refused() const { return refused_; }

 private:
  using Now = std::chrono::steady_clock;
  // Few: each may be a function that reads a long value many times over.
  static constexpr int kInstructions = 200;
  static constexpr int kLongestPattern = 1'000;  // matching takes its length times the text's
  static constexpr std::int64_t kWholeRow = -1;

  // What SQLite holds is known of the whole process only: who opens a large store meanwhile is
  // counted as the query's. That is refused, and nobody else is disturbed.
  bool fits() {
    if (answer_ + sqlite3_memory_used() - memory_before_ <= limits_.memory) return true;
    refused_ = "it takes more than " + std::to_string(limits_.memory >> 20) +
               " MiB of memory. Ask for fewer rows or columns: WHERE, LIMIT, count(*)";
    return false;
  }
  static int is_over(void* self) {
    auto& query = *static_cast<Guard*>(self);
    if (!query.fits()) return 1;
    if (Now::now() < query.ends_) return 0;
    query.refused_ = "it takes longer than " + std::to_string(query.limits_.time.count() / 1000) +
                     " s. Look at fewer rows: WHERE, LIMIT";
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
  QueryLimits limits_;
  Now::time_point ends_;
  std::int64_t memory_before_;
  std::int64_t answer_ = 0;
  int value_ = 0;
  int pattern_ = 0;
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

BackendError refused(const std::string& why) {
  return {
      {Errc::usage, "this query is refused: " + why,
       "The views freshness, pool, rotation and family have everything but the secrets; `authdb "
       "token` gives a bearer."}};
}

std::int64_t bytes_of(const Cell& cell) {
  const auto* text = std::get_if<std::string>(&cell);
  return static_cast<std::int64_t>(sizeof(Cell) + (text == nullptr ? 0 : text->size()));
}

QueryRows read_all(SQLite::Statement& statement, Guard& guard) {
  QueryRows result;
  for (int i = 0; i < statement.getColumnCount(); ++i) {
    result.columns.emplace_back(statement.getColumnName(i));
  }
  while (statement.executeStep()) {
    std::vector<Cell>& cells = result.rows.emplace_back();
    std::int64_t bytes = sizeof(cells);
    for (int i = 0; i < statement.getColumnCount(); ++i) {
      cells.push_back(read_cell(statement.getColumn(i)));
      bytes += bytes_of(cells.back());
    }
    if (!guard.take(bytes)) throw refused(guard.refused());
  }
  return result;
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
QueryRows run(SQLite::Database& db, const std::string& sql, Guard& guard) {
  SQLite::Statement statement(db, sql);
  if (statement.getColumnCount() == 0) {
    throw BackendError{
        {Errc::usage, "there is no query in this", "`authdb sql --examples` shows the views."}};
  }
  if (has_second_statement(db.getHandle(), sql)) {
    throw BackendError{
        {Errc::usage, "more than one statement in the query", "Give them one by one."}};
  }
  return read_all(statement, guard);
}

}  // namespace

QueryRows run_query(SQLite::Database& db, const std::string& sql, const QueryLimits& limits) {
  // What it sorts counts as memory, too, and fills no disk. Stand-ins, which a change would drop,
  // are made with the same setting.
  db.exec("PRAGMA temp_store = MEMORY");
  Guard guard(db, sealed_places(db), limits);
  try {
    guard.look_at_instructions(sql);
    if (!guard.refused().empty()) throw refused(guard.refused());
    return run(db, sql, guard);
  } catch (const SQLite::Exception& error) {
    if (!guard.refused().empty()) throw refused(guard.refused());
    if (error.getErrorCode() == SQLITE_TOOBIG) {
      throw refused("it makes a value of more than " + std::to_string(limits.value >> 10) +
                    " KiB, or is one. Take a part of it (substr), or gather less of it");
    }
    if (error.getErrorCode() != SQLITE_ERROR) throw;
    throw BackendError{{Errc::usage, std::string("SQL: ") + error.what(),
                        "`authdb sql --examples` shows the views."}};
  }
}

}  // namespace authdb::sqlite
