#include "oauth/agent_key.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oauth/answer_text.h"
#include "oauth/authorities.h"
#include "oauth/classify.h"
#include "oauth/endpoints.h"
#include "oauth/expiry.h"
#include "oauth/token_answer.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

constexpr Seconds kShortestMint{60};
constexpr Seconds kAssumedLife{1800};

// `api_key`, else its older name. A truthy `api_key` that is no string is a mistake that must not
// be papered over with the alias.
Secret key_of(const TokenAnswer& answer) {
  const nlohmann::json& fields = answer.fields();
  const auto it = fields.find("api_key");
  if (it != fields.end() && it->is_string() && !it->get_ref<const std::string&>().empty()) {
    return answer.secret("api_key");
  }
  const bool falsy = it == fields.end() || it->is_null() || it->is_string() || it->empty() ||
                     *it == false || (it->is_number() && *it == 0);
  return falsy ? answer.secret("agent_key") : Secret();
}

bool is_true(const nlohmann::json& fields, const char* key) {
  const auto it = fields.find(key);
  return it != fields.end() && it->is_boolean() && it->get<bool>();
}

// A no to this access token or this account is definite only with 401 or 403, and with a code that
// says more than they do: a page, or the status once more, is from somewhere in between.
FailureClass failure_of(const Answer& answer, const ErrorBody& body, const Provider& provider) {
  const FailureClass listed = classify(answer.http_status, body, provider.errors).failure;
  const bool is_login = listed == FailureClass::terminal || listed == FailureClass::login;
  if (!is_login) return listed;
  const bool definite = answer.http_status == 401 || answer.http_status == 403;
  return definite ? FailureClass::login : FailureClass::transient;
}

// A page is nobody's word on a token.
bool may_be_the_token(const Answer& answer, const ErrorBody& body) {
  return answer.http_status == 401 && (body.json || answer.body.empty());
}

}  // namespace

Result<HttpRequest> mint_request(const Provider& provider, const Identity& identity,
                                 const Environment& environment, const Secret& access_token,
                                 Milliseconds min_ttl) {
  auto url = agent_key_url(provider, identity, environment);
  if (!url) return fail(url.error());
  auto authorities = authorities_of(provider, identity, environment);
  if (!authorities) return fail(std::move(authorities.error()));
  const auto asked =
      std::max({kShortestMint, provider.agent_key->min_ttl, std::chrono::ceil<Seconds>(min_ttl)});
  constexpr std::string_view kScheme = "Bearer ";
  std::vector<char> bearer;
  bearer.reserve(kScheme.size() + access_token.size());
  bearer.insert(bearer.end(), kScheme.begin(), kScheme.end());
  bearer.insert(bearer.end(), access_token.reveal().begin(), access_token.reveal().end());

  HttpRequest request;
  request.url = *url;
  request.authorities = *std::move(authorities);
  for (const auto& [name, value] : provider.headers) {
    request.headers.emplace_back(name, Secret::copy_of(value));
  }
  request.headers.emplace_back("Authorization", Secret(std::move(bearer)));
  request.headers.emplace_back("Content-Type", Secret::copy_of("application/json"));
  request.body = Secret::copy_of("{\"min_ttl_seconds\": " + std::to_string(asked.count()) + "}");
  return request;
}

MintAnswer read_mint(const Answer& answer, const Provider& provider, const Secret& access_token) {
  MintAnswer out;
  out.http_status = answer.http_status;
  out.retry_after = answer.retry_after;
  const std::vector<const Secret*> known{&access_token};
  const TokenAnswer fields(answer);
  const std::string status = "status " + std::to_string(answer.http_status);
  if (answer.http_status == 0) {
    out.code = "transport";
    out.message = why_no_answer(answer, known);
    return out;
  }
  if (answer.http_status == 200) {
    AgentKey key;
    key.secret = key_of(fields);
    if (!key.secret.empty()) {
      const Expiry expiry = expiry_of(fields, key.secret.reveal(), answer.started_at, kAssumedLife);
      key.key_id = fields.text("key_id");
      key.obtained_at = answer.started_at;
      key.expires_at = expiry.at;
      key.reused = is_true(fields.fields(), "reused");
      out.warning = expiry.warning;
      out.key = std::move(key);
      return out;
    }
    out.code = "unusable_answer";
    out.message = !answer.complete ? "the mint answer was cut short"
                  : !fields.is_whole()
                      ? "the mint answer is invalid JSON, or no object"
                      : "the mint answer is missing api_key (it had: " + fields.key_names() + ")";
    return out;
  }

  const ErrorBody body = read_error(fields);
  out.failure = failure_of(answer, body, provider);
  out.may_be_the_token = may_be_the_token(answer, body);
  out.code = body.code.empty() ? "http_" + std::to_string(answer.http_status)
                               : scrub(body.code, known, 64);
  const std::string detail =
      body.code.empty()
          ? page_text(answer, known)
          : out.code + (body.description.empty() ? "" : ": " + scrub(body.description, known));
  out.message = "the server answered with " + status + (detail.empty() ? "" : ", " + detail);
  if (answer.http_status == 404 || answer.http_status == 410) {
    out.message +=
        " (it may have stopped minting agent keys: a new login gets a token that needs "
        "none)";
  }
  return out;
}

}  // namespace authdb::oauth
