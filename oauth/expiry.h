// When what a token endpoint handed out expires (DESIGN 6). Pure, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "oauth/token_answer.h"
#include "store/clock.h"

namespace authdb::oauth {

struct Expiry {
  Instant at;
  std::string warning;  // not empty if the life is a guess; names keys, never values
};

// The answer's absolute `expires_at`, else the time the request started + `expires_in` (MiniMax:
// `expired_in`), else the JWT's `exp`, else the time the request started + `floor`. An absolute
// time that is past already when the request starts says only that the clocks differ, and does not
// count.
Expiry expiry_of(const TokenAnswer& answer, std::string_view token, Instant started_at,
                 Milliseconds floor);

// The same of an answer that others got and hand on: what it and its token say, also where that is
// past, and nothing (unknown) where they say nothing.
std::optional<Instant> stated_expiry(const TokenAnswer& answer, std::string_view token,
                                     Instant obtained_at);

// When the login ends that the answer's refresh token belongs to, if the answer says so:
// `refresh_token_expires_in`, `refresh_expires_in`, `refresh_token_expires_at` and the like. No RFC
// has them; they are what servers send.
std::optional<Instant> session_end_of(const TokenAnswer& answer, Instant started_at);

}  // namespace authdb::oauth
