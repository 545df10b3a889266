#include "oauth/agent_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace authdb::oauth {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Instant kNow = at_millis(1'779'179'400'000);

class AgentKeys : public testing::Test {
 protected:
  MintAnswer read(int status, const std::string& body) const {
    return read_mint(answered(status, body), nous_, token_);
  }
  ProviderRegistry registry_ = ProviderRegistry::load("/nonexistent");
  const Provider& nous_ = *registry_.find("nous");
  Secret token_ = Secret::copy_of("seed-oauth");
};

TEST_F(AgentKeys, AreAskedForWithTheAccessTokenAndAShortestLife) {
  const auto request = mint_request(nous_, {}, no_environment(), token_, Milliseconds{0});

  ASSERT_TRUE(request);
  EXPECT_EQ(request->url, "https://portal.nousresearch.com/api/oauth/agent-key");
  EXPECT_EQ(request->body.reveal(), "{\"min_ttl_seconds\": 1800}");
  EXPECT_EQ(request->headers[0].first, "Authorization");
  EXPECT_EQ(request->headers[0].second.reveal(), "Bearer seed-oauth");
}

TEST_F(AgentKeys, CallerMayAskForALongerLife) {
  const auto request = mint_request(nous_, {}, no_environment(), token_, Seconds{7200});

  EXPECT_EQ(request->body.reveal(), "{\"min_ttl_seconds\": 7200}");
}

TEST_F(AgentKeys, AreNotAskedForAtAStrangersHost) {
  Identity identity;
  identity.portal_base_url = "https://evil.example";

  EXPECT_EQ(mint_request(nous_, identity, no_environment(), token_, {}).error().code,
            Errc::refused);
}

TEST_F(AgentKeys, AbsoluteExpiryWinsAndTheRestIsRecorded) {
  const MintAnswer got = read(200, R"({"api_key":" sk-1 ","key_id":"k1","reused":true,
      "expires_at":"2026-12-01T00:00:00+00:00","expires_in":5})");

  ASSERT_TRUE(got.key);
  EXPECT_EQ(got.key->secret.reveal(), "sk-1");
  EXPECT_EQ(got.key->key_id, "k1");
  EXPECT_TRUE(got.key->reused);
  EXPECT_EQ(got.key->obtained_at, kNow);
  EXPECT_EQ(got.key->expires_at, at_millis(1'796'083'200'000));
  EXPECT_EQ(got.warning, "");
}

TEST_F(AgentKeys, ShorterLifeThanAskedForIsAccepted) {
  EXPECT_EQ(read(200, R"({"api_key":"sk-1","expires_in":60})").key->expires_at, kNow + Seconds{60});
}

TEST_F(AgentKeys, UnknownLifeIsHalfAnHourWithAWarning) {
  for (const char* life : {"", R"(,"expires_in":true)", R"(,"expires_in":0)",
                           R"(,"expires_at":"2026-12-01T00:00:00")"}) {
    const MintAnswer got = read(200, R"({"api_key":"sk-1")" + std::string(life) + "}");

    ASSERT_TRUE(got.key) << life;
    EXPECT_EQ(got.key->expires_at, kNow + Seconds{1800}) << life;
    EXPECT_THAT(got.warning, HasSubstr("api_key")) << life;
    EXPECT_THAT(got.warning, Not(HasSubstr("sk-1"))) << life;
  }
}

TEST_F(AgentKeys, MayComeUnderTheirOlderName) {
  for (const char* api_key : {"", R"("api_key":"",)", R"("api_key":null,)", R"("api_key":0,)",
                              R"("api_key":false,)", R"("api_key":[],)"}) {
    const MintAnswer got =
        read(200, "{" + std::string(api_key) + R"("agent_key":"sk-2","expires_in":60})");

    ASSERT_TRUE(got.key) << api_key;
    EXPECT_EQ(got.key->secret.reveal(), "sk-2") << api_key;
  }
}

TEST_F(AgentKeys, KeyThatIsNoStringIsAMistakeThatTheAliasDoesNotMend) {
  for (const char* api_key : {"7", "true", "[\"x\"]", "{\"a\":1}", "\"   \""}) {
    const MintAnswer got =
        read(200, R"({"agent_key":"sk-2","api_key":)" + std::string(api_key) + "}");

    EXPECT_FALSE(got.key) << api_key;
    EXPECT_THAT(got.message, HasSubstr("missing api_key")) << api_key;
  }
}

TEST_F(AgentKeys, UnusableAnswersAreTriedLater) {
  EXPECT_THAT(read(200, "nope").message, HasSubstr("invalid JSON"));
  EXPECT_THAT(read(200, "[]").message, HasSubstr("invalid JSON"));
  EXPECT_THAT(read(200, "{}").message, HasSubstr("missing api_key"));
  for (const int status : {201, 302, 402, 404, 410, 429, 500, 502, 503}) {
    const MintAnswer got = read(status, "{}");
    EXPECT_FALSE(got.key) << status;
    EXPECT_NE(got.failure, FailureClass::login) << status;
    EXPECT_THAT(got.message, HasSubstr("status " + std::to_string(status)));
  }
}

TEST_F(AgentKeys, RefusalIsTheEndOfTheLogin) {
  EXPECT_EQ(read(401, R"({"error":"invalid_token"})").failure, FailureClass::login);
  EXPECT_EQ(read(403, R"({"error":"tenant_suspended"})").failure, FailureClass::login);
}

TEST_F(AgentKeys, WhatSaysNoMoreThanItsStatusIsNoRefusal) {
  for (const char* body : {"<html>Forbidden</html>", "Unauthorized", "", "{}"}) {
    EXPECT_EQ(read(401, body).failure, FailureClass::transient) << body;
    EXPECT_EQ(read(403, body).failure, FailureClass::transient) << body;
  }
  EXPECT_EQ(read(401, R"({"error":"unauthorized"})").failure, FailureClass::transient);
  EXPECT_EQ(read(403, R"({"error":"forbidden"})").failure, FailureClass::transient);
}

TEST_F(AgentKeys, OnlyTheServersOwn401MayBeMendedByAnotherAccessToken) {
  EXPECT_TRUE(read(401, R"({"error":"invalid_token"})").may_be_the_token);
  EXPECT_TRUE(read(401, R"({"error":"unauthorized"})").may_be_the_token);
  EXPECT_TRUE(read(401, "").may_be_the_token);
  EXPECT_FALSE(read(401, "<html>Forbidden</html>").may_be_the_token);
  EXPECT_FALSE(read(403, R"({"error":"invalid_token"})").may_be_the_token);
}

TEST_F(AgentKeys, AccountWithoutMoneyNeedsNoLogin) {
  EXPECT_EQ(read(403, R"({"error":"insufficient_credits"})").failure, FailureClass::entitlement);
  EXPECT_EQ(read(402, R"({"error":"subscription_required"})").failure, FailureClass::entitlement);
}

TEST_F(AgentKeys, ServersWordsAreShownWithoutTheToken) {
  const MintAnswer got =
      read(403, R"({"error":{"code":"rate_limited","message":"slow down, seed-oauth"}})");

  EXPECT_THAT(got.message, HasSubstr("rate_limited: slow down, [redacted]"));
}

TEST_F(AgentKeys, TransportFailureSaysWhat) {
  Answer none;
  none.failure = "connection refused";
  const MintAnswer got = read_mint(none, nous_, token_);

  EXPECT_EQ(got.code, "transport");
  EXPECT_THAT(got.message, HasSubstr("connection refused"));
}

}  // namespace
}  // namespace authdb::oauth
