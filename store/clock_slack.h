// Times that the store has kept, held against the clock as it is now. A clock may have been ahead
// for a while, and been set right since: what it recorded then lies in the future.
#pragma once

#include <optional>

#include "store/clock.h"

namespace authdb {

// As much as a clock that is right may be set back. The views have it too (sqlite/schema_6.sql).
inline constexpr Seconds kClockSlack{60};

// True if `recorded` was set by a clock that was ahead of ours. What it says is not believed, nor
// is anything that was counted from it.
inline bool is_ahead(std::optional<Instant> recorded, Instant now) {
  return recorded && *recorded > now + kClockSlack;
}

}  // namespace authdb
