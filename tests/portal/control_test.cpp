#include "tests/portal/portal_test.h"

namespace authdb::portal {
namespace {

using namespace std::chrono_literals;

class ControlTest : public PortalTest {
 protected:
  nlohmann::json counters() const { return curl(url("/_control/counters")).json(); }

  std::vector<std::string> refresh_command(const std::string& token) const {
    return {"curl", "-q",
            "-s",   url("/api/oauth/token"),
            "-d",   "grant_type=refresh_token",
            "-d",   "refresh_token=" + token};
  }
};

TEST_F(ControlTest, AGrantIsAFullTokenAnswerAndItsFamily) {
  const auto reply = curl(url("/_control/grants"), {"-X", "POST"});

  EXPECT_EQ(reply.status, 200);
  const auto grant = reply.json();
  for (const auto* field : {"access_token", "refresh_token", "expires_in", "token_type", "scope",
                            "inference_base_url", "family"}) {
    EXPECT_TRUE(grant.contains(field)) << field;
  }
  EXPECT_EQ(refresh(grant["refresh_token"]).status, 200);
}

TEST_F(ControlTest, AGrantHasTheLifetimeAskedFor) {
  const auto grant = control("grants", R"({"access_ttl_s": 60, "account": "ada"})").json();

  EXPECT_EQ(grant["expires_in"], 60);
  EXPECT_EQ(counters()["families"][grant["family"].get<std::string>()]["account"], "ada");
}

TEST_F(ControlTest, AdoptedTokensAreAsGoodAsOurOwn) {
  const auto reply = control("adopt", R"({"refresh_token": "rt-CCC", "access_token": "at-CCC",
      "agent_key": "ak-CCC", "spent": ["rt-AAA", "rt-BBB"], "access_expires_in": 60})");

  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(portal.token("rt-AAA").generation, 1);
  EXPECT_EQ(portal.token("rt-AAA").state, "spent");
  EXPECT_EQ(portal.token("rt-CCC").state, "current");
  EXPECT_EQ(infer("ak-CCC").status, 200);
  EXPECT_EQ(mint("at-CCC").status, 200);
  portal.advance(60s);
  EXPECT_EQ(mint("at-CCC").status, 401);
  EXPECT_EQ(refresh("rt-CCC").status, 200);
}

TEST_F(ControlTest, ReplayingAnAdoptedSpentTokenKillsTheFamily) {
  control("adopt", R"({"refresh_token": "rt-BBB", "agent_key": "ak-BBB", "spent": ["rt-AAA"]})");

  EXPECT_THAT(refresh("rt-AAA").body, testing::HasSubstr("reuse detected"));

  EXPECT_EQ(infer("ak-BBB").status, 401);
}

TEST_F(ControlTest, CountersTellPostsRotationsAndOutcomes) {
  const auto grant = portal.create_grant();
  const std::string successor = refresh(grant.refresh_token).json().at("refresh_token");
  infer(mint(grant.access_token).json().at("api_key"));
  infer("dead");
  refresh(grant.refresh_token);

  const auto all = counters();

  EXPECT_EQ(all["totals"], nlohmann::json::parse(R"({"token_posts": 2, "rotations": 1, "mints": 1,
      "inference_ok": 1, "inference_rejected": 1, "reuse_detected": 1,
      "max_in_flight_per_token": 1})"));
  EXPECT_EQ(all["families"][grant.family]["revoked"], true);
  const nlohmann::json reused = {{"posts", 2},
                                 {"max_in_flight", 1},
                                 {"family", grant.family},
                                 {"generation", 1},
                                 {"state", "reused"}};
  EXPECT_EQ(all["tokens"][fingerprint(grant.refresh_token)], reused);
  EXPECT_EQ(all["tokens"][fingerprint(successor)]["state"], "revoked");
}

TEST_F(ControlTest, AnUnknownTokenIsCountedToo) {
  refresh("stranger");

  EXPECT_EQ(counters()["tokens"][fingerprint("stranger")]["state"], "unknown");
}

TEST_F(ControlTest, TwoPostsOfOneTokenAtOnceAreSeen) {
  const auto grant = portal.create_grant();
  portal.add_fault({.times = 2, .delay_before = 10min});
  Process first(refresh_command(grant.refresh_token));
  Process second(refresh_command(grant.refresh_token));
  ASSERT_TRUE(portal.wait_until([&] { return portal.delayed() == 2; }));

  EXPECT_EQ(counters()["totals"]["max_in_flight_per_token"], 2);
  control("release", "");
  first.finish();
  second.finish();

  EXPECT_EQ(portal.token(grant.refresh_token).max_in_flight, 2);
  EXPECT_EQ(portal.counters().families.at(grant.family).max_in_flight, 2);
}

// Raw sockets, because only they are fast enough to overtake a portal that counts too long.
TEST_F(ControlTest, APostRightAfterAnAnswerIsNeverASecondOneInFlight) {
  const auto grant = portal.create_grant();
  portal.add_fault({.times = 0, .status = 503, .body = "{}"});
  const auto body = "grant_type=refresh_token&refresh_token=" + grant.refresh_token;
  const auto request =
      "POST /oauth/token HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n" + body;
  Socket clients[] = {Socket(portal.base_url()), Socket(portal.base_url())};

  for (int i = 0; i < 2000; ++i) {
    clients[i % 2].send(request);
    while (clients[i % 2].read(1) != "}") {
    }
  }

  EXPECT_EQ(portal.token(grant.refresh_token).posts, 2000);
  EXPECT_EQ(portal.token(grant.refresh_token).max_in_flight, 1);
}

TEST_F(ControlTest, AKilledClientIsNoLongerInFlight) {
  const auto grant = portal.create_grant();
  portal.add_fault({.delay_before = 10min});
  {
    Process killed(refresh_command(grant.refresh_token));
    ASSERT_TRUE(portal.wait_until([&] { return portal.delayed() == 1; }));
  }

  EXPECT_EQ(refresh(grant.refresh_token).status, 200);

  EXPECT_EQ(portal.token(grant.refresh_token).posts, 2);
  EXPECT_EQ(portal.token(grant.refresh_token).max_in_flight, 1);
}

TEST_F(ControlTest, RequestsAreListedInOrderWithoutATokenInClear) {
  const auto grant = portal.create_grant();
  portal.add_fault({.drop = When::kAfter});
  refresh_by_header(grant.refresh_token);
  mint(grant.access_token);

  const auto reply = curl(url("/_control/requests"));

  EXPECT_EQ(reply.body.find("_SIM_"), std::string::npos);
  const auto all = reply.json();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["endpoint"], "token");
  EXPECT_EQ(all[0]["refresh_in"], "header");
  EXPECT_EQ(all[0]["refresh_token"], fingerprint(grant.refresh_token));
  EXPECT_EQ(all[0]["status"], nullptr);
  EXPECT_EQ(all[1]["endpoint"], "agent-key");
  EXPECT_EQ(all[1]["bearer"], fingerprint(grant.access_token));
  EXPECT_TRUE(all[1]["user_agent"].get<std::string>().starts_with("curl/"));
  EXPECT_EQ(all[1]["status"], 200);
}

