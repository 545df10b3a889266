// When a provider will serve again, in every spelling in which providers say it. Pure, thread-safe.
#pragma once

#include <optional>
#include <string_view>

#include "store/clock.h"

namespace authdb {

// From the body of an answer, or a text with its headers. JSON, at any depth and in any case of
// letters, - or _:
//
//   a time  `reset_at`, `resets_at`, `retry_until`, `X-RateLimit-Reset`, `quotaResetTimeStamp`, …:
//           epoch seconds or milliseconds, numeric text, ISO 8601 with offset, an HTTP date (RFC
//           9110, 5.6.7); a number too small for a date is a span in seconds
//   a span  `retry_after`, `resets_in_seconds`, `retryDelay`, `quotaResetDelay`, `retry-after-ms`,
//   …:
//           a number, `6.5s`, `2hr 5min`, or seconds and nanos (google.protobuf.Duration)
//
// or a text with `retry after 30 s`, `try again in 6.5s`, `resets in ~158 min` and the like.
// nullopt: it does not say, or names a time that is more than a year away.
std::optional<Instant> reset_time(std::string_view answer, Instant now);

}  // namespace authdb
