// Which credential of a pool is next. Pure: the store hands the rows in and writes what must be
// written.
#pragma once

#include <optional>
#include <random>
#include <string_view>
#include <vector>

#include "store/clock.h"
#include "store/credential.h"

namespace authdb {

// Stored as these words: never rename. Order within the pool is by position, lower first.
//   fill_first   the first that can be used
//   round_robin  the one that was used longest ago
//   least_used   the one with the fewest requests
//   random       any
enum class Strategy { fill_first, round_robin, least_used, random };

// Why an entry is passed over, in the words of the `pool` view: `dead`, `conflict`, `handed_over`,
// `cooling`, `suppressed`; empty if it is not. An uncertain credential is not passed over: its
// bearer may still live, and rotation knows when its token may be sent again.
std::string_view why_not(const PoolEntry& entry, Instant now);

// When one that is `cooling` can be used again.
std::optional<Instant> cooling_until(const PoolEntry& entry, Instant now);

// The selectable entries in the order they should be tried.
std::vector<const PoolEntry*> in_order(const std::vector<PoolEntry>& pool, Strategy strategy,
                                       Instant now, std::minstd_rand& random);

// True if the credential's bearer now is the one with this fingerprint.
bool owns_bearer(const Credential& row, std::string_view bearer);
// Takes out the bearer that a resource server refused, for those who hand a credential on in a
// file.
void drop_rejected(Held& held);

// Whose bearer was rejected goes first, so that it is replaced whatever the strategy.
void owner_first(std::vector<const PoolEntry*>& order, std::string_view rejected);

}  // namespace authdb
