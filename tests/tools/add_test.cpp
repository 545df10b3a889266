#include "store/words.h"
#include "tests/oauth/fakes.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

using AddTest = CommandTest;

TEST_F(AddTest, AnApiKeyFromStdinIsStoredUnderTheNextFreeLabel) {
  const auto ran = must({"add", "openrouter"}, "sk-key-1\n");
  EXPECT_EQ(ran.out, "Added openrouter credential #1: \"api-key-1\"\n");

  const auto all = stored();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].identity.provider, "openrouter");
  EXPECT_EQ(all[0].identity.label, "api-key-1");
  EXPECT_EQ(all[0].identity.auth_type, AuthType::api_key);
  EXPECT_EQ(all[0].bearer_kind, BearerKind::api_key);
  EXPECT_EQ(stored_token(all[0].uid), "sk-key-1");
  EXPECT_THAT(*reopen().profiles_of(all[0].uid), ElementsAre("default"));
}

TEST_F(AddTest, ASecondKeyWithTheSameLabelIsASecondCredential) {
  must({"add", "openrouter", "--label", "work"}, "sk-key-1");
  must({"add", "openrouter", "--label", "work"}, "sk-key-2");
  EXPECT_THAT(stored(), SizeIs(2));
}

TEST_F(AddTest, TheSameKeyTwiceIsOneCredentialForBothProfiles) {
  must({"add", "openrouter"}, "sk-key-1");
  const auto ran = must({"add", "openrouter", "--profile", "atlas"}, "sk-key-1");
  EXPECT_THAT(ran.out, HasSubstr("There already"));
  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_THAT(*reopen().profiles_of(stored()[0].uid), UnorderedElementsAre("atlas", "default"));
}

TEST_F(AddTest, PriorityIsThePlaceInThePool) {
  must({"add", "openrouter", "--label", "first"}, "sk-key-1");
  must({"add", "openrouter", "--label", "second", "--priority", "1"}, "sk-key-2");
  const auto pool = reopen().pool("default", "openrouter");
  ASSERT_TRUE(pool);
  ASSERT_THAT(*pool, SizeIs(2));
  EXPECT_EQ((*pool)[0].credential.identity.label, "second");
}

TEST_F(AddTest, AKeyAsAnArgumentIsRefusedBeforeAnythingIsMade) {
  const std::string key = "sk-SECRET-0123456789";
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"add", "openrouter", key},
                                             {"add", "openrouter", "--api-key", key},
                                             {"add", "openrouter", "--key=" + key},
                                             {"add", "--token", key, "openrouter"},
                                             {"add", key}}) {
    const auto ran = run(words, "sk-other");
    EXPECT_EQ(ran.status, 2) << testing::PrintToString(ran);
    EXPECT_THAT(ran.err, AllOf(HasSubstr("history"), HasSubstr("every process")));
    EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("SECRET")));
  }
  EXPECT_FALSE(std::filesystem::exists(store_path()));
}

TEST_F(AddTest, NothingOnStdinMakesNoStore) {
  EXPECT_EQ(run({"add", "openrouter"}).status, 2);
  EXPECT_EQ(run({"add", "openrouter", "--priority", "0"}, "sk-key-1").status, 2);
  EXPECT_EQ(run({"add", "acme", "--grant"}, "not json").status, 2);
  EXPECT_FALSE(std::filesystem::exists(store_path()));
}

TEST_F(AddTest, AGrantBecomesARefreshableCredential) {
  const auto ran = must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  EXPECT_EQ(ran.out, "Added acme OAuth credential #1: \"work\"\n");

  const auto all = stored();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].identity.auth_type, AuthType::oauth);
  EXPECT_EQ(all[0].identity.scope, "inference:invoke");
  EXPECT_EQ(all[0].expires_at, now_ + Seconds{3600});
  EXPECT_EQ(all[0].obtained_at, now_);
  EXPECT_EQ(all[0].refresh_hash, token_hash("refresh-token-ALPHA-1"));
  EXPECT_EQ(all[0].origin, Origin::login);
  EXPECT_THAT(http_->urls(), IsEmpty());
}

