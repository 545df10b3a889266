// Refusals that go on: which of them mean that a login is probably needed.
#include "bearer_fixture.h"

namespace authdb::oauth {
namespace {

class RefusalTest : public BearerTest {
 protected:
  struct Said {
    int status;
    const char* body;
  };

  // What the fifth of them amounts to, an hour after the first; nothing of the credential lives.
  Errc fifth(const Said& said, const std::string& provider = "spotify") {
    Seed seed = jwt_seed();
    seed.provider = provider_ = provider;
    seed.scope = "";
    seed.profile = "p" + std::to_string(++count_);
    seed.label = seed.profile;
    seed.refresh = "seed-" + seed.profile;
    seed.expires_in = -Seconds{60};
    uid_ = add(seed);
    variables_["SPOTIFY_CLIENT_ID"] = "client";
    for (int i = 0; i < 4; ++i) EXPECT_EQ(once(said), Errc::try_later) << said.status << said.body;
    return once(said);
  }
  Errc once(const Said& said) {
    answer(said.status, said.body);
    const auto got = source().refresh(uid_, "default", false);
    pass(std::chrono::minutes(15));
    return got ? Errc{} : got.error().code;
  }

  int count_ = 0;
  Uid uid_;
};

TEST_F(RefusalTest, P8_RefusalsWhoseMeaningNobodyKnowsAreALoginThatIsProbablyNeeded) {
  for (const Said& said : {Said{400, R"({"error":"something_new"})"}, Said{401, "{}"},
                           Said{403, R"({"message":"no"})"}, Said{404, R"({"error":"gone"})"},
                           Said{400, R"({"error":"invalid_request"})"}, Said{401, ""}}) {
    EXPECT_EQ(fifth(said), Errc::login_needed) << said.status << said.body;
  }
}

TEST_F(RefusalTest, RefusalsWhoseMeaningIsKnownAskForNoLogin) {
  for (const Said& said :
       {Said{401, R"({"error":"invalid_client"})"}, Said{400, R"({"error":"invalid_client"})"},
        Said{400, R"({"error":"unauthorized_client"})"}, Said{400, R"({"error":"invalid_scope"})"},
        Said{400, R"({"error":"unsupported_grant_type"})"},
        Said{400, R"({"error":"temporarily_unavailable"})"},
        Said{400, R"({"error":"server_error"})"}, Said{400, R"({"error":"invalid_target"})"},
        Said{400, R"({"error":"use_dpop_nonce"})"}, Said{425, R"({"error":"something_new"})"},
        Said{429, R"({"error":"something_new"})"}, Said{403, "<html>Forbidden</html>"},
        Said{404, "not found"}}) {
    EXPECT_EQ(fifth(said), Errc::try_later) << said.status << said.body;
  }
  EXPECT_EQ(fifth({400, R"({"error":{"type":"overloaded_error"}})"}, "anthropic"), Errc::try_later)
      << "the provider's own table knows it";
}

TEST_F(RefusalTest, WhatComesInBetweenNeitherCountsNorStartsItOver) {
  const Said unknown{400, R"({"error":"something_new"})"};
  ASSERT_EQ(fifth({400, R"({"error":"invalid_client"})"}), Errc::try_later);
  for (const Said& between : {Said{429, "{}"}, Said{503, ""}, Said{400, R"({"error":"slow_down"})"},
                              Said{404, "<html></html>"}}) {
    EXPECT_EQ(once(unknown), Errc::try_later);
    EXPECT_EQ(once(between), Errc::try_later);
  }

  EXPECT_EQ(once(unknown), Errc::login_needed);
}

TEST_F(RefusalTest, AGrantStartsItOver) {
  const Said unknown{400, R"({"error":"something_new"})"};
  ASSERT_EQ(fifth(unknown), Errc::login_needed);
  answer(200, R"({"access_token":"at","refresh_token":"rt-after","expires_in":1})");
  ASSERT_TRUE(source().refresh(uid_, "default", false));
  pass(std::chrono::minutes(15));

  EXPECT_EQ(once(unknown), Errc::try_later);
}

}  // namespace
}  // namespace authdb::oauth
