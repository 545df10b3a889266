#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class ProfileTest : public CommandTest {
 protected:
  ProfileTest() {
    must({"add", "openrouter", "--label", "work"}, "sk-key-1");
    must({"profile", "add", "atlas"});
  }
};

TEST_F(ProfileTest, ListShowsEveryProfileWithItsPools) {
  must({"profile", "strategy", "default", "openrouter", "round_robin"});
  EXPECT_THAT(must({"profile", "list"}).out,
              AllOf(HasSubstr("atlas"), HasSubstr("openrouter (1, round_robin)")));
  const auto json = must_json({"profile", "list"});
  ASSERT_THAT(json, SizeIs(2));
  for (const auto& profile : json) {
    if (profile["name"] == "atlas") {
      EXPECT_EQ(profile["providers"], nlohmann::json::array());
    } else {
      EXPECT_EQ(profile["providers"].at(0)["strategy"], "round_robin");
    }
  }
}

TEST_F(ProfileTest, BindSharesOneCredential) {
  must({"profile", "bind", "atlas", "openrouter", "work"});
  EXPECT_EQ(must({"token", "openrouter", "--profile", "atlas"}).out, "sk-key-1\n");
  EXPECT_THAT(stored(), SizeIs(1));

  must({"profile", "unbind", "atlas", "openrouter", "#1"});
  EXPECT_THAT(*reopen().profiles_of(stored()[0].uid), ElementsAre("default"));
  EXPECT_EQ(run({"profile", "unbind", "atlas", "openrouter", stored()[0].uid}).status, 3);
}

TEST_F(ProfileTest, BindSaysWhereTheCredentialIsThatAnotherProfileHas) {
  must({"add", "openrouter", "--label", "mine", "--profile", "scout"}, "sk-key-2");

  const auto ran = run({"profile", "bind", "atlas", "openrouter", "mine"});

  EXPECT_EQ(ran.status, 3);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("It is for: scout"), HasSubstr("--profile scout")));
  must({"profile", "bind", "atlas", "openrouter", "mine", "--profile", "scout"});
}

TEST_F(ProfileTest, SeesOnlyWhatItIsBoundTo) {
  must({"add", "openrouter", "--label", "mine", "--profile", "atlas"}, "sk-key-2");
  const auto theirs = stored()[0].uid;
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"token", "openrouter", "--credential", theirs},
           {"remove", "openrouter", theirs},
           {"reset", "openrouter", theirs},
           {"report", "openrouter", theirs, "--status", "429"},
           {"priority", "openrouter", theirs, "1"},
           {"refresh", "openrouter", theirs},
           {"profile", "unbind", "atlas", "openrouter", theirs}}) {
    auto as_atlas = words;
    as_atlas.insert(as_atlas.end(), {"--profile", "atlas"});
    const auto ran = run(as_atlas);
    EXPECT_EQ(ran.status, 3) << words[0];
    EXPECT_THAT(ran.err, HasSubstr("It is for: default")) << words[0];
  }
  for (const auto* verb : {"list", "status"}) {
    const auto out = must({verb, "--profile", "atlas"}).out;
    EXPECT_THAT(out, AllOf(HasSubstr("mine"), testing::Not(HasSubstr("work")))) << verb;
  }
}

TEST_F(ProfileTest, ComesFromTheOptionThenTheEnvironmentThenTheHermesHome) {
  must({"add", "openrouter", "--label", "mine", "--profile", "atlas"}, "sk-key-2");
  const auto token = [&](std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"token", "openrouter"});
    return must(more).out;
  };
  env_["HERMES_HOME"] = "/home/ada/.hermes";
  EXPECT_EQ(token(), "sk-key-1\n");
  for (const auto* home : {"/home/ada/.hermes/profiles/atlas", "/opt/data/profiles/atlas/"}) {
    env_["HERMES_HOME"] = home;
    EXPECT_EQ(token(), "sk-key-2\n") << home;
    EXPECT_THAT(must({"status"}).out, testing::Not(HasSubstr("work")));
  }
  env_["AUTHDB_PROFILE"] = "default";
  EXPECT_EQ(token(), "sk-key-1\n");
  EXPECT_EQ(token({"--profile", "atlas"}), "sk-key-2\n");

  env_.erase("AUTHDB_PROFILE");
  env_["HERMES_HOME"] = "/home/ada/.hermes/profiles/forge";
  EXPECT_EQ(run({"token", "openrouter"}).status, 3);
}

TEST_F(ProfileTest, RemovingOneTakesNothingFromAnother) {
  must({"profile", "bind", "atlas", "openrouter", "work"});
  must({"profile", "strategy", "atlas", "openrouter", "least_used"});

  must({"profile", "remove", "atlas"});

  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-1\n");
  must({"profile", "add", "atlas"});
  EXPECT_EQ(run({"token", "openrouter", "--profile", "atlas"}).status, 3);
  EXPECT_EQ(reopen().provider_state("atlas", "openrouter")->strategy, Strategy::fill_first);
}

TEST_F(ProfileTest, RemoveKeepsTheCredentials) {
  must({"profile", "remove", "default"});
  EXPECT_THAT(*reopen().profiles(), ElementsAre("atlas"));
  EXPECT_THAT(stored(), SizeIs(1));
  must({"profile", "bind", "atlas", "openrouter", stored()[0].uid});
  EXPECT_EQ(must({"token", "openrouter", "--profile", "atlas"}).out, "sk-key-1\n");
}

TEST_F(ProfileTest, MistakesNameTheNearest) {
  EXPECT_THAT(run({"profile", "remove", "atals"}).err, HasSubstr("atlas"));
  EXPECT_EQ(run({"profile", "remove", "atals"}).status, 3);
  EXPECT_EQ(run({"profile", "bind", "atals", "openrouter", "work"}).status, 3);
  EXPECT_EQ(run({"profile", "bind", "atlas", "openruoter", "work"}).status, 3);
  EXPECT_EQ(run({"profile", "bind", "atlas", "openrouter", "wrok"}).status, 3);
  EXPECT_THAT(run({"profile", "lst"}).err, HasSubstr("list"));
  EXPECT_EQ(run({"profile", "lst"}).status, 2);
  EXPECT_EQ(run({"profile", "bind", "atlas"}).status, 2);
  EXPECT_EQ(run({"profile"}).status, 2);
}

TEST_F(ProfileTest, AStrategyIsOneOfFour) {
  const auto ran = run({"profile", "strategy", "default", "openrouter", "fastest"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("fill_first, round_robin, least_used, random"));
  must({"profile", "strategy", "default", "openrouter", "least_used"});
  EXPECT_EQ(reopen().provider_state("default", "openrouter")->strategy, Strategy::least_used);
}

TEST_F(ProfileTest, ANameIsNewAndPlain) {
  EXPECT_EQ(run({"profile", "add", "atlas"}).status, 2);
  EXPECT_EQ(run({"profile", "add", "a b"}).status, 2);
  EXPECT_EQ(run({"profile", "add", ""}).status, 2);
  EXPECT_THAT(*reopen().profiles(), SizeIs(2));
}

}  // namespace
}  // namespace authdb::cli
