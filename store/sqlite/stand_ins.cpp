#include "store/sqlite/stand_ins.h"

#include <array>

#include "store/sqlite/schema_sql.h"

namespace authdb::sqlite {
namespace {

struct StandIn {
  std::int64_t step;  // that adds it to a database
  const char* sql;
};

constexpr std::array kStandIns{
    StandIn{1, "CREATE TEMP TABLE projection (path, format, profile, written_at)"},
    StandIn{1, "CREATE TEMP TABLE projected_token (path, place, fingerprint, credential)"},
    StandIn{2, "CREATE TEMP VIEW credential AS SELECT *, NULL AS ca_file FROM main.credential"},
    // With its key, so that a join asks for one row as it would of the real one.
    StandIn{4,
            "CREATE TEMP TABLE renewal (credential INTEGER PRIMARY KEY, revision, "
            "losses DEFAULT 0, lost_at, lost_pid, lost_process, last_lost_at, failures DEFAULT 0, "
            "failing_since, rest_since, rest_until, refusals DEFAULT 0, refused_since, rejected, "
            "rejections DEFAULT 0, refused DEFAULT 0, waiting DEFAULT 0)"},
    StandIn{4, "CREATE TEMP VIEW attempt AS SELECT *, NULL AS bearer FROM main.attempt"},
    // Not where that of step 4 stands already.
    StandIn{5,
            "CREATE TEMP VIEW IF NOT EXISTS renewal AS SELECT *, 0 AS refused, 0 AS waiting "
            "FROM main.renewal"},
};
static_assert(kSchemaMinor == 7, "does the new step add something that is read?");

}  // namespace

std::int64_t schema_minor(Connection& connection) {
  Borrowed statement = connection.statement("SELECT value FROM meta WHERE key = 'schema_minor'");
  return statement->executeStep() ? statement->getColumn(0).getInt64() : 0;
}

void stand_in_for_steps_after(std::int64_t minor, Connection& connection) {
  // A looker may be on a full disk.
  connection.exec("PRAGMA temp_store = MEMORY");
  for (const StandIn& one : kStandIns) {
    if (one.step > minor) connection.exec(one.sql);
  }
}

}  // namespace authdb::sqlite
