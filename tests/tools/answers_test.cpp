// Answers of token endpoints of the shapes that people have met, as they reported them. Each stands
// for a kind.
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::HasSubstr;

constexpr Seconds kLater{7'200};

class Answers : public CommandTest {
 protected:
  void SetUp() override {
    write_file(dir_ / "providers.d/acme.json",
               R"({"id":"acme","client_id":"c","token_endpoint":"https://acme.example/token"})");
    log_in("acme");
  }
  static std::string text_of(const std::string& name) {
    return read_file(std::filesystem::path(AUTHDB_TEST_DATA) / "cases/answers" / name);
  }
  // A login whose bearer has ended.
  void log_in(const std::string& provider) {
    must({"add", provider, "--grant", "--label", provider},
         grant_json({"acme-access-0", provider + "-refresh-0", 600}));
    now_ += kLater;
  }
  void expect_ended(const std::string& provider, int status, const std::string& answer) {
    http_->answer(status, text_of(answer));
    const auto posts = http_->urls().size();
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(run({"token", provider}).status, exit_code(Errc::login_needed)) << answer;
    }
    EXPECT_EQ(http_->urls().size(), posts + 1) << answer;
    EXPECT_EQ(run({"status", "--check", provider}).status, 4) << answer;
    EXPECT_THAT(run({"status", provider}).out, HasSubstr("log")) << answer;
  }
};

class AnswersInClothes : public Answers, public testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Each, AnswersInClothes,
                         testing::Values("form.txt", "bom.json", "gzip.json.gz", "nested.json",
                                         "trailing.txt"));

TEST_P(AnswersInClothes, AreReadWhole) {
  http_->answer(200, text_of(GetParam()));

  for (int i = 0; i < 2; ++i) EXPECT_EQ(must({"token", "acme"}).out, "acme-access-1\n");

  const Credential row = stored("acme").at(0);
  EXPECT_EQ(row.expires_at, now_ + Seconds{7'200});
  EXPECT_EQ(reopen(OpenMode::use).unseal(row.uid)->refresh_token.reveal(), "acme-refresh-1");
}

TEST_F(Answers, ASessionThatHasEndedIsToldOnceInWhateverWordsAndStatus) {
  expect_ended("acme", 200, "invalid_grant.json");
}

TEST_F(Answers, ABadRefreshTokenHasEndedWithASuccessToo) {
  expect_ended("acme", 200, "bad_refresh_token.json");
}

TEST_F(Answers, ABadRefreshTokenHasEnded) { expect_ended("acme", 400, "bad_refresh_token.json"); }

TEST_F(Answers, WhoMustShowUpMustLogIn) { expect_ended("acme", 400, "interaction_required.json"); }

TEST_F(Answers, QwensInvalidRequestIsAnEndedSession) {
  log_in("qwen-oauth");
  expect_ended("qwen-oauth", 400, "qwen_invalid_request.json");
}

TEST_F(Answers, ADeadlineIsKept) {
  http_->answer(200, text_of("deadline.json"));
  must({"token", "acme"});
  EXPECT_EQ(stored("acme").at(0).session_ends_at, now_ + Seconds{172'800});
  EXPECT_THAT(must({"status", "--json"}).out, HasSubstr("session_ends_at"));
}

TEST_F(Answers, SlowDownMakesAllWait) {
  http_->answer(429, text_of("rate_limit.json"));
  for (int i = 0; i < 24; ++i) {
    EXPECT_EQ(run({"token", "acme"}).status, exit_code(Errc::try_later));
  }
  EXPECT_EQ(http_->urls().size(), 1u);
}

TEST_F(Answers, TroubleOfTheServersRestsAKeyForMinutesAtMost) {
  must({"add", "openrouter", "--label", "k"}, "sk-invented");
  must({"report", "openrouter", "k", "--status", "403", "--body", "-"},
       text_of("server_error.json"));
  const auto rests = stored("openrouter").at(0).health.cooldown_until;
  EXPECT_TRUE(!rests || *rests - now_ <= std::chrono::minutes(5));
}

}  // namespace
}  // namespace authdb::cli
