// What the journals know and the database does not: after a crash, or where a database was put
// back. Private to store/; any process does the same for one credential when it takes its lock.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "store/store.h"

namespace authdb {

struct Engine;

struct Adoption {
  std::int64_t adopted = 0;  // credentials that moved
  std::vector<Error> left;   // what single journals refused
};

// Takes every journal's lock in turn and recovers. A journal of a credential that the database does
// not know brings it back, bound to no profile.
Adoption adopt_journals(Store& store);

// The same for those journals that have one of these refresh tokens, current, spent or removed.
// Throws.
void adopt_what_knows(const Store& store, const std::set<TokenHash>& hashes);

// True if the journal of another credential than `except` has that refresh token in one of these
// ways. Reads all of them, and takes no lock.
bool another_journal_knows(Engine& engine, const Uid& except, const TokenHash& hash);

}  // namespace authdb
