#include "oauth/device_poll.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oauth/classify.h"
#include "oauth/endpoints.h"
#include "oauth/expiry.h"
#include "oauth/url.h"
#include "store/scrub.h"
#include "store/timestamp.h"

namespace authdb::oauth {
namespace {

constexpr Milliseconds kDefaultInterval{5'000};
constexpr Milliseconds kLongestInterval{300'000};
constexpr Milliseconds kFirstBackOff{5'000};
constexpr Milliseconds kLongestBackOff{60'000};
constexpr Milliseconds kCodeLife{900'000};  // where the server does not say
constexpr int kStarts = 4;

Error nobody_came() {
  return {Errc::try_later, "nobody approved the login in time",
          "Nothing has changed here. Run it again; --timeout waits longer, as long as the code "
          "lives."};
}

std::string what_came(const Answer& answer) {
  if (answer.http_status == 0) return why_no_answer(answer);
  return "the server answered with status " + std::to_string(answer.http_status);
}

void tell_slower(const LoginParts& parts, const PollPace& pace) {
  LoginEvent event;
  event.kind = LoginEvent::Kind::slower;
  event.interval = pace.interval();
  parts.tell(event);
}

void tell_trouble(const LoginParts& parts, const PollPace& pace, const Answer& answer) {
  LoginEvent event;
  event.kind = LoginEvent::Kind::trouble;
  event.interval = pace.next();
  event.message = what_came(answer);
  parts.tell(event);
}

std::string verification_uri(const LoginParts& parts, const TokenAnswer& answer) {
  std::string uri(answer.text("verification_uri"));
  if (uri.empty()) uri = answer.text("verification_url");  // before RFC 8628
  if (uri.empty()) {
    uri = endpoint_url(*parts.provider, identity_of(parts), parts.environment, "verification_uri")
              .value_or("");
  }
  const auto url = parse_url(uri);
  if (!url) return uri;
  const auto moved = parts.provider->moved_hosts.find(url->host);
  if (moved == parts.provider->moved_hosts.end()) return uri;
  return uri.replace(uri.find("//") + 2, url->host.size(), moved->second);
}

// Where a person may be sent: https, or http on this machine; no user name, nothing that does not
// print, at most 2,048 bytes. A fragment may follow.
std::optional<Url> page_at(std::string_view address) {
  constexpr std::size_t kLongest = 2048;
  const auto hash = std::min(address.find('#'), address.size());
  const auto fragment = address.substr(std::min(hash + 1, address.size()));
  const bool prints = std::all_of(fragment.begin(), fragment.end(),
                                  [](char c) { return c > ' ' && c < 0x7f && c != '\\'; });
  auto url = parse_url(address.substr(0, hash));
  const bool usable = address.size() <= kLongest && prints && url && is_secure(*url);
  return usable ? std::move(url) : std::nullopt;
}

}  // namespace

void PollPace::trouble(std::optional<Seconds> retry_after) {
  back_off_ = std::clamp(2 * back_off_, kFirstBackOff, kLongestBackOff);
  if (retry_after) back_off_ = std::max<Milliseconds>(back_off_, *retry_after);
}

std::optional<Polled> read_poll_error(const Answer& answer,
                                      const std::vector<const Secret*>& secrets) {
  using Kind = Polled::Kind;
  const TokenAnswer fields(answer);
  const std::string code = read_error(fields).code;
  if (code.empty() || !fields.text("access_token").empty()) return std::nullopt;
  if (code == "authorization_pending") return Polled{Kind::pending};
  if (code == "slow_down") return Polled{Kind::slow_down};
  if (code == "access_denied") {
    return Polled{Kind::refused,
                  Error{Errc::login_needed, "the login was denied", "Nothing has changed here."}};
  }
  if (code == "expired_token") return Polled{Kind::refused, nobody_came()};
  if (worth_another_try(answer)) return Polled{Kind::trouble};
  return Polled{Kind::refused, refused_login(answer, "the login", secrets)};
}

Polled read_device_poll(const Answer& answer, const std::vector<const Secret*>& secrets) {
  using Kind = Polled::Kind;
  if (auto error = read_poll_error(answer, secrets)) return *std::move(error);
  if (answer.is_success() || brings_a_new_pair(answer)) return {Kind::granted};
  // Without a code it is not the token endpoint that speaks: an edge, a gateway.
  return {Kind::trouble};
}

Result<LoginAnswer> poll_until_granted(const LoginParts& parts, Pending pending,
                                       const std::function<Answer()>& ask,
                                       const std::function<Polled(const Answer&)>& read) {
  PollPace& pace = pending.pace;
  for (int troubles = 0;;) {
    const Instant now = parts.clock();
    if (now >= pending.deadline) return fail(nobody_came());
    parts.wait(std::min<Milliseconds>(pace.next(), pending.deadline - now));

    LoginAnswer got;
    got.shield = parts.shield ? parts.shield() : nullptr;
    const Instant asked_at = parts.clock();
    got.answer = ask();
    got.answer.started_at = asked_at;
    Polled polled = read(got.answer);
    if (polled.kind != Polled::Kind::trouble) troubles = 0;
    switch (polled.kind) {
      case Polled::Kind::granted:
        return got;
      case Polled::Kind::refused:
        return fail(*std::move(polled.error));
      case Polled::Kind::pending:
        pace.pending();
        break;
      case Polled::Kind::slow_down:
        pace.slow_down();
        tell_slower(parts, pace);
        break;
      case Polled::Kind::trouble:
        if (++troubles == pending.troubles_allowed) {
          return fail(Errc::try_later, "the login was given up: " + what_came(got.answer),
                      "Nothing has changed here.");
        }
        pace.trouble(got.answer.retry_after);
        tell_trouble(parts, pace, got.answer);
        break;
    }
  }
}

Result<TokenAnswer> start_device_login(const LoginParts& parts, const HttpRequest& request) {
  PollPace pace{Milliseconds{0}};
  for (int started = 1;; ++started) {
    const Answer answer = parts.http->perform(request, {});
    TokenAnswer fields(answer);
    const bool ok = answer.is_success();
    if (ok && fields.is_whole()) return fields;
    if (!worth_another_try(answer) || started == kStarts) {
      return fail(refused_login(answer, "starting the login", {}));
    }
    pace.trouble(answer.retry_after);
    tell_trouble(parts, pace, answer);
    parts.wait(std::min(pace.next(), kLongestBackOff));
  }
}

Milliseconds poll_interval(const TokenAnswer& answer, Milliseconds unit) {
  const auto field = answer.fields().find("interval");
  if (field == answer.fields().end()) return kDefaultInterval;
  const auto seconds = parse_lifetime(*field);  // in the field's own unit, as if it were seconds
  if (!seconds) return kDefaultInterval;
  return std::clamp<Milliseconds>(*seconds / 1000 * unit.count(), Milliseconds{1'000},
                                  kLongestInterval);
}

Instant login_deadline(const LoginParts& parts, const TokenAnswer& answer) {
  const Instant now = parts.clock();
  const Instant code_ends = expiry_of(answer, {}, now, kCodeLife).at;
  return std::min(code_ends, now + parts.timeout);
}

Result<void> fill_in_pages(const LoginParts& parts, const TokenAnswer& answer, LoginEvent& visit) {
  visit.url = verification_uri(parts, answer);
  if (visit.url.empty()) {
    return fail(Errc::try_later,
                "the answer that should start the login lacks verification_uri (it had: " +
                    answer.key_names() + ")",
                "Nothing has changed here. If you know the page, state it as verification_uri in "
                "providers.d/" +
                    parts.provider->id + ".json.");
  }
  const auto page = page_at(visit.url);
  if (!page) {
    return fail(
        Errc::refused,
        "the page where the login is to be approved is none that is opened or shown: " +
            scrub(visit.url, {}, kShownLabel),
        "Nothing has changed here. It must be an https address, with no user name in it and "
        "not over 2048 bytes; ask the provider.");
  }
  visit.complete_url = answer.text("verification_uri_complete");
  if (visit.complete_url.empty()) return {};
  // A person is told the page, and sent to no other host than that.
  const auto complete = page_at(visit.complete_url);
  if (complete && complete->host == page->host) return {};
  visit.message = "the address with the code in it is none that is opened or shown: " +
                  scrub(visit.complete_url, {}, kShownLabel);
  visit.complete_url.clear();
  return {};
}

Result<void> check_fields(const TokenAnswer& answer, std::initializer_list<const char*> needed) {
  std::string missing;
  for (const char* field : needed) {
    if (answer.text(field).empty()) missing += (missing.empty() ? "" : ", ") + std::string(field);
  }
  if (missing.empty()) return {};
  return fail(Errc::try_later,
              "the answer that should start the login lacks " + missing +
                  " (it had: " + answer.key_names() + ")",
              "Nothing has changed here.");
}

}  // namespace authdb::oauth