TEST_F(AddTest, AnAliasIsTheProviderItStandsFor) {
  must({"add", "codex", "--grant"}, grant_json());
  EXPECT_EQ(stored()[0].identity.provider, "openai-codex");
  EXPECT_EQ(stored()[0].identity.label, "openai-codex-oauth-1");
}

TEST_F(AddTest, AGrantKeepsItsClientPortalAndAgentKey) {
  GrantText grant;
  grant.scope = "inference:mint_agent_key";
  grant.more =
      R"(,"client_id":"my-client","portal_base_url":"http://127.0.0.1:9","agent_key":"ak-SECRET",)"
      R"("agent_key_id":"k1","agent_key_expires_at":"2026-04-13T13:20:00Z")";
  must({"add", "nous", "--grant"}, grant_json(grant));

  const auto credential = stored().at(0);
  EXPECT_EQ(credential.identity.client_id, "my-client");
  EXPECT_EQ(credential.identity.portal_base_url, "http://127.0.0.1:9");
  EXPECT_EQ(credential.bearer_kind, BearerKind::agent_key);
  EXPECT_TRUE(credential.has_agent_key);
  EXPECT_EQ(credential.agent_key_expires_at, now_ + Seconds{86'400});
}

TEST_F(AddTest, AnAnswerThatIsOlderIsCountedFromWhenItWasObtained) {
  GrantText grant;
  grant.more = R"(,"obtained_at":"2026-04-12T13:00:00Z")";
  must({"add", "acme", "--grant"}, grant_json(grant));
  EXPECT_EQ(stored().at(0).expires_at, now_ - Seconds{1'200} + Seconds{3'600});
}

TEST_F(AddTest, TheSameGrantTwiceIsOneCredential) {
  must({"add", "acme", "--grant"}, grant_json());
  EXPECT_THAT(must({"add", "acme", "--grant"}, grant_json()).out, HasSubstr("There already"));
  EXPECT_THAT(stored(), SizeIs(1));
}

TEST_F(AddTest, ASpentRefreshTokenIsRefusedForGood) {
  must({"add", "acme", "--grant"}, grant_json());
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  must({"refresh", "acme"});

  const auto ran = run({"add", "acme", "--grant"}, grant_json());
  EXPECT_EQ(ran.status, 7) << testing::PrintToString(ran);
  EXPECT_THAT(ran.err, HasSubstr(fingerprint(token_hash("refresh-token-ALPHA-1"))));
  EXPECT_THAT(stored(), SizeIs(1));
}

TEST_F(AddTest, ALoginOfAnEndedSessionKeepsTheCredential) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  const auto uid = stored().at(0).uid;
  must({"profile", "add", "atlas"});
  must({"profile", "bind", "atlas", "acme", uid});
  http_->answer(400, R"({"error":"invalid_grant"})");
  EXPECT_EQ(run({"refresh", "acme"}).status, 4);

  const auto ran = must({"add", "acme", "--grant", "--label", "work"},
                        grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));
  EXPECT_THAT(ran.out, HasSubstr("Logged in again"));
  const auto all = stored();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].uid, uid);
  EXPECT_EQ(all[0].family, 2);
  EXPECT_EQ(all[0].health.status, Status::ok);
  EXPECT_EQ(stored_token(uid), "access-token-BETA-1");
  EXPECT_THAT(*reopen().profiles_of(uid), UnorderedElementsAre("atlas", "default"));
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-BETA-1\n");
}

TEST_F(AddTest, WithoutALabelItContinuesTheOneEndedSessionOfNobodyKnowsWhom) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  http_->answer(400, R"({"error":"invalid_grant"})");
  EXPECT_EQ(run({"refresh", "acme"}).status, 4);

  must({"add", "acme", "--grant"}, grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));

  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored()[0].identity.label, "work");
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-BETA-1\n");
}

