#include "oauth/loopback_flow.h"

#include "oauth/authorization.h"
#include "oauth/endpoints.h"
#include "oauth/loopback_listener.h"

namespace authdb::oauth {
namespace {

// Returns with the listener closed: whoever comes after the code has come is not heard.
Result<Query> wait_for_browser(const LoginParts& parts, Authorization& authorization) {
  auto listener =
      LoopbackListener::open(setting(*parts.provider, "redirect_uri", parts.environment).value);
  if (!listener) return fail(listener.error());
  authorization.redirect_uri = listener->redirect_uri();
  auto url = authorization_url(parts, authorization);
  if (!url) return fail(url.error());

  LoginEvent visit;
  visit.url = *std::move(url);
  visit.expires_at = parts.clock() + parts.timeout;
  parts.tell(visit);

  auto query = listener->wait(parts.timeout, [&](const Query& came) {
    const auto state = came.find("state");
    return state != came.end() && state->second == authorization.state;
  });
  if (query) return *std::move(query);
  return fail(Errc::try_later,
              "nobody logged in within " + std::to_string(parts.timeout.count()) + " s",
              "The browser must run on this machine; from another one, forward the port of " +
                  authorization.redirect_uri + " with ssh -L.");
}

}  // namespace

Result<LoginAnswer> loopback_login(const LoginParts& parts) {
  Authorization authorization;
  const auto query = wait_for_browser(parts, authorization);
  if (!query) return fail(query.error());
  const auto code = code_in(parts, *query);
  if (!code) return fail(code.error());
  return exchange_code(parts, *code, authorization);
}

}  // namespace authdb::oauth
