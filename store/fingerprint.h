// What may be said of a token without saying it: its SHA-256, and the short form people read.
// Pure functions, thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "store/secret.h"

namespace authdb {

// What a bearer, a refresh token or an API key may consist of: printable ASCII without spaces. RFC
// 6749 (appendix A.12, A.17) would allow spaces; nobody issues such tokens, and a space, a line end
// or a byte of another alphabet would make two words, lines or headers of one.
bool is_token_text(std::string_view text);

using TokenHash = std::array<unsigned char, 32>;

// SHA-256 of the token's bytes. Tokens are high-entropy, so the hash alone gives nothing away.
TokenHash token_hash(const Secret& token);
TokenHash token_hash(std::string_view token);

// `sha256:` and the first 16 hex digits: the form Hermes prints and stores, kept so that both
// tools' logs can be compared.
std::string fingerprint(const TokenHash& hash);
std::string fingerprint(const Secret& token);

}  // namespace authdb
