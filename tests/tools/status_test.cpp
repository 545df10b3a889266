#include <unistd.h>

#include <cstdlib>

#include "store/fingerprint.h"
#include "tests/tools/harness.h"
#include "tools/render/table.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class StatusTest : public CommandTest {
 protected:
  void add_grant() { must({"add", "acme", "--grant", "--label", "work"}, grant_json()); }
};

TEST_F(StatusTest, JsonIsTheViewFreshness) {
  add_grant();
  const auto json = must_json({"status"});
  ASSERT_THAT(json, SizeIs(1));
  const auto columns = reopen().query("SELECT * FROM freshness LIMIT 0");
  ASSERT_TRUE(columns);
  EXPECT_EQ(json[0].size(), columns->columns.size());
  for (const auto& column : columns->columns) EXPECT_TRUE(json[0].contains(column)) << column;
  EXPECT_EQ(json[0]["state"], "fresh");
  EXPECT_EQ(json[0]["expires_in_s"], 3600);
  EXPECT_EQ(json[0]["profiles"], nlohmann::json::array({"default"}));
  EXPECT_EQ(json[0]["refreshable"], true);
  EXPECT_EQ(json[0]["needs_login"], false);
  EXPECT_EQ(json[0]["hold"], nullptr);
}

TEST_F(StatusTest, ATableForPeople) {
  add_grant();
  now_ += Seconds{600};
  const auto out = must({"status"}).out;
  EXPECT_THAT(out, AllOf(HasSubstr("PROVIDER"), HasSubstr("work"), HasSubstr("fresh"),
                         HasSubstr("50m"), HasSubstr("10m ago"), HasSubstr("default")));
}

TEST_F(StatusTest, AnAgentKeyHasALineOfItsOwn) {
  GrantText grant;
  grant.scope = "inference:mint_agent_key";
  must({"add", "nous", "--grant"}, grant_json(grant));
  EXPECT_THAT(must({"status"}).out, AllOf(HasSubstr("agent_key"), HasSubstr("not minted")));
}

