// What an access token says about itself when it is a JWT (RFC 7519). Nothing here is verified:
// good enough to know when a token of ours expires or whose it is, never to trust somebody else's.
// Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/clock.h"

namespace authdb {

struct Claims {
  std::optional<Instant> expires_at;  // exp
  std::optional<Instant> issued_at;   // iat
  std::string issuer;                 // iss
  std::string subject;                // sub
  std::string email;                  // email, else preferred_username, else upn
  std::string scope;                  // scope and scp, space-separated
  std::string account;                // OpenAI's chatgpt_account_id
};

// nullopt unless the token has three segments and an object for a payload.
std::optional<Claims> read_claims(std::string_view token);

// True if the space-separated `scope` holds the whole word `wanted` (RFC 6749 section 3.3).
bool has_scope(std::string_view scope, std::string_view wanted);

}  // namespace authdb
