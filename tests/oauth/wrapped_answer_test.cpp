// Answers as they come from servers and through proxies that do not send plain JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"
#include "oauth/answer_text.h"
#include "oauth/token_endpoint.h"
#include "wrapping.h"

namespace authdb::oauth {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kGrant =
    R"({"access_token":"at-2","refresh_token":"rt-2","expires_in":900,"scope":"s"})";
constexpr const char* kDeadGrant = R"({"error":"invalid_grant","error_description":"it is gone"})";
constexpr const char* kGrantForm =
    "access_token=at-2&refresh_token=rt-2&expires_in=900&scope=s&token_type=bearer";

class WrappedAnswer : public testing::Test {
 protected:
  Judgement judged(int status, const std::string& body, bool complete = true) {
    Answer answer = answered(status, body);
    answer.content_type.clear();  // recovery has the bytes and nothing else
    answer.complete = complete;
    return endpoint_.judge(answer);
  }
  void expect_grant(const std::string& body, const std::string& name) {
    const Judgement got = judged(200, body);
    ASSERT_EQ(got.ruling, Ruling::granted) << name << ": " << got.message;
    EXPECT_EQ(got.grant->access_token.reveal(), "at-2") << name;
    EXPECT_EQ(got.grant->refresh_token.reveal(), "rt-2") << name;
    EXPECT_EQ(got.grant->expires_at, answered(200, "").started_at + Seconds{900}) << name;
    EXPECT_EQ(got.grant->scope, "s") << name;
  }
  void expect_refusal(const std::string& body, const std::string& name) {
    for (const int status : {200, 400, 401}) {
      const Judgement got = judged(status, body);
      EXPECT_EQ(got.ruling, Ruling::rejected) << name << status;
      EXPECT_EQ(got.code, "invalid_grant") << name << status;
      EXPECT_THAT(got.message, HasSubstr("it is gone")) << name << status;
    }
  }

