#include "oauth/classify.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

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

// Codes whose meaning does not depend on the provider (RFC 6749 section 5.2, RFC 8628 section 3.5).
struct CommonCode {
  std::string_view code;
  FailureClass failure;
};
constexpr std::array<CommonCode, 10> kCommonCodes{{
    {"invalid_grant", FailureClass::terminal},
    {"refresh_token_reused", FailureClass::terminal},
    // The client is at fault, not the login: another login would not help.
    {"invalid_client", FailureClass::transient},
    {"unauthorized_client", FailureClass::transient},
    {"unsupported_grant_type", FailureClass::transient},
    {"invalid_scope", FailureClass::transient},
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

// A 4xx whose body is JSON.
Verdict classify_refusal(int status, const ErrorBody& body, const std::vector<ErrorRule>& rules) {
  if (says_reuse(body)) return {Ruling::rejected, FailureClass::terminal, true};
  for (const ErrorRule& rule : rules) {
    if (applies(rule, status, body)) return verdict(rule.failure);
  }
  for (const CommonCode& common : kCommonCodes) {
    if (common.code == body.code) return verdict(common.failure);
  }
  // Without an `error` it is not the token endpoint that speaks: an edge, a gateway.
  const bool refuses = status == 401 || (status == 403 && !body.code.empty());
  return verdict(refuses ? FailureClass::login : FailureClass::transient);
}

}  // namespace

ErrorBody read_error(const TokenAnswer& answer) {
  ErrorBody body;
  body.json = answer.is_object();
  if (!body.json) return body;
  const json& fields = answer.fields();
  const auto error = fields.find("error");
  if (error != fields.end() && error->is_object()) {
    body.code = first_text(*error, {"code", "type"});
    body.description = first_text(*error, {"message"});
    return body;
  }
  body.code = first_text(fields, {"error"});
  body.description = first_text(fields, {"error_description", "message"});
  return body;
}

bool says_reuse(const ErrorBody& body) {
  const std::string description = lower(body.description);
  return contains(lower(body.code), "reused") || contains(description, "token reuse") ||
         contains(description, "reuse detected");
}

Verdict classify(int status, const ErrorBody& body, const std::vector<ErrorRule>& rules) {
  if (status == 429) return {Ruling::unspent, FailureClass::rate_limited, false};
  if (status == 425 || status == 503) return {Ruling::unspent, FailureClass::transient, false};
  if (status >= 300 && status < 400) return {Ruling::unspent, FailureClass::transient, false};
  if (status >= 200 && status < 300) {
    // Some providers say no with 200; a rule that names the status knows them.
    for (const ErrorRule& rule : rules) {
      if (!body.json || !rule.status || !applies(rule, status, body)) continue;
      Verdict known = verdict(rule.failure);
      known.reuse = known.ruling == Ruling::rejected && says_reuse(body);
      return known;
    }
    return {Ruling::uncertain, FailureClass::transient, false};
  }
  if (status < 400 || status >= 500 || status == 408) {
    return {Ruling::uncertain, FailureClass::transient, false};
  }
  if (!body.json) return {Ruling::unspent, FailureClass::transient, false};
  return classify_refusal(status, body, rules);
}

}  // namespace authdb::oauth
