// What must hold whatever was done to a store: read from its own tables with plain SQLite, and from
// the portal's record of what came over the wire.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/prove/stage.h"

namespace authdb::prove {

// A refresh or mint as the store's ledger remembers it.
struct LedgerRow {
  std::string token;  // fingerprint of the refresh token; empty: none
  std::string kind;
  std::string outcome;
  std::string error_code;
  std::int64_t pid = 0;
  std::int64_t started_at = 0;  // ms
  std::int64_t finished_at = 0;
  std::int64_t family = 0;
  std::int64_t from_generation = 0;
  int http_status = 0;
};

// In the order they were written. Throws std::runtime_error if the database cannot be read.
std::vector<LedgerRow> ledger_of(const Home& home);

// What SQLite says of a database: `ok`, or what is wrong with it.
std::string quick_check(const std::filesystem::path& database);

// Violations, each a sentence: the file is sound, no current token is a retired one, generations go
// up by one and never back, and no token has two known successors.
std::vector<std::string> check_store(const Home& home);

}  // namespace authdb::prove