  ProviderRegistry registry_ = ProviderRegistry::load("/nonexistent");
  OAuthTokenEndpoint endpoint_{{registry_.find("nous"),
                                {},
                                nullptr,
                                no_environment(),
                                [] { return at_millis(0); },
                                nullptr}};
};

struct Wrapping {
  const char* name;
  std::string (*wrap)(std::string_view);
};

const Wrapping kWrappings[] = {
    {"gzip", [](std::string_view text) { return compressed(text, kGzip); }},
    {"zlib", [](std::string_view text) { return compressed(text, kZlib); }},
    {"raw deflate", [](std::string_view text) { return compressed(text, kRawDeflate); }},
    {"gzip twice", [](std::string_view text) { return compressed(compressed(text)); }},
    {"BOM", [](std::string_view text) { return "\xef\xbb\xbf" + std::string(text); }},
    {"UTF-16", [](std::string_view text) { return utf16(text, false, true); }},
    {"UTF-16, big-endian", [](std::string_view text) { return utf16(text, true, true); }},
    {"UTF-16, unmarked", [](std::string_view text) { return utf16(text, false, false); }},
    {"UTF-16, big-endian, unmarked",
     [](std::string_view text) { return utf16(text, true, false); }},
    {"UTF-16 and gzip", [](std::string_view text) { return compressed(utf16(text, false, true)); }},
    {")]}'", [](std::string_view text) { return ")]}'" + std::string(text); }},
    {")]}',", [](std::string_view text) { return ")]}',\n" + std::string(text); }},
    {"while(1);", [](std::string_view text) { return "while(1);" + std::string(text); }},
    {"for(;;);", [](std::string_view text) { return "for (;;);\r\n" + std::string(text); }},
    {"&&&START&&&", [](std::string_view text) { return "&&&START&&&" + std::string(text); }},
    {"blanks", [](std::string_view text) { return "\r\n\t " + std::string(text) + "\n"; }},
    {"trailing bytes", [](std::string_view text) { return std::string(text) + "\n<!-- x -->"; }},
    {"data",
     [](std::string_view text) { return R"({"code":0,"data":)" + std::string(text) + "}"; }},
};

TEST_F(WrappedAnswer, P4_AllMembersOfAGzipAnswerAreRead) {
  const std::string form = kGrantForm;
  for (std::size_t at = 1; at < form.size(); at += 7) {
    expect_grant(compressed(form.substr(0, at)) + compressed(form.substr(at)), std::to_string(at));
  }
  const std::string second = compressed(form.substr(20));
  const Judgement cut =
      judged(200, compressed("access_token=at-2&x=") + second.substr(0, second.size() / 2));
  EXPECT_EQ(cut.ruling, Ruling::uncertain) << "what is missing may be a refresh token";
}

TEST_F(WrappedAnswer, AGrantIsReadInWhateverItIsWrapped) {
  for (const Wrapping& wrapping : kWrappings) expect_grant(wrapping.wrap(kGrant), wrapping.name);
}

TEST_F(WrappedAnswer, ARefusalIsReadInWhateverItIsWrapped) {
  for (const Wrapping& wrapping : kWrappings) {
    expect_refusal(wrapping.wrap(kDeadGrant), wrapping.name);
  }
}

TEST_F(WrappedAnswer, AFormIsReadPlainAndCompressed) {
  expect_grant(kGrantForm, "form");
  expect_grant(compressed(kGrantForm), "form in gzip");
  expect_refusal("error=invalid_grant&error_description=it+is+gone&error_uri=", "form");
}

TEST_F(WrappedAnswer, ACutFormKeepsOnlyWhatHasAFieldBehindIt) {
  const std::string form = kGrantForm;
  const auto has = [](std::size_t end, const std::string& until) { return end >= until.size(); };
  for (std::size_t end = 0; end <= form.size(); ++end) {
    const Judgement got = judged(200, form.substr(0, end), /*complete=*/false);
    const bool refresh = has(end, "access_token=at-2&refresh_token=rt-2&");

    EXPECT_EQ(got.ruling, refresh ? Ruling::granted : Ruling::uncertain) << end;
    ASSERT_EQ(got.grant.has_value(), refresh) << end;
    if (!refresh) continue;
    EXPECT_EQ(got.grant->refresh_token.reveal(), "rt-2") << end;
    EXPECT_EQ(got.grant->access_token.reveal(), "at-2") << end;
  }
}

// Whatever a cut leaves of the compressed bytes, no token in it is half, and a new refresh token
// that could be unpacked once is not lost again when more bytes come.
TEST_F(WrappedAnswer, ACutCompressedAnswerNeverYieldsHalfAToken) {
  for (const int window : {kGzip, kZlib, kRawDeflate}) {
    const std::string whole = compressed(std::string(kGrant) + std::string(200, ' '), window);
    bool kept = false;
    for (std::size_t end = 0; end < whole.size(); ++end) {
      for (const bool complete : {false, true}) {
        const Judgement got = judged(200, whole.substr(0, end), complete);
        EXPECT_TRUE(!kept || got.grant) << window << " " << end;
        kept = kept || got.grant;
        if (!got.grant) continue;
        const bool granted = got.ruling == Ruling::granted;
        EXPECT_EQ(got.grant->refresh_token.reveal(), "rt-2") << end;
        EXPECT_EQ(got.grant->access_token.reveal(), granted ? "at-2" : "") << end;
      }
    }
    EXPECT_TRUE(kept) << window;
    expect_grant(whole, "whole");
  }
}

TEST_F(WrappedAnswer, ACompressedAnswerWithoutItsEndSaysNothingByWhatItLacks) {
  std::string body = compressed(R"({"access_token":"at-2","expires_in":900})");
  ASSERT_EQ(judged(200, body).ruling, Ruling::granted);
  body.resize(body.size() - 8);  // gzip's checksum and length

  const Judgement got = judged(200, body);
  EXPECT_EQ(got.ruling, Ruling::uncertain);
  EXPECT_FALSE(got.grant);
}

// Some of these are deflate as well, as far as its grammar goes: `{`, a line break and two blanks
// are one byte of it, with a regular end.
TEST_F(WrappedAnswer, WhatBeginsAsAnAnswerIsNotCompressedWhateverBytesAreInIt) {
  constexpr const char* kFields =
      R"("access_token":"at-2","refresh_token":"rt-2","expires_in":900,"scope":"s")";
  for (const char* prefix : {"", "\xef\xbb\xbf", "\n", ")]}',\n", "for(;;);"}) {
    for (const char* opening : {"{", "{\n  ", "{\n\t", "{\r\n    ", "{ ", "{\n"}) {
      const std::string begun = std::string(prefix) + opening + kFields;
      expect_grant(begun + "}" + std::string(1, '\0'), begun);
      expect_grant(begun + "\n}\x01\x80", begun);
      expect_grant(begun + ",\"note\":\"a\x02z\"}", begun);
    }
  }
  expect_grant(kGrantForm + std::string(1, '\0'), "form");
  expect_grant(kGrantForm + std::string("\r\n\0\0", 4), "form");
}

TEST_F(WrappedAnswer, ABrokenFormCountsAsFarAsItsFieldsAreWhole) {
  const Judgement got = judged(200, "refresh_token=rt-2&access_token=at-2&scope=a\x01z");
  ASSERT_EQ(got.ruling, Ruling::granted);
  EXPECT_EQ(got.grant->refresh_token.reveal(), "rt-2");

  const Judgement half = judged(200, std::string("access_token=at-2&refresh_token=r\0t", 35));
  EXPECT_EQ(half.ruling, Ruling::uncertain);
  EXPECT_FALSE(half.grant);
}

TEST_F(WrappedAnswer, BytesThatOnlyHappenToBeDeflateStayWhatTheyAre) {
  for (const char* text : {"nonsense", "<html></html>", "x", "[1]", ""}) {
    const std::string bytes = compressed(text, kRawDeflate);
    const AnswerText kept = unwrap_text(bytes, true);
    EXPECT_EQ(kept.text.reveal(), bytes) << text;
  }
}

TEST_F(WrappedAnswer, DeflateThatLooksLikeUtf16IsRead) {
  std::string text = kGrant;
  text.resize(256, ' ');
  expect_grant(std::string("\x01\x00\x01\xff\xfe", 5) + text, "one block, stored as it is");
}

TEST_F(WrappedAnswer, ADecompressionBombIsUnreadable) {
  const std::string bomb = compressed(std::string(kGrant) + std::string(64U << 20U, ' '));
  ASSERT_LT(bomb.size(), 1U << 17U);
  const Judgement got = judged(200, bomb);

  EXPECT_EQ(got.ruling, Ruling::uncertain);
  EXPECT_TRUE(got.unreadable);
  EXPECT_FALSE(got.grant);
}

TEST_F(WrappedAnswer, TextThatIsNoFormCondemnsNoToken) {
  for (const char* page : {"error: invalid_grant", "<a href='?x=1&error=invalid_grant'>", "a=1",
                           "code=401&message=nope", "error=invalid grant"}) {
    const Judgement got = judged(401, page);
    EXPECT_EQ(got.ruling, Ruling::unspent) << page;
  }
}

TEST_F(WrappedAnswer, ACompressedPageIsQuotedAsText) {
  EXPECT_THAT(judged(502, compressed("<html>Bad gateway</html>")).message,
              HasSubstr("<html>Bad gateway"));
  const std::string noise("\x01\x02\x80\xff\x1b[2J", 8);
  EXPECT_THAT(judged(502, noise).message,
              AllOf(HasSubstr("status 502: binary data"), Not(HasSubstr("\x1b"))));
}

TEST_F(WrappedAnswer, CharactersBeyondAsciiSurviveUtf16) {
  // {"a":"é€😀"} and half a surrogate pair.
  const std::string bytes(
      "\xff\xfe{\0\"\0a\0\"\0:\0\"\0\xe9\0\xac\x20\x3d\xd8\x00\xde\x3d\xd8\"\0}\0", 28);
  const AnswerText text = unwrap_text(bytes, true);

  EXPECT_EQ(text.text.reveal(), "{\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd\"}");
  EXPECT_TRUE(text.whole);
  EXPECT_FALSE(unwrap_text(bytes.substr(0, 27), true).whole);
}

}  // namespace
}  // namespace authdb::oauth
