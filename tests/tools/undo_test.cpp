// remove with its session at the provider, and undo.
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class UndoTest : public CommandTest {
 protected:
  UndoTest() {
    write_file(dir_ / "providers.d/acme.json",
               R"({"id":"acme","client_id":"c","token_endpoint":"https://acme.example/token",)"
               R"("device_authorization_endpoint":"https://acme.example/device",)"
               R"("revocation_endpoint":"https://acme.example/revoke"})");
    must({"add", "acme", "--grant", "--label", "work"}, grant_json());
    uid_ = stored("acme").at(0).uid;
  }
  Uid uid_;
};

TEST_F(UndoTest, RemoveEndsTheSessionAtTheProvider) {
  http_->answer(200, "{}");
  const auto ran = must({"remove", "acme", "work"});

  EXPECT_THAT(ran.out, AllOf(HasSubstr("Removed acme credential"), HasSubstr("is ended")));
  EXPECT_THAT(http_->urls(), testing::ElementsAre("https://acme.example/revoke"));
}

TEST_F(UndoTest, KeepRemoteAsksNobody) {
  must({"logout", "acme", "work", "--keep-remote"});
  EXPECT_THAT(http_->urls(), IsEmpty());
  EXPECT_THAT(stored("acme"), IsEmpty());
}

TEST_F(UndoTest, ProviderThatFailsIsToldOfAndExitsEight) {
  http_->answer(503, "");
  const auto ran = run({"remove", "acme", "work"});

  EXPECT_EQ(ran.status, 8);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("may live on: status 503"), HasSubstr("authdb undo")));
  EXPECT_THAT(stored("acme"), IsEmpty());

  must({"undo"});
  http_->answer(200, "{}");
  EXPECT_EQ(must_json({"remove", "acme", "work"})["remote"], "revoked");
}

TEST_F(UndoTest, TheLastOneComesBackWithItsTokensAndProfiles) {
  must({"add", "openrouter", "--label", "spare"}, "sk-key-1");
  must({"profile", "add", "atlas"});
  must({"profile", "bind", "atlas", "acme", "work"});
  must({"remove", "openrouter", "spare"});
  now_ += Seconds{1};
  must({"remove", "acme", "work", "--keep-remote"});
  const auto ran = must({"undo"});

  EXPECT_THAT(ran.out, AllOf(HasSubstr("Took back acme credential"), HasSubstr("default, atlas")));
  EXPECT_EQ(stored("acme").at(0).uid, uid_);
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-1\n");
  must({"undo"});
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-1\n");
  EXPECT_EQ(run({"undo"}).status, 3);
}

TEST_F(UndoTest, OneThatWasRevokedComesBackDead) {
  http_->answer(200, "{}");
  must({"remove", "acme", "work"});
  const auto ran = must({"undo"});

  EXPECT_THAT(ran.err, AllOf(HasSubstr("revoked at the provider"),
                             HasSubstr("authdb login acme --label work")));
  EXPECT_EQ(run({"token", "acme"}).status, 4);
}

TEST_F(UndoTest, ADayLaterThereIsNothingToTakeBack) {
  must({"remove", "acme", "work", "--keep-remote"});
  now_ += std::chrono::hours{24};
  const auto ran = run({"undo"});

  EXPECT_EQ(ran.status, 3);
  EXPECT_THAT(ran.err, HasSubstr("within the last day"));
}

TEST_F(UndoTest, AnyOneOfTheDayByItsUid) {
  must({"add", "openrouter"}, "sk-key-1");
  must({"remove", "acme", "work", "--keep-remote"});
  must({"remove", "openrouter", "1"});

  EXPECT_EQ(must_json({"undo", uid_})["restored"], uid_);
  EXPECT_EQ(run({"undo", "aaaaaaaaaaaa"}).status, 3);
  EXPECT_EQ(run({"undo", uid_}).status, 3) << "it is there";
}

TEST_F(UndoTest, LogoutSticksWhenTheOldFileIsImportedAgain) {
  write_file(dir_ / "hermes/auth.json",
             R"({"version":1,"providers":{},"credential_pool":{"acme":[{"id":"a","label":"old",)"
             R"("auth_type":"oauth","source":"manual","access_token":"access-token-BETA-1",)"
             R"("refresh_token":"refresh-token-BETA-1","obtained_at":"2026-04-12T10:00:00Z"}]}})");
  must({"migrate", (dir_ / "hermes").string()});
  must({"remove", "acme", "old", "--keep-remote"});

  const auto ran = must_json({"migrate", (dir_ / "hermes").string()});
  ASSERT_THAT(ran["sources"][0]["skipped"], SizeIs(1));
  EXPECT_THAT(ran["sources"][0]["skipped"][0]["reason"].get<std::string>(), HasSubstr("removed"));
  EXPECT_THAT(stored("acme"), SizeIs(1));
}

}  // namespace
}  // namespace authdb::cli