std::string jwt_of(const std::string& account, int n) {
  return oauth::fake_jwt(nlohmann::json{{"sub", account}, {"n", n}}.dump());
}

TEST_F(AddTest, AGrantOfTheSameAccountRenewsItsCredentialAndLiftsItsMarks) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json({jwt_of("anna", 1), "refresh-1"}));
  must({"report", "acme", "work", "--status", "402"});

  const auto ran = must({"add", "acme", "--grant", "--label", "home"},
                        grant_json({jwt_of("anna", 2), "refresh-2"}));

  EXPECT_THAT(ran.out, HasSubstr("Logged in again"));
  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored()[0].health.status, Status::ok);
  EXPECT_EQ(must({"token", "acme"}).out, jwt_of("anna", 2) + "\n");
}

TEST_F(AddTest, AGrantOfAnotherAccountIsAnotherCredential) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json({jwt_of("anna", 1), "refresh-1"}));
  must({"add", "acme", "--grant", "--label", "work"},
       grant_json({jwt_of("berta", 1), "refresh-2"}));
  ASSERT_THAT(stored(), SizeIs(2));
  EXPECT_NE(stored()[0].identity.label, stored()[1].identity.label);
}

TEST_F(AddTest, OfTheSameGrantANewerAccessTokenIsTakenAndAnOlderOneIsNot) {
  must({"add", "acme", "--grant"}, grant_json({"access-1", "refresh-1", 3600}));
  must({"add", "acme", "--grant"}, grant_json({"access-0", "refresh-1", 60}));
  EXPECT_EQ(must({"token", "acme"}).out, "access-1\n");

  must({"add", "acme", "--grant"}, grant_json({"access-2", "refresh-1", 7200}));

  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(must({"token", "acme"}).out, "access-2\n");
  EXPECT_EQ(stored()[0].expires_at, now_ + Seconds{7200});
  EXPECT_EQ(stored()[0].refresh_hash, token_hash("refresh-1"));
  EXPECT_EQ(stored()[0].family, 1);
}

TEST_F(AddTest, ARestartThatSeedsIfAbsentLeavesWhatIsThere) {
  const auto seed = [&] {
    return must({"add", "acme", "--grant", "--if-absent"}, grant_json()).out;
  };
  EXPECT_THAT(seed(), HasSubstr("Added"));
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  must({"refresh", "acme"});

  EXPECT_THAT(seed(), HasSubstr("There already")) << "though its token is spent by now";

  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-2\n");
  must({"add", "openrouter", "--if-absent"}, "sk-key-1");
  must({"add", "openrouter", "--if-absent"}, "sk-key-2");
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-1\n");
}

TEST_F(AddTest, ARestartThatSeedsIfAbsentAddsAnotherAccount) {
  must({"add", "acme", "--grant"}, grant_json({jwt_of("anna", 1), "refresh-1"}));
  must({"add", "acme", "--grant", "--if-absent"}, grant_json({jwt_of("berta", 1), "refresh-2"}));
  EXPECT_THAT(stored(), SizeIs(2));
}

TEST_F(AddTest, RenewPutsItInThePlaceOfWhatIsThere) {
  must({"add", "openrouter", "--label", "work", "--renew"}, "sk-key-1");
  must({"report", "openrouter", "work", "--status", "402"});
  const auto ran = must({"add", "openrouter", "--label", "work", "--renew"}, "sk-key-2");
  EXPECT_THAT(ran.out, HasSubstr("Renewed"));
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-2\n");
  EXPECT_THAT(stored("openrouter"), SizeIs(1));

  must({"add", "acme", "--grant"}, grant_json());
  must({"add", "acme", "--grant", "--renew"},
       grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));
  EXPECT_THAT(stored("acme"), SizeIs(1));
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-BETA-1\n");

  EXPECT_EQ(run({"add", "acme", "--renew", "--if-absent"}, "sk-key-3").status, 2);
}

