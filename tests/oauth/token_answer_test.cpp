#include "oauth/token_answer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace authdb::oauth {
namespace {

TEST(TokenAnswer, GivesStringsTrimmedAndBlankOnesAsNone) {
  const TokenAnswer answer(R"({"a":"  x ","b":"   ","c":7,"d":null})");

  EXPECT_TRUE(answer.is_whole());
  EXPECT_EQ(answer.text("a"), "x");
  for (const char* key : {"b", "c", "d", "e"}) EXPECT_EQ(answer.text(key), "") << key;
}

TEST(TokenAnswer, TakesNoTextThatCouldSplitAHeaderOrMoveACursor) {
  const TokenAnswer answer(R"({"a":"x\r\nEvil: y","b":"x\u001b[2J","c":"x\u0000y"})");

  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(answer.text(key), "") << key;
}

TEST(TokenAnswer, IsNoObjectIfItIsAnythingElse) {
  for (const char* body : {"", "[1]", "\"x\"", "null", "<html></html>", "[{\"access_token\":1}]",
                           "<a href='/?x=1&error=y'>", "note: error=x"}) {
    EXPECT_FALSE(TokenAnswer(body).is_whole()) << body;
    EXPECT_TRUE(TokenAnswer(body).fields().empty()) << body;
  }
}

TEST(TokenAnswer, P4_AByteThatJsonDoesNotAllowHidesNothingThatFollowsIt) {
  for (const char* name : {"Ren\xe9", "a\tb", "a\nb", "\xed\xa0\x80", "\xff\xfe"}) {
    const TokenAnswer answer(R"({"name":")" + std::string(name) +
                             R"(","access_token":"at-2","refresh_token":"rt-2","expires_in":900})");

    EXPECT_EQ(answer.text("refresh_token"), "rt-2") << name;
    EXPECT_EQ(answer.text("access_token"), "at-2") << name;
    EXPECT_FALSE(answer.is_whole()) << name;
  }
}

TEST(TokenAnswer, P4_ATokenWithSuchAByteInItIsNone) {
  const TokenAnswer answer("{\"refresh_token\":\"rt\xe9-2\",\"access_token\":\"at-2\"}");

  EXPECT_EQ(answer.text("refresh_token"), "");
  EXPECT_TRUE(answer.is_unusable("refresh_token"));
}

TEST(TokenAnswer, ABrokenDocumentIsNotMendedIntoOneWithoutARefreshToken) {
  for (const char* body :
       {R"({"access_token":"at-2","refresh_token":rt-2})",
        R"({"access_token":"at-2","refresh_token":'rt-2'})", R"({"access_token":"at-2",})",
        R"({"access_token":"at-2","expires_in":007})",
        "{\"access_token\":\"at-2\",\"x\":\"\xe9\"}"}) {
    const TokenAnswer answer(body);

    EXPECT_FALSE(answer.is_whole()) << body;
    EXPECT_EQ(answer.text("access_token"), "at-2") << body;
  }
}

TEST(TokenAnswer, P4_NothingDisplacesATokenThatIsSaidElsewhereInTheAnswer) {
  for (const char* body :
       {R"({"refresh_token":"rt-2","refresh_token":null})",
        R"({"refresh_token":"rt-2","refresh_token":" "})",
        R"({"refresh_token":"","data":{"refresh_token":"rt-2"}})",
        R"({"refresh_token":" ","data":{"refresh_token":"rt-2"}})",
        R"({"data":{"refresh_token":"rt-2"},"data":{}})",
        R"({"data":{"refresh_token":"rt-2"},"data":null})",
        R"({"data":{},"data":{"refresh_token":"rt-2"}})",
        "refresh_token=rt-2&refresh_token=", "refresh_token=&refresh_token=rt-2"}) {
    const TokenAnswer answer(body);
    EXPECT_EQ(answer.text("refresh_token"), "rt-2") << body;
    EXPECT_TRUE(answer.is_whole()) << body;
  }
}

TEST(TokenAnswer, WhatStandsBehindTheObjectDoesNotMatter) {
  for (const char* behind : {" trailing", "\n{\"a\":2}", "}", "\"", "<!-- 1 ms -->"}) {
    const TokenAnswer answer(R"({"a":"x"})" + std::string(behind));

    EXPECT_TRUE(answer.is_whole()) << behind;
    EXPECT_EQ(answer.text("a"), "x") << behind;
  }
}

TEST(TokenAnswer, ANumberAtTheCutIsNoNumber) {
  const std::string_view body = R"({"a":12,"expires_in":3600,"b":1})";
  const auto digits = body.find("3600");

  for (std::size_t end = digits; end <= digits + 4; ++end) {
    EXPECT_FALSE(TokenAnswer(body.substr(0, end)).fields().contains("expires_in")) << end;
  }
  EXPECT_EQ(TokenAnswer(body.substr(0, digits + 8)).fields().value("expires_in", 0), 3600);
  EXPECT_EQ(TokenAnswer(body.substr(0, digits)).fields().value("a", 0), 12);
}

