#include "store/cooldown.h"

#include <algorithm>
#include <array>
#include <string>

#include "store/clock_slack.h"
#include "store/scrub.h"
#include "store/store.h"

namespace authdb {
namespace {

using std::chrono::minutes;

constexpr Seconds kMinute{60};
constexpr Seconds kHour{3600};

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    if (c == '-' || c == '_') return ' ';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

template <std::size_t N>
bool says_one_of(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return text.find(word) != text.npos; });
}

bool is_about_account(std::string_view text) {
  constexpr std::array<std::string_view, 12> kWords{"usage limit",
                                                    "insufficient quota",
                                                    "exceeded your current quota",
                                                    "billing",
                                                    "credit balance",
                                                    "insufficient balance",
                                                    "credits",
                                                    "spending",
                                                    "spend limit",
                                                    "payment",
                                                    "entitle",
                                                    "subscription"};
  return says_one_of(text, kWords);
}

bool is_about_provider(std::string_view text) {
  constexpr std::array<std::string_view, 9> kWords{
      "overload",     "concurren",      "capacity",
      "server error", "internal error", "unavailable",
      "upstream",     "maintenance",    "only authorized for use with"};
  return says_one_of(text, kWords);
}

bool is_requests_own(int http_status) {
  constexpr std::array kOthers{401, 402, 403, 407, 420, 423, 425, 429};
  return http_status >= 400 && http_status < 500 &&
         std::find(kOthers.begin(), kOthers.end(), http_status) == kOthers.end();
}

bool rests(const Health& health, Instant now) {
  return health.status == Status::exhausted && !is_ahead(health.status_at, now) &&
         health.cooldown_until && *health.cooldown_until > now;
}

// Four times as long as the last one, if that did not help.
Seconds next_step(const Health& before, Instant now) {
  const bool again = before.status == Status::exhausted && before.cooldown_until &&
                     before.status_at && *before.status_at <= *before.cooldown_until &&
                     *before.cooldown_until <= now && now - *before.cooldown_until < kHour;
  if (!again) return kMinute;
  const auto last = std::chrono::duration_cast<Seconds>(*before.cooldown_until - *before.status_at);
  return std::clamp(last * 4, kMinute, kHour);
}

// Where the answer does not say how long.
Seconds unstated(Fault fault, const Health& before, const Report& report, bool sole, Instant now) {
  if (fault == Fault::bearer) return minutes{5};
  if (fault == Fault::provider) return Seconds{10};
  if (report.http_status == 402) return kHour;
  if (report.reason == "billing_unverified") return kMinute;
  if (sole && !report.reason.starts_with("billing")) return kMinute;
  return fault == Fault::account ? kHour : next_step(before, now);
}

Instant rests_until(Fault fault, const Health& before, const Report& report, bool sole,
                    Instant now) {
  const bool stated = report.reset_at && *report.reset_at > now;
  const Instant until =
      stated ? *report.reset_at : now + unstated(fault, before, report, sole, now);
  return fault == Fault::provider ? std::min(until, now + kMinute) : until;
}

}  // namespace

Fault fault_of(const Report& report) {
  const std::string reason = lowered(report.reason);
  const std::string message = lowered(report.message);
  if (report.http_status == 401) return Fault::bearer;
  if (report.http_status == 402) return Fault::account;
  if (report.http_status >= 500) return Fault::provider;
  const bool own = is_requests_own(report.http_status);
  if (own && report.http_status != 400) return Fault::request;
  if (is_about_account(reason)) return Fault::account;
  if (is_about_provider(reason)) return Fault::provider;
  if (is_about_account(message)) return Fault::account;
  if (own) return Fault::request;
  return is_about_provider(message) ? Fault::provider : Fault::rate;
}

bool is_final(int http_status, std::string_view reason) {
  constexpr std::array<std::string_view, 6> kFinal{"token_invalidated",   "token_revoked",
                                                   "invalid_token",       "invalid_grant",
                                                   "unauthorized_client", "refresh_token_reused"};
  return http_status == 401 && std::find(kFinal.begin(), kFinal.end(), reason) != kFinal.end();
}

Health marked(const Health& before, const Report& report, bool sole, Instant now) {
  if (report.http_status >= 200 && report.http_status < 400) {
    return Health{Status::ok, now, {}, {}, {}, {}, before.request_count, before.last_used_at};
  }
  const Fault fault = fault_of(report);
  const bool final = is_final(report.http_status, report.reason);
  Health after = before;
  after.status = final ? Status::dead : Status::exhausted;
  after.status_at = now;
  after.error_code = report.http_status;
  after.error_reason = scrub(report.reason);
  after.error_message = scrub(report.message);
  after.cooldown_until = rests_until(fault, before, report, sole, now);
  if (final) {
    after.cooldown_until.reset();
    return after;
  }
  if (fault == Fault::request || before.status == Status::dead) return before;
  if (!rests(before, now)) return after;
  const bool longer = *before.cooldown_until >= *after.cooldown_until;
  const bool was_bearer = before.error_code == 401;
  if (was_bearer == (fault == Fault::bearer)) return longer ? before : after;
  // What becomes of the bearer says nothing about the account: a new bearer ends the one, not the
  // other.
  if (!was_bearer) return before;
  after.cooldown_until = std::max(*before.cooldown_until, *after.cooldown_until);
  return after;
}

}  // namespace authdb
