#include "migrate/formats/grant_place.h"

#include <algorithm>
#include <array>
#include <span>

#include "migrate/formats/fields.h"
#include "store/clock_slack.h"
#include "store/fingerprint.h"
#include "store/target.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

constexpr const char* kNest = "tokens";
constexpr std::array kExpiryFields{"expires_at", "expires_at_ms", "expiresAt", "expiry_date",
                                   "expires"};
// Whatever number stands in these, 0 included, is epoch milliseconds.
constexpr std::array<std::string_view, 5> kMillisFields{"expires_at_ms", "expiresAt", "expiry_date",
                                                        "expires", "refreshTokenExpiresAt"};
constexpr std::array kObtainedFields{"obtained_at", "last_refresh"};
constexpr std::array kSessionFields{"refreshTokenExpiresAt", "refresh_token_expires_at",
                                    "refresh_expires_at"};
// In other fields larger numbers are.
constexpr double kMilliseconds = 1e12;

std::string plain(const Secret& secret) { return std::string(secret.reveal()); }

std::string_view text_at(const json& object, const char* key) {
  return has_secret(object, key) ? object.at(key).get_ref<const std::string&>()
                                 : std::string_view();
}

// Of a token that stands there, or its fingerprint as it stands.
std::string print_at(const json& object, const char* key) {
  const std::string_view text = key == nullptr ? std::string_view() : text_at(object, key);
  if (text.empty() || is_fingerprint(text)) return std::string(text);
  return fingerprint(token_hash(text));
}

void mask(json& object, const char* key) {
  if (key == nullptr || !has_secret(object, key)) return;
  auto& text = object[key].get_ref<std::string&>();
  std::string print = fingerprint(token_hash(text));
  wipe(text.data(), text.size());
  text = std::move(print);
}

// Python's isoformat(), which older readers insist on.
std::string iso_with_offset(Instant at) {
  std::string text = format_iso(at);
  text.replace(text.size() - 1, 1, "+00:00");
  return text;
}

// In the spelling that stands there.
json spelt_like(const json& there, std::string_view key, std::optional<Instant> at) {
  if (!at) return nullptr;
  if (there.is_string()) {
    return there.get_ref<const std::string&>().ends_with("+00:00") ? iso_with_offset(*at)
                                                                   : format_iso(*at);
  }
  if (std::find(kMillisFields.begin(), kMillisFields.end(), key) != kMillisFields.end()) {
    return to_millis(*at);
  }
  if (there.is_null()) return iso_with_offset(*at);
  return there.get<double>() > kMilliseconds ? to_millis(*at) : to_millis(*at) / 1000;
}

bool says(const json& there, std::optional<Instant> at) {
  const auto said = parse_time(there, NaiveTime::utc);
  return said && at ? said->at == *at : !said && !at;
}

void put_if_there(json& object, const char* key, std::optional<Instant> at) {
  const auto it = object.find(key);
  if (it == object.end()) return;
  const bool is_time = it->is_number() || it->is_string() || it->is_null();
  if (is_time && !says(*it, at)) *it = spelt_like(*it, key, at);
}

std::int64_t seconds_between(Instant from, Instant to) {
  return std::chrono::duration_cast<Seconds>(to - from).count();
}

bool has_one_of(const json& object, std::span<const char* const> keys) {
  return std::any_of(keys.begin(), keys.end(),
                     [&](const char* key) { return object.contains(key); });
}

void write_new_times(json& object, const Spelling& spelling, const Credential& row, bool anew) {
  const bool want_expiry = anew || spelling.needs_expiry;
  if (want_expiry && spelling.expires != nullptr && row.expires_at &&
      !has_one_of(object, kExpiryFields)) {
    object[spelling.expires] = spelling.expires_ms ? json(to_millis(*row.expires_at))
                                                   : json(iso_with_offset(*row.expires_at));
  }
  if (anew && spelling.obtained != nullptr && row.obtained_at) {
    object[spelling.obtained] = iso_with_offset(*row.obtained_at);
  }
}

