#include "migrate/formats/slots.h"

#include <array>

#include "migrate/formats/fields.h"
#include "migrate/formats/imprint.h"
#include "migrate/formats/opencode.h"
#include "store/clock_slack.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

constexpr Slot::Keys kSnake{"access_token", "refresh_token"};
constexpr Slot::Keys kCamel{"accessToken", "refreshToken"};
constexpr Slot::Keys kShort{"access", "refresh"};
constexpr double kMilliseconds = 1e12;  // larger numbers are epoch milliseconds

std::string_view text_at(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get_ref<const std::string&>()
                                               : std::string_view();
}

// Segments of a JSON pointer (RFC 6901): `~` and `/` have spellings of their own.
std::string pointer(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const auto part : parts) {
    out += '/';
    for (const char c : part) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  }
  return out;
}

void add_block(std::vector<Slot>& slots, std::string place, std::string provider, json& block) {
  if (!block.is_object()) return;
  const auto tokens = block.find("tokens");
  const bool below = tokens != block.end() && tokens->is_object();
  // Hermes's Codex and xAI blocks have theirs below, and so has Codex itself.
  slots.emplace_back(std::move(place), std::move(provider), below ? *tokens : block, block, kSnake,
                     below);
}

void add_hermes(std::vector<Slot>& slots, json& root) {
  const auto pools = root.find("credential_pool");
  if (pools != root.end() && pools->is_object()) {
    for (auto& [provider, rows] : pools->items()) {
      for (std::size_t i = 0; rows.is_array() && i < rows.size(); ++i) {
        if (!rows[i].is_object()) continue;
        slots.emplace_back(pointer({"credential_pool", provider, std::to_string(i)}), provider,
                           rows[i], rows[i], kSnake, false);
      }
    }
  }
  for (const char* section : {"providers", "systems"}) {
    const auto blocks = root.find(section);
    if (blocks == root.end() || !blocks->is_object()) continue;
    for (auto& [name, block] : blocks->items()) {
      add_block(slots, pointer({section, name}), name == "nous_portal" ? "nous" : name, block);
    }
  }
}

// In the spelling that stands there; text where nothing does.
void put_time(json& value, Instant at) {
  if (!value.is_number()) {
    value = format_iso(at);
  } else if (value.get<double>() > kMilliseconds) {
    value = to_millis(at);
  } else {
    value = to_millis(at) / 1000;
  }
}

void put_if_there(json& object, const char* key, std::optional<Instant> at) {
  const auto it = object.find(key);
  if (it == object.end()) return;
  if (at) {
    put_time(*it, *at);
  } else {
    *it = nullptr;
  }
}

void put_millis_if_there(json& object, const char* key, std::optional<Instant> at) {
  const auto it = object.find(key);
  if (it == object.end()) return;
  *it = at ? json(to_millis(*at)) : json();
}

// Hermes takes a grant of these for expiring where it finds no `expires_at`.
bool needs_expiry(std::string_view provider) {
  return provider == "nous" || provider == "minimax-oauth" || provider == "spotify";
}

}  // namespace

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

bool Slot::is_in_a_list() const {
  const std::string last = place_.substr(place_.rfind('/') + 1);
  return !last.empty() && last.find_first_not_of("0123456789") == std::string::npos;
}

std::string_view Slot::access_token() const { return text_at(*tokens_, keys_->access); }
std::string_view Slot::refresh_token() const {
  const auto token = text_at(*tokens_, keys_->refresh);
  return token == kHeldElsewhere ? std::string_view() : token;
}

void Slot::put(const Held& held, bool with_refresh_token) {
  if (access_token() != held.access_token.reveal()) lift_verdict();
  (*tokens_)[keys_->access] = std::string(held.access_token.reveal());
  json& refresh = (*tokens_)[keys_->refresh];
  if (with_refresh_token) {
    refresh = std::string(held.refresh_token.reveal());
  } else {
    refresh = needs_a_word_ ? json(kHeldElsewhere) : json();
  }
  put_times(held.row);
  put_agent_key(held);
  const Identity& id = held.row.identity;
  write_ways(*around_, id);
  if (around_->contains("scope") && !id.scope.empty() && (*around_)["scope"].is_string()) {
    (*around_)["scope"] = id.scope;
  }
}

