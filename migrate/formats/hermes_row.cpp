#include "migrate/formats/hermes_row.h"

#include <algorithm>
#include <array>

#include "migrate/formats/fields.h"
#include "migrate/formats/json_text.h"
#include "store/env_source.h"
#include "store/scrub.h"
#include "store/words.h"

namespace authdb::migrate::hermes {
namespace {

using nlohmann::json;

// A wrong type in one of these makes the row unusable; in any other field, that field unknown.
constexpr std::array kTextFields{
    "id",        "label",    "auth_type",          "source",          "access_token",
    "agent_key", "base_url", "inference_base_url", "portal_base_url", "refresh_token",
    "client_id", "scope",    "token_type",         "agent_key_id",    "secret_fingerprint",
    "anon_token"};

struct Singleton {
  std::string_view provider;
  const char* source;  // of the pool row that Hermes seeds from the block
};
constexpr std::array kSingletons{
    Singleton{"nous", "device_code"},      Singleton{"openai-codex", "device_code"},
    Singleton{"xai-oauth", "device_code"}, Singleton{"minimax-oauth", "oauth"},
    Singleton{"spotify", "oauth_pkce"},    Singleton{"anthropic", "hermes_pkce"},
    Singleton{"qwen-oauth", "qwen-cli"}};

const Singleton* singleton(std::string_view provider) {
  const auto* it = std::find_if(kSingletons.begin(), kSingletons.end(),
                                [&](const Singleton& s) { return s.provider == provider; });
  return it == kSingletons.end() ? nullptr : it;
}

// The old host is dead; Hermes itself rewrites it when it loads the file.
std::string living_portal(std::string url) {
  constexpr std::string_view kDead = "api.nousresearch.com";
  const auto scheme = url.find("://");
  const auto host = scheme == std::string::npos ? 0 : scheme + 3;
  const auto end = url.find_first_of(":/", host);
  const std::string_view name = std::string_view(url).substr(host, end - host);
  return name == kDead ? "https://portal.nousresearch.com" : url;
}

AuthType auth_type_of(const std::string& word, const Row& row) {
  // Older eras label Claude's OAuth tokens as keys.
  if (row.identity.provider == "anthropic" &&
      row.grant.access_token.reveal().starts_with("sk-ant-oat")) {
    return AuthType::oauth;
  }
  if (const auto known = from_word<AuthType>(word)) return *known;
  const bool oauth = !row.grant.refresh_token.empty() ||
                     (row.singleton && singleton(row.identity.provider) != nullptr);
  return oauth ? AuthType::oauth : AuthType::api_key;
}

void read_identity(Fields& fields, Row& row) {
  Identity& id = row.identity;
  id.label = fields.text("label");
  id.foreign_id = fields.text("id");
  id.client_id = fields.text("client_id");
  id.scope = fields.text("scope");
  id.token_type = fields.text("token_type");
  id.base_url = fields.text("base_url");
  id.portal_base_url = fields.text("portal_base_url");
  id.inference_base_url = fields.text("inference_base_url");
  if (id.provider == "nous") id.portal_base_url = living_portal(std::move(id.portal_base_url));
  if (const std::string source = fields.text("source"); !source.empty()) id.source = source;
}

// What is read here stays in the object, too: it goes back out with it as it came.
void read_tls(const json& object, Row& row) {
  json tls = object.value("tls", json());
  if (!tls.is_object()) return;
  Fields fields(tls);
  row.insecure_tls = fields.flag("insecure").value_or(false);
  row.identity.ca_file = fields.text("ca_bundle");
}

void read_tokens(json& object, Fields& fields, Row& row) {
  row.grant.access_token = fields.secret("access_token");
  row.grant.refresh_token = fields.secret("refresh_token");
  if (row.grant.access_token.empty()) row.grant.access_token = fields.secret("project_secret");
  row.claims = read_claims(row.grant.access_token.reveal());
  if (has_text(object, "secret_fingerprint")) {
    row.secret_fingerprint = object["secret_fingerprint"].get<std::string>();
  } else if (row.grant.access_token.empty() && has_text(object, "anon_token")) {
    // A guest that has not been exchanged yet: its one secret stays among the foreign fields.
    row.secret_fingerprint =
        fingerprint(token_hash(object["anon_token"].get_ref<const std::string&>()));
  }
}

// The mail address in an id token, which tells accounts apart that nobody has named.
std::string mail_in(const json& object) {
  const auto tokens = object.find("tokens");
  for (const json* one : {&object, tokens == object.end() ? nullptr : &*tokens}) {
    if (one == nullptr || !one->is_object()) continue;
    const auto claims = read_claims(text_at(*one, "id_token"));
    if (claims && !claims->email.empty()) return claims->email;
  }
  return {};
}

// Whose it is, for people: the token's own word first.
std::string account_of(const json& object, const Row& row) {
  if (row.claims) {
    for (const auto& name : {row.claims->account, row.claims->email, row.claims->subject}) {
      if (!name.empty()) return name;
    }
  }
  const auto tokens = object.find("tokens");
  if (tokens != object.end() && has_text(*tokens, "account_id")) {
    return text_at(*tokens, "account_id");
  }
  return text_at(object, "user_id");
}

void read_times(const json& object, Fields& fields, Row& row) {
  auto obtained = fields.time("obtained_at");
  const auto refreshed = fields.time("last_refresh");
  if (refreshed && (!obtained || refreshed->at > obtained->at)) obtained = refreshed;
  if (!obtained) obtained = fields.time("issued_at");
  auto expires = fields.time("expires_at");
  if (!expires) expires = fields.time("expires_at_ms");

  Grant& grant = row.grant;
  for (const char* key : {"refresh_token_expires_at", "refresh_expires_at"}) {
    if (const auto ends = fields.time(key)) grant.session_ends_at = ends->at;
  }
  if (expires) {
    grant.expires_at = expires->at;
    row.expires_derived = expires->naive;
  } else if (row.claims) {
    grant.expires_at = row.claims->expires_at;
  }
  if (obtained) {
    grant.obtained_at = obtained->at;
    grant.obtained_derived = obtained->naive;
  } else if (grant.expires_at && object.contains("expires_in")) {
    if (const auto lifetime = parse_lifetime(object["expires_in"])) {
      grant.obtained_at = *grant.expires_at - *lifetime;
      grant.obtained_derived = true;
    }
  }
}

BearerKind bearer_kind_of(const Row& row) {
  if (row.identity.auth_type == AuthType::api_key) return BearerKind::api_key;
  if (row.identity.provider != "nous") return BearerKind::access_token;
  constexpr std::string_view kInvoke = "inference:invoke";
  const bool invokes = row.claims && (has_scope(row.identity.scope, kInvoke) ||
                                      has_scope(row.claims->scope, kInvoke));
  return invokes ? BearerKind::access_token : BearerKind::agent_key;
}

void read_agent_key(Fields& fields, Row& row) {
  AgentKey key;
  key.secret = fields.secret("agent_key");
  key.key_id = fields.text("agent_key_id");
  if (const auto at = fields.time("agent_key_obtained_at")) key.obtained_at = at->at;
  if (const auto at = fields.time("agent_key_expires_at")) key.expires_at = at->at;
  key.reused = fields.flag("agent_key_reused").value_or(false);
  // The JWT era writes the access token here as well.
  const bool mirrored = key.secret.reveal() == row.grant.access_token.reveal();
  if (!key.secret.empty() && !mirrored) row.agent_key = std::move(key);
}

void read_health(json& object, Fields& fields, Row& row) {
  Health& health = row.health;
  const std::string status = fields.text("last_status");
  if (const auto known = from_word<Status>(status)) {
    health.status = *known;
  } else if (!status.empty()) {
    object["last_status"] = status;
  }
  if (const auto at = fields.time("last_status_at")) health.status_at = at->at;
  const auto code = fields.integer("last_error_code");
  if (code && *code > 0 && *code < 1000) health.error_code = static_cast<int>(*code);
  health.error_reason = scrub(fields.text("last_error_reason"), {}, kShownError);
  std::string message = fields.text("last_error_message");
  health.error_message = scrub(message, {}, kShownError);
  wipe(message.data(), message.size());
  if (const auto at = fields.time("last_error_reset_at")) health.cooldown_until = at->at;
  health.request_count = std::max<std::int64_t>(0, fields.integer("request_count").value_or(0));
}

// Hermes has given up a block's tokens, and left them there.
void read_given_up(const json& object, Row& row) {
  json error = object.value("last_auth_error", json());
  if (!error.is_object()) return;
  Fields fields(error);
  if (!fields.flag("relogin_required").value_or(false)) return;
  row.health.status = Status::dead;
  row.health.error_reason = scrub(fields.text("code"), {}, kShownError);
  row.health.error_message = scrub(fields.text("message"), {}, kShownError);
  if (const auto at = fields.time("at")) row.health.status_at = at->at;
}

}  // namespace

std::string text_at(const json& object, const char* key) {
  return has_text(object, key) ? object[key].get<std::string>() : std::string();
}

bool holds_secret(const json& object) {
  constexpr std::array kSecrets{"access_token", "refresh_token",  "agent_key",
                                "anon_token",   "project_secret", "secret_fingerprint"};
  return std::any_of(kSecrets.begin(), kSecrets.end(),
                     [&](const char* key) { return has_secret(object, key); });
}

const char* field_of_wrong_type(const json& object) { return first_not_text(object, kTextFields); }

Row read_row(Block block, bool is_singleton) {
  json& object = block.fields;
  Fields fields(object);
  Row row;
  row.original = seal_text(std::move(block.original));
  row.where = std::move(block.where);
  row.singleton = is_singleton;
  row.identity.provider = std::move(block.provider);
  row.identity.source = block.source;
  read_identity(fields, row);
  read_tls(object, row);
  read_tokens(object, fields, row);
  std::string auth_type = fields.text("auth_type");
  row.identity.auth_type = auth_type_of(auth_type, row);
  if (!auth_type.empty() && !from_word<AuthType>(auth_type)) object["auth_type"] = auth_type;
  row.identity.account = account_of(object, row);
  if (row.identity.label.empty()) row.identity.label = mail_in(object);
  read_times(object, fields, row);
  row.grant.bearer_kind = bearer_kind_of(row);
  read_agent_key(fields, row);
  read_health(object, fields, row);
  if (is_singleton) read_given_up(object, row);
  row.priority = fields.integer("priority");
  object.erase(kAllowedVariable);  // only the user allows
  row.extra = seal_text(std::move(object));
  return row;
}

namespace {

// How long Hermes lets a row rest that does not say until when.
Seconds rest_in_hermes(int http_status, std::string_view reason, bool sole) {
  constexpr Seconds kMinute{60};
  constexpr Seconds kHour{3600};
  if (http_status == 402) return kHour;
  if (reason == "billing_unverified") return kMinute;
  if (http_status == 401) return 5 * kMinute;
  return sole && !reason.starts_with("billing") ? kMinute : kHour;
}

}  // namespace

void end_cooldown(Row& row, bool sole) {
  Health& health = row.health;
  if (health.status != Status::exhausted) {
    health.cooldown_until.reset();
    return;
  }
  if (health.cooldown_until || !health.status_at) return;
  const json extra = open_text(row.extra);
  const std::string reason = text_at(extra, "failure_reason");
  health.cooldown_until =
      *health.status_at + rest_in_hermes(health.error_code.value_or(0), reason, sole);
}

bool is_env(std::string_view source) { return variable_of(source).has_value(); }

bool is_borrowed(std::string_view source) {
  constexpr std::array<std::string_view, 6> kOwned{
      "", "manual", "device_code", "hermes_pkce", "oauth", "loopback_pkce"};
  return !source.starts_with("manual:") &&
         std::find(kOwned.begin(), kOwned.end(), source) == kOwned.end();
}

bool is_managed_elsewhere(std::string_view source) {
  constexpr std::array<std::string_view, 5> kManagers{"vault", "keyring", "systemd", "pass",
                                                      "sops"};
  const std::string_view manager = source.substr(0, source.find(':'));
  return std::find(kManagers.begin(), kManagers.end(), manager) != kManagers.end();
}

std::string secret_fingerprint(const Row& row) {
  const bool claude = row.identity.provider == "anthropic" && row.identity.source == "claude_code";
  const Grant& grant = row.grant;
  if (claude && !grant.refresh_token.empty()) return fingerprint(grant.refresh_token);
  if (!claude && !grant.access_token.empty()) return fingerprint(grant.access_token);
  if (!claude && !grant.refresh_token.empty()) return fingerprint(grant.refresh_token);
  if (!claude && row.agent_key) return fingerprint(row.agent_key->secret);
  return row.secret_fingerprint;
}

const char* seeded_source(std::string_view provider) {
  const Singleton* known = singleton(provider);
  return known ? known->source : nullptr;
}

Health health_in(const json& row) {
  json copy = row;
  Fields fields(copy);
  Row read;
  read_health(copy, fields, read);
  if (read.health.status != Status::exhausted) read.health.cooldown_until.reset();
  return read.health;
}

}  // namespace authdb::migrate::hermes
