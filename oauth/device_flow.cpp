#include "oauth/device_flow.h"

#include "oauth/authorization.h"
#include "oauth/device_poll.h"

namespace authdb::oauth {
namespace {

constexpr std::string_view kDeviceGrant = "urn:ietf:params:oauth:grant-type:device_code";
constexpr Milliseconds kDeadline{15'000};

Result<HttpRequest> device_request(const LoginParts& parts, const Pkce& pkce) {
  const Identity identity = identity_of(parts);
  FormFields fields;
  if (!identity.scope.empty()) fields.emplace_back("scope", identity.scope);
  if (parts.provider->device_pkce) {
    fields.emplace_back("code_challenge", pkce.challenge);
    fields.emplace_back("code_challenge_method", "S256");
  }
  return login_request(parts, "device_authorization_endpoint", fields, "form");
}

Result<HttpRequest> poll_request(const LoginParts& parts, const Secret& device_code,
                                 const Pkce& pkce) {
  FormFields fields{{"grant_type", kDeviceGrant}, {"device_code", device_code.reveal()}};
  if (parts.provider->device_pkce) fields.emplace_back("code_verifier", pkce.verifier.reveal());
  const bool apart = !parts.provider->device_token_endpoint.empty();
  auto request =
      login_request(parts, apart ? "device_token_endpoint" : "token_endpoint", fields, "form");
  if (request) request->deadline = kDeadline;
  return request;
}

}  // namespace

Result<LoginAnswer> device_login(const LoginParts& parts) {
  const Pkce pkce = draw_pkce();
  const auto start = device_request(parts, pkce);
  if (!start) return fail(start.error());
  const auto device = start_device_login(parts, *start);
  if (!device) return fail(device.error());
  if (auto whole = check_fields(*device, {"device_code", "user_code"}); !whole) {
    return fail(whole.error());
  }
  const Secret device_code = device->secret("device_code");
  const auto poll = poll_request(parts, device_code, pkce);
  if (!poll) return fail(poll.error());
  const Pending pending{PollPace(poll_interval(*device, Seconds{1})),
                        login_deadline(parts, *device)};

  LoginEvent visit;
  if (auto filled = fill_in_pages(parts, *device, visit); !filled) return fail(filled.error());
  visit.user_code = device->text("user_code");
  visit.expires_at = pending.deadline;
  visit.interval = pending.pace.interval();
  parts.tell(visit);

  return poll_until_granted(
      parts, pending, [&] { return parts.http->perform(*poll, {}); },
      [&](const Answer& answer) {
        return read_device_poll(answer, {&device_code, &pkce.verifier});
      });
}

}  // namespace authdb::oauth
