// Spans and points of time, as people write and read them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/clock.h"

namespace authdb::cli {

// `14h 34m`, `59m 2s`, `3d 1h`, `12s`: the two largest units; `0s` for less than a second. A
// negative span is shown as its length.
std::string duration(Seconds span);

// `90`, `90s`, `30m`, `2h`, `7d`, `1h30m`: not negative, at most 100 years.
std::optional<Seconds> parse_duration(std::string_view text);

enum class Towards { past, future };

// A point in time: ISO 8601 with offset or `Z`, an epoch number (seconds or milliseconds), or a
// span from `now`. A number too small for a date of this century is a span in seconds.
std::optional<Instant> parse_instant(std::string_view text, Instant now, Towards towards);

}  // namespace authdb::cli