TEST_F(ControlTest, AFingerprintIsTheStartOfTheHash) {
  EXPECT_EQ(fingerprint("abc"), "sha256:ba7816bf8f01cfea");
}

TEST_F(ControlTest, FaultsAreProgrammedOverHttpOneOrMany) {
  const auto grant = portal.create_grant();

  const auto reply = control("faults", R"([{"status": 503, "retry_after": 3},
      {"endpoint": "token", "status": 504, "when": "after"}])");

  EXPECT_EQ(reply.json()["added"], 2);
  EXPECT_EQ(refresh(grant.refresh_token).header("Retry-After"), "3");
  EXPECT_EQ(refresh(grant.refresh_token).status, 504);
  EXPECT_EQ(portal.token(grant.refresh_token).state, "spent");
}

TEST_F(ControlTest, EveryFieldOfAFaultIsUnderstood) {
  const auto fault = fault_from_json(nlohmann::json::parse(R"({"endpoint": "inference",
      "grant_type": "g", "family": "f", "skip": 1, "times": 2, "delay_before_ms": 3,
      "delay_after_ms": 4, "drop": "after", "status": 5, "body": "b", "content_type": "c",
      "retry_after": "r", "when": "after", "cut_after_bytes": 6, "merge": {"a": null},
      "malformed": true, "redirect": "u", "huge_bytes": 7, "endless": true, "drip_ms": 8,
      "html": true, "wrapping": "gzip"})"));

  EXPECT_EQ(fault.endpoint, Endpoint::kInference);
  EXPECT_EQ(fault.grant_type + fault.family, "gf");
  EXPECT_THAT((std::vector{fault.skip, fault.times, *fault.status}), testing::ElementsAre(1, 2, 5));
  EXPECT_EQ(fault.delay_before + fault.delay_after + fault.drip, 15ms);
  EXPECT_EQ(*fault.body + fault.content_type + fault.retry_after + fault.redirect, "bcru");
  EXPECT_EQ(fault.drop, When::kAfter);
  EXPECT_EQ(fault.when, When::kAfter);
  EXPECT_EQ(fault.cut_after, 6);
  EXPECT_EQ(fault.huge_bytes, 7U);
  EXPECT_EQ(fault.wrapping, Wrapping::kGzip);
  EXPECT_TRUE(fault.merge.contains("a") && fault.malformed && fault.endless && fault.html);
}

