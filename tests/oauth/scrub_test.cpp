#include "oauth/scrub.h"

#include <gtest/gtest.h>

namespace authdb::oauth {
namespace {

TEST(Scrub, LeavesWhatServersUsuallySay) {
  for (const char* text :
       {"Refresh token reuse detected; please re-authenticate", "refresh_token_reused",
        "The grant is invalid, expired or revoked (RFC 6749)", "status 503",
        "see https://portal.nousresearch.com/login"}) {
    EXPECT_EQ(scrub(text), text);
  }
}

TEST(Scrub, CutsOutWhatLooksLikeAToken) {
  for (const char* token :
       {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln", "sk-ant-oat01-abc", "nrt_SIM_0123456789abcdef",
        "rt_abcdefgh", "AbCdEfGhIjKlMnOpQrStUv", "0f8fad5b-d9cb-469f-a165-70867728950e",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop"}) {
    EXPECT_EQ(scrub(std::string("bad ") + token + " here"), "bad [redacted] here");
  }
}

TEST(Scrub, CutsOutWhatIsSaidToBeASecret) {
  EXPECT_EQ(scrub("Bearer hunter2"), "Bearer [redacted]");
  EXPECT_EQ(scrub("refresh_token=hunter2"), "refresh_token=[redacted]");
  EXPECT_EQ(scrub("{\"access_token\":\"hunter2\"}"), "{\"access_token\":\"[redacted]\"}");
}

TEST(Scrub, CutsOutTheTokensThatWereSentWhateverTheyLookLike) {
  const Secret token = Secret::copy_of("seed-refresh");

  EXPECT_EQ(scrub("no such token seed-refresh, sorry", {&token}),
            "no such token [redacted], sorry");
}

TEST(Scrub, MakesOneShortLineWithoutControlCharacters) {
  EXPECT_EQ(scrub("a\x1b[31mb\r\n\tc\xc2\x9b"
                  "d\x7f"),
            "a [31mb c d");

  const std::string cut = scrub(std::string(150, 'x') + " " + std::string(150, 'y'));
  EXPECT_LE(cut.size(), kShownText + 3);
}

TEST(Scrub, DoesNotCutACharacterInTwo) { EXPECT_EQ(scrub("aé", {}, 2), "a..."); }

}  // namespace
}  // namespace authdb::oauth
