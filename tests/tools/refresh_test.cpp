#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using RefreshTest = CommandTest;

const GrantText kSecond{"access-token-ALPHA-2", "refresh-token-ALPHA-2"};

TEST_F(RefreshTest, SpendsTheTokenThoughNothingIsDue) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  http_->answer(200, grant_json(kSecond));
  const auto ran = must({"refresh", "acme"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Refreshed acme credential #1 (work); status: ok"),
                             HasSubstr("expires in 1h")));
  EXPECT_EQ(stored()[0].generation, 2);
  EXPECT_EQ(stored_token(stored()[0].uid), "access-token-ALPHA-2");
}

TEST_F(RefreshTest, JsonIsATokenWithoutTheToken) {
  must({"add", "acme", "--grant"}, grant_json());
  http_->answer(200, grant_json(kSecond));
  const auto json = must_json({"refresh", "acme"});
  EXPECT_EQ(json["action"], "refreshed");
  EXPECT_EQ(json["fingerprint"], fingerprint(token_hash(kSecond.access)));
  EXPECT_FALSE(json.contains("token"));
}

TEST_F(RefreshTest, WithoutATargetSkipsWhatHasNothingToRefresh) {
  must({"add", "acme", "--label", "static"}, "sk-key-1");
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  http_->answer(200, grant_json(kSecond));
  EXPECT_THAT(must({"refresh", "acme"}).out, HasSubstr("#2 (work)"));
}

TEST_F(RefreshTest, AnApiKeyCannotBeRefreshed) {
  must({"add", "openrouter"}, "sk-key-1");
  const auto named = run({"refresh", "openrouter", "1"});
  EXPECT_EQ(named.status, 2);
  EXPECT_THAT(named.err, HasSubstr("not a refreshable OAuth credential"));
  EXPECT_EQ(run({"refresh", "openrouter"}).status, 3);
  EXPECT_THAT(http_->urls(), IsEmpty());
}

TEST_F(RefreshTest, ALoginWithoutARefreshTokenNeedsALogin) {
  must({"add", "acme", "--grant", "--label", "work"},
       R"({"access_token":"access-token-ALPHA-1","expires_in":3600})");
  const auto ran = run({"refresh", "acme", "work"});
  EXPECT_EQ(ran.status, 4);
  EXPECT_THAT(ran.err, HasSubstr("log in again"));
}

TEST_F(RefreshTest, AFailureSaysWhatAndWhatToDo) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  http_->answer(400,
                R"({"error":"invalid_grant","error_description":"Refresh token reuse detected"})");
  const auto ran = run({"refresh", "acme"});
  EXPECT_EQ(ran.status, 4);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, AllOf(HasSubstr("work"), Not(HasSubstr("refresh-token-ALPHA"))));
}

TEST_F(RefreshTest, ALostAnswerIsNotReplayedUntilItIsAskedFor) {
  must({"add", "acme", "--grant"}, grant_json());
  http_->answer(500, "{}");
  EXPECT_EQ(run({"refresh", "acme"}).status, 5);
  EXPECT_EQ(run({"refresh", "acme"}).status, 5);
  EXPECT_THAT(http_->urls(), SizeIs(1));

  http_->answer(200, grant_json(kSecond));
  must({"refresh", "acme", "--replay"});
  EXPECT_THAT(http_->urls(), SizeIs(2));
  EXPECT_EQ(stored()[0].generation, 2);
}

GrantText minting() {
  GrantText grant;
  grant.scope = "inference:mint_agent_key";
  return grant;
}
const std::string kKey =
    R"({"api_key":"agent-key-GAMMA-1","key_id":"k1","expires_in":86400,"reused":false})";

TEST_F(RefreshTest, MintMakesAnAgentKeyThatTokenReturns) {
  must({"add", "nous", "--grant", "--label", "work"}, grant_json(minting()));
  http_->answer(200, kKey);
  const auto ran = must({"mint", "nous"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Minted " + fingerprint(token_hash("agent-key-GAMMA-1"))),
                             HasSubstr("nous credential #1 (work)"), HasSubstr("expires in 1d")));
  EXPECT_EQ(must({"token", "nous"}).out, "agent-key-GAMMA-1\n");
  EXPECT_EQ(must_json({"token", "nous"})["kind"], "agent_key");
  EXPECT_THAT(http_->urls(), SizeIs(1));
}

TEST_F(RefreshTest, MintNeedsACredentialThatHasAgentKeys) {
  must({"add", "acme", "--grant"}, grant_json());
  EXPECT_EQ(run({"mint", "acme"}).status, 3);
  EXPECT_EQ(run({"mint", "acme", "1"}).status, 2);
  EXPECT_THAT(http_->urls(), IsEmpty());
}

}  // namespace
}  // namespace authdb::cli
