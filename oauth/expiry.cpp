#include "oauth/expiry.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "store/claims.h"
#include "store/timestamp.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

std::optional<Instant> absolute(const json& value) {
  const auto parsed = parse_time(value, NaiveTime::reject);
  return parsed ? std::optional(parsed->at) : std::nullopt;
}

std::optional<Instant> relative(const json& value, Instant started_at) {
  const auto life = parse_lifetime(value);
  return life ? std::optional(started_at + *life) : std::nullopt;
}

// MiniMax's `expired_in` is epoch milliseconds with some servers and a life in seconds with others.
std::optional<Instant> either(const json& value, Instant started_at) {
  const bool is_epoch_ms =
      value.is_number() && value.get<double>() > static_cast<double>(to_millis(started_at)) / 2;
  return is_epoch_ms ? absolute(value) : relative(value, started_at);
}

std::optional<Instant> stated(const json& fields, Instant started_at) {
  const auto of = [&](const char* key) -> const json& {
    static const json kAbsent;
    const auto it = fields.find(key);
    return it == fields.end() ? kAbsent : *it;
  };
  if (const auto at = absolute(of("expires_at"))) return at;
  if (const auto at = relative(of("expires_in"), started_at)) return at;
  return either(of("expired_in"), started_at);
}

}  // namespace

Expiry expiry_of(const TokenAnswer& answer, std::string_view token, Instant started_at,
                 Milliseconds floor) {
  if (const auto at = stated(answer.fields(), started_at)) return {*at, {}};
  const auto claims = read_claims(token);
  if (claims && claims->expires_at) return {*claims->expires_at, {}};
  return {started_at + floor, "the answer does not say when the token expires; assuming " +
                                  std::to_string(floor.count() / 1000) +
                                  " s (it had: " + answer.key_names() + ")"};
}

}  // namespace authdb::oauth
