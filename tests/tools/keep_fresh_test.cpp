// authdb keep-fresh: what it says, how it ends, and that it runs.
#include <sys/stat.h>

#include <csignal>

#include "tests/portal/process.h"
#include "tests/tools/harness.h"
#include "tools/portal/portal.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class KeepFreshCommand : public CommandTest {
 protected:
  void add_grant(const std::string& provider = "acme", const std::string& label = "work") {
    GrantText grant;
    grant.expires_in = 900;
    must({"add", provider, "--grant", "--label", label}, grant_json(grant));
  }
  void pass(Seconds time) { now_ += time; }
};

TEST_F(KeepFreshCommand, OnceRefreshesWhatIsDueAndSaysSo) {
  add_grant();
  EXPECT_THAT(must({"keep-fresh", "--once"}).out, IsEmpty());
  pass(Seconds{700});
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  const auto ran = must({"keep-fresh", "--once"});

  EXPECT_THAT(ran.out, AllOf(HasSubstr("Refreshed acme credential"), HasSubstr("(work)"),
                             HasSubstr("expires in 1h")));
  EXPECT_EQ(stored("acme")[0].generation, 2);
}

TEST_F(KeepFreshCommand, JsonIsOneLineForAPass) {
  add_grant();
  pass(Seconds{700});
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  const auto ran = must({"keep-fresh", "--once", "--json"});

  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1);
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["refreshed"][0]["credential"], stored("acme")[0].uid);
  EXPECT_EQ(json["refreshed"][0]["generation"], 2);
  EXPECT_EQ(json["failed"], nlohmann::json::array());
  EXPECT_TRUE(json.contains("next_at"));
}

TEST_F(KeepFreshCommand, TheExitCodeSaysWhetherSomebodyMustLogInOrItIsTriedAgain) {
  add_grant();
  pass(Seconds{700});
  http_->answer(503, "{}");
  const auto later = run({"keep-fresh", "--once"});
  EXPECT_EQ(later.status, 5) << testing::PrintToString(later);
  EXPECT_THAT(later.err, HasSubstr("503"));

  pass(Seconds{400});
  http_->answer(400, R"({"error":"invalid_grant"})");
  const auto rejected = run({"keep-fresh", "--once"});
  EXPECT_EQ(rejected.status, 4) << testing::PrintToString(rejected);
  EXPECT_THAT(rejected.err, HasSubstr("authdb login acme"));
  EXPECT_EQ(run({"keep-fresh", "--once"}).status, 4);  // and as long as nobody has
}

TEST_F(KeepFreshCommand, ASessionThatEndsSoonIsWarnedOf) {
  add_grant("nous", "work");
  EXPECT_THAT(must({"keep-fresh", "--once"}).err, IsEmpty());
  pass(std::chrono::days{29} + Seconds{60});
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  const auto ran = must({"keep-fresh", "--once"});

  EXPECT_THAT(ran.err, AllOf(HasSubstr("ends at 2026-05-12"), HasSubstr("authdb login nous")));
  EXPECT_THAT(must({"status"}).out, HasSubstr("ends at 2026-05-12"));
}

TEST_F(KeepFreshCommand, OnlyTheProfileThatIsNamed) {
  add_grant();
  must({"profile", "add", "scout"});
  pass(Seconds{700});

  EXPECT_THAT(must({"keep-fresh", "--once", "--profile", "scout"}).out, IsEmpty());
  EXPECT_EQ(run({"keep-fresh", "--once", "--profile", "nobody"}).status, 3);
}

// ---- The executable ----------------------------------------------------------------------------

class KeepFreshProcess : public CommandTest {
 protected:
  KeepFreshProcess() : portal_({.era = portal::Era::kJwt, .access_ttl = std::chrono::seconds(3)}) {
    env_["XDG_CONFIG_HOME"] = dir_ / "config";
    env_["HOME"] = dir_.path();
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    const auto grant = portal_.create_grant();
    http_->clock = system_now;
    now_ = system_now();
    GrantText text;
    text.access = grant.access_token;
    text.refresh = grant.refresh_token;
    text.expires_in = static_cast<int>(grant.expires_in);
    must({"add", "nous", "--grant", "--label", "work"}, grant_json(text));
  }
  std::vector<std::string> command(std::vector<std::string> words) const {
    std::vector<std::string> all{"/usr/bin/env", "-i"};
    for (const auto& [name, value] : env_) all.push_back(name + "=" + value);
    all.emplace_back(AUTHDB_BINARY);
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
  portal::Portal portal_;
};

TEST_F(KeepFreshProcess, TheLoopRefreshesAgainAndAgainUntilItIsToldToStop) {
  portal::Process process(command({"keep-fresh", "--json"}));
  int refreshed = 0;
  while (refreshed < 3) {
    const auto line = nlohmann::json::parse(process.read_line(), nullptr, false);
    ASSERT_FALSE(line.is_discarded());
    refreshed += static_cast<int>(line["refreshed"].size());
  }
  process.signal(SIGTERM);
  const auto finished = process.finish();

  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_GE(portal_.counters().totals.rotations, 3);
  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
}

TEST_F(KeepFreshProcess, ToldToStopInTheMiddleOfARefreshItFinishesThat) {
  portal_.add_fault({.delay_after = std::chrono::hours(1)});
  portal::Process process(command({"keep-fresh", "--json"}));
  ASSERT_TRUE(portal_.wait_until([&] { return portal_.delayed() == 1; }));
  process.signal(SIGINT);
  portal_.release();

  EXPECT_EQ(process.finish().code, 0);
  now_ = system_now();
  EXPECT_EQ(stored("nous").at(0).generation, 2);
}

}  // namespace
}  // namespace authdb::cli