TEST(TokenAnswer, AnObjectWithItsEndIsNotWholeIfMoreBytesWerePromised) {
  const TokenAnswer answer(R"({"a":"x"})", /*complete=*/false);

  EXPECT_FALSE(answer.is_whole());
  EXPECT_EQ(answer.text("a"), "x");
}

TEST(TokenAnswer, MembersOfDataAreItsOwnUnlessItHasThem) {
  const TokenAnswer answer(
      R"({"a":"mine","b":null,"data":{"a":"other","b":"x","data":{"c":"y"}}})");

  EXPECT_EQ(answer.text("a"), "mine");
  EXPECT_EQ(answer.text("b"), "x");
  EXPECT_EQ(answer.text("c"), "");
}

TEST(TokenAnswer, TheTokenThatWasSentDoesNotDisplaceAnother) {
  for (const char* body : {R"({"refresh_token":"new","refresh_token":"old"})",
                           R"({"refresh_token":"old","refresh_token":"new"})",
                           R"({"refresh_token":"old","data":{"refresh_token":"new"}})",
                           R"({"refresh_token":"new","data":{"refresh_token":"old"}})",
                           "access_token=a&refresh_token=new&refresh_token=old",
                           "access_token=a&refresh_token=old&refresh_token=new"}) {
    EXPECT_EQ(TokenAnswer(body, /*complete=*/true, "old").text("refresh_token"), "new") << body;
  }
  EXPECT_EQ(TokenAnswer(R"({"refresh_token":"old","refresh_token":null})", true, "old")
                .text("refresh_token"),
            "old");
}

TEST(TokenAnswer, AFormIsDecoded) {
  const TokenAnswer answer("access_token=a%2Fb%3D&refresh_token=rt-2&scope=x+y&expires_in=900\n");

  EXPECT_TRUE(answer.is_whole());
  EXPECT_EQ(answer.text("access_token"), "a/b=");
  EXPECT_EQ(answer.text("refresh_token"), "rt-2");
  EXPECT_EQ(answer.text("scope"), "x y");
}

TEST(TokenAnswer, ABrokenFormKeepsItsWholeFields) {
  for (const char* body :
       {"refresh_token=rt-2&access_token=a%2", "refresh_token=rt-2&access_tok"}) {
    const TokenAnswer answer(body);

    EXPECT_FALSE(answer.is_whole()) << body;
    EXPECT_EQ(answer.text("refresh_token"), "rt-2") << body;
    EXPECT_EQ(answer.text("access_token"), "") << body;
  }
}

TEST(TokenAnswer, KnowsAMemberThatItDoesNotGive) {
  const TokenAnswer answer(
      R"({"a":"x\u0007","b":7,"c":{"value":"x"},"d":["x"],"e":true,"f":false,"g":0,"h":{},
          "v":"x","w":"","x":" ","y":null})");

  for (const char* key : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    EXPECT_TRUE(answer.is_unusable(key)) << key;
  }
  for (const char* key : {"v", "w", "x", "y", "z"}) EXPECT_FALSE(answer.is_unusable(key)) << key;
}

TEST(TokenAnswer, TakesNumbersThatJsonCannotHoldForNull) {
  for (const char* number : {"1e999", "-1e999", "NaN", "Infinity", "-Infinity"}) {
    const TokenAnswer answer(R"({"before":"x","expires_in":)" + std::string(number) +
                             R"(,"after":"y"})");

    EXPECT_TRUE(answer.is_whole()) << number;
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

    EXPECT_FALSE(answer.is_whole()) << end;
    EXPECT_EQ(answer.text("refresh_token"), has_refresh ? "rt-2" : "") << end;
    EXPECT_EQ(answer.text("access_token"), has_access ? "at-2" : "") << end;
    EXPECT_EQ(answer.fields().contains("expires_in"),
              end >= body.find("access_token\":\"at-2") + 13)
        << end << ": a number may be cut without showing it";
  }
}

TEST(TokenAnswer, NamesItsKeysAndNeverItsValues) {
  EXPECT_EQ(TokenAnswer(R"({"z":"secret","a":1})").key_names(), "a, z");
}

TEST(TokenAnswer, SurvivesDeepNesting) {
  EXPECT_FALSE(TokenAnswer(std::string(1 << 20, '[')).is_whole());
  EXPECT_FALSE(TokenAnswer("{\"a\":" + std::string(1 << 20, '{')).is_whole());
}

}  // namespace
}  // namespace authdb::oauth