TEST_F(ControlTest, AnUnknownFieldIsRefusedByNameAndArmsNothing) {
  const auto reply = control("faults", R"([{"status": 503}, {"statsu": 503}])");

  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.json()["error"].get<std::string>(), testing::HasSubstr("statsu"));
  EXPECT_EQ(refresh(portal.create_grant().refresh_token).status, 200);
}

TEST_F(ControlTest, AWrongTypeValueOrBodyIsRefusedByName) {
  const auto error = [&](const char* path, const char* body) {
    const auto reply = control(path, body);
    return std::to_string(reply.status) + " " + reply.json()["error"].get<std::string>();
  };

  EXPECT_EQ(error("faults", R"({"times": "x"})"), "400 field \"times\" has the wrong type");
  EXPECT_THAT(error("faults", R"({"drop": "now"})"), testing::HasSubstr("\"drop\""));
  EXPECT_THAT(error("faults", R"({"endpoint": "mars"})"), testing::HasSubstr("mars"));
  EXPECT_THAT(error("faults", R"({"wrapping": "silk"})"), testing::HasSubstr("silk"));
  EXPECT_EQ(error("adopt", "{}"), "400 field \"refresh_token\" is missing");
  EXPECT_EQ(error("clock", "not json"), "400 the body is not JSON");
  EXPECT_EQ(error("clock", "[]"), "400 expected a JSON object");
  EXPECT_EQ(error("revoke", R"({"family": "fam_9"})"), "404 no family is called \"fam_9\"");
}

TEST_F(ControlTest, DeletingTheFaultsDisarmsThem) {
  control("faults", R"({"status": 503, "times": 0})");

  EXPECT_EQ(curl(url("/_control/faults"), {"-X", "DELETE"}).status, 200);

  EXPECT_EQ(refresh(portal.create_grant().refresh_token).status, 200);
}

TEST_F(ControlTest, TheClockCanBeFrozenSetAndAdvanced) {
  const auto set = control("clock", R"({"frozen": true, "now_ms": 1778841000000})").json();
  const auto advanced = control("clock", R"({"advance_s": 1.5})").json();

  EXPECT_EQ(set, nlohmann::json::parse(R"({"frozen": true, "now_ms": 1778841000000})"));
  EXPECT_EQ(advanced["now_ms"], 1778841001500);
  EXPECT_EQ(curl(url("/_control/clock")).json(), advanced);
  EXPECT_EQ(curl(url("/v1/models")).header("Date"), "Fri, 15 May 2026 10:30:01 GMT");
}

TEST_F(ControlTest, ARunningClockGoesOnFromWhereItIsPut) {
  portal.set_now_ms(1000);

  EXPECT_TRUE(portal.wait_until([&] { return portal.now_ms() > 1000; }));
  EXPECT_LT(portal.now_ms(), 1000 + 60'000);
}

TEST_F(ControlTest, LifetimesFollowTheClock) {
  const auto grant = portal.create_grant();

  control("clock", R"({"advance_s": 900})");

  EXPECT_EQ(mint(grant.access_token).status, 401);
}

TEST_F(ControlTest, ResetForgetsEverything) {
  const auto grant = portal.create_grant();
  refresh(grant.refresh_token);
  control("faults", R"({"status": 503})");
  control("clock", R"({"frozen": true, "now_ms": 1})");

  EXPECT_EQ(control("reset", "").status, 200);

  EXPECT_EQ(counters()["totals"]["token_posts"], 0);
  EXPECT_TRUE(counters()["families"].empty());
  EXPECT_FALSE(curl(url("/_control/clock")).json()["frozen"]);
  EXPECT_THAT(refresh(grant.refresh_token).body, testing::HasSubstr("no longer valid"));
}

}  // namespace
}  // namespace authdb::portal
