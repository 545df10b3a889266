#include "store/cooldown.h"

#include <gtest/gtest.h>

#include "store/store.h"

namespace authdb {
namespace {

constexpr Instant kNow = at_millis(1'790'000'000'000);
using std::chrono::minutes;

Report report(int status, std::string reason = {}, std::string message = {}) {
  Report out;
  out.http_status = status;
  out.reason = std::move(reason);
  out.message = std::move(message);
  return out;
}

Seconds rest(const Report& report, bool sole = false, const Health& before = {},
             Instant now = kNow) {
  const auto until = marked(before, report, sole, now).cooldown_until;
  return until ? std::chrono::duration_cast<Seconds>(*until - now) : Seconds{0};
}

Report until(Report report, Instant reset_at) {
  report.reset_at = reset_at;
  return report;
}

TEST(Cooldown, ALimitOfTheAccountRestsAnHourWhereNobodySaysHowLong) {
  for (const Report& limit :
       {report(402), report(429, "usage_limit_reached"), report(429, "insufficient_quota"),
        report(403, "billing_hard_limit"), report(403, "", "Your spending limit is reached"),
        report(403, "not_entitled"),
        report(400, "invalid_request_error",
               "Your credit balance is too low to access the Anthropic API")}) {
    EXPECT_EQ(fault_of(limit), Fault::account) << limit.reason << limit.message;
    EXPECT_EQ(rest(limit), Seconds(3600)) << limit.reason << limit.message;
  }
}

TEST(Cooldown, ServerTroubleIsNobodysLimitAndRestsAMinuteAtMost) {
  for (const Report& trouble :
       {report(500), report(502), report(503), report(529, "overloaded_error"),
        report(429, "engine_overloaded"), report(403, "server_error"),
        report(429, "", "Too many concurrent requests for this organization"),
        report(429, "rate_limit_error", "The model is at capacity"),
        report(403, "", "This credential is only authorized for use with Claude Code")}) {
    EXPECT_EQ(fault_of(trouble), Fault::provider) << trouble.http_status << trouble.message;
    EXPECT_EQ(rest(trouble), Seconds(10)) << trouble.http_status << trouble.message;
    EXPECT_EQ(rest(until(trouble, kNow + minutes{120})), Seconds(60)) << trouble.http_status;
  }
}

TEST(Cooldown, WhatIsTheRequestsOwnFaultLeavesTheMarkAsItIs) {
  Health ok;
  ok.request_count = 3;
  for (const int status : {400, 404, 405, 408, 409, 413, 415, 422, 431, 451, 499}) {
    EXPECT_EQ(fault_of(report(status)), Fault::request) << status;
    EXPECT_EQ(marked(ok, report(status), false, kNow).status, Status::ok) << status;
    EXPECT_EQ(rest(until(report(status), kNow + minutes{9})), Seconds(0)) << status;
  }
  EXPECT_EQ(rest(report(404, "model_not_found", "check your plan and billing")), Seconds(0));
}

TEST(Cooldown, ARefusalThatSaysNothingClimbsFromAMinuteToAnHour) {
  Health health;
  Instant now = kNow;
  for (const int step : {1, 4, 16, 60, 60}) {
    EXPECT_EQ(rest(report(429), false, health, now), minutes(step));
    health = marked(health, report(429), false, now);
    now = *health.cooldown_until + Seconds{5};
  }
  health = marked(health, report(200), false, now);
  EXPECT_EQ(rest(report(429), false, health, now), minutes(1)) << "back after a success";
}

TEST(Cooldown, ARestThatEndedLongAgoIsNoReasonForALongerOne) {
  const Health health = marked({}, report(429), false, kNow);
  EXPECT_EQ(rest(report(429), false, health, kNow + minutes{62}), minutes(1));
}

TEST(Cooldown, ALaterShorterRestDoesNotShortenTheOneThatIsUnderWay) {
  const Health limited =
      marked({}, until(report(429, "usage_limit_reached"), kNow + minutes{300}), false, kNow);

  const Health after = marked(limited, report(503), false, kNow + minutes{1});

  EXPECT_EQ(after.cooldown_until, kNow + minutes{300});
  EXPECT_EQ(after.error_code, 429) << "the reason of the rest stays";
  const Health longer = marked(limited, until(report(429), kNow + minutes{400}), false, kNow);
  EXPECT_EQ(longer.cooldown_until, kNow + minutes{400});
}

// A refresh that goes well ends the rest after a 401, and no other.
TEST(Cooldown, TheRestOfAnAccountIsNeverHiddenBehindThatOfItsBearer) {
  const Report limit = until(report(429, "usage_limit_reached"), kNow + minutes{2});
  const Health first = marked(marked({}, report(401), false, kNow), limit, false, kNow);
  EXPECT_EQ(first.error_code, 429);
  EXPECT_GE(first.cooldown_until, kNow + minutes{2});

  const Health second = marked(marked({}, limit, false, kNow), report(401), false, kNow);
  EXPECT_EQ(second.error_code, 429);
  EXPECT_EQ(second.cooldown_until, kNow + minutes{2});
}

TEST(Cooldown, ARestThatAClockAheadHasSetDoesNotCount) {
  const Health ahead = marked({}, report(402), false, kNow + minutes{600});
  EXPECT_EQ(rest(report(429), false, ahead), Seconds(60));
}

TEST(Cooldown, ATimeThatIsOverCountsAsNone) {
  EXPECT_EQ(rest(until(report(402), kNow)), Seconds(3600));
  EXPECT_EQ(rest(until(report(429), kNow - minutes{5})), Seconds(60));
}

TEST(Cooldown, TheOnlyLiveCredentialRestsAMinuteUnlessTheAccountIsRefused) {
  EXPECT_EQ(rest(report(429, "usage_limit_reached"), true), Seconds(60));
  EXPECT_EQ(rest(report(401), true), Seconds(300));
  EXPECT_EQ(rest(report(402), true), Seconds(3600));
  EXPECT_EQ(rest(report(403, "billing"), true), Seconds(3600));
}

TEST(Cooldown, UnverifiedBillingRestsAMinuteButA402AnHour) {
  EXPECT_EQ(rest(report(403, "billing_unverified")), Seconds(60));
  EXPECT_EQ(rest(report(402, "billing_unverified")), Seconds(3600));
}

TEST(Cooldown, ABearerThatWasRefusedRestsFiveMinutes) {
  EXPECT_EQ(rest(report(401)), Seconds(300));
}

TEST(Cooldown, OnlyA401WithATerminalReasonIsFinal) {
  for (const char* reason : {"token_invalidated", "token_revoked", "invalid_token", "invalid_grant",
                             "unauthorized_client", "refresh_token_reused"}) {
    EXPECT_TRUE(is_final(401, reason)) << reason;
    EXPECT_FALSE(is_final(429, reason)) << reason;
  }
  EXPECT_FALSE(is_final(401, ""));
  EXPECT_FALSE(is_final(401, "rate_limited"));
}

TEST(Cooldown, WhatIsDeadStaysSo) {
  const Health dead = marked({}, report(401, "invalid_grant"), false, kNow);
  EXPECT_EQ(marked(dead, report(429), false, kNow).status, Status::dead);
}

}  // namespace
}  // namespace authdb
