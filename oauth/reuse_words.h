// Whether a server's words say that a refresh token had been spent before: "refresh token reuse"
// (RFC 9700 section 4.14.2). There is no standard code for it, so servers say it in prose. Pure,
// thread-safe.
#pragma once

#include <string_view>

namespace authdb::oauth {

// "has already been used", "token was redeemed", "reuse detected", `refresh_token_reused` and the
// like. "this is not a reusable connection" and "the token has not been used" are no such thing.
bool tells_of_reuse(std::string_view text);

}  // namespace authdb::oauth