bool Slot::ends_after(Instant at) const {
  const auto is_later = [&](const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end()) return false;
    const auto time = parse_time(*it, NaiveTime::utc);
    return time && time->at > at;
  };
  for (const json* object : {tokens_, around_}) {
    for (const char* key : {"expires_at", "expires_at_ms", "expiresAt", "expiry_date", "expires",
                            "agent_key_expires_at"}) {
      if (is_later(*object, key)) return true;
    }
  }
  return false;
}

void Slot::put_times(const Credential& row) {
  if (needs_expiry(provider_) && !around_->contains("expires_at") && row.expires_at) {
    (*around_)["expires_at"] = format_iso(*row.expires_at);
  }
  for (json* object : {tokens_, around_}) {
    put_if_there(*object, "expires_at", row.expires_at);
    for (const char* key : {"expires_at_ms", "expiresAt", "expiry_date", "expires"}) {
      put_millis_if_there(*object, key, row.expires_at);
    }
    put_if_there(*object, "obtained_at", row.obtained_at);
    put_if_there(*object, "last_refresh", row.obtained_at);
    if (object->contains("expires_in") && row.expires_at && row.obtained_at) {
      (*object)["expires_in"] =
          std::chrono::duration_cast<Seconds>(*row.expires_at - *row.obtained_at).count();
    }
    if (tokens_ == around_) break;
  }
}

// The JWT era writes the access token here as well; before it this is a key of its own.
void Slot::put_agent_key(const Held& held) {
  if (!around_->contains("agent_key")) return;
  const Credential& row = held.row;
  const bool mirrored = row.bearer_kind == BearerKind::access_token;
  const Secret& key = mirrored ? held.access_token : held.agent_key;
  (*around_)["agent_key"] = key.empty() ? json() : json(std::string(key.reveal()));
  put_if_there(*around_, "agent_key_expires_at",
               mirrored ? row.expires_at : row.agent_key_expires_at);
  put_if_there(*around_, "agent_key_obtained_at",
               mirrored ? row.obtained_at : row.agent_key_obtained_at);
  if (around_->contains("agent_key_id")) (*around_)["agent_key_id"] = nullptr;
}

void Slot::lift_verdict() {
  around_->erase("last_auth_error");
  const auto status = around_->find("last_status");
  if (status == around_->end() || !status->is_string() || *status == "ok") return;
  const auto code = around_->find("last_error_code");
  const bool about_the_token = *status == "dead" || (code != around_->end() && *code == 401);
  if (!about_the_token) return;
  for (const char* key : {"last_status", "last_status_at", "last_error_code", "last_error_reason",
                          "last_error_message", "last_error_reset_at"}) {
    if (around_->contains(key)) (*around_)[key] = nullptr;
  }
}

std::vector<Slot> slots_of(json& root, std::string_view format) {
  std::vector<Slot> slots;
  if (!root.is_object()) return slots;
  const auto whole_file = [&](const char* provider, const Slot::Keys& keys) {
    slots.emplace_back("", provider, root, root, keys, format == "qwen");
  };
  if (format == "hermes") add_hermes(slots, root);
  if (format == "hermes-anthropic") whole_file("anthropic", kCamel);
  if (format == "hermes-shared-nous") whole_file("nous", kSnake);
  if (format == "qwen") whole_file("qwen-oauth", kSnake);
  if (format == "codex") add_block(slots, "", "openai-codex", root);
  if (format == "claude" && root.contains("claudeAiOauth") && root["claudeAiOauth"].is_object()) {
    json& block = root["claudeAiOauth"];
    slots.emplace_back(pointer({"claudeAiOauth"}), "anthropic", block, block, kCamel, false);
  }
  if (format == "opencode") {
    for (auto& [name, block] : root.items()) {
      if (!block.is_object() || text_at(block, "type") != "oauth") continue;
      slots.emplace_back(pointer({name}), opencode::oauth_provider(name), block, block, kShort,
                         true);
    }
  }
  return slots;
}

Seconds skew_of(std::string_view format, std::string_view provider) {
  if (!format.starts_with("hermes")) return Seconds{300};  // Claude Code's, the longest of them
  if (provider == "xai-oauth") return Seconds{3600};
  if (provider == "minimax-oauth") return Seconds{60};
  return Seconds{120};
}

}  // namespace authdb::migrate
