#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class ListTest : public CommandTest {
 protected:
  ListTest() {
    must({"add", "openrouter", "--label", "first"}, "sk-key-1");
    must({"add", "openrouter", "--label", "second"}, "sk-key-2");
  }
  // The line of the output that has `text` in it.
  std::string line_with(const std::string& text, const std::string& all) {
    std::istringstream lines(all);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(text) != std::string::npos) return line;
    }
    return {};
  }
};

TEST_F(ListTest, ShowsPoolsInOrderWithAnArrowAtTheNextPick) {
  const auto out = must({"list"}).out;
  EXPECT_THAT(out, HasSubstr("openrouter (2 credentials):\n"));
  EXPECT_THAT(line_with("first", out),
              AllOf(HasSubstr("#1"), HasSubstr("api_key"), HasSubstr("←")));
  EXPECT_THAT(line_with("second", out), AllOf(HasSubstr("#2"), Not(HasSubstr("←"))));
}

TEST_F(ListTest, ACoolingCredentialSaysHowLongAndTheArrowMovesOn) {
  must({"report", "openrouter", "1", "--status", "429", "--reset-at", "14h34m"});
  const auto out = must({"list"}).out;
  EXPECT_THAT(line_with("first", out),
              AllOf(HasSubstr("rate-limited"), HasSubstr("(429) (14h 34m left)")));
  EXPECT_THAT(line_with("second", out), HasSubstr("←"));

  now_ += Seconds{15 * 3600};
  EXPECT_THAT(line_with("first", must({"list"}).out), HasSubstr("(ready to retry)"));
}

TEST_F(ListTest, TheArrowIsWhatTokenReturns) {
  must({"report", "openrouter", "1", "--status", "429"});
  const auto json = must_json({"list"});
  for (const auto& credential : json[0]["credentials"]) {
    if (!credential["next"].get<bool>()) continue;
    EXPECT_EQ(credential["fingerprint"], must_json({"token", "openrouter"})["fingerprint"]);
  }
}

TEST_F(ListTest, ARandomPickHasNoArrow) {
  must({"profile", "strategy", "default", "openrouter", "random"});
  EXPECT_THAT(must({"list"}).out, AllOf(HasSubstr("random"), Not(HasSubstr("←"))));
}

TEST_F(ListTest, ADeadCredentialSaysWhy) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  http_->answer(400, R"({"error":"invalid_grant"})");
  run({"refresh", "acme"});
  EXPECT_THAT(line_with("work", must({"list", "acme"}).out),
              AllOf(HasSubstr("auth failed"), HasSubstr("login needed"), Not(HasSubstr("←"))));
}

TEST_F(ListTest, JsonHasOneObjectPerPool) {
  const auto json = must_json({"list", "openrouter"});
  ASSERT_THAT(json, SizeIs(1));
  EXPECT_EQ(json[0]["profile"], "default");
  EXPECT_EQ(json[0]["strategy"], "fill_first");
  ASSERT_THAT(json[0]["credentials"], SizeIs(2));
  EXPECT_EQ(json[0]["credentials"][0]["label"], "first");
  EXPECT_EQ(json[0]["credentials"][0]["next"], true);
  EXPECT_EQ(json[0]["credentials"][1]["position"], 2);
}

TEST_F(ListTest, IsEmptyForAProfileWithoutCredentials) {
  must({"profile", "add", "atlas"});
  EXPECT_EQ(must({"list", "--profile", "atlas"}).out, "");
  EXPECT_EQ(must_json({"list", "--profile", "atlas"}), nlohmann::json::array());
  EXPECT_EQ(run({"list", "--profile", "nobody"}).status, 3);
  EXPECT_EQ(run({"list", "openrouter", "--profile", "atlas"}).status, 3);
}

TEST_F(ListTest, IsColouredOnlyOnATerminalThatWantsIt) {
  must({"report", "openrouter", "1", "--status", "429"});
  EXPECT_THAT(must({"list"}).out, Not(HasSubstr("\x1b")));
  out_is_terminal_ = true;
  EXPECT_THAT(must({"list"}).out, HasSubstr("\x1b"));
  EXPECT_THAT(must({"list", "--no-color"}).out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(must({"list", "--json"}).out, Not(HasSubstr("\x1b")));
  env_["NO_COLOR"] = "1";
  EXPECT_THAT(must({"list"}).out, Not(HasSubstr("\x1b")));
}

TEST_F(ListTest, ALabelCannotSteerTheTerminal) {
  must({"add", "openrouter", "--label", "evil\x1b[2J"}, "sk-key-3");
  EXPECT_THAT(must({"list"}).out, AllOf(HasSubstr("evil?[2J"), Not(HasSubstr("\x1b"))));
}

TEST_F(ListTest, QuietLeavesOutTheNoteAboutOtherProfiles) {
  must({"profile", "add", "atlas"});
  EXPECT_THAT(must({"list"}).err, HasSubstr("atlas"));
  EXPECT_EQ(must({"list", "-q"}).err, "");
}

}  // namespace
}  // namespace authdb::cli
