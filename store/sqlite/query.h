// Somebody's own SQL: it reads anything but the sealed columns, within limits, and does nothing
// else.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "store/backend.h"

namespace authdb::sqlite {

// A statement of a few words can ask for any amount of time and memory.
struct QueryLimits {
  std::chrono::milliseconds time{60'000};
  // Bytes. A name, an error message or a list of profiles is a thousandth of that.
  std::int64_t value = 1 << 20;
  // Bytes, of the answer and of what SQLite holds to find it.
  std::int64_t memory = 1 << 30;
};

// Throws BackendError: usage for what is no query, more than one, refused or beyond the limits; and
// SQLite's exceptions for everything that is no fault of the query. The connection is the caller's
// alone meanwhile.
QueryRows run_query(SQLite::Database& db, const std::string& sql, const QueryLimits& limits = {});

}  // namespace authdb::sqlite
