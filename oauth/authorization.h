// The authorization code's side of a login: PKCE (RFC 7636), the URL that is opened, what comes
// back on the redirect, and the exchange. Thread-safe; the random parts are libsodium's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "oauth/form.h"
#include "oauth/login.h"

namespace authdb::oauth {

struct Pkce {
  Secret verifier;        // 43 characters: 256 random bits
  std::string challenge;  // S256
};
Pkce draw_pkce();

// 43 characters that nobody can guess: a `state`.
std::string draw_state();

// Adds to the query that `url` may have already (RFC 6749 section 3.1).
std::string with_query(std::string url, const FormFields& fields);

// The parameters of `a=1&b=%20`. nullopt if one is there twice or badly encoded.
using Query = std::map<std::string, std::string, std::less<>>;
std::optional<Query> parse_query(std::string_view text);

// What an authorization request is made of, kept for its exchange.
struct Authorization {
  Pkce pkce = draw_pkce();
  std::string state = draw_state();
  std::string redirect_uri;
};

// What to open in a browser. usage or refused, as endpoint_url().
Result<std::string> authorization_url(const LoginParts& parts, const Authorization& authorization);

// Refuses the answer of an authorization server that is not the one we asked (RFC 9207).
Result<void> check_issuer(const LoginParts& parts, const Query& query);

// What the redirect brought: the code, or the server's refusal (RFC 6749 section 4.1.2.1).
Result<Secret> code_in(const LoginParts& parts, const Query& query);

// Buys the grant. Tried again only while nothing has been sent.
Result<LoginAnswer> exchange_code(const LoginParts& parts, const Secret& code,
                                  const Authorization& authorization);

}  // namespace authdb::oauth
