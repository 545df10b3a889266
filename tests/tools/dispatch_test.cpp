#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

using DispatchTest = CommandTest;

TEST_F(DispatchTest, WithoutACommandTheOverviewGoesToStderr) {
  const auto ran = run({});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("usage: authdb COMMAND"));
}

TEST_F(DispatchTest, HelpGoesToStdout) {
  const auto ran = must({"--help"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("migrate"), HasSubstr("--store PATH")));
  EXPECT_THAT(ran.err, IsEmpty());
}

TEST_F(DispatchTest, VersionIsOneLine) {
  EXPECT_EQ(must({"--version"}).out, "authdb " AUTHDB_VERSION "\n");
  EXPECT_EQ(must({"token", "--version"}).out, "authdb " AUTHDB_VERSION "\n");
}

TEST_F(DispatchTest, EveryVerbHasAManual) {
  for (const auto* command : all_commands()) {
    const auto ran = must({std::string(command->name), "--help"});
    EXPECT_THAT(ran.out, AllOf(StartsWith("authdb " + std::string(command->name) + ": "),
                               HasSubstr("usage: authdb "), HasSubstr("\nOptions of every command"),
                               HasSubstr("\nExit codes\n"), HasSubstr("\nExamples\n")));
    EXPECT_EQ(must({"help", std::string(command->name)}).out, ran.out);
    EXPECT_THAT(must({"--help"}).out, HasSubstr("\n  " + std::string(command->name) + " "));
  }
}

TEST_F(DispatchTest, AManualIsNoWiderThanATerminal) {
  for (const auto* command : all_commands()) {
    std::istringstream lines(must({std::string(command->name), "--help"}).out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), 100U) << command->name << ": " << line;
    }
  }
}

TEST_F(DispatchTest, AnUnknownCommandNamesTheNearest) {
  const auto ran = run({"tokn", "nous"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, AllOf(StartsWith("authdb: "), HasSubstr("\n  "), HasSubstr("token")));
}

TEST_F(DispatchTest, P7_ATokenThatWasGivenWhereANameBelongsIsNotRepeated) {
  const std::string token = "sk-ant-oat01-AbCdEfGh0123456789";
  run({"add", "openrouter", "--label", "first"}, "sk-or-1234567890abcdef");
  for (const auto& words :
       std::vector<std::vector<std::string>>{{token},
                                             {"token", token},
                                             {"remove", "openrouter", token},
                                             {"report", "openrouter", token, "--status", "401"},
                                             {"undo", token},
                                             {"token", "openrouter", "--profile=" + token},
                                             {"token", "openrouter", "--" + token}}) {
    const auto ran = run(words);
    EXPECT_NE(ran.status, 0) << words.front();
    EXPECT_THAT(ran.err, Not(HasSubstr(token))) << words.front();
    EXPECT_THAT(ran.err, HasSubstr("looks like a token")) << words.front();
  }
}

TEST_F(DispatchTest, WhatComesLaterIsNotOfferedYet) {
  for (const auto* verb : {"exec", "upgrade", "completion"}) {
    EXPECT_EQ(run({verb}).status, 2) << verb;
    EXPECT_THAT(run({"--help"}).out, Not(HasSubstr("\n  " + std::string(verb) + " "))) << verb;
  }
}

TEST_F(DispatchTest, GlobalOptionsMayStandBeforeAndAfterTheVerb) {
  const auto elsewhere = (dir_ / "elsewhere/auth.db").string();
  must({"--store", elsewhere, "--profile", "atlas", "add", "openrouter"}, "sk-key-1");
  const auto after = must({"list", "--store", elsewhere, "--profile", "atlas"});
  const auto around = must({"--profile=atlas", "list", "openrouter", "--store=" + elsewhere});
  EXPECT_THAT(after.out, HasSubstr("openrouter (1 credential)"));
  EXPECT_EQ(around.out, after.out);
  EXPECT_FALSE(std::filesystem::exists(store_path()));
}

TEST_F(DispatchTest, TheEnvironmentNamesStoreAndProfile) {
  env_["AUTHDB_PROFILE"] = "atlas";
  must({"add", "openrouter"}, "sk-key-1");
  EXPECT_TRUE(std::filesystem::exists(store_path()));
  EXPECT_EQ(must_json({"list"})[0]["profile"], "atlas");
}

TEST_F(DispatchTest, WithoutAStoreEveryVerbSaysHowToMakeOne) {
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"token", "nous"},
                                             {"refresh", "nous"},
                                             {"mint", "nous"},
                                             {"status"},
                                             {"list"},
                                             {"log"},
                                             {"sql", "SELECT 1"},
                                             {"remove", "nous", "1"},
                                             {"reset", "nous"},
                                             {"priority", "nous", "1", "1"},
                                             {"profile", "list"},
                                             {"report", "nous", "1", "--status", "429"}}) {
    const auto ran = run(words);
    EXPECT_EQ(ran.status, 3) << words[0];
    EXPECT_THAT(ran.err, AllOf(HasSubstr("authdb migrate"), HasSubstr("authdb login"),
                               HasSubstr("authdb add")))
        << words[0];
    EXPECT_THAT(ran.out, IsEmpty()) << words[0];
    EXPECT_FALSE(std::filesystem::exists(store_path())) << words[0];
  }
}

TEST_F(DispatchTest, AMissingArgumentShowsTheUsage) {
  const auto ran = run({"token"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("PROVIDER"), HasSubstr("usage: authdb token PROVIDER")));
}

TEST_F(DispatchTest, AnErrorHasItsHintIndentedBelow) {
  const auto ran = run({"status"});
  EXPECT_THAT(ran.err, testing::MatchesRegex("authdb: [^\n]+\n(  [^\n]+\n)+"));
}

TEST_F(DispatchTest, AMistakeInAValueShowsTheUsageToo) {
  const auto ran = run({"report", "openrouter", "1", "--status", "42"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("\n  usage: authdb report PROVIDER TARGET"));
}

TEST_F(DispatchTest, AResultThatCannotBeWrittenIsAFailure) {
  must({"add", "openrouter"}, "sk-key-1");
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  out.setstate(std::ios::badbit);
  Context context{in, out, err};
  context.env = [this](const std::string& name) { return std::optional(env_[name]); };
  EXPECT_EQ(dispatch({"token", "openrouter"}, context), 1);
  EXPECT_THAT(err.str(), HasSubstr("stdout"));
}

}  // namespace
}  // namespace authdb::cli
