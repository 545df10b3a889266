#include "oauth/token_endpoint.h"

#include <algorithm>

#include "oauth/answer_text.h"
#include "oauth/classify.h"
#include "oauth/client_request.h"
#include "oauth/endpoints.h"
#include "oauth/expiry.h"
#include "oauth/grant_owner.h"
#include "store/claims.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

constexpr std::string_view kHeaderPrefix = "header:";
constexpr std::size_t kShownCode = 64;

// Of a token that has not arrived yet, only the scope is known.
BearerKind bearer_kind_of(const Provider& provider, const std::string& scope,
                          const Secret& access_token) {
  if (!mints_agent_keys(provider, scope) && access_token.empty()) return BearerKind::access_token;
  if (!provider.agent_key) return BearerKind::access_token;
  const auto claims = read_claims(access_token.reveal());
  const bool invokes = claims && (has_scope(scope, "inference:invoke") ||
                                  has_scope(claims->scope, "inference:invoke"));
  return invokes ? BearerKind::access_token : BearerKind::agent_key;
}

// Some clients of one provider were written for the other kind of body, and their grants with them.
const std::string& token_body_of(const Provider& provider, const std::string& source) {
  for (const auto& [ending, body] : provider.token_body_of) {
    if (source.ends_with(ending)) return body;
  }
  return provider.token_body;
}

std::string http_code(int status) { return "http_" + std::to_string(status); }

// What a person is told of a 2xx that holds neither a grant nor an error, without its content.
std::string describe_success(const Answer& answer, const TokenAnswer& fields, bool unreadable) {
  const std::string text =
      "the refresh answer (status " + std::to_string(answer.http_status) + ") ";
  if (!answer.complete) {
    return text + "was cut short" + (answer.failure.empty() ? "" : ": " + answer.failure);
  }
  if (!unreadable) return text + "is missing access_token (it had: " + fields.key_names() + ")";
  const std::string type = scrub(answer.content_type, {}, kShownCode);
  return text + "is unreadable: it looks like " + std::string(looks_like(answer.body.reveal())) +
         ", " + std::to_string(answer.body.size()) + " bytes" +
         (type.empty() ? "" : ", sent as " + type);
}

}  // namespace

TokenPolicy OAuthTokenEndpoint::policy() const {
  return {parts_.provider->skew, parts_.provider->reuse_grace};
}

Answer OAuthTokenEndpoint::send(const Secret& refresh_token, const std::function<bool()>& sent) {
  const Instant started_at = parts_.clock();
  Answer answer;
  if (const auto request = this->request(refresh_token)) {
    answer = parts_.http->perform(*request, sent);
    if (!answer.failure.empty()) answer.failure = why_no_answer(answer, {&refresh_token});
  } else {
    const Error& error = request.error();
    answer.failure = error.message + (error.hint.empty() ? "" : ". " + error.hint);
  }
  answer.started_at = started_at;
  return answer;
}

Result<HttpRequest> OAuthTokenEndpoint::request(const Secret& refresh_token) {
  const Provider& provider = *parts_.provider;
  auto endpoint = parts_.discovery->endpoint(provider, parts_.identity, "token_endpoint");
  if (!endpoint) return fail(endpoint.error());
  const bool in_body =
      provider.refresh_token_in == "body" || mints_agent_keys(provider, parts_.identity.scope);
  FormFields fields{{"grant_type", "refresh_token"}};
  if (in_body) fields.emplace_back("refresh_token", refresh_token.reveal());
  auto request = client_request(provider, parts_.identity, parts_.environment, *std::move(endpoint),
                                std::move(fields), token_body_of(provider, parts_.identity.source));
  if (request && !in_body) {
    request->headers.emplace_back(provider.refresh_token_in.substr(kHeaderPrefix.size()),
                                  refresh_token.clone());
  }
  return request;
}

