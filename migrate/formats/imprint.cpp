#include "migrate/formats/imprint.h"

#include <algorithm>
#include <array>

#include "migrate/formats/fields.h"
#include "migrate/formats/json_text.h"
#include "store/fingerprint.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// The second level of Codex's and xAI's blocks, at its own place.
json& tokens_of(json& object, const Spelling& spelling) {
  if (!spelling.nest) return object;
  json& nest = object[spelling.nest];
  if (!nest.is_object()) nest = json::object();
  return nest;
}

std::string mask_at(const json& object, const char* key) {
  return has_secret(object, key) ? object.at(key).get<std::string>() : std::string();
}

void mask(json& object, const char* key) {
  if (!has_secret(object, key)) return;
  auto& text = object[key].get_ref<std::string&>();
  std::string print = fingerprint(token_hash(text));
  wipe(text.data(), text.size());
  text = std::move(print);
}

std::string plain(const Secret& secret) { return std::string(secret.reveal()); }

json iso(Instant at) {
  std::string text = format_iso(at);
  text.replace(text.size() - 1, 1,
               "+00:00");  // Python's isoformat(), which older readers insist on
  return text;
}

std::int64_t seconds_between(Instant from, Instant to) {
  return std::chrono::duration_cast<Seconds>(to - from).count();
}

void write_refresh(json& tokens, const Spelling& spelling, const Held& held, bool with_refresh) {
  if (!spelling.refresh || held.row.identity.auth_type == AuthType::api_key) return;
  if (with_refresh && !held.refresh_token.empty()) {
    tokens[spelling.refresh] = plain(held.refresh_token);
  } else if (spelling.no_refresh == Instead::nothing || !held.row.refresh_hash) {
    if (has_text(tokens, spelling.refresh)) tokens.erase(spelling.refresh);
  } else {
    tokens[spelling.refresh] = spelling.no_refresh == Instead::null ? json() : json(kHeldElsewhere);
  }
}

void write_times(json& object, const Spelling& spelling, const Credential& row) {
  if (spelling.obtained) {
    object.erase(spelling.obtained);
    if (row.obtained_at) object[spelling.obtained] = iso(*row.obtained_at);
  }
  if (spelling.expires) {
    object.erase(spelling.expires);
    if (row.expires_at) {
      object[spelling.expires] =
          spelling.expires_ms ? json(to_millis(*row.expires_at)) : iso(*row.expires_at);
    }
  }
  const bool spans = row.obtained_at && row.expires_at && *row.obtained_at < *row.expires_at;
  if (object.contains("expires_in") && spans) {
    object["expires_in"] = seconds_between(*row.obtained_at, *row.expires_at);
  }
}

void write_terms(json& object, const Identity& identity) {
  const auto keep = [&](const char* key, const std::string& text) {
    if (object.contains(key) && !text.empty()) object[key] = text;
  };
  keep("scope", identity.scope);
  keep("token_type", identity.token_type);
  write_ways(object, identity);
}

// The JWT era keeps a copy of the access token where the agent key was.
bool mirrors(const json& object, const std::string& access_mask) {
  return !access_mask.empty() && mask_at(object, "agent_key") == access_mask;
}

void write_key_times(json& object, std::optional<Instant> obtained,
                     std::optional<Instant> expires) {
  object["agent_key_obtained_at"] = obtained ? iso(*obtained) : json();
  object["agent_key_expires_at"] = expires ? iso(*expires) : json();
  object.erase("agent_key_expires_in");
  if (obtained && expires) object["agent_key_expires_in"] = seconds_between(*obtained, *expires);
}

void write_agent_key(json& object, const Held& held, bool mirrored, bool moved) {
  const Credential& row = held.row;
  const std::string before = mask_at(object, "agent_key");
  if (mirrored) {
    object["agent_key"] = plain(held.access_token);
    if (moved) write_key_times(object, row.obtained_at, row.expires_at);
  } else if (!held.agent_key.empty()) {
    if (!moved && !object.contains("agent_key")) return;
    object["agent_key"] = plain(held.agent_key);
    if (before == row.agent_key_fingerprint) return;
    write_key_times(object, row.agent_key_obtained_at, row.agent_key_expires_at);
    object.erase("agent_key_id");
    object.erase("agent_key_reused");
  } else if (!before.empty()) {
    object["agent_key"] = nullptr;
  }
}

std::array<std::string, 3> name_of(const json& place) {
  return {place.value("profile", ""), place.value("format", ""), place.value("where", "")};
}

}  // namespace

