#include "store/cooldown.h"

#include <gtest/gtest.h>

#include <string>

namespace authdb {
namespace {

constexpr Instant kNow = at_millis(1'790'000'000'000);

std::optional<std::int64_t> seconds_left(std::string_view answer) {
  const auto at = reset_time(answer, kNow);
  if (!at) return std::nullopt;
  return std::chrono::duration_cast<Seconds>(*at - kNow).count();
}

TEST(Cooldown, FollowsTheTableOfTheNewestEra) {
  EXPECT_EQ(cooldown(401, "", false), Seconds(300));
  for (const int status : {402, 403, 429, 500, 0}) {
    EXPECT_EQ(cooldown(status, "", false), Seconds(3600)) << status;
  }
}

TEST(Cooldown, TheOnlyLiveCredentialRestsAMinuteUnlessTheAccountIsRefused) {
  EXPECT_EQ(cooldown(429, "usage_limit_reached", true), Seconds(60));
  EXPECT_EQ(cooldown(503, "", true), Seconds(60));
  EXPECT_EQ(cooldown(401, "", true), Seconds(300));
  EXPECT_EQ(cooldown(402, "", true), Seconds(3600));
  EXPECT_EQ(cooldown(403, "billing", true), Seconds(3600));
}

TEST(Cooldown, UnverifiedBillingRestsAMinuteButA402AnHour) {
  EXPECT_EQ(cooldown(403, "billing_unverified", false), Seconds(60));
  EXPECT_EQ(cooldown(402, "billing_unverified", false), Seconds(3600));
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

TEST(ResetTime, IsReadInEverySpellingOfAField) {
  for (const char* value :
       {"1790000090", "1790000090.0", "1790000090000", "\"1790000090\"", "\"1790000090000\"",
        "\"2026-09-21T14:14:50Z\"", "\"2026-09-21T16:14:50+02:00\"", "90", "\"90\""}) {
    for (const char* field : {"reset_at", "resets_at", "retry_until", "X-RateLimit-Reset"}) {
      const std::string answer = std::string("{\"error\":{\"") + field + "\":" + value + "}}";
      EXPECT_EQ(seconds_left(answer), 90) << answer;
    }
  }
}

TEST(ResetTime, IsReadFromTexts) {
  EXPECT_EQ(seconds_left(R"({"details":[{"metadata":{"quotaResetDelay":"90000.5ms"}}]})"), 90);
  EXPECT_EQ(seconds_left("quotaResetDelay: 42s"), 42);
  EXPECT_EQ(seconds_left(R"({"message":"Rate limited, retry after 30 seconds."})"), 30);
  EXPECT_EQ(seconds_left("Please Retry After 30 s"), 30);
  EXPECT_EQ(seconds_left("Retry-After: 17"), 17);
  EXPECT_EQ(seconds_left("Your limit resets in 2hr 5min"), 2 * 3600 + 5 * 60);
  EXPECT_EQ(seconds_left("resets in 45min."), 45 * 60);
}

TEST(ResetTime, AFieldThatSaysNothingLeavesTheTextToSpeak) {
  EXPECT_EQ(seconds_left(R"({"reset_at":null,"message":"retry after 30 s"})"), 30);
  EXPECT_EQ(seconds_left(R"({"reset_at":true,"retry_until":"1790000090"})"), 90);
}

TEST(ResetTime, NonsenseIsUnknownAndNeverATimeOfItsOwn) {
  for (const char* answer :
       {"", "{}", "[]", "null", "try again later", "retry after", "retry after soon",
        R"({"reset_at":-5})", R"({"reset_at":0})", R"({"reset_at":1e300})",
        R"({"reset_at":"soon"})", R"({"reset_at":"2026-09-21T14:14:50"})",
        "resets in 99999999999999999999d"}) {
    EXPECT_EQ(reset_time(answer, kNow), std::nullopt) << answer;
  }
  EXPECT_EQ(reset_time(std::string(100'000, '['), kNow), std::nullopt);
}

}  // namespace
}  // namespace authdb
