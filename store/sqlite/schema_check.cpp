#include "store/sqlite/schema_check.h"

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <vector>

#include "store/sqlite/schema_sql.h"

namespace authdb::sqlite {
namespace {

struct Object {
  std::string type;
  std::string name;
  std::string table;
  std::optional<std::string> sql;  // none: an index that a table's keys have made

  bool operator==(const Object&) const = default;
  bool operator<(const Object& other) const {
    return std::tie(type, name, table, sql) <
           std::tie(other.type, other.name, other.table, other.sql);
  }
  bool is_called(const Object& other) const { return type == other.type && name == other.name; }
};

// What SQLite's ANALYZE makes: somebody may have run it. It holds no code.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kStatistics{{
    {"sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"},
    {"sqlite_stat4", "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"},
}};

bool is_statistics(const Object& object) {
  return std::any_of(kStatistics.begin(), kStatistics.end(), [&](const auto& known) {
    return object == Object{"table", std::string(known.first), std::string(known.first),
                            std::string(known.second)};
  });
}

std::vector<Object> objects_of(SQLite::Database& db, const std::string& name) {
  std::vector<Object> objects;
  SQLite::Statement rows(db, "SELECT type, name, tbl_name, sql FROM " + name + ".sqlite_schema");
  while (rows.executeStep()) {
    Object object{rows.getColumn(0).getString(), rows.getColumn(1).getString(),
                  rows.getColumn(2).getString(), std::nullopt};
    if (!rows.isColumnNull(3)) object.sql = rows.getColumn(3).getString();
    if (!is_statistics(object)) objects.push_back(std::move(object));
  }
  std::sort(objects.begin(), objects.end());
  return objects;
}

std::string called(const Object& object) {
  constexpr std::size_t kLongest = 80;
  return object.type.substr(0, kLongest) + " " + object.name.substr(0, kLongest);
}

// The text is compared as it is: with blanks and line ends made equal, a line could be hidden
// behind a comment.
std::vector<std::string> differences(const std::vector<Object>& found,
                                     const std::vector<Object>& ours) {
  const auto has = [](const std::vector<Object>& objects, const Object& wanted) {
    return std::any_of(objects.begin(), objects.end(),
                       [&](const Object& object) { return object.is_called(wanted); });
  };
  std::vector<std::string> all;
  for (const Object& object : found) {
    if (std::binary_search(ours.begin(), ours.end(), object)) continue;
    all.push_back(has(ours, object)
                      ? "its " + called(object) + " is not the one that authdb makes"
                      : "it has a " + called(object) + ", which authdb does not make");
  }
  for (const Object& object : ours) {
    if (!has(found, object)) all.push_back("its " + called(object) + " is missing");
  }
  return all;
}

// The step that the database says it has reached; its table `meta` must be known to be ours.
std::int64_t step_by_its_word(SQLite::Database& db, const std::string& name) {
  SQLite::Statement said(db, "SELECT value FROM " + name + ".meta WHERE key = 'schema_minor'");
  return said.executeStep() ? said.getColumn(0).getInt64() : 0;
}

bool has_our_meta(const std::vector<Object>& found, const std::vector<Object>& ours) {
  const auto meta = std::find_if(ours.begin(), ours.end(), [](const Object& object) {
    return object.type == "table" && object.name == "meta";
  });
  return meta != ours.end() && std::binary_search(found.begin(), found.end(), *meta);
}

}  // namespace

std::optional<StrangeSchema> look_for_strange_schema(SQLite::Database& db,
                                                     const std::string& name) {
  const std::vector<Object> found = objects_of(db, name);
  SQLite::Database made(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  std::vector<Object> ours;
  std::optional<std::vector<std::string>> fewest;  // of the step that it is nearest to
  std::int64_t nearest = 0;
  for (std::int64_t step = 0; step <= kSchemaMinor; ++step) {
    made.exec(kSchemaSteps.at(static_cast<std::size_t>(step)));
    ours = objects_of(made, "main");
    auto differs = differences(found, ours);
    if (fewest && fewest->size() < differs.size()) continue;
    fewest = std::move(differs);
    nearest = step;
  }
  if (!has_our_meta(found, ours)) return StrangeSchema{fewest->front(), false};
  const std::int64_t said = step_by_its_word(db, name);
  if (said > kSchemaMinor) {
    return StrangeSchema{"it is of schema step " + std::to_string(said) +
                             ", and this authdb knows " + std::to_string(kSchemaMinor),
                         true};
  }
  if (!fewest->empty()) return StrangeSchema{fewest->front(), false};
  if (said == nearest) return std::nullopt;
  return StrangeSchema{"it says that it is of schema step " + std::to_string(said) +
                           ", and its tables are those of step " + std::to_string(nearest),
                       false};
}

}  // namespace authdb::sqlite
