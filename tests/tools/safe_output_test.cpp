// Nothing that somebody else wrote reaches a terminal as anything but text.
#include "tools/render/safe_output.h"

#include <sstream>

#include "tests/tools/harness.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

// Each of them, and the same where it is written byte by byte.
std::string through(std::string_view text) {
  std::ostringstream at_once;
  std::ostringstream in_bytes;
  {
    SafeOutput first(at_once);
    at_once << text;
    SafeOutput second(in_bytes);
    for (const char c : text) in_bytes.put(c);
  }
  EXPECT_EQ(at_once.str(), in_bytes.str()) << text;
  return at_once.str();
}

TEST(SafeOutput, LetsTextColoursAndLineEndsPass) {
  for (const char* text : {"plain\n", "größe ← 😀 日本\n", "a\tb\r\n", "\x1b[32mgreen\x1b[0m",
                           "\x1b[40;97m█▀▄ \x1b[0m\n", "\r\x1b[KRefreshing … 3 s", ""}) {
    EXPECT_EQ(through(text), text);
  }
}

TEST(SafeOutput, ReplacesWhatATerminalWouldObeyOrAPersonMisread) {
  EXPECT_EQ(through("\x1b]0;title\x07"), "?]0;title?");
  EXPECT_EQ(through("\x1b[2Jx"), "?[2Jx");
  EXPECT_EQ(through("\x1b[31"), "?[31");
  EXPECT_EQ(through("a\x1b"), "a?");
  // What follows would be written over the line.
  EXPECT_EQ(through("paid to a\r\x1bpaid to b"), "paid to a??paid to b");
  EXPECT_EQ(through("a\r\x1b"), "a??");
  EXPECT_EQ(through("\x1b[1;2;3;4;5;6;7;8m"), "?[1;2;3;4;5;6;7;8m");
  EXPECT_EQ(through("over\rwritten"), "over?written");
  EXPECT_EQ(through("c1 \xc2\x9b"
                    "31m"),
            "c1 ?31m");
  EXPECT_EQ(through("bidi \xe2\x80\xae"
                    "txt.exe"),
            "bidi ?txt.exe");
  EXPECT_EQ(through("isolate \xe2\x81\xa6."), "isolate ?.");
  EXPECT_EQ(through("line \xe2\x80\xa8."), "line ?.");
  EXPECT_EQ(through("tag \xf3\xa0\x81\x81."), "tag ?.");
  EXPECT_EQ(through(std::string_view("nul \0.", 6)), "nul ?.");
}

TEST(SafeOutput, ReplacesEachByteThatIsNoUtf8) {
  EXPECT_EQ(through("\xff."), "?.");
  EXPECT_EQ(through("\xc3("), "?(");
  EXPECT_EQ(through("cut \xe2\x82"), "cut ??");
  EXPECT_EQ(through("long \xc0\xaf"), "long ??");
  EXPECT_EQ(through("surrogate \xed\xa0\x80"), "surrogate ???");
  EXPECT_EQ(through("beyond \xf4\x90\x80\x80"), "beyond ????");
}

TEST(SafeOutput, IsGoneWithoutATrace) {
  std::ostringstream out;
  auto* const before = out.rdbuf();
  {
    SafeOutput safe(out);
    out << "\x1b";
    EXPECT_TRUE(safe.put_unchanged("\xff\n"));
  }
  EXPECT_EQ(static_cast<std::ostream&>(out).rdbuf(), before);
  EXPECT_EQ(out.str(), "?\xff\n");
}

// Labels, servers' texts, paths: wherever they are printed.
class HostileNames : public CommandTest {
 protected:
  void expect_tame(const Ran& ran) {
    for (const std::string* text : {&ran.out, &ran.err}) {
      EXPECT_THAT(*text, Not(HasSubstr("\x1b]")));
      EXPECT_THAT(*text, Not(HasSubstr("\x07")));
      EXPECT_THAT(*text, Not(HasSubstr("\xe2\x80\xae")));
      EXPECT_THAT(*text, Not(HasSubstr("\xff")));
    }
  }
  const std::string hostile_ = "\x1b]0;owned\x07\xe2\x80\xae\xff";
};

TEST_F(HostileNames, ReachNoTerminalFromAnyCommand) {
  must({"add", "acme", "--grant", "--label", hostile_}, grant_json());
  http_->answer(400,
                R"({"error":"\u001b]0;x\u0007","error_description":"\u001b]0;y\u0007\u202e"})");
  expect_tame(run({"refresh", "acme"}));
  for (const std::vector<std::string>& words : {std::vector<std::string>{"status"},
                                                {"list"},
                                                {"log"},
                                                {"doctor"},
                                                {"status", "--json"},
                                                {"list", "--json"},
                                                {"log", "--json"},
                                                {"sql", "SELECT label FROM freshness"},
                                                {"remove", "acme", hostile_ + "x"},
                                                {"status", hostile_},
                                                {hostile_},
                                                {"migrate", "/" + hostile_},
                                                {"list", "--profile", hostile_}}) {
    expect_tame(run(words));
  }
}

TEST_F(HostileNames, AVeryLongLabelMakesNoVeryLongTable) {
  must({"add", "acme", "--grant", "--label", std::string(1 << 20, 'x')}, grant_json());
  must({"add", "openrouter"}, "sk-key-1");

  EXPECT_LT(run({"status"}).out.size(), 4000U);
  EXPECT_LT(run({"list"}).out.size(), 4000U);
}

TEST_F(HostileNames, WhatIsNoTokenIsNotTakenNorHandedOut) {
  for (const std::string token : {"two words", "line\nX-Injected: 1", "nul\x01", "caf\xc3\xa9"}) {
    nlohmann::json grant = {{"access_token", token}, {"expires_in", 60}};
    EXPECT_EQ(run({"add", "acme", "--grant"}, grant.dump()).status, 2) << token;
    EXPECT_EQ(run({"add", "openrouter"}, token).status, 2) << token;
  }
  write_file(dir_ / "auth.json", nlohmann::json({{"credential_pool",
                                                  {{"openrouter",
                                                    {{{"id", "a"},
                                                      {"label", "odd"},
                                                      {"auth_type", "api_key"},
                                                      {"access_token", "sk-1\nX-Injected: 1"}},
                                                     {{"id", "b"},
                                                      {"label", "good"},
                                                      {"auth_type", "api_key"},
                                                      {"access_token", "sk-good-1"}}}}}}})
                                     .dump());
  const auto migrated = run({"migrate", dir_ / "auth.json"});

  EXPECT_THAT(migrated.out + migrated.err, HasSubstr("no token has"));
  EXPECT_EQ(run({"token", "openrouter"}).out, "sk-good-1\n");
}

TEST_F(HostileNames, AVariableThatIsNoTokenIsNotHandedOut) {
  env_["OPENROUTER_API_KEY"] = "sk-env-1\nX-Injected: 1";
  write_file(dir_ / "auth.json",
             R"({"credential_pool":{"openrouter":[{"id":"a","label":"env","auth_type":"api_key",)"
             R"("source":"env:OPENROUTER_API_KEY","secret_fingerprint":")" +
                 fingerprint(token_hash(env_["OPENROUTER_API_KEY"])) + R"("}]}})");
  must({"migrate", dir_ / "auth.json"});

  const auto ran = run({"token", "openrouter", "--format", "header"});

  EXPECT_EQ(ran.status, 7);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("no token has"));
}

}  // namespace
}  // namespace authdb::cli
