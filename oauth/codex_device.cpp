#include "oauth/codex_device.h"

#include "oauth/authorization.h"
#include "oauth/device_poll.h"

namespace authdb::oauth {
namespace {

constexpr int kTroublesAllowed = 6;
constexpr Milliseconds kShortestInterval{3'000};
constexpr Seconds kCodeLife{900};

Polled read_poll(const Answer& answer, const std::vector<const Secret*>& secrets) {
  using Kind = Polled::Kind;
  const int status = answer.http_status;
  if (status == 403 || status == 404) return {Kind::pending};
  if (status >= 200 && status < 300) {
    return read_poll_error(answer, secrets).value_or(Polled{Kind::granted});
  }
  if (worth_another_try(answer)) return {Kind::trouble};
  return {Kind::refused, refused_login(answer, "the login", secrets)};
}

// Never visited: the name under which the server itself took the code. It is at the same place.
std::string redirect_beside(const std::string& url) {
  return url.substr(0, url.find('/', url.find("//") + 2)) + "/deviceauth/callback";
}

}  // namespace

Result<LoginAnswer> codex_device_login(const LoginParts& parts) {
  const auto start = login_request(parts, "device_authorization_endpoint", {}, "json");
  if (!start) return fail(start.error());
  const auto device = start_device_login(parts, *start);
  if (!device) return fail(device.error());
  if (auto whole = check_fields(*device, {"device_auth_id", "user_code"}); !whole) {
    return fail(whole.error());
  }
  const Secret device_auth_id = device->secret("device_auth_id");
  const auto poll = login_request(
      parts, "device_token_endpoint",
      {{"device_auth_id", device_auth_id.reveal()}, {"user_code", device->text("user_code")}},
      "json");
  if (!poll) return fail(poll.error());
  const Pending pending{PollPace(std::max(poll_interval(*device, Seconds{1}), kShortestInterval)),
                        parts.clock() + std::min(parts.timeout, kCodeLife), kTroublesAllowed};

  LoginEvent visit;
  if (auto filled = fill_in_pages(parts, *device, visit); !filled) return fail(filled.error());
  visit.user_code = device->text("user_code");
  visit.expires_at = pending.deadline;
  visit.interval = pending.pace.interval();
  parts.tell(visit);

  const auto approved = poll_until_granted(
      parts, pending, [&] { return parts.http->perform(*poll, {}); },
      [&](const Answer& answer) { return read_poll(answer, {&device_auth_id}); });
  if (!approved) return fail(approved.error());
  const TokenAnswer code(approved->answer);
  if (auto whole = check_fields(code, {"authorization_code", "code_verifier"}); !whole) {
    return fail(whole.error());
  }
  Authorization authorization;
  authorization.pkce.verifier = code.secret("code_verifier");
  authorization.redirect_uri = redirect_beside(poll->url);
  return exchange_code(parts, code.secret("authorization_code"), authorization);
}

}  // namespace authdb::oauth
