// Every spelling of a point in time that credential files and token answers use, and the one we
// write. Pure functions, thread-safe. Anything not understood is nullopt, "unknown", never zero or
// "oldest".
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "store/clock.h"

namespace authdb {

// What an ISO 8601 time without offset means. In token answers it means nothing (reject); in
// imported files it is UTC, and the row is marked derived.
enum class NaiveTime { reject, utc };

struct ParsedTime {
  Instant at;
  bool naive = false;  // had no offset and was taken as UTC
};

// ISO 8601 / RFC 3339: `Z` (capital) or an offset (`+00:00`, `+0000`, `+00`), `T` or a space
// between, any number of fraction digits (cut to milliseconds), basic or extended form.
std::optional<ParsedTime> parse_iso(std::string_view text, NaiveTime naive);

// Epoch seconds; values above 1e12 are epoch milliseconds. Rejects NaN, infinities, zero, negatives
// and whatever does not fit an Instant.
std::optional<Instant> from_epoch(double number);

// `Sun, 06 Nov 1994 08:49:37 GMT`, in any case of letters (IMF-fixdate, RFC 9110 section 5.6.7).
std::optional<Instant> parse_http_date(std::string_view text);

// A JSON value in any of the first two spellings, numeric strings included. bool, null, blank
// strings, arrays and objects are unknown.
std::optional<ParsedTime> parse_time(const nlohmann::json& value, NaiveTime naive);

// A lifetime in seconds: a positive finite number or a numeric string, at most 100 years. bool,
// zero, negatives, NaN, infinities, blanks and garbage are unknown.
std::optional<Milliseconds> parse_lifetime(const nlohmann::json& value);

// `2026-04-14T08:12:31.402Z`; milliseconds only where there are any.
std::string format_iso(Instant at);
// The same for file names: `20260414T081231Z`.
std::string format_compact(Instant at);

}  // namespace authdb
