#include "migrate/scrub.h"

#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

TEST(Scrub, LeavesOrdinaryMessagesAlone) {
  for (const char* message :
       {"The usage limit has been reached", "Refresh token reuse detected; please re-authenticate",
        "usage_limit_reached", "invalid_grant", "runtime_access_refresh_failure", ""}) {
    EXPECT_EQ(scrubbed(message), message);
  }
}

TEST(Scrub, TakesOutWhatMayBeAToken) {
  EXPECT_EQ(scrubbed("key sk-ab1 is bad"), "key […] is bad");
  EXPECT_EQ(scrubbed("got 'AbCdEfGh0123456789XyZw'."), "got '[…]'.");
  EXPECT_EQ(scrubbed("token=nrt_x"), "token=[…]");
  EXPECT_EQ(scrubbed("Bearer eyJhbGciOi.eyJzdWIi.sig"), "Bearer […]");
}

TEST(Scrub, CutsLongTextBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "\xC3\xA4 ";

  const std::string cut = scrubbed(text);

  EXPECT_LE(cut.size(), 300U);
  EXPECT_EQ(cut.size() % 3, 0U);
}

}  // namespace
}  // namespace authdb::migrate