void write_times(json& object, json& tokens, const Spelling& spelling, const Credential& row,
                 bool anew) {
  for (json* one : {&object, &tokens}) {
    for (const char* key : kExpiryFields) put_if_there(*one, key, row.expires_at);
    for (const char* key : kObtainedFields) put_if_there(*one, key, row.obtained_at);
    if (row.session_ends_at) {
      for (const char* key : kSessionFields) put_if_there(*one, key, row.session_ends_at);
    }
    const bool spans = row.obtained_at && row.expires_at && *row.obtained_at < *row.expires_at;
    if (one->contains("expires_in") && spans) {
      (*one)["expires_in"] = seconds_between(*row.obtained_at, *row.expires_at);
    }
    if (&object == &tokens) break;
  }
  write_new_times(object, spelling, row, anew);
}

void write_refresh(json& tokens, const Spelling& spelling, const Held& held, bool with_refresh) {
  if (!spelling.refresh || held.row.identity.auth_type == AuthType::api_key) return;
  const bool word = spelling.no_refresh == Instead::word;
  if (with_refresh && !held.refresh_token.empty()) {
    tokens[spelling.refresh] = plain(held.refresh_token);
  } else if (has_secret(tokens, spelling.refresh) || (word && held.row.refresh_hash)) {
    tokens[spelling.refresh] = word ? json(kHeldElsewhere) : json();
  }
}

void put_text(json& object, const char* key, const std::string& text) {
  if (has_text(object, key) && !text.empty()) object[key] = text;
}

// Where the tokens go: a place that names addresses, perhaps for tokens it had before, names the
// credential's own instead.
void write_ways(json& object, const Identity& identity) {
  put_text(object, "client_id", identity.client_id);
  put_text(object, "base_url", identity.base_url);
  put_text(object, "portal_base_url", identity.portal_base_url);
  put_text(object, "inference_base_url", identity.inference_base_url);
  const auto tls = object.find("tls");
  if (tls != object.end() && tls->is_object()) put_text(*tls, "ca_bundle", identity.ca_file);
}

void write_terms(json& object, const Identity& identity) {
  put_text(object, "scope", identity.scope);
  put_text(object, "token_type", identity.token_type);
}

// A verdict about the access token that stood there.
void lift_verdict(json& object) {
  object.erase("last_auth_error");
  const auto status = object.find("last_status");
  if (status == object.end() || !status->is_string() || *status == "ok") return;
  const auto code = object.find("last_error_code");
  const bool about_the_token = *status == "dead" || (code != object.end() && *code == 401);
  if (!about_the_token) return;
  for (const char* key : {"last_status", "last_status_at", "last_error_code", "last_error_reason",
                          "last_error_message", "last_error_reset_at"}) {
    if (object.contains(key)) object[key] = nullptr;
  }
}

// Of another key every field is written; of the same one those that are there.
void write_key_times(json& object, std::optional<Instant> obtained, std::optional<Instant> expires,
                     bool another) {
  for (const auto& [key, at] :
       {std::pair{"agent_key_obtained_at", obtained}, {"agent_key_expires_at", expires}}) {
    if (another && !object.contains(key)) object[key] = nullptr;
    put_if_there(object, key, at);
  }
  if (!another) return;
  object.erase("agent_key_expires_in");
  if (obtained && expires) object["agent_key_expires_in"] = seconds_between(*obtained, *expires);
}

// The JWT era writes the access token there as well; before it, it is a key of its own.
void write_agent_key(json& object, const Held& held, bool moved, bool restate) {
  const Credential& row = held.row;
  const std::string before = print_at(object, "agent_key");
  const bool there = object.contains("agent_key");
  if (there && row.bearer_kind == BearerKind::access_token) {
    object["agent_key"] = plain(held.access_token);
    if (restate) write_key_times(object, row.obtained_at, row.expires_at, moved);
  } else if (!held.agent_key.empty() && (there || moved)) {
    const bool another = before != row.agent_key_fingerprint;
    object["agent_key"] = plain(held.agent_key);
    if (another || restate) {
      write_key_times(object, row.agent_key_obtained_at, row.agent_key_expires_at, another);
    }
    if (!another) return;
    object.erase("agent_key_id");
    object.erase("agent_key_reused");
  } else if (!before.empty()) {
    object["agent_key"] = nullptr;
  }
}

}  // namespace

