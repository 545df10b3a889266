// Look before you spend: until its file is cut over, a login's tool may have rotated it.
#include <sys/stat.h>

#include "store/timestamp.h"
#include "tests/oauth/fakes.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class NewerPair : public CommandTest {
 protected:
  explicit NewerPair(const std::string& account = {}) {
    std::filesystem::create_directories(home());
    write("1", Seconds{3600}, account);
    must({"migrate", home().string()});
    now_ += Seconds{3590};  // what was imported is due
  }

  std::filesystem::path home() const { return dir_ / "hermes"; }
  std::filesystem::path file() const { return home() / "auth.json"; }

  // What Hermes has after it got pair `n`, which ends `life` from now.
  void write(const std::string& n, Seconds life, const std::string& account = {}) {
    nlohmann::json row{{"id", "a1b2c3"},
                       {"label", "work"},
                       {"auth_type", "oauth"},
                       {"source", "manual:device_code"},
                       {"access_token", account.empty() ? "access-" + n : access_of(account, n)},
                       {"refresh_token", "refresh-" + n},
                       {"expires_at", format_iso(now_ + life)}};
    const nlohmann::json tree{{"version", 1},
                              {"credential_pool", {{"qwen-oauth", nlohmann::json::array_t{row}}}}};
    std::filesystem::remove(file());
    write_file(file(), tree.dump(2));
    ASSERT_EQ(::chmod(file().c_str(), 0600), 0);
  }
  static std::string access_of(const std::string& account, const std::string& n) {
    return oauth::fake_jwt(nlohmann::json{{"sub", account}, {"n", n}}.dump());
  }
  void answer(const std::string& n) {
    http_->answer(200, grant_json({.access = "access-" + n, .refresh = "refresh-" + n}));
  }
  Uid uid() const { return stored("qwen-oauth").front().uid; }
};

TEST_F(NewerPair, WhatTheToolHasRotatedIsTakenAndTheSpentTokenIsNotSent) {
  write("2", Seconds{3600});

  EXPECT_EQ(must({"token", "qwen"}).out, "access-2\n");

  EXPECT_THAT(http_->urls(), IsEmpty());
  EXPECT_THAT(must({"log", "qwen"}).out, HasSubstr("import"));
  EXPECT_EQ(stored("qwen-oauth").front().generation, 2);
}

TEST_F(NewerPair, ThePairThatTheToolHasIsTheOneThatIsSpent) {
  write("2", Seconds{60});
  answer("3");

  EXPECT_EQ(must({"token", "qwen"}).out, "access-3\n");

  EXPECT_THAT(http_->sent_tokens(), ElementsAre("refresh-2"));
}

TEST_F(NewerPair, AForcedRefreshSendsNothingWhereTheToolWasFaster) {
  write("2", Seconds{3600});

  const auto json = must_json({"refresh", "qwen"});

  EXPECT_EQ(json["action"], "adopted") << json;
  EXPECT_THAT(http_->urls(), IsEmpty());
}

TEST_F(NewerPair, KeepFreshLooksAsWell) {
  write("2", Seconds{3600});

  must({"keep-fresh", "--once"});

  EXPECT_THAT(http_->urls(), IsEmpty());
  EXPECT_EQ(stored_token(uid()), "access-2");
}

TEST_F(NewerPair, AnOlderPairIsNotTaken) {
  write("0", Seconds{-3600});
  answer("2");

  EXPECT_EQ(must({"token", "qwen"}).out, "access-2\n");

  EXPECT_THAT(http_->sent_tokens(), ElementsAre("refresh-1"));
}

TEST_F(NewerPair, FromTheFirstRefreshOnTheFileIsNotAsked) {
  answer("2");
  must({"token", "qwen"});
  now_ += Seconds{3590};
  write("of-another-login", Seconds{7200});
  answer("3");

  EXPECT_EQ(must({"token", "qwen"}).out, "access-3\n");

  EXPECT_THAT(http_->sent_tokens(), ElementsAre("refresh-1", "refresh-2"));
}

TEST_F(NewerPair, AFileThatOthersCanChangeIsNotBelieved) {
  write("2", Seconds{3600});
  ASSERT_EQ(::chmod(file().c_str(), 0666), 0);
  answer("3");

  EXPECT_EQ(must({"token", "qwen"}).out, "access-3\n");
  EXPECT_THAT(http_->sent_tokens(), ElementsAre("refresh-1"));
}

TEST_F(NewerPair, AFileThatIsBrokenOrGoneHindersNothing) {
  write_file(file(), R"({"version": 1, "credential_pool")");
  answer("2");
  EXPECT_EQ(must({"token", "qwen"}).out, "access-2\n");
}

TEST_F(NewerPair, TheDoctorSeesIt) {
  write("2", Seconds{3600});

  const auto ran = run({"doctor"});

  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, HasSubstr(file().string() + " has a newer pair of qwen-oauth credential " +
                                 uid() + " than this store"));
}

TEST_F(NewerPair, WhatElseIsNewInTheFileStaysThere) {
  write("2", Seconds{3600});
  auto tree = nlohmann::json::parse(read_file(file()));
  tree["credential_pool"]["openrouter"] = nlohmann::json::array(
      {{{"id", "k1"}, {"label", "key"}, {"auth_type", "api_key"}, {"access_token", "sk-or-new"}}});
  write_file(file(), tree.dump());

  EXPECT_EQ(must({"token", "qwen"}).out, "access-2\n");

  EXPECT_THAT(stored("openrouter"), IsEmpty());
}

TEST_F(NewerPair, WhoseItIsIsLearntWithThePairThatIsTaken) {
  write("2", Seconds{3600}, "anna");
  must({"token", "qwen"});
  now_ += Seconds{3590};
  write("3", Seconds{3600}, "berta");
  answer("4");

  EXPECT_EQ(must({"token", "qwen"}).out, "access-4\n");

  EXPECT_THAT(http_->sent_tokens(), ElementsAre("refresh-2"));
}

class NewerPairOfAnAccount : public NewerPair {
 protected:
  NewerPairOfAnAccount() : NewerPair("anna") {}
};

TEST_F(NewerPairOfAnAccount, TheSameAccountsIsTaken) {
  write("2", Seconds{3600}, "anna");
  EXPECT_EQ(must({"token", "qwen"}).out, access_of("anna", "2") + "\n");
}

TEST_F(NewerPairOfAnAccount, AnotherAccountsIsNot) {
  write("2", Seconds{3600}, "berta");
  answer("3");
  EXPECT_EQ(must({"token", "qwen"}).out, "access-3\n");
  EXPECT_THAT(http_->sent_tokens(), ElementsAre("refresh-1"));
}

}  // namespace
}  // namespace authdb::cli
