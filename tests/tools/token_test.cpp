#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using TokenTest = CommandTest;

TEST_F(TokenTest, IsOneBareLineOnStdout) {
  must({"add", "openrouter"}, "sk-key-1");
  const auto ran = must({"token", "openrouter"});
  EXPECT_EQ(ran.out, "sk-key-1\n");
  EXPECT_THAT(ran.err, IsEmpty());
}

TEST_F(TokenTest, ThatIsFreshCostsNoRequest) {
  must({"add", "acme", "--grant"}, grant_json());
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-1\n");
  EXPECT_THAT(http_->urls(), IsEmpty());
}

TEST_F(TokenTest, ThatIsDueIsRefreshedOnce) {
  must({"add", "acme", "--grant"}, grant_json());
  now_ += Seconds{3'590};
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-2\n");
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-2\n");
  EXPECT_THAT(http_->urls(), SizeIs(1));
  EXPECT_EQ(stored()[0].generation, 2);
}

TEST_F(TokenTest, AsAHeaderAndAsAShellAssignment) {
  must({"add", "openrouter"}, "sk-it's");
  EXPECT_EQ(must({"token", "openrouter", "--format", "header"}).out,
            "Authorization: Bearer sk-it's\n");
  EXPECT_EQ(must({"token", "openrouter", "--format", "env=OPENROUTER_API_KEY"}).out,
            "OPENROUTER_API_KEY='sk-it'\\''s'\n");
  EXPECT_EQ(must({"token", "openrouter", "--format", "raw"}).out, "sk-it's\n");
}

TEST_F(TokenTest, AFormatThatNoShellTakesIsAMistake) {
  must({"add", "openrouter"}, "sk-key-1");
  for (const auto* format : {"env=", "env=1X", "env=A B", "env=$(x)", "yaml", ""}) {
    const auto ran = run({"token", "openrouter", "--format", format});
    EXPECT_EQ(ran.status, 2) << format;
    EXPECT_THAT(ran.out, IsEmpty()) << format;
  }
}

TEST_F(TokenTest, JsonHasEveryFieldOfTheContract) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  const auto json = must_json({"token", "acme"});
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_THAT(keys,
              testing::UnorderedElementsAre("provider", "credential", "label", "profile", "kind",
                                            "token", "token_type", "fingerprint", "obtained_at",
                                            "expires_at", "expires_in", "base_url", "action"));
  EXPECT_EQ(json["kind"], "access_token");
  EXPECT_EQ(json["token"], "access-token-ALPHA-1");
  EXPECT_EQ(json["fingerprint"], fingerprint(token_hash("access-token-ALPHA-1")));
  EXPECT_EQ(json["expires_at"], "2026-04-12T14:20:00Z");
  EXPECT_EQ(json["expires_in"], 3600);
  EXPECT_EQ(json["action"], "cached");
  EXPECT_EQ(json["profile"], "default");
}

TEST_F(TokenTest, ARejectedBearerIsReplacedOnceForEverybody) {
  must({"add", "acme", "--grant"}, grant_json());
  const auto rejected = fingerprint(token_hash("access-token-ALPHA-1"));
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  EXPECT_EQ(must({"token", "acme", "--rejected", rejected}).out, "access-token-ALPHA-2\n");
  EXPECT_EQ(must({"token", "acme", "--rejected", "-"}, "access-token-ALPHA-1\n").out,
            "access-token-ALPHA-2\n");
  EXPECT_THAT(http_->urls(), SizeIs(1));
}

TEST_F(TokenTest, OneThatWasReplacedSinceIsKnownByWhoReportsOrRejectsIt) {
  must({"add", "acme", "--grant"}, grant_json());
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  must({"refresh", "acme"});
  must({"add", "acme", "--grant", "--priority", "1"},
       grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));
  const auto old = fingerprint(token_hash("access-token-ALPHA-1"));
  const auto requests = http_->urls().size();

  EXPECT_EQ(must({"token", "acme", "--rejected", old}).out, "access-token-ALPHA-2\n");
  const auto refused = must({"report", "acme", old, "--status", "401"});
  EXPECT_THAT(refused.out, HasSubstr("replaced since"));
  EXPECT_EQ(must_json({"report", "acme", old, "--status", "401", "--json"})["end"],
            "replaced_before");
  EXPECT_EQ(stored()[0].health.status, Status::ok);

  must({"report", "acme", old, "--status", "429"});
  EXPECT_EQ(stored()[0].health.status, Status::exhausted);
  EXPECT_EQ(stored()[1].health.status, Status::ok);
  EXPECT_EQ(http_->urls().size(), requests);
}

TEST_F(TokenTest, ABearerInPlaceOfItsFingerprintIsRefusedAndNotRepeated) {
  must({"add", "acme", "--grant"}, grant_json());
  const auto ran = run({"token", "acme", "--rejected", "access-token-ALPHA-1"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("--rejected -"), Not(HasSubstr("ALPHA"))));
}

