#include "store/reset_time.h"

#include <gtest/gtest.h>

#include <string>

namespace authdb {
namespace {

constexpr Instant kNow = at_millis(1'790'000'000'000);

std::optional<std::int64_t> millis_left(std::string_view answer) {
  const auto at = reset_time(answer, kNow);
  if (!at) return std::nullopt;
  return std::chrono::duration_cast<Milliseconds>(*at - kNow).count();
}

std::optional<std::int64_t> seconds_left(std::string_view answer) {
  const auto left = millis_left(answer);
  return left ? std::optional(*left / 1000) : std::nullopt;
}

TEST(ResetTime, ASpanIsReadInEverySpellingOfAField) {
  for (const char* field : {"retry_after", "Retry-After", "retryAfter", "resets_in_seconds",
                            "retry_after_seconds", "retryDelay", "quotaResetDelay"}) {
    for (const char* value : {"6.5", "\"6.5\"", "\"6.5s\"", "\"6500ms\"",
                              R"({"seconds":6,"nanos":500000000})", R"({"seconds":"6.5"})"}) {
      const std::string answer = std::string("{\"error\":[{\"") + field + "\":" + value + "}]}";
      EXPECT_EQ(millis_left(answer), 6500) << answer;
    }
  }
  EXPECT_EQ(millis_left(R"({"headers":{"retry-after-ms":"1500"}})"), 1500);
  EXPECT_EQ(seconds_left(R"({"retry_after":1790000090})"), 90) << "a date, really";
}

TEST(ResetTime, AnHttpDateIsATime) {
  EXPECT_EQ(seconds_left(R"({"retry_after":"Mon, 21 Sep 2026 14:14:50 GMT"})"), 90);
  EXPECT_EQ(seconds_left("Retry-After: Mon, 21 Sep 2026 14:14:50 GMT\r\nX: y"), 90);
}

TEST(ResetTime, WhatGeminiSays) {
  EXPECT_EQ(millis_left(R"({"error":{"code":429,"details":[
      {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37.25s"}]}})"),
            37'250);
}

TEST(ResetTime, WhatPeopleAreToldInSentences) {
  EXPECT_EQ(millis_left("Rate limit reached. Please try again in 6.5s."), 6500);
  EXPECT_EQ(millis_left("Please try again in 1m30.5s"), 90'500);
  EXPECT_EQ(seconds_left("You've hit your limit, try again in ~158 min"), 158 * 60);
  EXPECT_EQ(seconds_left("try again in about 2 hours"), 7200);
  EXPECT_EQ(seconds_left("Please wait 20 seconds"), 20);
  EXPECT_EQ(seconds_left("retry in 12s"), 12);
  EXPECT_EQ(millis_left("retry-after-ms: 1500"), 1500);
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
        "resets in 99999999999999999999d", R"({"reset_at":99999999999999})",
        R"({"retry_after":3153600000})", R"({"retry_after":"Sun, 06 Nov 2094 08:49:37 GMT"})"}) {
    EXPECT_EQ(reset_time(answer, kNow), std::nullopt) << answer;
  }
  EXPECT_EQ(reset_time(std::string(100'000, '['), kNow), std::nullopt);
}

}  // namespace
}  // namespace authdb
