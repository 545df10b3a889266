#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

using ProvidersTest = CommandTest;

TEST_F(ProvidersTest, NeedNoStore) {
  const auto ran = must({"providers"});
  for (const auto* id : {"nous", "openai-codex", "anthropic", "xai-oauth", "qwen-oauth",
                         "minimax-oauth", "spotify"}) {
    EXPECT_THAT(ran.out, HasSubstr(id));
  }
  EXPECT_EQ(ran.err, "");
  EXPECT_FALSE(std::filesystem::exists(store_path()));
}

TEST_F(ProvidersTest, CountCredentialsAndNameCustomOnes) {
  must({"add", "custom:together.ai"}, "sk-key-1");
  const auto json = must_json({"providers"});
  const auto custom = std::find_if(json.begin(), json.end(), [](const auto& provider) {
    return provider["id"] == "custom:together.ai";
  });
  ASSERT_NE(custom, json.end());
  EXPECT_EQ((*custom)["kind"], "custom");
  EXPECT_EQ((*custom)["credentials"], 1);
}

TEST_F(ProvidersTest, WithApiKeysAloneShowWhereTheyAreAndHaveNoLogin) {
  const auto json = must_json({"providers"});
  const auto one = std::find_if(json.begin(), json.end(), [](const auto& provider) {
    return provider["id"] == "openrouter";
  });
  ASSERT_NE(one, json.end());
  EXPECT_EQ((*one)["kind"], "api_key");
  EXPECT_EQ(must_json({"providers", "openrouter"})["api_key_env"]["value"], "OPENROUTER_API_KEY");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"login", "openrouter"}, {"add", "openrouter", "--grant"}}) {
    EXPECT_EQ(run(words, grant_json()).status, 3) << words[0];
  }
  EXPECT_THAT(run({"login", "openrouter"}).err, HasSubstr("authdb add openrouter"));
}

TEST_F(ProvidersTest, OneShowsItsFactsAndWhereTheyComeFrom) {
  EXPECT_THAT(must({"providers", "nous"}).out,
              AllOf(HasSubstr("token_endpoint"), HasSubstr("client_id")));
  EXPECT_EQ(must_json({"providers", "codex"})["id"]["value"], "openai-codex");
}

TEST_F(ProvidersTest, EachValueSaysWhereItComesFrom) {
  const auto file = (dir_ / "providers.d/nous.json").string();
  write_file(file, R"({"id":"nous","scope":"inference:invoke billing:manage"})");
  env_["HERMES_PORTAL_BASE_URL"] = "https://staging.example";
  env_["AUTHDB_CA_FILE"] = "/etc/our-ca.pem";
  const auto nous = must_json({"providers", "nous"});

  EXPECT_EQ(nous["client_id"]["from"], "built-in");
  EXPECT_EQ(nous["scope"]["from"], file);
  EXPECT_EQ(nous["portal_base_url"]["value"], "https://staging.example");
  EXPECT_EQ(nous["portal_base_url"]["from"], "$HERMES_PORTAL_BASE_URL");
  EXPECT_EQ(nous["ca_file"]["value"], "/etc/our-ca.pem");
  EXPECT_EQ(nous["skew_s"]["from"], "default");
}

TEST_F(ProvidersTest, AnUnknownOneNamesTheNearest) {
  const auto ran = run({"providers", "nuos"});
  EXPECT_EQ(ran.status, 3);
  EXPECT_THAT(ran.err, HasSubstr("nous"));
}

TEST_F(ProvidersTest, AFileThatCannotBeUsedIsReportedAndTheOthersWork) {
  write_file(dir_ / "providers.d/bad.json", R"({"id":"bad","surprise":1})");
  write_file(dir_ / "providers.d/good.json",
             R"({"id":"good","client_id":"c","token_endpoint":"https://good.example/token",)"
             R"("headers":{"X-Key":"header-SECRET"}})");
  const auto ran = must({"providers"});
  EXPECT_THAT(ran.out, HasSubstr("good"));
  EXPECT_THAT(ran.err, AllOf(HasSubstr("bad.json"), HasSubstr("surprise")));
  const auto good = must({"providers", "good"});
  EXPECT_THAT(good.out, AllOf(HasSubstr("X-Key"), Not(HasSubstr("SECRET"))));
}

}  // namespace
}  // namespace authdb::cli