TEST_F(TokenTest, MinTtlTakesSecondsAndUnits) {
  must({"add", "acme", "--grant"}, grant_json());
  EXPECT_EQ(must({"token", "acme", "--min-ttl", "20m"}).out, "access-token-ALPHA-1\n");
  EXPECT_EQ(must({"token", "acme", "--min-ttl", "1200"}).out, "access-token-ALPHA-1\n");
  EXPECT_EQ(run({"token", "acme", "--min-ttl", "soon"}).status, 2);
}

TEST_F(TokenTest, ABearerThatLivesShorterThanAskedIsWarnedOf) {
  must({"add", "acme", "--grant"}, grant_json());
  EXPECT_THAT(must({"token", "acme", "--min-ttl", "20m"}).err, IsEmpty());

  const auto ran = must({"token", "acme", "--min-ttl", "10h"});

  EXPECT_EQ(ran.out, "access-token-ALPHA-1\n");
  EXPECT_THAT(ran.err, AllOf(HasSubstr("lives 1h"), HasSubstr("10h"), HasSubstr("half its life")));
}

TEST_F(TokenTest, TheTargetIsNamedInAnyWay) {
  must({"add", "openrouter", "--label", "first"}, "sk-key-1");
  must({"add", "openrouter", "--label", "second"}, "sk-key-2");
  const auto uid = reopen().pool("default", "openrouter")->at(1).credential.uid;
  for (const auto& target : {std::string("second"), std::string("2"), std::string("#2"), uid,
                             fingerprint(token_hash("sk-key-2"))}) {
    EXPECT_EQ(must({"token", "openrouter", "--credential", target}).out, "sk-key-2\n") << target;
  }
}

TEST_F(TokenTest, AnAmbiguousTargetNamesTheCandidates) {
  must({"add", "openrouter", "--label", "work"}, "sk-key-1");
  must({"add", "openrouter", "--label", "work"}, "sk-key-2");
  const auto ran = run({"token", "openrouter", "--credential", "work"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.out, IsEmpty());
  for (const auto& credential : stored()) EXPECT_THAT(ran.err, HasSubstr(credential.uid));
}

TEST_F(TokenTest, WhateverIsMisspelledNamesTheNearest) {
  must({"add", "openrouter", "--label", "work"}, "sk-key-1");
  const auto provider = run({"token", "openruoter"});
  EXPECT_EQ(provider.status, 3);
  EXPECT_THAT(provider.err, HasSubstr("openrouter"));
  const auto builtin = run({"token", "acne"});
  EXPECT_EQ(builtin.status, 3);
  EXPECT_THAT(builtin.err, HasSubstr("acme"));
  const auto profile = run({"token", "openrouter", "--profile", "defualt"});
  EXPECT_EQ(profile.status, 3);
  EXPECT_THAT(profile.err, HasSubstr("default"));
  const auto target = run({"token", "openrouter", "--credential", "wrok"});
  EXPECT_EQ(target.status, 3);
  EXPECT_THAT(target.err, HasSubstr("work"));
}

TEST_F(TokenTest, AnEmptyProviderIsNotLookedFor) {
  must({"add", "openrouter"}, "sk-key-1");
  for (const auto* verb : {"token", "refresh", "login"}) {
    const auto ran = run({verb, ""});
    EXPECT_EQ(ran.status, 3) << verb;
    EXPECT_THAT(ran.err, HasSubstr("the name of the provider is empty")) << verb;
  }
}

TEST_F(TokenTest, AKnownProviderWithoutCredentialsSaysWhoHasSome) {
  must({"add", "openrouter"}, "sk-key-1");
  must({"profile", "add", "atlas"});
  const auto none = run({"token", "acme"});
  EXPECT_EQ(none.status, 3);
  EXPECT_THAT(none.err, HasSubstr("`authdb login acme` gets one"));
  const auto elsewhere = run({"token", "openrouter", "--profile", "atlas"});
  EXPECT_EQ(elsewhere.status, 3);
  EXPECT_THAT(elsewhere.err, AllOf(HasSubstr("default"), HasSubstr("profile bind atlas")));
}

TEST_F(TokenTest, OfADeadSessionAsksForALogin) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  now_ += Seconds{7'200};
  http_->answer(400, R"({"error":"invalid_grant","error_description":"Session revoked"})");
  const auto ran = run({"token", "acme"});
  EXPECT_EQ(ran.status, 4);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, AllOf(HasSubstr("work"), HasSubstr("\n  ")));
}

TEST_F(TokenTest, WhenTheServerIsDownIsForLater) {
  must({"add", "acme", "--grant"}, grant_json());
  now_ += Seconds{7'200};
  http_->answer(503, "<html>");
  const auto ran = run({"token", "acme"});
  EXPECT_EQ(ran.status, 5);
  EXPECT_THAT(ran.out, IsEmpty());
}

TEST_F(TokenTest, JsonAndFormatExcludeEachOther) {
  must({"add", "openrouter"}, "sk-key-1");
  EXPECT_EQ(run({"token", "openrouter", "--json", "--format", "header"}).status, 2);
}

}  // namespace
}  // namespace authdb::cli
