#include "store/scrub.h"

#include <gtest/gtest.h>

namespace authdb {
namespace {

TEST(Scrub, LeavesWhatServersUsuallySay) {
  for (const char* text :
       {"", "The usage limit has been reached", "usage_limit_reached", "invalid_grant",
        "runtime_access_refresh_failure", "Refresh token reuse detected; please re-authenticate",
        "refresh_token_reused", "The grant is invalid, expired or revoked (RFC 6749)", "status 503",
        "see https://portal.nousresearch.com/login", "Sorry! Try again|later"}) {
    EXPECT_EQ(scrub(text), text);
  }
}

TEST(Scrub, CutsOutWhatLooksLikeAToken) {
  for (const char* token :
       {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln", "sk-ant-oat01-abc", "nrt_SIM_0123456789abcdef",
        "rt_abcdefgh", "AbCdEfGhIjKlMnOpQrStUv", "0f8fad5b-d9cb-469f-a165-70867728950e",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop", "AbCdEfGh0123456789XyZw",
        "ABCDEFGHIJ_KLMNOPQRST", "abcdefghij~klmnopqrst", "M.C5*BAY!0.U.-Cq7*h!x$w2Z",
        "17|x9abQ2mm|rTfx0"}) {
    EXPECT_EQ(scrub(std::string("bad ") + token + " here"), "bad [redacted] here");
    EXPECT_EQ(scrub(std::string("got '") + token + "'."), "got '[redacted]'.");
  }
}

TEST(Scrub, CutsOutWhatBeginsAsTokensDoHoweverShort) {
  EXPECT_EQ(scrub("key sk-ab1 is bad"), "key [redacted] is bad");
  for (const char* token : {"eyJ0", "nrt_x", "nat_x", "rt_x", "anon_x", "xrt_x", "Bearer.x"}) {
    EXPECT_EQ(scrub(token), "[redacted]");
  }
  EXPECT_EQ(scrub("x=nrt_x"), "[redacted]");
  EXPECT_EQ(scrub("x%nrt_x"), "[redacted]");
}

TEST(Scrub, CutsOutWhatIsSaidToBeASecret) {
  EXPECT_EQ(scrub("Bearer hunter2"), "Bearer [redacted]");
  EXPECT_EQ(scrub("Bearer eyJhbGciOi.eyJzdWIi.sig"), "Bearer [redacted]");
  EXPECT_EQ(scrub("token=nrt_x"), "token=[redacted]");
  EXPECT_EQ(scrub("refresh_token=hunter2"), "refresh_token=[redacted]");
  EXPECT_EQ(scrub("{\"access_token\":\"hunter2\"}"), "{\"access_token\":\"[redacted]\"}");
}

TEST(Scrub, CutsOutTheTokensThatWereSentWhateverTheyLookLike) {
  const Secret token = Secret::copy_of("seed-refresh");

  EXPECT_EQ(scrub("no such token seed-refresh, sorry", {&token}),
            "no such token [redacted], sorry");
}

TEST(Scrub, CutsOutTheTokensThatWereSentInWhateverClothes) {
  const Secret token = Secret::copy_of("two words+a/sign");
  for (const char* clothes :
       {"two words&#43;a/sign", "two words&#x2B;a&#47;sign", "two%20words%2Ba%2fsign",
        "two word\r\n s+a/sign", "twowords+a\\/sign"}) {
    EXPECT_EQ(scrub(std::string("bad: ") + clothes + ", bad", {&token}), "bad: [redacted], bad");
    EXPECT_TRUE(tells_secret(clothes, {&token})) << clothes;
  }
  EXPECT_EQ(scrub("AT&amp;T says 100%", {&token}), "AT&amp;T says 100%");
  EXPECT_FALSE(tells_secret("openid two words", {&token}));
}

// As large as an answer may be. Whoever reads it from the beginning for each of them does not come
// to an end within a test's time.
TEST(Scrub, CutsOutATokenThatStandsInAnAnswerOverAndOver) {
  constexpr std::size_t kLargestAnswer = 1 << 20;
  const Secret token = Secret::copy_of("two%words");
  for (const std::string clothes : {"two%words ", "two&#37;words ", "two% words "}) {
    std::string answer;
    while (answer.size() + clothes.size() <= kLargestAnswer) answer += clothes;
    EXPECT_EQ(scrub(answer, {&token}, 25), "[redacted] [redacted] [re...");
  }
  const Secret long_one = Secret::take(std::string(16 << 10, 'a') + "b");
  EXPECT_FALSE(tells_secret(std::string(kLargestAnswer, 'a'), {&long_one}));
}

TEST(LooksLikeToken, IsSaidOfTokensAndNotOfNames) {
  for (const char* token : {"sk-ant-oat01-abcdef", "eyJhbGciOiJub25lIn0.e30.c2ln",
                            "nrt_SIM_0123456789abcdef", "x9AbCdEfGh0123456789"}) {
    EXPECT_TRUE(looks_like_token(token)) << token;
  }
  for (const char* name : {"work@example.org", "production-gateway-eu-west-1", "k3x7q2m5v4ta",
                           "sha256:0123456789abcdef", "rt_work", "my-login", ""}) {
    EXPECT_FALSE(looks_like_token(name)) << name;
  }
}

TEST(Scrub, MakesOneShortLineWithoutControlCharacters) {
  EXPECT_EQ(scrub("a\x1b[31mb\r\n\tc\xc2\x9b"
                  "d\x7f"),
            "a [31mb c d");

  const std::string cut = scrub(std::string(150, 'x') + " " + std::string(150, 'y'));
  EXPECT_LE(cut.size(), kShownText + 3);
}

TEST(Scrub, DoesNotCutACharacterInTwo) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "\xC3\xA4 ";

  EXPECT_EQ(scrub("aé", {}, 2), "a...");
  EXPECT_EQ(scrub(text, {}, 301), scrub(text, {}, 300));
}

}  // namespace
}  // namespace authdb