Spelling spelling_of(std::string_view format, std::string_view provider, bool singleton) {
  const bool nested = provider == "openai-codex" || provider == "xai-oauth";
  if (format == "hermes-anthropic" || format == "claude") {
    return {.access = "accessToken",
            .refresh = "refreshToken",
            .obtained = nullptr,
            .expires = "expiresAt",
            .expires_ms = true};
  }
  if (format == "qwen") {
    return {.obtained = nullptr,
            .expires = "expiry_date",
            .expires_ms = true,
            .no_refresh = Instead::word};
  }
  if (format == "opencode") {
    return {.access = "access",
            .refresh = "refresh",
            .obtained = nullptr,
            .expires = "expires",
            .expires_ms = true,
            .no_refresh = Instead::word};
  }
  if (format == "codex" || (format == "hermes" && singleton && nested)) {
    return {.nest = "tokens",
            .obtained = "last_refresh",
            .expires = nullptr,
            .no_refresh = Instead::word};
  }
  if (format == "hermes" && !singleton) {
    const bool ms =
        provider == "anthropic" || provider == "qwen-oauth" || provider == "minimax-oauth";
    return {.access = provider == "photon_project" ? "project_secret" : "access_token",
            .obtained = nested ? "last_refresh"
                        : ms   ? nullptr
                               : "obtained_at",
            .expires = nested ? nullptr
                       : ms   ? "expires_at_ms"
                              : "expires_at",
            .expires_ms = ms,
            .no_refresh = Instead::nothing};
  }
  return {};
}

json masked(json object, const Spelling& spelling) {
  if (!object.is_object()) return object;
  mask(object, "agent_key");
  if (!spelling.nest) {
    mask(object, spelling.access);
    if (spelling.refresh) mask(object, spelling.refresh);
  } else if (object.contains(spelling.nest) && object[spelling.nest].is_object()) {
    mask(object[spelling.nest], spelling.access);
    mask(object[spelling.nest], spelling.refresh);
  }
  return object;
}

void write_grant(json& object, const Spelling& spelling, const Held& held, Writing writing) {
  const bool known = writing.known;
  json& tokens = tokens_of(object, spelling);
  const std::string access_mask = mask_at(tokens, spelling.access);
  if (held.access_token.empty() && held.refresh_token.empty() && held.agent_key.empty()) {
    // A reference: its secret is not ours to show, and newer readers know it by this.
    tokens.erase(spelling.access);
    if (!access_mask.empty()) object["secret_fingerprint"] = access_mask;
    return;
  }
  const std::string refresh_mask = spelling.refresh ? mask_at(tokens, spelling.refresh) : "";
  // A borrowed row, whose owner's file is written beside it.
  const bool bare = access_mask.empty() && refresh_mask.empty();
  if (known && bare && has_text(object, "secret_fingerprint")) return;

  const auto& hash = held.row.refresh_hash;
  const bool moved = !known || access_mask != held.row.access_fingerprint ||
                     (!refresh_mask.empty() && hash && refresh_mask != fingerprint(*hash));
  const bool mirrored = mirrors(object, access_mask);
  if (!held.access_token.empty()) {
    tokens[spelling.access] = plain(held.access_token);
  } else {
    tokens.erase(spelling.access);
  }
  write_refresh(tokens, spelling, held, writing.with_refresh);
  if (held.row.identity.provider == "nous") write_agent_key(object, held, mirrored, moved);
  if (!moved) return;
  write_times(object, spelling, held.row);
  write_terms(object, held.row.identity);
  object.erase("last_auth_error");
}

void write_ways(json& object, const Identity& identity) {
  const auto put = [](json& into, const char* key, const std::string& text) {
    if (has_text(into, key) && !text.empty()) into[key] = text;
  };
  put(object, "client_id", identity.client_id);
  put(object, "base_url", identity.base_url);
  put(object, "portal_base_url", identity.portal_base_url);
  put(object, "inference_base_url", identity.inference_base_url);
  const auto tls = object.find("tls");
  if (tls != object.end() && tls->is_object()) put(*tls, "ca_bundle", identity.ca_file);
}

std::vector<Imprint> imprints_in(const json& extra) {
  std::vector<Imprint> places;
  const auto list = extra.find(kImprints);
  if (list == extra.end() || !list->is_array()) return places;
  for (const json& place : *list) {
    places.push_back({place.value("profile", ""), place.value("format", ""),
                      place.value("where", ""), place.value("as", json::object())});
  }
  return places;
}

json imprint_json(const Document& document, const Row& row) {
  return {{"profile", document.profile},
          {"format", document.format},
          {"where", row.where},
          {"as", open_text(row.original)}};
}

json merged_imprints(json fresh, const json& stored) {
  const auto same_file = [](const json& a, const json& b) {
    return a.value("profile", "") == b.value("profile", "") &&
           a.value("format", "") == b.value("format", "");
  };
  json kept = json::array();
  for (const json& place : stored) {
    const bool replaced = std::any_of(fresh.begin(), fresh.end(),
                                      [&](const json& newer) { return same_file(place, newer); });
    if (!replaced) kept.push_back(place);
  }
  for (json& place : kept) fresh.push_back(std::move(place));
  // In one order, however they were found: then a file that says nothing new changes nothing.
  std::stable_sort(fresh.begin(), fresh.end(),
                   [](const json& a, const json& b) { return name_of(a) < name_of(b); });
  return fresh;
}

}  // namespace authdb::migrate
