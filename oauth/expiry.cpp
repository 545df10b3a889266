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

// A token that is over as it arrives was dated by another clock than ours: taking that for true
// would refresh it on each call.
std::optional<Instant> still_to_come(std::optional<Instant> at, Instant started_at) {
  return at && *at > started_at ? at : std::nullopt;
}

const json& member(const json& fields, const char* key) {
  static const json kAbsent;
  const auto it = fields.find(key);
  return it == fields.end() ? kAbsent : *it;
}

enum class Past { counts, is_ignored };

std::optional<Instant> stated(const json& fields, Instant started_at, Past past) {
  const auto of = [&](const char* key) -> const json& { return member(fields, key); };
  const auto believed = [&](std::optional<Instant> at) {
    return past == Past::counts ? at : still_to_come(at, started_at);
  };
  if (const auto at = believed(absolute(of("expires_at")))) return at;
  if (const auto at = relative(of("expires_in"), started_at)) return at;
  return believed(either(of("expired_in"), started_at));
}

}  // namespace

Expiry expiry_of(const TokenAnswer& answer, std::string_view token, Instant started_at,
                 Milliseconds floor) {
  if (const auto at = stated(answer.fields(), started_at, Past::is_ignored)) return {*at, {}};
  const auto claims = read_claims(token);
  if (claims) {
    if (const auto at = still_to_come(claims->expires_at, started_at)) return {*at, {}};
  }
  return {started_at + floor,
          "the answer does not say when the token expires, or says a time that "
          "is past by this machine's clock; assuming " +
              std::to_string(floor.count() / 1000) + " s (it had: " + answer.key_names() + ")"};
}

std::optional<Instant> stated_expiry(const TokenAnswer& answer, std::string_view token,
                                     Instant obtained_at) {
  if (const auto at = stated(answer.fields(), obtained_at, Past::counts)) return at;
  const auto claims = read_claims(token);
  return claims ? claims->expires_at : std::nullopt;
}

std::optional<Instant> session_end_of(const TokenAnswer& answer, Instant started_at) {
  const json& fields = answer.fields();
  for (const char* key :
       {"refresh_token_expires_at", "refreshTokenExpiresAt", "refresh_expires_at"}) {
    if (const auto at = still_to_come(absolute(member(fields, key)), started_at)) return at;
  }
  for (const char* key :
       {"refresh_token_expires_in", "refreshTokenExpiresIn", "refresh_expires_in"}) {
    if (const auto at = relative(member(fields, key), started_at)) return at;
  }
  return std::nullopt;
}

}  // namespace authdb::oauth
