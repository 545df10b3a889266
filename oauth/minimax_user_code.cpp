#include "oauth/minimax_user_code.h"

#include "oauth/authorization.h"
#include "oauth/device_poll.h"

namespace authdb::oauth {
namespace {

constexpr std::string_view kUserCodeGrant = "urn:ietf:params:oauth:grant-type:user_code";
constexpr Milliseconds kShortestInterval{2'000};

Result<HttpRequest> code_request(const LoginParts& parts, const Authorization& authorization) {
  const Identity identity = identity_of(parts);
  auto request = login_request(parts, "device_authorization_endpoint",
                               {{"response_type", "code"},
                                {"scope", identity.scope},
                                {"code_challenge", authorization.pkce.challenge},
                                {"code_challenge_method", "S256"},
                                {"state", authorization.state}},
                               "form");
  if (request) request->headers.emplace_back("x-request-id", Secret::take(draw_state()));
  return request;
}

Polled read_poll(const Answer& answer, const std::vector<const Secret*>& secrets) {
  using Kind = Polled::Kind;
  if (answer.http_status < 200 || answer.http_status >= 300) {
    return read_device_poll(answer, secrets);
  }
  const TokenAnswer fields(answer);
  const std::string_view status = fields.text("status");
  if (status == "pending") return {Kind::pending};
  if (auto error = read_poll_error(answer, secrets)) return *std::move(error);
  if (status == "success" || !fields.text("access_token").empty()) return {Kind::granted};
  return {Kind::refused, refused_login(answer, "the login", secrets)};
}

}  // namespace

Result<LoginAnswer> minimax_user_code_login(const LoginParts& parts) {
  const Authorization authorization;
  const auto start = code_request(parts, authorization);
  if (!start) return fail(start.error());
  const auto device = start_device_login(parts, *start);
  if (!device) return fail(device.error());
  if (auto whole = check_fields(*device, {"user_code"}); !whole) return fail(whole.error());
  if (device->text("state") != authorization.state) {
    return fail(Errc::refused, "the answer that should start the login has another state than ours",
                "Nothing has changed here. Somebody may be in between; try again.");
  }
  const Secret user_code = device->secret("user_code");
  const auto poll = login_request(parts, "token_endpoint",
                                  {{"grant_type", kUserCodeGrant},
                                   {"user_code", user_code.reveal()},
                                   {"code_verifier", authorization.pkce.verifier.reveal()}},
                                  "form");
  if (!poll) return fail(poll.error());
  const Pending pending{
      PollPace(std::max(poll_interval(*device, Milliseconds{1}), kShortestInterval)),
      login_deadline(parts, *device)};

  LoginEvent visit;
  if (auto filled = fill_in_pages(parts, *device, visit); !filled) return fail(filled.error());
  visit.user_code = user_code.reveal();
  visit.expires_at = pending.deadline;
  visit.interval = pending.pace.interval();
  parts.tell(visit);

  return poll_until_granted(
      parts, pending, [&] { return parts.http->perform(*poll, {}); },
      [&](const Answer& answer) { return read_poll(answer, {&authorization.pkce.verifier}); });
}

}  // namespace authdb::oauth
