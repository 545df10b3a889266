#include "oauth/token_answer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace authdb::oauth {
namespace {

TEST(TokenAnswer, GivesStringsTrimmedAndBlankOnesAsNone) {
  const TokenAnswer answer(R"({"a":"  x ","b":"   ","c":7,"d":null})");

  EXPECT_TRUE(answer.is_object());
  EXPECT_EQ(answer.text("a"), "x");
  for (const char* key : {"b", "c", "d", "e"}) EXPECT_EQ(answer.text(key), "") << key;
}

TEST(TokenAnswer, TakesNoTextThatCouldSplitAHeaderOrMoveACursor) {
  const TokenAnswer answer(R"({"a":"x\r\nEvil: y","b":"x\u001b[2J","c":"x\u0000y"})");

  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(answer.text(key), "") << key;
}

TEST(TokenAnswer, IsNoObjectIfItIsAnythingElse) {
  for (const char* body : {"", "[1]", "\"x\"", "null", "<html></html>", "{\"a\":1} trailing"}) {
    EXPECT_FALSE(TokenAnswer(body).is_object()) << body;
  }
}

TEST(TokenAnswer, TakesNumbersThatJsonCannotHoldForNull) {
  for (const char* number : {"1e999", "-1e999", "NaN", "Infinity", "-Infinity"}) {
    const TokenAnswer answer(R"({"before":"x","expires_in":)" + std::string(number) +
                             R"(,"after":"y"})");

    EXPECT_TRUE(answer.is_object()) << number;
    EXPECT_TRUE(answer.fields().at("expires_in").is_null()) << number;
    EXPECT_EQ(answer.text("after"), "y") << number;
  }
}

TEST(TokenAnswer, DoesNotTouchSuchWordsInsideStrings) {
  EXPECT_EQ(TokenAnswer(R"({"a":"NaN \" 1e999, Infinity"})").text("a"), "NaN \" 1e999, Infinity");
}

TEST(TokenAnswer, KeepsTheWholeStringsOfABodyThatWasCutShort) {
  const std::string body =
      R"({"refresh_token":"rt-2","nested":{"access_token":"inner"},"list":["x"],"expires_in":3600,"access_token":"at-2","scope":"s"})";

  for (std::size_t end = 0; end < body.size(); ++end) {
    const TokenAnswer answer(std::string_view(body).substr(0, end));
    const bool has_refresh = end >= body.find("\"rt-2\"") + 6;
    const bool has_access = end >= body.find("\"at-2\"") + 6;

    EXPECT_FALSE(answer.is_object()) << end;
    EXPECT_EQ(answer.text("refresh_token"), has_refresh ? "rt-2" : "") << end;
    EXPECT_EQ(answer.text("access_token"), has_access ? "at-2" : "") << end;
    EXPECT_FALSE(answer.fields().contains("expires_in"))
        << "a number may be cut without showing it";
  }
}

TEST(TokenAnswer, NamesItsKeysAndNeverItsValues) {
  EXPECT_EQ(TokenAnswer(R"({"z":"secret","a":1})").key_names(), "a, z");
}

TEST(TokenAnswer, SurvivesDeepNesting) {
  EXPECT_FALSE(TokenAnswer(std::string(1 << 20, '[')).is_object());
  EXPECT_FALSE(TokenAnswer("{\"a\":" + std::string(1 << 20, '{')).is_object());
}

}  // namespace
}  // namespace authdb::oauth