TEST_F(StatusTest, CheckIsZeroWhileAllIsWell) {
  add_grant();
  must({"add", "openrouter"}, "sk-key-1");
  EXPECT_EQ(run({"status", "--check"}).status, 0);
  now_ += Seconds{7'200};  // expired, and refreshable: nobody needs to do anything
  EXPECT_EQ(run({"status", "--check"}).status, 0);
}

TEST_F(StatusTest, CheckIsFourWhenSomethingNeedsALogin) {
  add_grant();
  must({"add", "openrouter"}, "sk-key-1");
  must({"report", "openrouter", "1", "--status", "429"});
  http_->answer(400, R"({"error":"invalid_grant"})");
  run({"refresh", "acme"});
  EXPECT_EQ(run({"status", "--check"}).status, 4);
  EXPECT_EQ(run({"status", "--check", "--json"}).status, 4);
  EXPECT_EQ(run({"status", "--check", "--quiet"}).status, 4);
  EXPECT_EQ(run({"status", "--check", "--quiet"}).out, "");
  EXPECT_EQ(run({"status"}).status, 0);
  EXPECT_THAT(run({"status"}).out, HasSubstr("needs a login"));
}

TEST_F(StatusTest, EveryHintNamesTheCredentialThatTheLoginIsToRenew) {
  must({"add", "acme", "--grant", "--label", "it's mine", "--profile", "atlas"}, grant_json());
  now_ += Seconds{7'200};
  http_->answer(400, R"({"error":"invalid_grant"})");
  const std::string command = R"(authdb login acme --label 'it'\''s mine' --profile atlas)";

  EXPECT_THAT(run({"refresh", "acme", "--profile", "atlas"}).err, HasSubstr(command));
  EXPECT_THAT(run({"token", "acme", "--profile", "atlas"}).err, HasSubstr(command));
  EXPECT_THAT(run({"status"}).out, HasSubstr("`" + command + "`"));
  EXPECT_THAT(run({"doctor"}).out, HasSubstr("`" + command + "`"));
  EXPECT_THAT(run({"keep-fresh", "--once"}).err, HasSubstr("`" + command + "`"));
}

TEST_F(StatusTest, ALoginOfAProviderThatLoginDoesNotKnowIsForItsOwnTool) {
  add_grant();
  http_->answer(400, R"({"error":"invalid_grant"})");
  run({"refresh", "acme"});
  std::filesystem::remove(dir_ / "providers.d" / "acme.json");

  const auto ran = run({"status"});

  EXPECT_THAT(ran.out, AllOf(HasSubstr("needs a login: with the tool that owns it"),
                             Not(HasSubstr("authdb login"))));
}

TEST_F(StatusTest, CheckIsFiveWhileSomethingCoolsDown) {
  must({"add", "openrouter"}, "sk-key-1");
  must({"report", "openrouter", "1", "--status", "429"});
  EXPECT_EQ(run({"status", "--check"}).status, 5);
  must({"reset", "openrouter"});
  EXPECT_EQ(run({"status", "--check"}).status, 0);
}

TEST_F(StatusTest, CheckIsFiveForAnExpiredBearerBehindARenewalThatFails) {
  add_grant();
  now_ += Seconds{7'200};
  http_->answer(503, "{}");
  EXPECT_EQ(run({"token", "acme"}).status, 5);
  now_ += Seconds{3'600};  // the token endpoint does not rest any more

  const auto ran = run({"status", "--check"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out,
              AllOf(HasSubstr("no bearer that works"),
                    HasSubstr("failing since 2026-04-12T15:20:00"), HasSubstr("authdb log acme")));
  EXPECT_EQ(run({"doctor"}).status, 5);

  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  must({"token", "acme"});
  EXPECT_EQ(run({"status", "--check"}).status, 0);
}

TEST_F(StatusTest, P8_CheckIsFiveForAnExpiredBearerThatNoProviderHereCanRenew) {
  add_grant();
  std::filesystem::remove(dir_ / "providers.d" / "acme.json");
  now_ += Seconds{7'200};

  const auto ran = run({"status", "--check"});

  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("has no bearer that works"),
                             HasSubstr("no provider \"acme\" is known here")));
  EXPECT_EQ(run({"doctor"}).status, 5);
}

class ObstacleTest : public StatusTest {
 protected:
  // Of a login whose bearer lives for an hour.
  void expect_attention(const std::string& why) {
    const auto ran = run({"status", "--check"});
    EXPECT_EQ(ran.status, 5);
    EXPECT_THAT(ran.out,
                AllOf(HasSubstr("cannot be renewed when its bearer ends"), HasSubstr(why)));
    EXPECT_EQ(run({"doctor"}).status, 5);
    EXPECT_THAT(run({"doctor"}).out, HasSubstr(why));
    const auto kept = run({"keep-fresh", "--once"});
    EXPECT_EQ(kept.status, 5);
    EXPECT_THAT(kept.err, HasSubstr(why));
    EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-1\n") << "it is served meanwhile";
  }
};

TEST_F(ObstacleTest, P8_AProviderThatIsGoneIsSaidWhileTheBearerLives) {
  add_grant();
  EXPECT_EQ(run({"status", "--check"}).status, 0);
  std::filesystem::remove(dir_ / "providers.d" / "acme.json");

  expect_attention("no provider \"acme\" is known here that could renew its tokens");
  EXPECT_THAT(run({"status"}).out,
              AllOf(HasSubstr("It can be described in"), Not(HasSubstr("authdb providers"))));
}

TEST_F(ObstacleTest, P8_AProviderWhoseFileCannotBeReadIsSaidWithItsFile) {
  add_grant();
  const auto file = dir_ / "providers.d" / "acme.json";
  std::filesystem::permissions(file, std::filesystem::perms(0666));

  expect_attention(file.string() + " can be written by others");
  EXPECT_THAT(run({"status"}).out, HasSubstr("authdb providers shows what is wrong"));
}

TEST_F(ObstacleTest, P8_AClientSecretThatIsNotThereIsSaidWithItsVariable) {
  add_grant();
  write_file(dir_ / "providers.d" / "acme.json",
             R"({"id":"acme","client_id":"c","token_endpoint":"https://acme.example/token",)"
             R"("client_auth":"basic","client_secret_env":"ACME_SECRET"})");

  expect_attention("ACME_SECRET, the client secret of acme, is not set");
  env_["ACME_SECRET"] = "s";
  EXPECT_EQ(run({"status", "--check"}).status, 0);
}

TEST_F(ObstacleTest, P8_AClientIdThatNobodyKnowsIsSaid) {
  add_grant();
  write_file(dir_ / "providers.d" / "acme.json",
             R"({"id":"acme","token_endpoint":"https://acme.example/token",)"
             R"("env":{"client_id":"ACME_CLIENT"}})");

  EXPECT_EQ(run({"status", "--check"}).status, 0) << "it was issued to a client that is known";
  must({"add", "acme", "--grant", "--label", "other"},
       grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));
  EXPECT_EQ(run({"status", "--check"}).status, 5);
  EXPECT_THAT(run({"status"}).out, HasSubstr("no client_id is known for acme"));
}

TEST_F(ObstacleTest, P8_ACaFileThatIsGoneIsSaidWithWhoeverNamesIt) {
  add_grant();
  write_file(dir_ / "providers.d" / "acme.json",
             R"({"id":"acme","client_id":"c","token_endpoint":"https://acme.example/token",)"
             R"("ca_file":"/nonexistent/of-the-provider.pem"})");
  expect_attention("/nonexistent/of-the-provider.pem");

  env_["AUTHDB_CA_FILE"] = "/nonexistent/of-the-operator.pem";
  expect_attention("AUTHDB_CA_FILE: ");
}

TEST_F(ObstacleTest, WhatCannotBeRenewedByNatureHasNone) {
  must({"add", "openrouter"}, "sk-key-1");
  must({"add", "strange", "--label", "key"}, "sk-key-2");
  EXPECT_EQ(run({"status", "--check"}).status, 0);
  EXPECT_EQ(run({"doctor"}).status, 0);
  EXPECT_EQ(run({"keep-fresh", "--once"}).status, 0);
}

// Two days ahead while the login was added, and right since.
class ClockAheadTest : public StatusTest {
 protected:
  void add_ahead(const std::string& answer, const std::string& provider = "acme") {
    now_ += kAhead;
    must({"add", provider, "--grant", "--label", "work"}, answer);
    now_ -= kAhead;
  }
  static constexpr Seconds kAhead{172'800};
};

TEST_F(ClockAheadTest, P8_ItsBearerIsNotFreshAndStatusSaysWhy) {
  add_ahead(grant_json());
  const auto ran = run({"status", "--check"});
  EXPECT_EQ(ran.status, 0) << "it is renewed when somebody asks for it";
  EXPECT_THAT(ran.out, AllOf(HasSubstr("unknown"),
                             HasSubstr("obtained by a clock that was ahead "
                                       "(2026-04-14T13:20:00"),
                             Not(HasSubstr("fresh"))));
  EXPECT_THAT(run({"doctor"}).out, HasSubstr("obtained by a clock that was ahead"));

  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  EXPECT_THAT(must({"keep-fresh", "--once"}).out, HasSubstr("Refreshed acme"));
  EXPECT_THAT(run({"status"}).out, AllOf(HasSubstr("fresh"), Not(HasSubstr("ahead"))));
}

TEST_F(ClockAheadTest, P8_CheckIsFiveWhileItsRenewalFails) {
  add_ahead(grant_json());
  http_->answer(503, "{}");
  const auto served = must_json({"token", "acme"});
  EXPECT_EQ(served["token"], "access-token-ALPHA-1");
  EXPECT_EQ(served["expires_at"], nullptr);
  now_ += Seconds{60};

  const auto ran = run({"status", "--check"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("no bearer that is known to work"),
                             HasSubstr("the one it has was obtained by a clock that was ahead")));
}

TEST_F(ClockAheadTest, P8_CheckIsFiveWithoutARefreshToken) {
  add_ahead(R"({"access_token":"opaque","expires_in":360000})");
  const auto ran = run({"status", "--check"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, HasSubstr("so nobody knows when it ends: log in again"));
}

TEST_F(ClockAheadTest, AnApiKeyHasNoAgeThatCounts) {
  now_ += kAhead;
  must({"add", "openrouter"}, "sk-key-1");
  now_ -= kAhead;
  EXPECT_EQ(run({"status", "--check"}).status, 0);
  EXPECT_THAT(run({"status"}).out, AllOf(HasSubstr("no_expiry"), Not(HasSubstr("ahead"))));
  EXPECT_EQ(must({"token", "openrouter"}).err, "");
}

TEST_F(StatusTest, P8_AResetDoesNotMakeALoginGreenThatTheProviderHasEnded) {
  add_grant();
  http_->answer(400, R"({"error":"invalid_grant"})");
  EXPECT_EQ(run({"refresh", "acme"}).status, 4);
  must({"reset", "acme"});

  EXPECT_EQ(run({"status", "--check"}).status, 4);
}

TEST_F(StatusTest, CheckIsZeroForALiveBearerThoughItsRenewalFailed) {
  add_grant();
  http_->answer(503, "{}");
  EXPECT_EQ(run({"refresh", "acme"}).status, 5);
  now_ += Seconds{60};
  EXPECT_EQ(run({"status", "--check"}).status, 0);
}

TEST_F(StatusTest, CheckIsFiveForABearerThatWasRejectedAndNotReplaced) {
  add_grant();
  http_->answer(503, "{}");
  EXPECT_EQ(
      run({"token", "acme", "--rejected", fingerprint(Secret::copy_of("access-token-ALPHA-1"))})
          .status,
      5);
  now_ += Seconds{600};

  const auto ran = run({"status", "--check"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("rejected and not replaced"), HasSubstr("another bearer")));
  EXPECT_EQ(must_json({"status"})[0]["rejected"], true);
}

TEST_F(StatusTest, CheckIsFiveForAnAgentKeyThatCannotBeMinted) {
  GrantText grant;
  grant.scope = "inference:mint_agent_key";
  must({"add", "nous", "--grant"}, grant_json(grant));
  EXPECT_EQ(run({"status", "--check"}).status, 0);
  http_->answer(503, "{}");
  EXPECT_EQ(run({"token", "nous"}).status, 5);

  const auto ran = run({"status", "--check"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("no agent key has been minted yet, and its renewal has been "
                                       "failing since 2026-04-12T13:20:00"),
                             Not(HasSubstr("expired"))));
}

TEST_F(StatusTest, WhatCannotRenewItselfIsNeverGreen) {
  add_grant();
  must({"add", "acme", "--grant", "--label", "copy"},
       R"({"access_token":"opaque","expires_in":3600})");
  out_is_terminal_ = true;
  const auto out = must({"status"}).out;
  EXPECT_THAT(out, HasSubstr(toned("fresh", Tone::good, true)));
  EXPECT_THAT(out, HasSubstr(toned("fresh", Tone::caution, true)));
}

TEST_F(StatusTest, P8_CheckIsFiveForAJournalThatIsLostAndForAStoreThatCannotBeWritten) {
  add_grant();
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  must({"refresh", "acme"});
  must({"status", "--check"});
  const auto uid = stored().at(0).uid;
  const auto journal = dir_ / "store/auth.db.d" / uid.substr(0, 2) / uid;
  const auto whole = read_file(journal);
  std::filesystem::remove(journal);
  EXPECT_EQ(run({"status", "--check"}).status, 5);
  write_file(journal, whole);
  must({"status", "--check"});
  std::filesystem::remove(dir_ / "store/auth.db.d/gate");
  std::filesystem::create_directory(dir_ / "store/auth.db.d/gate");

  const auto ran = run({"status", "--check"});

  EXPECT_EQ(ran.status, 5) << "its bearer lives";
  EXPECT_THAT(ran.out + ran.err, HasSubstr("nothing can be written to the store"));
  EXPECT_EQ(run({"doctor"}).status, 7);
}

TEST_F(StatusTest, P8_CheckIsFiveForADamagedJournalAndThePoolGivesWayToAnother) {
  add_grant();
  must({"add", "acme", "--grant", "--label", "spare"},
       grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));
  const auto uid = stored().at(0).uid;
  write_file(dir_ / "store/auth.db.d" / uid.substr(0, 2) / uid, std::string(32'768, '\0'));

  EXPECT_EQ(run({"status", "--check"}).status, 5) << "its bearer lives";
  EXPECT_THAT(run({"status"}).out, HasSubstr("cannot be renewed: the journal"));
  now_ += Seconds{7'200};
  http_->answer(200, grant_json({"access-token-BETA-2", "refresh-token-BETA-2"}));
  const auto token = run({"token", "acme"});

  EXPECT_EQ(token.out, "access-token-BETA-2\n");
  EXPECT_THAT(token.err, HasSubstr("is damaged"));
  EXPECT_EQ(run({"status", "--check"}).status, 5);
}

TEST_F(StatusTest, P8_CheckIsFiveForACellThatDoesNotOpen) {
  add_grant();
  ASSERT_EQ(std::system(("sqlite3 '" + (dir_ / "store/auth.db").string() +
                         "' 'UPDATE token_set SET generation = generation + 64'")
                            .c_str()),
            0);

  EXPECT_EQ(run({"status", "--check"}).status, 5);
  EXPECT_EQ(run({"keep-fresh", "--once"}).status, 5);
  EXPECT_EQ(run({"doctor"}).status, 7);
}

TEST_F(StatusTest, P8_ARejectedBearerIsHandedToNobodyThoughItsJournalIsDamaged) {
  add_grant();
  const auto uid = stored().at(0).uid;
  write_file(dir_ / "store/auth.db.d" / uid.substr(0, 2) / uid, std::string(32'768, '\0'));
  const std::string bearer = fingerprint(token_hash("access-token-ALPHA-1"));

  EXPECT_NE(run({"token", "acme", "--rejected", bearer}).status, 0);

  EXPECT_EQ(run({"token", "acme"}).out, "");
  EXPECT_EQ(run({"token", "acme", "--credential", uid}).out, "");
  EXPECT_EQ(run({"status", "--check"}).status, 5);
}

TEST_F(StatusTest, ABearerThatNothingRenewsSaysSoBeforeItEnds) {
  auto grant = nlohmann::json::parse(grant_json());
  grant.erase("refresh_token");
  must({"add", "acme", "--grant"}, grant.dump());

  EXPECT_THAT(run({"status"}).out,
              AllOf(HasSubstr("login when it ends"), HasSubstr("has no refresh token")));
  EXPECT_EQ(run({"status", "--check"}).status, 5);
}

TEST_F(StatusTest, AHoldSaysSinceWhenAndWhichProcess) {
  add_grant();
  http_->answer(500, "{}");
  EXPECT_EQ(run({"refresh", "acme"}).status, 5);
  const auto ran = run({"status", "--check"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out,
              AllOf(HasSubstr("uncertain"), HasSubstr("2026-04-12T13:20:00"),
                    HasSubstr("pid " + std::to_string(::getpid())), HasSubstr("--replay")));
}

TEST_F(StatusTest, OfAProviderOrAProfileIsOnlyTheirs) {
  add_grant();
  must({"add", "openrouter", "--profile", "atlas"}, "sk-key-1");
  EXPECT_THAT(must_json({"status", "acme"}), SizeIs(1));
  EXPECT_THAT(must_json({"status", "--profile", "atlas"}), SizeIs(1));
  EXPECT_THAT(must_json({"status"}), SizeIs(2));
  EXPECT_EQ(run({"status", "xai"}).status, 3);
  EXPECT_EQ(run({"status", "acne"}).status, 3);
  EXPECT_EQ(run({"status", "--profile", "atals"}).status, 3);
}

TEST_F(StatusTest, AProviderNameCannotBecomeSql) {
  add_grant();
  EXPECT_EQ(run({"status", "acme' OR '1'='1"}).status, 3);
  EXPECT_EQ(run({"status", "--profile", "x' OR '1'='1"}).status, 3);
}

TEST_F(StatusTest, WorksWithoutTheKey) {
  add_grant();
  std::filesystem::remove(dir_ / "key/seal.key");
  EXPECT_THAT(must_json({"status"}), SizeIs(1));
  EXPECT_THAT(must({"list"}).out, HasSubstr("work"));
}

TEST_F(StatusTest, P8_CheckIsSevenWithoutTheKey) {
  add_grant();
  std::filesystem::remove(dir_ / "key/seal.key");
  EXPECT_EQ(run({"status", "--check"}).status, 7);
}

TEST_F(StatusTest, WarnsOfASourceThatStillHoldsTheRefreshToken) {
  write_file(
      dir_ / "hermes/auth.json",
      R"({"version":1,"providers":{},"credential_pool":{"nous":[{"id":"a1b2c3",)"
      R"("label":"work","auth_type":"oauth","source":"device_code",)"
      R"("access_token":"access-token-ALPHA-1","refresh_token":"refresh-token-ALPHA-1",)"
      R"("obtained_at":"2026-04-12T13:00:00+00:00","expires_at":"2026-04-12T14:00:00+00:00"}]}})");
  must({"migrate", (dir_ / "hermes").string()});
  EXPECT_THAT(must({"status"}).out, HasSubstr((dir_ / "hermes/auth.json").string()));

  std::filesystem::remove(dir_ / "hermes/auth.json");
  EXPECT_THAT(must({"status"}).out, Not(HasSubstr((dir_ / "hermes/auth.json").string())));
}

}  // namespace
}  // namespace authdb::cli