Grant OAuthTokenEndpoint::grant_of(const TokenAnswer& fields, Instant started_at,
                                   std::string& warning) const {
  const Provider& provider = *parts_.provider;
  Grant grant;
  grant.access_token = fields.secret("access_token");
  grant.refresh_token = fields.secret("refresh_token");
  grant.obtained_at = started_at;
  grant.scope = fields.text("scope");
  grant.token_type = fields.text("token_type");
  const std::string inference(fields.text("inference_base_url"));
  if (!inference.empty() && check_allowed(provider, inference, parts_.environment)) {
    grant.inference_base_url = inference;
  }
  GrantOwner owner = owner_of(fields);
  grant.account = std::move(owner.account);
  grant.subject = std::move(owner.subject);
  const std::string& scope = grant.scope.empty() ? parts_.identity.scope : grant.scope;
  grant.bearer_kind = bearer_kind_of(provider, scope, grant.access_token);
  if (!grant.access_token.empty()) {
    Expiry expiry = expiry_of(fields, grant.access_token.reveal(), started_at, provider.floor);
    grant.expires_at = expiry.at;
    warning = std::move(expiry.warning);
  }
  grant.session_ends_at = session_end_of(fields, started_at);
  return grant;
}

// What a person is told of an error.
std::string OAuthTokenEndpoint::describe(const Answer& answer, const ErrorBody& body,
                                         bool reuse) const {
  std::string text = "the server answered with status " + std::to_string(answer.http_status);
  if (!body.json || body.code.empty()) {
    const std::string page = page_text(answer, {&answer.sent});
    return text + (page.empty() ? "" : ": " + page);
  }
  text += ", " + scrub(body.code, {&answer.sent}, kShownCode);
  if (!body.description.empty()) text += ": " + scrub(body.description, {&answer.sent});
  if (body.code == "invalid_client" || body.code == "unauthorized_client") {
    text += " (look at client_id, client_auth and client_secret_env of `authdb providers " +
            parts_.provider->id + "`)";
  }
  if (reuse) text = "refresh token reuse: this token had been used before: " + text;
  return text;
}

// Only a whole answer can say that the old refresh token stays good, by bringing no new one. Of a
// cut or broken one a new refresh token is what counts: without it nobody knows which one is live.
bool OAuthTokenEndpoint::read_grant(const Answer& answer, const TokenAnswer& fields,
                                    Judgement& out) const {
  Grant grant = grant_of(fields, answer.started_at, out.message);
  const bool whole = fields.is_whole() && !fields.is_unusable("refresh_token");
  if (grant.refresh_token.empty() && (grant.access_token.empty() || !whole)) return false;
  grant.lifetime_cut_off =
      !whole && !stated_expiry(fields, grant.access_token.reveal(), answer.started_at);
  out.ruling = grant.access_token.empty() ? Ruling::uncertain : Ruling::granted;
  out.grant = std::move(grant);
  return true;
}

void OAuthTokenEndpoint::read_refusal(const Answer& answer, const TokenAnswer& fields,
                                      Judgement& out) const {
  const bool ok = answer.is_success();
  ErrorBody body = ok && !fields.is_whole() ? ErrorBody{} : read_error(fields);
  const bool stated = !body.code.empty();
  if (ok && body.json && !stated) body.code = fields.text("status");  // MiniMax's way to say no
  const Verdict verdict = classify(answer.http_status, body, parts_.provider->errors);
  if (!stated && verdict.ruling == Ruling::uncertain) body.code.clear();
  out.ruling = verdict.ruling;
  out.failure = verdict.failure;
  out.reuse = verdict.reuse;
  out.unknown = verdict.unknown;
  out.code = body.code.empty() ? http_code(answer.http_status)
                               : scrub(body.code, {&answer.sent}, kShownCode);
  if (!ok || !body.code.empty()) {
    out.message = describe(answer, body, verdict.reuse);
    return;
  }
  const bool lossy = !fields.is_whole() || fields.is_unusable("refresh_token");
  out.unreadable = answer.complete && lossy;
  if (out.unreadable) out.code = "unreadable";
  out.message = describe_success(answer, fields, out.unreadable);
}

Judgement OAuthTokenEndpoint::judge(const Answer& answer) const {
  Judgement out;
  out.retry_after = answer.retry_after;
  if (answer.http_status == 0) {
    out.failure = FailureClass::transient;
    out.code = "transport";
    out.message = why_no_answer(answer);
    return out;
  }
  const TokenAnswer fields(answer);
  const bool may_grant = answer.is_success() || brings_a_new_pair(answer);
  if (!may_grant || !read_grant(answer, fields, out)) {
    read_refusal(answer, fields, out);
  } else if (out.ruling == Ruling::uncertain) {
    out.failure = FailureClass::transient;
    out.code = http_code(answer.http_status);
    out.message = describe_success(answer, fields, false);
  }
  return out;
}

}  // namespace authdb::oauth
