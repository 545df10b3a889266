// What Hermes's own tests pin of its credential pools, and people who come from there expect.
#include <sys/stat.h>

#include "store/fingerprint.h"
#include "store/timestamp.h"
#include "tests/oauth/fakes.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class HermesRules : public CommandTest {
 protected:
  std::filesystem::path file() const { return dir_ / "hermes/auth.json"; }
  void lay(const json& tree) {
    std::filesystem::create_directories(file().parent_path());
    write_file(file(), tree.dump());
    ASSERT_EQ(::chmod(file().c_str(), 0600), 0);
  }
  void lay_pool(const std::string& provider, const std::vector<json>& rows) {
    lay({{"version", 1}, {"credential_pool", {{provider, json(rows)}}}});
  }
  Ran migrate() { return must({"migrate", file().string()}); }
  static json key(const std::string& id, const std::string& secret) {
    return {{"id", id},           {"label", id},   {"auth_type", "api_key"},
            {"source", "manual"}, {"priority", 0}, {"access_token", secret}};
  }
  static json env_row(const std::string& secret) {
    return {{"id", "e1"},
            {"label", "OPENROUTER_API_KEY"},
            {"auth_type", "api_key"},
            {"source", "env:OPENROUTER_API_KEY"},
            {"priority", 0},
            {"secret_fingerprint", fingerprint(token_hash(secret))}};
  }
  std::vector<std::string> labels(const std::string& provider) {
    std::vector<std::string> labels;
    const auto pool = reopen().pool("default", provider);
    for (const auto& entry : *pool) {
      labels.push_back(entry.credential.identity.label);
    }
    return labels;
  }
};

TEST_F(HermesRules, AKeyOfTheEnvironmentThatWasRemovedStaysRemoved) {
  env_["OPENROUTER_API_KEY"] = "sk-or-A";
  lay_pool("openrouter", {env_row("sk-or-A"), key("m1", "sk-or-M")});
  migrate();
  must({"remove", "openrouter", "1"});

  migrate();

  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-or-M\n");
}

TEST_F(HermesRules, TheFingerprintOfAKeyOfTheEnvironmentNamesItsCredential) {
  env_["OPENROUTER_API_KEY"] = "sk-or-A";
  lay_pool("openrouter", {env_row("sk-or-A"), key("m1", "sk-or-M")});
  migrate();
  const auto given = must_json({"token", "openrouter"})["fingerprint"].get<std::string>();

  must({"report", "openrouter", given, "--status", "402"});

  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-or-M\n");
  EXPECT_EQ(must({"token", "openrouter", "--credential", given}).out, "sk-or-A\n");
}

TEST_F(HermesRules, TheSameRowWithAnotherKeyIsTheSameCredentialAndItsRestIsOver) {
  lay_pool("openrouter", {key("m1", "sk-or-M")});
  migrate();
  must({"report", "openrouter", "1", "--status", "402"});
  lay_pool("openrouter", {key("m1", "sk-or-N")});

  migrate();

  EXPECT_THAT(stored("openrouter"), SizeIs(1));
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-or-N\n");
  EXPECT_EQ(stored("openrouter")[0].health.status, Status::ok);
  migrate();
  EXPECT_THAT(stored("openrouter"), SizeIs(1));
}

TEST_F(HermesRules, AKeyThatWasRenewedHereIsNotDisplacedByItsFile) {
  lay_pool("openrouter", {key("m1", "sk-or-M")});
  migrate();
  must({"add", "openrouter", "--renew", "--label", "m1"}, "sk-or-D");

  migrate();

  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-or-D\n");
}

TEST_F(HermesRules, AnIdWithTwoKeysTellsNothing) {
  lay_pool("openrouter", {key("m1", "sk-or-M")});
  migrate();
  lay_pool("openrouter", {key("m1", "sk-or-N"), key("m1", "sk-or-O")});

  migrate();

  EXPECT_THAT(stored("openrouter"), SizeIs(3));
}

TEST_F(HermesRules, AFileOfAuthoritiesThatIsNotThereIsLeftOutAndSaid) {
  lay_pool("nous", {json{{"id", "n1"},
                         {"label", "n"},
                         {"auth_type", "oauth"},
                         {"source", "device_code"},
                         {"access_token", "at-1"},
                         {"refresh_token", "rt-1"},
                         {"expires_at", format_iso(now_ + Seconds{60})},
                         {"tls", {{"insecure", false}, {"ca_bundle", "/nope/ca.pem"}}}}});
  const auto ran = migrate();
  EXPECT_THAT(ran.err, AllOf(HasSubstr("tls.ca_bundle"), HasSubstr("/nope/ca.pem")));

  http_->answer(200, grant_json());
  must({"refresh", "nous"});

  const auto back = json::parse(must({"export", "--reveal-refresh"}).out);
  EXPECT_EQ(back["credential_pool"]["nous"][0]["tls"]["ca_bundle"], "/nope/ca.pem");
}

TEST_F(HermesRules, ABlockThatWantsALoginIsNotSentThoughItHasTokens) {
  lay({{"version", 1},
       {"providers",
        {{"nous",
          {{"access_token", "at-1"},
           {"refresh_token", "rt-1"},
           {"expires_at", format_iso(now_ + Seconds{3600})},
           {"last_auth_error",
            {{"code", "invalid_grant"}, {"message", "ended"}, {"relogin_required", true}}}}}}}});
  migrate();

  EXPECT_EQ(run({"token", "nous"}).status, 4);

  EXPECT_THAT(http_->urls(), IsEmpty());
  EXPECT_EQ(run({"status", "--check"}).status, 4);
}

