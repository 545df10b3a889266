// P7: no secret leaves but where it was asked for.
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class LeaksTest : public CommandTest {
 protected:
  LeaksTest() {
    GrantText minting{"access-SECRET-1", "refresh-SECRET-1", 3600, "inference:mint_agent_key",
                      R"(,"agent_key":"agentkey-SECRET-1","agent_key_id":"k1",)"
                      R"("agent_key_expires_at":"2026-04-13T13:20:00Z")"};
    clean({"add", "nous", "--grant", "--label", "work"}, grant_json(minting));
    clean({"add", "openrouter", "--label", "key"}, "sk-SECRET-2");
    clean({"add", "codex", "--grant", "--label", "chat"},
          grant_json({"access-SECRET-3", "refresh-SECRET-3"}));
    write_file(
        dir_ / "hermes/auth.json",
        R"({"version":1,"providers":{},"credential_pool":{"nous":[{"id":"a1b2c3",)"
        R"("label":"imported","auth_type":"oauth","source":"device_code",)"
        R"("access_token":"access-SECRET-4","refresh_token":"refresh-SECRET-4",)"
        R"("client_secret":"unknown-SECRET-4","agent_key":"agentkey-SECRET-4"},)"
        R"({"label":"odd","auth_type":17,"access_token":{"x":"odd-SECRET-5"}}],)"
        R"("custom:x":[{"auth_type":"api_key","source":"env:X","access_token":"sk-SECRET-6"}]}})");
    write_file(dir_ / "cut.json", R"({"providers":{"nous":{"access_token":"cut-SECRET-7)");
  }

  // Runs the verb in every voice. All secrets of this test have SECRET in them.
  void clean(const std::vector<std::string>& words, const std::string& input = {}) {
    for (const auto* voice : {"-v", "--json"}) {
      auto spoken = words;
      spoken.emplace_back(voice);
      const auto ran = run(spoken, input);
      EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("SECRET"))) << testing::PrintToString(spoken);
    }
  }
};

TEST_F(LeaksTest, NoVerbPrintsASecret) {
  const std::string hermes = dir_ / "hermes";
  http_->answer(200, grant_json({"access-SECRET-8", "refresh-SECRET-8"}));
  http_->answer(400,
                R"({"error":"invalid_grant","error_description":"refresh-SECRET-8 was spent"})");
  clean({"refresh", "codex"});
  http_->answer(200, R"({"api_key":"agentkey-SECRET-9","expires_in":86400})");
  http_->answer(500, "access-SECRET-1 is not welcome");
  clean({"mint", "nous"});
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"migrate", hermes, "--dry-run"},
                                             {"migrate", hermes},
                                             {"migrate", hermes, "--include-env"},
                                             {"migrate", (dir_ / "cut.json").string()},
                                             {"status"},
                                             {"status", "--check"},
                                             {"list"},
                                             {"log"},
                                             {"log", "--failures"},
                                             {"sql", "SELECT * FROM freshness"},
                                             {"sql", "SELECT * FROM rotation"},
                                             {"sql", "SELECT * FROM token_set"},
                                             {"sql", "SELECT hex(access_token) FROM token_set"},
                                             {"sql", "SELECT * FROM credential"},
                                             {"providers"},
                                             {"providers", "nous"},
                                             {"profile", "list"},
                                             {"report", "openrouter", "key", "--status", "429"},
                                             {"reset", "openrouter"},
                                             {"priority", "openrouter", "key", "1"},
                                             {"remove", "openrouter", "key"}}) {
    clean(words);
  }
  clean({"token", "nous", "--rejected", "access-SECRET-1"});
  clean({"token", "nous", "--rejected", "-"}, "two words SECRET");
  clean({"add", "nous", "--grant"}, R"({"access_token":17,"refresh_token":["refresh-SECRET-10"]})");
  clean({"add", "nous", "--grant"}, R"({"access_token":"access-SECRET-11)");
  clean({"add", "openrouter", "sk-SECRET-12"});
  clean({"add", "openrouter", "--api-key=sk-SECRET-12"});
}

TEST_F(LeaksTest, NoSecretIsInClearInAFileOfTheStore) {
  clean({"migrate", dir_ / "hermes", "--include-env"});
  for (const auto& file : std::filesystem::recursive_directory_iterator(dir_ / "store")) {
    if (!file.is_regular_file()) continue;
    EXPECT_THAT(read_file(file.path()), Not(HasSubstr("SECRET"))) << file.path();
  }
}

}  // namespace
}  // namespace authdb::cli
