#include "store/fingerprint.h"

#include <sodium.h>

#include <algorithm>

namespace authdb {

static_assert(std::tuple_size_v<TokenHash> == crypto_hash_sha256_BYTES);

bool is_token_text(std::string_view text) {
  const auto fits = [](char c) { return c > ' ' && c < '\x7f'; };
  return !text.empty() && std::all_of(text.begin(), text.end(), fits);
}

TokenHash token_hash(std::string_view token) {
  TokenHash hash;
  crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(token.data()),
                     token.size());
  return hash;
}

TokenHash token_hash(const Secret& token) { return token_hash(token.reveal()); }

std::string fingerprint(const TokenHash& hash) {
  std::array<char, 17> hex{};
  sodium_bin2hex(hex.data(), hex.size(), hash.data(), 8);
  return std::string("sha256:") + hex.data();
}

std::string fingerprint(const Secret& token) { return fingerprint(token_hash(token)); }

}  // namespace authdb
