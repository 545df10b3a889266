#include "store/claims.h"

#include <sodium.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "store/secret.h"
#include "store/timestamp.h"

namespace authdb {
namespace {

using nlohmann::json;

std::optional<std::string> decode_base64url(std::string_view text) {
  std::string out(text.size(), '\0');
  std::size_t used = 0;
  const char* end = nullptr;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(out.data()), out.size(), text.data(),
                        text.size(), "=", &used, &end,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  out.resize(used);
  return out;
}

std::string text_of(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::optional<Instant> seconds_of(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return std::nullopt;
  return from_epoch(it->get<double>());
}

// `scp` is an array of words with some issuers and a string with others.
std::string scopes_of(const json& payload) {
  std::string scope = text_of(payload, "scope");
  const auto add = [&](const std::string& word) { scope += scope.empty() ? word : " " + word; };
  const auto scp = payload.find("scp");
  if (scp == payload.end()) return scope;
  if (scp->is_string()) add(scp->get<std::string>());
  if (!scp->is_array()) return scope;
  for (const json& word : *scp) {
    if (word.is_string()) add(word.get<std::string>());
  }
  return scope;
}

std::string account_of(const json& payload) {
  const auto auth = payload.find("https://api.openai.com/auth");
  if (auth == payload.end() || !auth->is_object()) return {};
  return text_of(*auth, "chatgpt_account_id");
}

std::string email_of(const json& payload) {
  for (const char* key : {"email", "preferred_username", "upn"}) {
    if (std::string value = text_of(payload, key); !value.empty()) return value;
  }
  return {};
}

// The middle one of exactly three segments.
std::optional<std::string_view> payload_segment(std::string_view token) {
  const auto first = token.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  return token.substr(first + 1, second - first - 1);
}

}  // namespace

std::optional<Claims> read_claims(std::string_view token) {
  const auto segment = payload_segment(token);
  if (!segment) return std::nullopt;
  const auto decoded = decode_base64url(*segment);
  if (!decoded) return std::nullopt;
  const json payload = json::parse(*decoded, nullptr, /*allow_exceptions=*/false);
  if (!payload.is_object()) return std::nullopt;

  Claims claims;
  claims.expires_at = seconds_of(payload, "exp");
  claims.issued_at = seconds_of(payload, "iat");
  claims.issuer = text_of(payload, "iss");
  claims.subject = text_of(payload, "sub");
  claims.email = email_of(payload);
  claims.scope = scopes_of(payload);
  claims.account = account_of(payload);
  return claims;
}

bool has_scope(std::string_view scope, std::string_view wanted) {
  while (!scope.empty()) {
    const auto space = scope.find(' ');
    if (scope.substr(0, space) == wanted) return true;
    if (space == std::string_view::npos) break;
    scope.remove_prefix(space + 1);
  }
  return false;
}

}  // namespace authdb
