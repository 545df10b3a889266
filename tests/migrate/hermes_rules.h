// What Hermes itself would do with an auth.json at a given time: its own expiry, refresh and
// quarantine rules, from reference/hermes-auth.md 1.5, 3.1, 4 and 5, written anew here so that they
// share nothing with the code under test.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "store/claims.h"
#include "store/timestamp.h"

namespace authdb::migrate::testing {

using nlohmann::json;

enum class Era { e1, e3 };

inline std::optional<Instant> hermes_time(const json& object, const char* key) {
  if (!object.contains(key)) return std::nullopt;
  const auto time = parse_time(object[key], NaiveTime::utc);
  return time ? std::optional(time->at) : std::nullopt;
}

inline std::string text_or_empty(const json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

// A singleton block or pool row of nous: what Hermes is about to do when it needs a bearer. Empty:
// it uses what is there.
inline std::string nous_would(const json& block, Era era, Instant now) {
  constexpr Seconds kSkew{120};
  const bool has_refresh = !text_or_empty(block, "refresh_token").empty();
  const auto expires = hermes_time(block, "expires_at");
  if (text_or_empty(block, "access_token").empty()) return "ask for a login: no access token";
  if (!expires || *expires <= now + kSkew) {  // unknown counts as expiring
    return has_refresh ? "spend the refresh token" : "quarantine: expiring, no refresh token";
  }
  if (era == Era::e1) {
    const auto key_ends = hermes_time(block, "agent_key_expires_at");
    const bool key = !text_or_empty(block, "agent_key").empty();
    if (!key || !key_ends || *key_ends <= now + Seconds{1800}) return "mint with the access token";
    return {};
  }
  std::string bearer = text_or_empty(block, "agent_key");
  if (bearer.empty()) bearer = text_or_empty(block, "access_token");
  const auto claims = read_claims(bearer);
  if (!claims || !claims->expires_at || *claims->expires_at <= now + kSkew) {
    return "quarantine: not a usable inference JWT";
  }
  return {};
}

// A Codex block or row: a JWT without `exp` never counts as expiring.
inline std::string codex_would(const json& tokens, Instant now) {
  const auto claims = read_claims(text_or_empty(tokens, "access_token"));
  if (!claims || !claims->expires_at || *claims->expires_at > now + Seconds{120}) return {};
  return text_or_empty(tokens, "refresh_token").empty() ? "quarantine" : "spend the refresh token";
}

// An Anthropic row or file: a null time needs no refresh.
inline std::string anthropic_would(const json& row, const char* key, const char* refresh,
                                   Instant now) {
  if (!row.contains(key) || row[key].is_null()) return {};
  if (at_millis(row[key].get<std::int64_t>()) > now + Seconds{120}) return {};
  return text_or_empty(row, refresh).empty() ? "give up" : "spend the refresh token";
}

// Rows that a scan of the pool deletes: dead and manual, a day after.
inline bool would_prune(const json& row, Instant now) {
  const auto since = hermes_time(row, "last_status_at");
  return text_or_empty(row, "last_status") == "dead" &&
         text_or_empty(row, "source").starts_with("manual") && since &&
         now - *since > Seconds{86'400};
}

}  // namespace authdb::migrate::testing
