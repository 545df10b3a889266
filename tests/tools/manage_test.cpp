// remove, reset, priority and report.
#include <map>
#include <set>

#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class ManageTest : public CommandTest {
 protected:
  ManageTest() {
    must({"add", "openrouter", "--label", "first"}, "sk-key-1");
    must({"add", "openrouter", "--label", "second"}, "sk-key-2");
    must({"add", "openrouter", "--label", "third"}, "sk-key-3");
  }
  std::vector<std::string> labels(const std::string& profile = "default") {
    std::vector<std::string> labels;
    const auto pool = reopen().pool(profile, "openrouter");
    for (const auto& entry : *pool) labels.push_back(entry.credential.identity.label);
    return labels;
  }
};

TEST_F(ManageTest, RemoveTakesItOutOfEveryProfileAndSaysWhich) {
  must({"profile", "add", "atlas"});
  must({"profile", "bind", "atlas", "openrouter", "second"});
  const auto ran = must({"remove", "openrouter", "second"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Removed openrouter credential #2 (second)"),
                             HasSubstr("default, atlas")));
  EXPECT_THAT(labels(), ElementsAre("first", "third"));
  EXPECT_THAT(labels("atlas"), IsEmpty());
}

TEST_F(ManageTest, LogoutIsTheSame) {
  EXPECT_THAT(must({"logout", "openrouter", "#1"}).out, HasSubstr("Removed"));
  EXPECT_THAT(labels(), ElementsAre("second", "third"));
}

TEST_F(ManageTest, RemoveOfNobodyRemovesNobody) {
  EXPECT_EQ(run({"remove", "openrouter", "fourth"}).status, 3);
  EXPECT_EQ(run({"remove", "openrouter", "#4"}).status, 3);
  EXPECT_EQ(run({"remove", "openrouter"}).status, 2);
  EXPECT_THAT(labels(), SizeIs(3));
}

TEST_F(ManageTest, RemoveFindsWhatTheProfileUsesAndWhatNobodyUses) {
  must({"profile", "add", "atlas"});
  const auto uid = reopen().pool("default", "openrouter")->at(0).credential.uid;
  EXPECT_EQ(run({"remove", "openrouter", "first", "--profile", "atlas"}).status, 3);
  const auto refused = run({"remove", "openrouter", uid, "--profile", "atlas"});
  EXPECT_EQ(refused.status, 3);
  EXPECT_THAT(refused.err, HasSubstr("for: default"));

  must({"profile", "unbind", "default", "openrouter", uid});
  must({"remove", "openrouter", uid, "--profile", "atlas"});
  EXPECT_THAT(labels(), ElementsAre("second", "third"));
}

TEST_F(ManageTest, RemoveJsonNamesTheProfiles) {
  const auto json = must_json({"remove", "openrouter", "first"});
  EXPECT_EQ(json["label"], "first");
  EXPECT_EQ(json["profiles"], nlohmann::json::array({"default"}));
}

TEST_F(ManageTest, RemoveSaysFirstWhoElseUsesItAndAsksAtATerminal) {
  const Uid uid = stored()[0].uid;
  must({"profile", "add", "atlas"});
  must({"profile", "bind", "atlas", "openrouter", uid});
  std::string question;
  ask_ = [&](std::string_view prompt) -> Result<Secret> {
    question = prompt;
    return Secret::copy_of("no");
  };

  const auto refused = run({"remove", "openrouter", uid});

  EXPECT_EQ(refused.status, 7);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("too: atlas"), HasSubstr("profile unbind")));
  EXPECT_THAT(question, HasSubstr("all of them?"));
  EXPECT_THAT(labels(), Contains("first"));

  ask_ = {};  // a script has been told, and goes on
  EXPECT_THAT(must({"remove", "openrouter", uid}).err, HasSubstr("too: atlas"));
  EXPECT_THAT(labels(), Not(Contains("first")));
}

TEST_F(ManageTest, RemoveOfWhatNobodyElseUsesAsksNothing) {
  ask_ = [&](std::string_view) -> Result<Secret> {
    ADD_FAILURE() << "asked";
    return Secret::copy_of("no");
  };
  must({"remove", "openrouter", "first"});
}

TEST_F(ManageTest, LogoutWithoutATargetEndsAllOfAProviderAfterAsking) {
  EXPECT_EQ(run({"logout", "openrouter"}).status, 2) << "nobody to ask";
  EXPECT_THAT(labels(), SizeIs(3));
  ask_ = [](std::string_view) -> Result<Secret> { return Secret::copy_of(""); };
  EXPECT_EQ(run({"logout", "openrouter"}).status, 7);
  EXPECT_THAT(labels(), SizeIs(3));

  ask_ = [](std::string_view) -> Result<Secret> { return Secret::copy_of("y"); };
  const auto ran = must({"logout", "openrouter"});

  EXPECT_THAT(ran.out, HasSubstr("Removed"));
  EXPECT_THAT(labels(), IsEmpty());
}

TEST_F(ManageTest, LogoutOfAllIsAListInJson) {
  EXPECT_EQ(must_json({"logout", "openrouter", "--yes"}).size(), 3);
}