std::string pointer(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const auto part : parts) {
    out += '/';
    for (const char c : part) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  }
  return out;
}

void doubt_times(Credential& row, Instant now) {
  // A second before, so that a tool which counts from there comes to the same end.
  const auto doubt = [&](std::optional<Instant>& obtained, std::optional<Instant>& expires) {
    if (!is_ahead(obtained, now)) return;
    obtained = now - Seconds{1};
    if (expires) expires = now;
  };
  doubt(row.obtained_at, row.expires_at);
  doubt(row.agent_key_obtained_at, row.agent_key_expires_at);
}

json& tokens_in(json& object, const Spelling& spelling) {
  const auto nested = object.find(kNest);
  const bool below = nested != object.end() && nested->is_object() &&
                     (spelling.nest != nullptr || has_one_of(*nested, std::array{spelling.access}));
  return below ? *nested : object;
}

json masked(json object, const Spelling& spelling) {
  if (!object.is_object()) return object;
  mask(object, "agent_key");
  json& tokens = tokens_in(object, spelling);
  mask(tokens, spelling.access);
  mask(tokens, spelling.refresh);
  return object;
}

void write_grant(json& object, const Spelling& spelling, const Held& held, Writing writing) {
  if (writing.anew && spelling.nest != nullptr) object[spelling.nest] = json::object();
  json& tokens = tokens_in(object, spelling);
  const std::string access = print_at(tokens, spelling.access);
  if (held.access_token.empty() && held.refresh_token.empty() && held.agent_key.empty()) {
    // Its secret is not ours to show, and newer readers know it by this.
    tokens.erase(spelling.access);
    if (!access.empty()) object["secret_fingerprint"] = access;
    return;
  }
  const std::string refresh = print_at(tokens, spelling.refresh);
  // A borrowed row, whose owner's file is written beside it.
  const bool bare = access.empty() && refresh.empty() && has_text(object, "secret_fingerprint");
  if (bare && !writing.anew && !writing.restate) return;

  const auto& hash = held.row.refresh_hash;
  const bool moved = writing.anew || access != held.row.access_fingerprint ||
                     (!refresh.empty() && hash && refresh != fingerprint(*hash));
  if (!held.access_token.empty()) {
    tokens[spelling.access] = plain(held.access_token);
  } else {
    tokens.erase(spelling.access);
  }
  write_refresh(tokens, spelling, held, writing.with_refresh);
  const bool keyed = held.row.identity.provider == "nous";
  const bool restate = moved || writing.restate;
  if (keyed || object.contains("agent_key")) write_agent_key(object, held, moved, restate);
  if (access != held.row.access_fingerprint) lift_verdict(object);
  if (!restate) return;
  write_times(object, tokens, spelling, held.row, writing.anew);
  write_terms(object, held.row.identity);
  write_ways(object, held.row.identity);
}

bool GrantPlace::is_in_a_list() const {
  const std::string last = place_.substr(place_.rfind('/') + 1);
  return !last.empty() && last.find_first_not_of("0123456789") == std::string::npos;
}

std::string_view GrantPlace::access_token() const {
  return text_at(tokens_in(*object_, spelling_), spelling_.access);
}

std::string_view GrantPlace::refresh_token() const {
  return text_at(tokens_in(*object_, spelling_), spelling_.refresh);
}

void GrantPlace::put(const Held& held, bool with_refresh_token) {
  write_grant(*object_, spelling_, held, {.with_refresh = with_refresh_token, .restate = true});
}

bool GrantPlace::ends_after(Instant at) const {
  const auto is_later = [&](const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end()) return false;
    const auto time = parse_time(*it, NaiveTime::utc);
    return time && time->at > at;
  };
  for (const json* object : {&tokens_in(*object_, spelling_), object_}) {
    for (const char* key : kExpiryFields) {
      if (is_later(*object, key)) return true;
    }
    if (is_later(*object, "agent_key_expires_at")) return true;
  }
  return false;
}

}  // namespace authdb::migrate
