// How long the ledger remembers. It is pruned a step at a time, so that no write waits for it.
#pragma once

#include <cstdint>

#include "store/clock.h"

namespace authdb::sqlite {

inline constexpr std::chrono::days kLedgerAge{180};
inline constexpr std::int64_t kLedgerRows = 1000;      // that a credential keeps
inline constexpr std::int64_t kLedgerPruneStep = 300;  // looked at, and at most deleted, in one go

// Of one credential's oldest rows those that are too old or too many. ?1 credential, ?2 rows from
// before then are too old, ?3 how many are kept, ?4 how many are looked at. The newest always
// stays, however old, and so does the login that it lives from: `freshness` shows both. The inner
// LIMIT is what bounds it: a condition beside it would be tried on every row of the credential.
inline constexpr const char* kPruneLedger =
    "DELETE FROM attempt WHERE id IN ("
    "  SELECT id FROM (SELECT id, started_at FROM attempt WHERE credential = ?1 ORDER BY id LIMIT "
    "?4)"
    "  WHERE (started_at < ?2 OR id <= (SELECT id FROM attempt WHERE credential = ?1 "
    "    ORDER BY id DESC LIMIT 1 OFFSET ?3))"
    "  AND id <> (SELECT max(id) FROM attempt WHERE credential = ?1)"
    "  AND id NOT IN (SELECT id FROM attempt WHERE credential = ?1 AND kind = 'login' "
    "    AND family = (SELECT family FROM token_set WHERE credential = ?1)))";

// Whether the row with this id is one after which its credential's rows are looked at: one of 64.
// By a hash, so that of credentials that take turns none is passed over for ever.
constexpr bool prunes_ledger(std::int64_t id) {
  constexpr std::uint64_t kGolden = 0x9e37'79b9'7f4a'7c15;
  return (static_cast<std::uint64_t>(id) * kGolden) >> 58 == 0;
}

}  // namespace authdb::sqlite
