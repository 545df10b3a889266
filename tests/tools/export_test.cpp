// authdb export as a person runs it.
#include "store/fingerprint.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class ExportCommand : public CommandTest {
 protected:
  ExportCommand() { must({"add", "nous", "--grant", "--label", "work"}, grant_json()); }
};

TEST_F(ExportCommand, APlainExportHasTheAccessTokenAndNothingToSpend) {
  const auto ran = must({"export"});
  EXPECT_THAT(ran.out, HasSubstr("access-token-ALPHA-1"));
  EXPECT_THAT(ran.out, Not(HasSubstr("refresh-token-ALPHA-1")));
  EXPECT_THAT(ran.err, IsEmpty());
}

TEST_F(ExportCommand, RevealingRefreshTokensWarnsOfTheSecondSpender) {
  const auto ran = must({"export", "--reveal-refresh"});
  EXPECT_THAT(ran.out, HasSubstr("refresh-token-ALPHA-1"));
  EXPECT_THAT(ran.err, HasSubstr("second_spender"));
}

TEST_F(ExportCommand, AFileIsPrivateAndNothingGoesToStdout) {
  const auto path = (dir_ / "out.json").string();
  const auto ran = must({"export", "-o", path});
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
  EXPECT_THAT(read_file(path), HasSubstr("access-token-ALPHA-1"));
}

TEST_F(ExportCommand, AFileWithALoginThatTheStoreHasNeverSeenIsNotWrittenOver) {
  const auto path = dir_ / "auth.json";
  const std::string codex = R"({"OPENAI_API_KEY":null,"tokens":{"access_token":"at-codex",)"
                            R"("refresh_token":"rt-of-codex","account_id":"acct"}})";
  write_file(path, codex);

  const auto ran = run({"export", "-o", path});
  EXPECT_EQ(ran.status, 7);
  EXPECT_THAT(ran.err, HasSubstr("authdb migrate " + path.string()));
  EXPECT_THAT(ran.err, Not(HasSubstr("rt-of-codex")));
  EXPECT_EQ(read_file(path), codex);

  must({"migrate", path});
  must({"export", "-o", path});
  EXPECT_THAT(read_file(path), HasSubstr("access-token-ALPHA-1"));
}

TEST_F(ExportCommand, AFileThatCannotBeLookedThroughIsNotWrittenOverAndAnEmptyOneIs) {
  const auto path = dir_ / "out.json";
  write_file(path, "{\"refresh_token\": \"rt-");
  EXPECT_EQ(run({"export", "-o", path}).status, 7);
  EXPECT_EQ(read_file(path), "{\"refresh_token\": \"rt-");

  write_file(path, "");
  must({"export", "-o", path});
  must({"export", "--reveal-refresh", "-o", path});
  must({"export", "-o", path});
  EXPECT_THAT(read_file(path), HasSubstr("access-token-ALPHA-1"));
}

TEST_F(ExportCommand, P8_ABearerThatWasRejectedIsNotInIt) {
  GrantText grant;
  grant.access = "access-token-BETA-1";
  grant.refresh = "refresh-token-BETA-1";
  must({"add", "acme", "--grant"}, grant_json(grant));
  http_->answer(503, "{}");
  run({"token", "acme", "--rejected", fingerprint(token_hash(std::string_view(grant.access)))});

  EXPECT_THAT(must({"export"}).out, Not(HasSubstr(grant.access)));
}

TEST_F(ExportCommand, EachRefusalHasItsExitCode) {
  EXPECT_EQ(run({"export", "--format", "vault"}).status, 2);
  EXPECT_EQ(run({"export", "--format", "claude"}).status, 3);
  EXPECT_EQ(run({"export", "--profile", "nobody"}).status, 3);
  std::filesystem::create_symlink(dir_ / "elsewhere", dir_ / "link");
  EXPECT_EQ(run({"export", "-o", dir_ / "link"}).status, 7);
  EXPECT_FALSE(std::filesystem::exists(dir_ / "elsewhere"));
}

TEST_F(ExportCommand, NothingIsWrittenWhereOthersCouldReplaceIt) {
  const auto shared = dir_ / "shared";
  std::filesystem::create_directory(shared);
  std::filesystem::permissions(shared, std::filesystem::perms(0777));
  for (const auto& words : {std::vector<std::string>{"export", "-o", shared / "out"},
                            std::vector<std::string>{"backup", shared / "out"}}) {
    const auto ran = run(words);

    EXPECT_EQ(ran.status, 7) << words[0];
    EXPECT_THAT(ran.err, HasSubstr("chmod go-w " + shared.string())) << words[0];
  }
  EXPECT_TRUE(std::filesystem::is_empty(shared));
}

}  // namespace
}  // namespace authdb::cli