TEST_F(ManageTest, ReportCoolsDownAndResetClears) {
  const auto ran = must({"report", "openrouter", "first", "--status", "429", "--reset-at", "2h"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Reported 429"), HasSubstr("cooling down for 2h")));
  EXPECT_EQ(stored()[0].health.cooldown_until, now_ + Seconds{7'200});
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-2\n");

  EXPECT_THAT(must({"reset", "openrouter", "first"}).out,
              HasSubstr("Reset status on openrouter credential #1 (first)"));
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-1\n");
}

TEST_F(ManageTest, ResetWithoutATargetIsThePool) {
  must({"report", "openrouter", "1", "--status", "429"});
  must({"report", "openrouter", "2", "--status", "402"});
  EXPECT_EQ(must({"reset", "openrouter"}).out, "Reset status on 3 openrouter credentials\n");
  for (const auto& credential : stored()) EXPECT_EQ(credential.health.status, Status::ok);
}

TEST_F(ManageTest, ReportNeedsAStatusThatHttpHas) {
  EXPECT_EQ(run({"report", "openrouter", "1"}).status, 2);
  EXPECT_EQ(run({"report", "openrouter", "1", "--status", "42"}).status, 2);
  EXPECT_EQ(stored()[0].health.status, Status::ok);
}

TEST_F(ManageTest, AResetThatCannotBeReadOrIsOverDoesNotLoseTheReport) {
  for (const auto* said : {"soon", "0", "-5", "", "2026-04-12T13:19:59Z"}) {
    const auto ran = must({"report", "openrouter", "1", "--status", "429", "--reset-at", said});
    EXPECT_EQ(stored()[0].health.cooldown_until, now_ + Seconds{60}) << said;
    must({"reset", "openrouter"});
  }
}

TEST_F(ManageTest, ReportOfTheRequestsOwnFaultChangesNothing) {
  const auto ran = must({"report", "openrouter", "1", "--status", "404"});
  EXPECT_THAT(ran.out, HasSubstr("that was the request's own fault"));
  EXPECT_EQ(stored()[0].health.status, Status::ok);
}

TEST_F(ManageTest, ReportTakesEverySpellingOfAReset) {
  for (const auto* said :
       {"1776000090", "1776000090000", "1776000090.0", "2026-04-12T13:21:30Z", "90s",
        "retry after 90 s", "resets in 1min 30 s", R"({"quotaResetDelay":"90000ms"})"}) {
    must({"report", "openrouter", "1", "--status", "429", "--reset-at", said});
    EXPECT_EQ(stored()[0].health.cooldown_until, now_ + Seconds{90}) << said;
    must({"reset", "openrouter"});
  }
}

TEST_F(ManageTest, ReportReadsTheAnswersBody) {
  const auto json = must_json(
      {"report", "openrouter", "1", "--status", "429", "--body", "-"},
      R"({"error":{"code":"usage_limit_reached","message":"Slow down","resets_at":1776000090}})");
  EXPECT_EQ(json["end"], "noted");
  const auto health = stored()[0].health;
  EXPECT_EQ(health.cooldown_until, now_ + Seconds{90});
  EXPECT_EQ(health.error_reason, "usage_limit_reached");
  EXPECT_EQ(health.error_message, "Slow down");

  EXPECT_EQ(run({"report", "openrouter", "1", "--status", "429", "--body", "file"}).status, 2);
}

TEST_F(ManageTest, ReportByFingerprintIsAboutThatCredentialAndNoOther) {
  const auto first = stored()[0].access_fingerprint;
  must({"report", "openrouter", first, "--status", "429"});
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-2\n");

  const auto gone = run({"report", "openrouter", "sha256:0123456789abcdef", "--status", "429"});
  EXPECT_EQ(gone.status, 3);
  EXPECT_THAT(gone.err, HasSubstr("or had it"));
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-2\n");
}

TEST_F(ManageTest, ReportOfUnverifiedBillingRestsAMinute) {
  must({"report", "openrouter", "1", "--status", "403", "--reason", "billing_unverified"});
  EXPECT_EQ(stored()[0].health.cooldown_until, now_ + Seconds{60});
}

TEST_F(ManageTest, EverythingCoolingIsForLater) {
  for (const auto* n : {"1", "2", "3"}) must({"report", "openrouter", n, "--status", "429"});
  const auto ran = run({"token", "openrouter"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("until 2026-04-12T13:21:00Z"));
}

TEST_F(ManageTest, ASessionGetsTheSameCredentialAsLongAsItCanBeUsed) {
  std::map<std::string, std::string> before;
  const auto key_of = [&](const std::string& session) {
    return must({"token", "openrouter", "--session", session}).out;
  };
  std::set<std::string> used;
  for (int i = 0; i < 60; ++i) {
    const auto session = "talk-" + std::to_string(i);
    used.insert(before[session] = key_of(session));
    EXPECT_EQ(key_of(session), before[session]);
  }
  EXPECT_THAT(used, SizeIs(3)) << "they are spread over the pool";

  must({"report", "openrouter", "2", "--status", "429"});
  for (const auto& [session, key] : before) {
    if (key == "sk-key-2\n") {
      EXPECT_NE(key_of(session), key);
    } else {
      EXPECT_EQ(key_of(session), key) << "only the sessions of the one that rests move";
    }
  }
  now_ += Seconds{61};
  for (const auto& [session, key] : before) EXPECT_EQ(key_of(session), key);
}

TEST_F(ManageTest, PriorityMovesWithinThePool) {
  EXPECT_EQ(must({"priority", "openrouter", "third", "1"}).out,
            "Set openrouter credential \"third\" to place 1\n");
  EXPECT_THAT(labels(), ElementsAre("third", "first", "second"));
  EXPECT_EQ(must_json({"priority", "openrouter", "third", "99"})["position"], 3);
  EXPECT_THAT(labels(), ElementsAre("first", "second", "third"));
  EXPECT_EQ(run({"priority", "openrouter", "third", "0"}).status, 2);
  EXPECT_EQ(run({"priority", "openrouter", "third", "x"}).status, 2);
}

}  // namespace
}  // namespace authdb::cli
