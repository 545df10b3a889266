#include "oauth/expiry.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace authdb::oauth {
namespace {

constexpr Instant kStart = at_millis(1'779'179'400'000);
constexpr Seconds kFloor{3600};

Expiry expiry(const std::string& body, const std::string& token = "opaque") {
  return expiry_of(TokenAnswer(body), token, kStart, kFloor);
}

std::int64_t after_start(const std::string& body) {
  const Expiry found = expiry(body);
  EXPECT_EQ(found.warning, "") << body;
  return std::chrono::duration_cast<Seconds>(found.at - kStart).count();
}

TEST(Expiry, AbsoluteTimeOfTheAnswerWins) {
  EXPECT_EQ(expiry(R"({"expires_at":"2026-12-01T00:00:00+00:00","expires_in":60})").at,
            at_millis(1'796'083'200'000));
}

TEST(Expiry, AbsoluteTimesHaveManySpellings) {
  for (const char* value : {"1779183000", "1779183000.0", "\"1779183000\"", "1779183000000",
                            "\"2026-05-19T09:30:00Z\"", "\"2026-05-19T11:30:00+02:00\""}) {
    EXPECT_EQ(after_start(std::string(R"({"expires_at":)") + value + "}"), 3600) << value;
  }
}

TEST(Expiry, LifetimeCountsFromTheStartOfTheRequest) {
  EXPECT_EQ(after_start(R"({"expires_in":900})"), 900);
  EXPECT_EQ(after_start(R"({"expires_in":"900"})"), 900);
}

TEST(Expiry, UnusableAbsoluteTimeGivesWayToTheLifetime) {
  for (const char* value : {"\"2026-05-15T10:30:00\"", "true", "null", "\"\"", "\"   \"", "-5", "0",
                            "1e999", "NaN", "\"soon\"", "[]", "{}"}) {
    EXPECT_EQ(after_start(std::string(R"({"expires_in":900,"expires_at":)") + value + "}"), 900)
        << value;
  }
}

TEST(Expiry, UnusableLifetimeIsUnknownAndTheFloorIsTakenWithAWarning) {
  for (const char* value : {"true", "false", "0", "-100", "-0.5", "NaN", "Infinity", "-Infinity",
                            "1e999", "1e300", "99999999999999999999", "\"\"", "\"   \"", "\"inf\"",
                            "\"nan\"", "\"not-a-timestamp\"", "null", "[]", "{}"}) {
    const Expiry found =
        expiry(std::string(R"({"access_token":"tok-value","expires_in":)") + value + "}");

    EXPECT_EQ(found.at, kStart + kFloor) << value;
    EXPECT_NE(found.warning.find("access_token, expires_in"), std::string::npos) << found.warning;
    EXPECT_EQ(found.warning.find("tok-value"), std::string::npos) << found.warning;
  }
}

TEST(Expiry, TheTokenItselfIsAskedBeforeTheFloorIs) {
  EXPECT_EQ(expiry("{}", fake_jwt(R"({"exp":1779180000})")).at, at_millis(1'779'180'000'000));
}

TEST(Expiry, MiniMaxStatesMillisecondsOrSecondsInOneField) {
  EXPECT_EQ(after_start(R"({"expired_in":1779180300000})"), 900);
  EXPECT_EQ(after_start(R"({"expired_in":900})"), 900);
}

}  // namespace
}  // namespace authdb::oauth