TEST_F(AddTest, AGrantForACredentialWhoseJournalCannotBeOpenedIsKeptAsANewOne) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  const auto uid = stored().at(0).uid;
  http_->answer(400, R"({"error":"invalid_grant"})");
  EXPECT_EQ(run({"refresh", "acme"}).status, 4);
  const auto journal = dir_ / "store/auth.db.d" / uid.substr(0, 2) / uid;
  std::filesystem::remove_all(journal.parent_path());
  write_file(journal.parent_path(), "in the way");

  const auto ran = must({"add", "acme", "--grant", "--label", "work"},
                        grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));

  EXPECT_THAT(ran.err, HasSubstr(uid));
  const auto all = stored();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_NE(all[1].identity.label, "work");
  EXPECT_EQ(stored_token(all[1].uid), "access-token-BETA-1");
  EXPECT_EQ(all[0].refresh_hash, token_hash("refresh-token-ALPHA-1"));
}

TEST_F(AddTest, AnExpiryThatAGrantDoesNotStateIsUnknown) {
  must({"add", "acme", "--grant"}, R"({"access_token":"opaque-1"})");
  must({"add", "acme", "--grant"}, R"({"access_token":"opaque-2","refresh_token":"r-2"})");
  must({"add", "acme", "--grant"}, R"({"access_token":"opaque-3","expires_in":0})");
  must({"add", "acme", "--grant"}, R"({"access_token":"opaque-4","expires_at":0})");

  const auto all = stored();
  ASSERT_THAT(all, SizeIs(4));
  for (const auto& one : all) EXPECT_EQ(one.expires_at, std::nullopt) << one.uid;
}

TEST_F(AddTest, AnExpiryThatIsPastIsPast) {
  must({"add", "acme", "--grant"},
       R"({"access_token":"opaque-1","expires_at":"2026-04-12T13:00:00Z"})");
  must({"add", "acme", "--grant"}, R"({"access_token":"e30.eyJleHAiOjE3NzU5OTkwMDB9.c2ln"})");
  must({"add", "acme", "--grant"},
       R"({"access_token":"opaque-3","expires_in":60,"obtained_at":"2026-04-12T13:00:00Z"})");

  const auto all = stored();
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_EQ(all[0].expires_at, now_ - Seconds{1'200});
  EXPECT_EQ(all[1].expires_at, now_ - Seconds{1'000});
  EXPECT_EQ(all[2].expires_at, now_ - Seconds{1'140});
  EXPECT_EQ(run({"token", "acme"}).status, 4);
}

TEST_F(AddTest, AGrantOfAnUnknownProviderIsNotTaken) {
  const auto ran = run({"add", "acmee", "--grant"}, grant_json());
  EXPECT_EQ(ran.status, 3);
  EXPECT_FALSE(std::filesystem::exists(store_path()));
}

TEST_F(AddTest, AGrantIsNotTypedAtATerminal) {
  ask_ = [](std::string_view) -> Result<Secret> { return Secret::copy_of("x"); };
  EXPECT_EQ(run({"add", "acme", "--grant"}, grant_json()).status, 2);
}

TEST_F(AddTest, JsonSaysWhatWasAdded) {
  const auto json = must_json({"add", "custom:together.ai", "--label", "t"}, "sk-key-1");
  EXPECT_EQ(json["added"], true);
  EXPECT_EQ(json["provider"], "custom:together.ai");
  EXPECT_EQ(json["label"], "t");
  EXPECT_EQ(json["position"], 1);
  EXPECT_EQ(json["credential"], stored()[0].uid);
  EXPECT_EQ(must_json({"add", "custom:together.ai"}, "sk-key-1")["added"], false);
}

}  // namespace
}  // namespace authdb::cli
