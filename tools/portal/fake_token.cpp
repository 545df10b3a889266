#include "tools/portal/fake_token.h"

#include <sodium.h>

#include <array>
#include <nlohmann/json.hpp>

namespace authdb::portal {
namespace {

using Digest = std::array<unsigned char, crypto_hash_sha256_BYTES>;

Digest sha256(std::string_view text) {
  Digest digest;
  crypto_hash_sha256(digest.data(), reinterpret_cast<const unsigned char*>(text.data()),
                     text.size());
  return digest;
}

std::string hex(const unsigned char* bytes, std::size_t size) {
  std::string text(2 * size + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes, size);
  text.pop_back();  // sodium's terminator
  return text;
}

std::string base64url(const unsigned char* bytes, std::size_t size) {
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string text(sodium_base64_encoded_len(size, kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes, size, kVariant);
  text.pop_back();
  return text;
}

std::string base64url(const std::string& text) {
  return base64url(reinterpret_cast<const unsigned char*>(text.data()), text.size());
}

}  // namespace

std::string fake_token(std::string_view prefix) {
  std::array<unsigned char, 16> random;
  randombytes_buf(random.data(), random.size());
  return std::string(prefix) + hex(random.data(), random.size());
}

std::string fake_jwt(const nlohmann::json& claims) {
  return base64url(R"({"alg":"none","typ":"JWT"})") + '.' + base64url(claims.dump()) + '.' +
         fake_token("SIM");
}

std::string fingerprint(std::string_view token) {
  if (token.empty()) return {};
  return "sha256:" + hex(sha256(token).data(), 8);
}

std::string pkce_challenge(std::string_view verifier) {
  const Digest digest = sha256(verifier);
  return base64url(digest.data(), digest.size());
}

}  // namespace authdb::portal
