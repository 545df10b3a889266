#include "oauth/classify.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "oauth/reuse_words.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The first of `keys` that is a non-blank string, trimmed.
std::string first_text(const json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_string()) continue;
    const auto& text = it->get_ref<const std::string&>();
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string::npos) continue;
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
  }
  return {};
}

// Codes whose meaning does not depend on the provider (RFC 6749 section 5.2, RFC 8628 section 3.5,
// RFC 8707 section 2, RFC 9449 sections 5 and 8, OpenID Connect Core section 3.1.2.6), and some of
// single providers that nobody uses otherwise. Not invalid_request: some say so of a dead token.
struct CommonCode {
  std::string_view code;
  FailureClass failure;
};
constexpr std::array<CommonCode, 20> kCommonCodes{{
    {"invalid_grant", FailureClass::terminal},
    {"refresh_token_reused", FailureClass::terminal},
    {"bad_refresh_token", FailureClass::terminal},  // GitHub
    {"refresh_token_expired", FailureClass::terminal},
    {"refresh_token_invalidated", FailureClass::terminal},
    // Somebody has to come: no refresh brings the session back.
    {"interaction_required", FailureClass::login},
    {"login_required", FailureClass::login},
    {"consent_required", FailureClass::login},
    {"account_selection_required", FailureClass::login},
    // The client is at fault, not the login: another login would not help.
    {"invalid_client", FailureClass::transient},
    {"unauthorized_client", FailureClass::transient},
    {"unsupported_grant_type", FailureClass::transient},
    {"invalid_scope", FailureClass::transient},
    {"invalid_target", FailureClass::transient},
    {"invalid_dpop_proof", FailureClass::transient},
    {"use_dpop_nonce", FailureClass::transient},
    {"temporarily_unavailable", FailureClass::transient},
    {"server_error", FailureClass::transient},
    {"slow_down", FailureClass::rate_limited},
    {"rate_limited", FailureClass::rate_limited},
}};

bool applies(const ErrorRule& rule, int status, const ErrorBody& body) {
  return (!rule.status || *rule.status == status) &&
         (rule.code.empty() || rule.code == body.code) &&
         (rule.match.empty() || contains(lower(body.description), lower(rule.match)));
}

Verdict verdict(FailureClass failure) {
  const bool definite = failure == FailureClass::terminal || failure == FailureClass::login;
  return {definite ? Ruling::rejected : Ruling::unspent, failure, false};
}

constexpr Verdict kReuse{Ruling::rejected, FailureClass::terminal, true};

std::optional<Verdict> by_common_code(const ErrorBody& body) {
  for (const CommonCode& common : kCommonCodes) {
    if (common.code == body.code) return verdict(common.failure);
  }
  return std::nullopt;
}

// Gateways write the status once more where a code belongs.
bool repeats_the_status(int status, const std::string& code) {
  const std::string said = lower(code);
  return said == std::to_string(status) || said == (status == 401 ? "unauthorized" : "forbidden");
}

// A 4xx whose body is an error of the token endpoint.
Verdict classify_refusal(int status, const ErrorBody& body, const std::vector<ErrorRule>& rules) {
  if (says_reuse(body)) return kReuse;
  for (const ErrorRule& rule : rules) {
    if (applies(rule, status, body)) return verdict(rule.failure);
  }
  if (const auto common = by_common_code(body)) return *common;
  // Without a code of its own it is not the token endpoint that speaks: an edge, a gateway.
  const bool speaks = !body.code.empty() && !repeats_the_status(status, body.code);
  if (speaks && (status == 401 || status == 403)) return verdict(FailureClass::login);
  Verdict nobody_knows = verdict(FailureClass::transient);
  nobody_knows.unknown = true;
  return nobody_knows;
}

// A 2xx without a grant. Some providers say no with 200: their codes mean the same there. A code
// that nobody knows means nothing, and neither does a rule that is about no code or words at all.
Verdict classify_success(int status, const ErrorBody& body, const std::vector<ErrorRule>& rules) {
  const Verdict unknown{Ruling::uncertain, FailureClass::transient, false};
  if (!body.json || body.code.empty()) return unknown;
  if (says_reuse(body)) return kReuse;
  for (const ErrorRule& rule : rules) {
    const bool speaks = rule.status || !rule.code.empty() || !rule.match.empty();
    if (speaks && applies(rule, status, body)) return verdict(rule.failure);
  }
  // Something broke there, nobody knows before or after the token was spent.
  if (body.code == "server_error") return unknown;
  return by_common_code(body).value_or(unknown);
}

}  // namespace

ErrorBody read_error(const TokenAnswer& answer) {
  ErrorBody body;
  const json& fields = answer.fields();
  const auto error = fields.find("error");
  if (error != fields.end() && error->is_object()) {
    body.code = first_text(*error, {"code", "type"});
    body.description = first_text(*error, {"message"});
  } else {
    body.code = first_text(fields, {"error"});
    body.description = first_text(fields, {"error_description", "message"});
  }
  body.json = answer.is_whole() || !body.code.empty();
  body.blank = answer.is_blank();
  return body;
}

bool says_reuse(const ErrorBody& body) {
  return contains(lower(body.code), "reused") || tells_of_reuse(body.code) ||
         tells_of_reuse(body.description);
}

Verdict classify(int status, const ErrorBody& body, const std::vector<ErrorRule>& rules) {
  if (status == 429) return {Ruling::unspent, FailureClass::rate_limited, false};
  if (status == 425 || status == 503) return {Ruling::unspent, FailureClass::transient, false};
  if (status >= 300 && status < 400) return {Ruling::unspent, FailureClass::transient, false};
  if (status >= 200 && status < 300) return classify_success(status, body, rules);
  if (status < 400 || status >= 500 || status == 408) {
    return {Ruling::uncertain, FailureClass::transient, false};
  }
  // A page is somebody else's. Without a word nobody knows whose it is.
  if (!body.json) return {Ruling::unspent, FailureClass::transient, false, body.blank};
  return classify_refusal(status, body, rules);
}

bool brings_a_new_pair(const Answer& answer) {
  const TokenAnswer fields(answer);
  const std::string_view refresh = fields.text("refresh_token");
  return fields.is_whole() && !fields.text("access_token").empty() && !refresh.empty() &&
         refresh != answer.sent.reveal() && read_error(fields).code.empty();
}

}  // namespace authdb::oauth