TEST_F(HermesRules, ThePoolsNewerPairLivesWhereTheBlockWantsALogin) {
  const std::string bearer = oauth::fake_jwt(
      json{{"scope", "inference:invoke"}, {"exp", to_millis(now_ + Seconds{3600}) / 1000}}.dump());
  const json row{{"id", "n1"},
                 {"label", "n"},
                 {"auth_type", "oauth"},
                 {"source", "device_code"},
                 {"access_token", bearer},
                 {"refresh_token", "rt-2"},
                 {"obtained_at", format_iso(now_ - Seconds{60})},
                 {"scope", "inference:invoke"},
                 {"expires_at", format_iso(now_ + Seconds{3600})}};
  lay({{"version", 1},
       {"providers",
        {{"nous",
          {{"access_token", "at-1"},
           {"refresh_token", "rt-1"},
           {"obtained_at", format_iso(now_ - Seconds{7200})},
           {"expires_at", format_iso(now_ - Seconds{3600})},
           {"last_auth_error", {{"code", "invalid_grant"}, {"relogin_required", true}}}}}}},
       {"credential_pool", {{"nous", json::array({row})}}}});
  migrate();

  EXPECT_EQ(must({"token", "nous"}).out, bearer + "\n");
}

TEST_F(HermesRules, WhereAPriorityIsMissingOrNoNumberTheRowIsLast) {
  json none = key("none", "sk-none");
  none.erase("priority");
  json text = key("text", "sk-text");
  text["priority"] = "high";
  json one = key("one", "sk-one");
  one["priority"] = 1;
  lay_pool("openrouter", {none, text, one});

  migrate();

  EXPECT_THAT(labels("openrouter"), ElementsAre("one", "none", "text"));
}

TEST_F(HermesRules, AnEmptyFileIsNoFailure) {
  for (const json& tree : {json::object(), json{{"version", 1}}}) {
    lay(tree);
    EXPECT_EQ(run({"migrate", file().parent_path().string()}).status, 0);
  }
}

TEST_F(HermesRules, AnHttpAddressOfThePortalIsTakenAsHttpsAndSaid) {
  lay_pool("nous", {json{{"id", "n1"},
                         {"label", "n"},
                         {"auth_type", "oauth"},
                         {"source", "device_code"},
                         {"access_token", "at-1"},
                         {"refresh_token", "rt-1"},
                         {"portal_base_url", "http://portal.nousresearch.com"}}});
  EXPECT_THAT(migrate().err, HasSubstr("is taken as https://portal.nousresearch.com"));
}

TEST_F(HermesRules, ServerTroubleRestsNoKeyOfThePoolForMoreThanAMinute) {
  lay_pool("openrouter", {key("a", "sk-a"), key("b", "sk-b")});
  migrate();
  for (const char* label : {"a", "b"}) must({"report", "openrouter", label, "--status", "503"});
  EXPECT_EQ(run({"token", "openrouter"}).status, 5);
  now_ += Seconds{60};
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-a\n");
}

TEST_F(HermesRules, ARowThatARefreshFoundDeadSaysWithWhichStatus) {
  must({"add", "qwen", "--grant"}, grant_json({"at-1", "rt-1", 60}));
  now_ += Seconds{3600};
  http_->answer(400, R"({"error":"invalid_grant"})");
  EXPECT_EQ(run({"token", "qwen"}).status, 4);
  EXPECT_EQ(stored()[0].health.error_code, 400);
  EXPECT_THAT(must({"list", "qwen"}).out, HasSubstr("auth failed invalid_grant (400)"));
}

TEST_F(HermesRules, TheRestAfterARefusalIsNoTimeThatIsLeft) {
  must({"add", "openrouter", "--label", "k"}, "sk-k");
  must({"report", "openrouter", "k", "--status", "401"});
  EXPECT_THAT(
      must({"list", "openrouter"}).out,
      AllOf(HasSubstr("auth failed (401) (re-auth may be required)"), Not(HasSubstr("left"))));
}

TEST_F(HermesRules, AServersErrorIsNotCalledAnAnswerThatNeverArrived) {
  must({"add", "qwen", "--grant"}, grant_json({"at-1", "rt-1", 60}));
  now_ += Seconds{3600};
  http_->answer(500, R"({"error":"server_error"})");
  const auto ran = run({"token", "qwen"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("500"), Not(HasSubstr("never arrived"))));
}

TEST_F(HermesRules, WhoeverLogsInAgainWantsWhatWasSuppressed) {
  lay_pool("qwen-oauth", {json{{"id", "q1"},
                               {"label", "q"},
                               {"auth_type", "oauth"},
                               {"source", "manual:grant"},
                               {"access_token", "at-1"},
                               {"refresh_token", "rt-1"}}});
  auto tree = json::parse(read_file(file()));
  tree["suppressed_sources"] = {{"qwen-oauth", {"manual:grant"}}};
  lay(tree);
  migrate();
  EXPECT_NE(run({"token", "qwen"}).status, 0);

  must({"add", "qwen", "--grant"}, grant_json({"at-2", "rt-2"}));

  EXPECT_EQ(run({"token", "qwen"}).status, 0);
}

TEST_F(HermesRules, WhatAnotherManagerOfSecretsKeepsIsNeverWrittenOut) {
  std::vector<json> rows;
  for (const std::string manager : {"vault", "keyring", "systemd", "pass", "sops"}) {
    rows.push_back(key(manager, "sk-kept-by-" + manager));
    rows.back()["source"] = manager + ":secret/x";
  }
  lay_pool("openrouter", rows);
  migrate();

  const auto out = must({"export", "--reveal-refresh"}).out;

  EXPECT_THAT(out, AllOf(Not(HasSubstr("sk-kept-by-")), HasSubstr("secret_fingerprint")));
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-kept-by-vault\n");
}

}  // namespace
}  // namespace authdb::cli
