// What may be said of a token without saying it: its SHA-256, and the short form people read.
// Pure functions, thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "store/secret.h"

namespace authdb {

using TokenHash = std::array<unsigned char, 32>;

// SHA-256 of the token's bytes. Tokens are high-entropy, so the hash alone gives nothing away.
TokenHash token_hash(const Secret& token);
TokenHash token_hash(std::string_view token);

// `sha256:` and the first 16 hex digits: the form Hermes prints and stores, kept so that both
// tools' logs can be compared.
std::string fingerprint(const TokenHash& hash);
std::string fingerprint(const Secret& token);

}  // namespace authdb
