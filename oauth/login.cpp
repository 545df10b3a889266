#include "oauth/login.h"

#include <array>

#include "oauth/classify.h"
#include "oauth/client_request.h"
#include "oauth/codex_device.h"
#include "oauth/device_flow.h"
#include "oauth/endpoints.h"
#include "oauth/loopback_flow.h"
#include "oauth/minimax_user_code.h"
#include "oauth/pasted_code.h"
#include "oauth/token_answer.h"
#include "oauth/token_endpoint.h"
#include "store/claims.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

struct Flow {
  std::string_view name;  // in kLogins
  Result<LoginAnswer> (*run)(const LoginParts&);
  std::string_view source;  // in Hermes's words, so that its own readers know the kind
};

constexpr std::array<Flow, kLogins.size()> kFlows{{
    {"device", device_login, "manual:device_code"},
    {"codex_device", codex_device_login, "manual:device_code"},
    {"minimax_user_code", minimax_user_code_login, "manual:minimax_oauth"},
    {"loopback", loopback_login, "manual:loopback_pkce"},
    {"pasted_code", pasted_code_login, "manual:hermes_pkce"},
}};

// Whose session it is, as the answer says.
void read_account(const TokenAnswer& answer, NewSession& session) {
  session.subject = session.grant.subject.first();
  session.identity.account =
      session.grant.account.empty() ? session.subject : session.grant.account;
  for (const char* token : {"id_token", "access_token"}) {
    const auto claims = read_claims(answer.text(token));
    if (claims && session.identity.label.empty()) session.identity.label = claims->email;
  }
}

Result<NewSession> read_session(const LoginParts& parts, LoginAnswer got, std::string_view source) {
  NewSession session;
  session.identity = identity_of(parts);
  session.identity.source = source;
  const OAuthTokenEndpoint endpoint(
      {parts.provider, session.identity, parts.http, parts.environment, parts.clock, nullptr});
  Judgement judgement = endpoint.judge(got.answer);
  if (!judgement.grant) {
    return fail(Errc::try_later, "the login was granted, but " + judgement.message,
                "Nothing has changed here. Log in once more.");
  }
  session.grant = *std::move(judgement.grant);
  session.warning = session.grant.access_token.empty() ? std::string() : judgement.message;
  if (parts.provider->session && !session.grant.session_ends_at) {
    session.grant.session_ends_at = *session.grant.obtained_at + *parts.provider->session;
  }
  if (!session.grant.scope.empty()) session.identity.scope = session.grant.scope;
  session.identity.token_type = session.grant.token_type;
  session.identity.inference_base_url = session.grant.inference_base_url;
  const TokenAnswer answer(got.answer);
  read_account(answer, session);
  session.id_token = answer.secret("id_token");
  session.shield = std::move(got.shield);
  return session;
}

}  // namespace

Result<std::string> login_flow(const Provider& provider, bool in_browser) {
  const bool loopback = !provider.authorization_endpoint.empty() || !provider.issuer.empty();
  const bool device = !provider.device_authorization_endpoint.empty();
  if (in_browser && !loopback) {
    return fail(Errc::usage, provider.id + " has no login in a browser of this machine",
                "Leave --browser out.");
  }
  if (in_browser && provider.login != "pasted_code") return "loopback";
  if (!provider.login.empty()) return provider.login;
  if (device) return "device";
  if (loopback) return "loopback";
  return fail(
      Errc::usage, "nothing is known about logging in to " + provider.id,
      "Give it a device_authorization_endpoint or an authorization_endpoint in providers.d, "
      "or hand over a grant: authdb add " +
          provider.id + " --grant");
}

Result<NewSession> log_in(const LoginParts& parts, const std::string& flow) {
  for (const Flow& known : kFlows) {
    if (known.name != flow) continue;
    auto got = known.run(parts);
    if (!got) return fail(got.error());
    return read_session(parts, *std::move(got), known.source);
  }
  return fail(Errc::usage, "there is no login called " + flow);
}

Identity identity_of(const LoginParts& parts) {
  const auto text = [&](const char* field) {
    return setting(*parts.provider, field, parts.environment).value;
  };
  Identity identity;
  identity.provider = parts.provider->id;
  identity.client_id = text("client_id");
  identity.scope = text("scope");
  identity.portal_base_url = text("portal_base_url");
  return identity;
}

Result<HttpRequest> login_request(const LoginParts& parts, const char* endpoint, FormFields fields,
                                  std::string_view body) {
  const Identity identity = identity_of(parts);
  auto url = endpoint_url(*parts.provider, identity, parts.environment, endpoint);
  if (!url) return fail(url.error());
  return client_request(*parts.provider, identity, parts.environment, *std::move(url),
                        std::move(fields), body);
}

Error refused_login(const Answer& answer, const std::string& what,
                    const std::vector<const Secret*>& secrets) {
  if (answer.http_status == 0) {
    return {Errc::try_later, what + " failed: " + why_no_answer(answer, secrets),
            "Nothing has changed here. Try again."};
  }
  const ErrorBody body = read_error(TokenAnswer(answer));
  std::string text = what + " was answered with status " + std::to_string(answer.http_status);
  if (!body.code.empty()) text += ", " + scrub(body.code, secrets, 64);
  if (!body.description.empty()) text += ": " + scrub(body.description, secrets);
  const bool refused = body.json && !(answer.is_success() && body.code.empty());
  const bool later = worth_another_try(answer) || !refused;
  return {later ? Errc::try_later : Errc::login_needed, text, "Nothing has changed here."};
}

bool worth_another_try(const Answer& answer) {
  const int status = answer.http_status;
  return status == 0 || status == 408 || status == 425 || status == 429 || status >= 500;
}

}  // namespace authdb::oauth
