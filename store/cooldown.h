// How long a credential rests after a call went wrong: the table of Hermes's newest era, and every
// spelling in which providers say when they will serve again. Pure, thread-safe.
#pragma once

#include <optional>
#include <string_view>

#include "store/clock.h"

namespace authdb {

// Where the provider names no time: 5 minutes after a 401, an hour after a 402, a 429 or anything
// else. A minute only, if it is not known whether the account is to blame
// (`billing_unverified`), or if there is nobody else to ask: `sole` says that no other credential
// of the pool is alive. Neither shortens a 402, and being alone neither a 401 nor a `billing`.
Seconds cooldown(int http_status, std::string_view reason, bool sole);

// The 401 was no passing mood: the bearer's grant is gone, and only a login brings another.
bool is_final(int http_status, std::string_view reason);

// When the provider will serve again, from what it answered: JSON with `reset_at`, `resets_at` or
// `retry_until` at any depth (epoch seconds or milliseconds, numeric text, ISO 8601 with offset; a
// number too small for a date is a span in seconds), or a text with `quotaResetDelay … 373ms`,
// `retry after 30 s` or `resets in 2hr 5min`. nullopt: it does not say.
std::optional<Instant> reset_time(std::string_view answer, Instant now);

}  // namespace authdb
