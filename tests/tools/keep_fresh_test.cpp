// authdb keep-fresh: what it says, how it ends, and that it runs.
#include <sys/stat.h>

#include <csignal>

#include "store/timestamp.h"
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

// Says that an hour must pass before it is asked again.
struct Throttled : oauth::HttpTransport {
  Answer perform(const oauth::HttpRequest&, const std::function<bool()>& sent) override {
    ++asked;
    sent();
    Answer answer;
    answer.http_status = 429;
    answer.complete = true;
    answer.retry_after = Seconds{3'600};
    return answer;
  }
  int asked = 0;
};

TEST_F(KeepFreshCommand, WhileTheTokenEndpointRestsItIsNotAskedAndThatIsSaid) {
  add_grant();
  pass(Seconds{700});
  const auto throttled = std::make_shared<Throttled>();
  wire_ = throttled;
  EXPECT_EQ(run({"keep-fresh", "--once"}).status, 5);
  pass(Seconds{1'800});

  const auto resting = run({"keep-fresh", "--once"});
  EXPECT_EQ(resting.status, 5) << testing::PrintToString(resting);
  EXPECT_THAT(resting.err, AllOf(HasSubstr("is left alone until"), HasSubstr("expired"),
                                 HasSubstr("failing since 2026-04-12T13:31:40")));
  EXPECT_EQ(throttled->asked, 1);
  const auto json = nlohmann::json::parse(run({"keep-fresh", "--once", "--json"}).out);
  EXPECT_EQ(json["failed"][0]["rests_until"], "2026-04-12T14:31:40Z");
}

TEST_F(KeepFreshCommand, WhatIsHeldAndHasExpiredIsNotSilent) {
  add_grant();
  pass(Seconds{700});
  http_->answer(504, "{}");
  EXPECT_EQ(run({"keep-fresh", "--once"}).status, 5);
  EXPECT_EQ(run({"keep-fresh", "--once"}).status, 0) << "it is held, and its bearer lives";
  pass(Seconds{700});

  const auto ran = run({"keep-fresh", "--once"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.err, HasSubstr("is uncertain since"));
}

TEST_F(KeepFreshCommand, P8_OnceIsNotGreenWithADamagedJournalNorWithoutTheKey) {
  add_grant();
  const auto uid = stored("acme")[0].uid;
  write_file(dir_ / "store/auth.db.d" / uid.substr(0, 2) / uid, "");
  const auto damaged = run({"keep-fresh", "--once"});
  EXPECT_EQ(damaged.status, 5);
  EXPECT_THAT(damaged.err, HasSubstr("cannot be renewed: the journal"));

  std::filesystem::remove(dir_ / "key/seal.key");
  EXPECT_EQ(run({"keep-fresh", "--once"}).status, 7);
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

TEST_F(KeepFreshCommand, ASessionThatEndsIsWarnedOfSevenThreeAndOneDayAhead) {
  add_grant("nous", "work");
  const auto warning = [&] {
    const auto out = must({"status"}).out;
    const auto at = out.find("ends at 2026-05-12");
    return at == out.npos ? std::string() : out.substr(at, out.find(", whatever", at) - at);
  };
  pass(std::chrono::days{22});
  EXPECT_THAT(warning(), IsEmpty());
  EXPECT_EQ(run({"status", "--check"}).status, 0);
  pass(std::chrono::days{1} + Seconds{60});
  EXPECT_THAT(warning(), HasSubstr(", within 7 days"));
  EXPECT_EQ(run({"status", "--check"}).status, 5);
  pass(std::chrono::days{4});
  EXPECT_THAT(warning(), HasSubstr(", within 3 days"));
  pass(std::chrono::days{2});
  EXPECT_THAT(warning(), HasSubstr(", within a day"));
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

// ---- The executable, and the files that it supplies --------------------------------------------

// A Hermes profile that was cut over. Its token is due, or has an hour to go.
class KeepFreshProject : public CommandTest {
 protected:
  KeepFreshProject() {
    env_["XDG_CONFIG_HOME"] = dir_ / "config";
    env_["HOME"] = dir_.path();
    env_["AUTHDB_STORE"] = store_path();
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    now_ = system_now();
  }
  void cut_over(Seconds life) {
    grant_ = portal_.create_grant();
    lay_out(grant_, life);
    const auto done = authdb({"migrate", "--cutover", home().string()});
    ASSERT_EQ(done.code, 0) << done.err;
    ASSERT_EQ(row()["refresh_token"], nullptr);
  }
  void lay_out(const portal::Grant& grant, Seconds life) {
    const nlohmann::json row{{"id", "a1b2c3"},
                             {"label", "work"},
                             {"auth_type", "oauth"},
                             {"source", "manual:device_code"},
                             {"scope", grant.scope},
                             {"access_token", grant.access_token},
                             {"refresh_token", grant.refresh_token},
                             {"expires_at", format_iso(now_ + life)}};
    std::filesystem::create_directories(home());
    write(nlohmann::json{{"version", 1},
                         {"credential_pool", {{"nous", nlohmann::json::array_t{row}}}}});
  }
  std::filesystem::path home() const { return dir_ / "hermes/profiles/scout"; }
  std::filesystem::path file() const { return home() / "auth.json"; }
  nlohmann::json tree() const { return nlohmann::json::parse(read_file(file())); }
  nlohmann::json row() const { return tree()["credential_pool"]["nous"][0]; }
  void write(const nlohmann::json& tree) { write_file(file(), tree.dump(2)); }

  portal::Finished authdb(const std::vector<std::string>& words) const {
    std::vector<std::string> all{"/usr/bin/env", "-i"};
    for (const auto& [name, value] : env_) all.push_back(name + "=" + value);
    all.emplace_back(AUTHDB_BINARY);
    all.insert(all.end(), words.begin(), words.end());
    return portal::run(all);
  }
  portal::Finished keep_fresh(std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"keep-fresh", "--once", "--project"};
    words.insert(words.end(), more.begin(), more.end());
    return authdb(words);
  }
  // Another process has rotated, and the file was not to be had meanwhile.
  std::string rotate_behind_the_file() {
    const auto aside = dir_ / "unmounted";
    std::filesystem::rename(home(), aside);
    const auto refreshed = authdb({"refresh", "nous", "--profile", "scout"});
    std::filesystem::rename(aside, home());
    EXPECT_EQ(refreshed.code, 0) << refreshed.err;
    EXPECT_THAT(refreshed.err, HasSubstr("not up to date"));
    return stored_token(stored("nous").at(0).uid);
  }

  portal::Portal portal_{{.era = portal::Era::kJwt, .access_ttl = std::chrono::hours(1)}};
  portal::Grant grant_;
};

TEST_F(KeepFreshProject, ARotationReachesTheProfilesFileWithoutItsRefreshToken) {
  cut_over(Seconds{60});
  const auto ran = keep_fresh();

  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto now = stored("nous").at(0);
  EXPECT_THAT(ran.out, testing::MatchesRegex("Refreshed nous credential " + now.uid +
                                             " .work.; expires in (1h|59m.*)\nUpdated " +
                                             file().string() + "\n"));
  EXPECT_THAT(ran.err, IsEmpty());
  EXPECT_EQ(now.generation, 2);
  EXPECT_EQ(row()["access_token"], stored_token(now.uid));
  EXPECT_NE(row()["access_token"], grant_.access_token);
  EXPECT_EQ(row()["refresh_token"], nullptr);
  EXPECT_THAT(read_file(file()), Not(HasSubstr(std::string(portal::kRefreshPrefix))));
  EXPECT_EQ(portal_.counters().totals.rotations, 1);
}

TEST_F(KeepFreshProject, WhatIsUpToDateIsNeitherAskedForNorWritten) {
  cut_over(Seconds{3600});
  const auto before = std::filesystem::last_write_time(file());
  const auto ran = keep_fresh();

  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out + ran.err, "");
  EXPECT_EQ(std::filesystem::last_write_time(file()), before);
  EXPECT_THAT(portal_.requests(), IsEmpty());
}

TEST_F(KeepFreshProject, AFileThatIsBehindIsRewrittenThoughNothingIsDue) {
  cut_over(Seconds{3600});
  const std::string newest = rotate_behind_the_file();
  ASSERT_NE(row()["access_token"], newest);
  const auto ran = keep_fresh();

  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "Updated " + file().string() + "\n");
  EXPECT_EQ(row()["access_token"], newest);
  EXPECT_EQ(portal_.counters().totals.rotations, 1) << "only the one before";
}

TEST_F(KeepFreshProject, ATokenThatTheToolHasGivenUpIsPutBack) {
  cut_over(Seconds{3600});
  auto quarantined = tree();
  quarantined["credential_pool"]["nous"][0]["access_token"] = nullptr;
  quarantined["credential_pool"]["nous"][0]["last_status"] = "dead";
  write(quarantined);
  const auto ran = keep_fresh({"--json"});

  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json["updated"], nlohmann::json::array({file().string()}));
  EXPECT_EQ(json["refreshed"], nlohmann::json::array());
  EXPECT_EQ(row()["access_token"], grant_.access_token);
  EXPECT_THAT(portal_.requests(), IsEmpty());
}

TEST_F(KeepFreshProject, ALoginThatTheToolMadeItselfIsLeftThereAndWarnedOf) {
  cut_over(Seconds{60});
  lay_out(portal_.create_grant(), Seconds{3600});
  const std::string taken_back = read_file(file());
  const auto ran = keep_fresh();

  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(read_file(file()), taken_back);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Refreshed nous"), Not(HasSubstr("Updated"))));
  EXPECT_THAT(ran.err, AllOf(HasSubstr(file().string() + " has a refresh token again"),
                             HasSubstr("authdb migrate --cutover")));

  const auto json = nlohmann::json::parse(keep_fresh({"--json"}).out);
  EXPECT_THAT(json["warnings"].at(0).get<std::string>(), HasSubstr("has a refresh token again"));
  EXPECT_EQ(read_file(file()), taken_back);
}

TEST_F(KeepFreshProject, AServerInTroubleLeavesTheFileAsItIs) {
  cut_over(Seconds{60});
  portal_.add_fault({.status = 503, .body = "{}"});
  const std::string before = read_file(file());
  const auto ran = keep_fresh();

  EXPECT_EQ(ran.code, 5);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("503"));
  EXPECT_EQ(read_file(file()), before);
}

TEST_F(KeepFreshProject, ASessionThatWasRevokedIsForAPersonAndLeavesTheFileAsItIs) {
  cut_over(Seconds{60});
  portal_.revoke(grant_.family);
  const std::string before = read_file(file());
  const auto ran = keep_fresh();

  EXPECT_EQ(ran.code, 4) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("authdb login nous"));
  EXPECT_EQ(read_file(file()), before);
}

TEST_F(KeepFreshProject, AFileThatIsGoneIsAWarningAndTheRefreshStands) {
  cut_over(Seconds{60});
  std::filesystem::remove(file());
  const auto ran = keep_fresh();

  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Refreshed nous"));
  EXPECT_THAT(ran.err, AllOf(HasSubstr(file().string()), HasSubstr("not up to date")));
  EXPECT_FALSE(std::filesystem::exists(file()));
  EXPECT_EQ(stored("nous").at(0).generation, 2);
}

}  // namespace
}  // namespace authdb::cli
