#include <future>

#include "tests/portal/portal_test.h"

namespace authdb::portal {
namespace {

using namespace std::chrono_literals;

constexpr int kCutShort = 18;  // curl's exit codes
constexpr int kNoAnswer = 52;

class FaultTest : public PortalTest {
 protected:
  // The state of a token tells whether the portal processed the request.
  std::string state() const { return portal.token(grant.refresh_token).state; }
  Reply refresh_once() const { return refresh(grant.refresh_token); }

  std::string raw_refresh() const {
    const auto body = "grant_type=refresh_token&refresh_token=" + grant.refresh_token;
    return "POST /api/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: " +
           std::to_string(body.size()) +
           "\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n" + body;
  }

  const Grant grant = portal.create_grant();
};

TEST_F(FaultTest, DropBeforeLeavesTheTokenUnspent) {
  portal.add_fault({.drop = When::kBefore});

  EXPECT_EQ(refresh_once().exit, kNoAnswer);
  EXPECT_EQ(state(), "current");
  EXPECT_EQ(portal.token(grant.refresh_token).posts, 1);
}

TEST_F(FaultTest, DropAfterSpendsTheTokenAndSendsNothing) {
  portal.add_fault({.drop = When::kAfter});

  EXPECT_EQ(refresh_once().exit, kNoAnswer);
  EXPECT_EQ(state(), "spent");
  EXPECT_FALSE(portal.counters().families.at(grant.family).revoked);
}

TEST_F(FaultTest, ADropIsASilentEndOfTheStream) {
  portal.add_fault({.drop = When::kAfter});
  Socket socket(portal.base_url());

  socket.send(raw_refresh());

  EXPECT_EQ(socket.read_to_end(), "");
}

TEST_F(FaultTest, ACutAnswerHasExactlySoManyBytes) {
  portal.add_fault({.cut_after = 20});
  Socket socket(portal.base_url());

  socket.send(raw_refresh());

  EXPECT_EQ(socket.read_to_end().size(), 20U);
  EXPECT_EQ(state(), "spent");
}

TEST_F(FaultTest, ANegativeCutLacksTheEndOfTheBody) {
  portal.add_fault({.cut_after = -10});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.exit, kCutShort);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(std::stoul(reply.header("Content-Length")), reply.body.size() + 10);
}

TEST_F(FaultTest, AStatusBeforeProcessesNothing) {
  portal.add_fault({.status = 429, .body = "{}", .retry_after = "7"});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.body, "{}");
  EXPECT_EQ(reply.header("Retry-After"), "7");
  EXPECT_EQ(state(), "current");
}

TEST_F(FaultTest, AStatusAfterHidesARotation) {
  portal.add_fault(
      {.status = 504, .body = "late", .content_type = "text/plain", .when = When::kAfter});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.status, 504);
  EXPECT_EQ(reply.body, "late");
  EXPECT_EQ(reply.header("Content-Type"), "text/plain");
  EXPECT_EQ(state(), "spent");
}

TEST_F(FaultTest, MalformedJsonArrivesWholeAndSpendsTheToken) {
  portal.add_fault({.malformed = true});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.exit, 0);
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.json().is_discarded());
  EXPECT_EQ(state(), "spent");
}

TEST_F(FaultTest, AWrappedAnswerArrivesWholeAndSpendsTheToken) {
  const std::vector<std::pair<Wrapping, std::string>> beginnings{
      {Wrapping::kGzip, "\x1f\x8b"},     {Wrapping::kForm, "access_token="},
      {Wrapping::kBom, "\xEF\xBB\xBF{"}, {Wrapping::kPrefix, ")]}',\n{"},
      {Wrapping::kTrailing, "{\"a"},     {Wrapping::kData, R"({"code":0,"data":{"access)"}};
  for (const auto& [wrapping, beginning] : beginnings) {
    portal.add_fault({.wrapping = wrapping});
    const Grant own = portal.create_grant();

    const auto reply = refresh(own.refresh_token);

    EXPECT_EQ(reply.status, 200) << beginning;
    EXPECT_THAT(reply.body, testing::StartsWith(beginning));
    EXPECT_EQ(portal.token(own.refresh_token).state, "spent") << beginning;
    EXPECT_EQ(reply.header("Content-Encoding") == "gzip", wrapping == Wrapping::kGzip);
  }
}

TEST_F(FaultTest, MergeOverridesAddsAndRemovesFields) {
  portal.add_fault({.merge = {{"access_token", nullptr}, {"expires_in", "soon"}, {"new", 1}}});

  const auto answer = refresh_once().json();

  EXPECT_FALSE(answer.contains("access_token"));
  EXPECT_EQ(answer["expires_in"], "soon");
  EXPECT_EQ(answer["new"], 1);
  EXPECT_TRUE(answer.contains("refresh_token"));
}

TEST_F(FaultTest, ARedirectNamesItsTargetAndProcessesNothing) {
  portal.add_fault({.redirect = "http://127.0.0.1:1/elsewhere"});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.status, 302);
  EXPECT_EQ(reply.header("Location"), "http://127.0.0.1:1/elsewhere");
  EXPECT_EQ(state(), "current");
}

TEST_F(FaultTest, AnHtmlPageIsNoJson) {
  portal.add_fault({.status = 403, .html = true});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.status, 403);
  EXPECT_EQ(reply.header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_THAT(reply.body, testing::StartsWith("<!DOCTYPE html>"));
}

TEST_F(FaultTest, AHugeBodyIsStillTheAnswer) {
  portal.add_fault({.huge_bytes = 3'000'000});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.body.size(), 3'000'000U);
  EXPECT_TRUE(reply.json().contains("refresh_token"));
}

TEST_F(FaultTest, AnEndlessBodyNamesNoLengthAndDoesNotEnd) {
  portal.add_fault({.endless = true});
  Socket socket(portal.base_url());

  socket.send(raw_refresh());
  const auto received = socket.read(1'000'000);

  EXPECT_EQ(received.size(), 1'000'000U);
  EXPECT_EQ(received.find("Content-Length"), std::string::npos);
  EXPECT_NE(received.find("nrt_SIM_"), std::string::npos);
}

TEST_F(FaultTest, ADrippingAnswerArrivesWhole) {
  portal.add_fault({.drip = 1ms});

  const auto reply = refresh_once();

  EXPECT_EQ(reply.exit, 0);
  EXPECT_TRUE(reply.json().contains("refresh_token"));
}

TEST_F(FaultTest, ADrippingBodyComesByteByByteAndIsInFlightMeanwhile) {
  portal.add_fault({.drip = 10min});
  Socket socket(portal.base_url());

  socket.send(raw_refresh());
  std::string received;
  while (received.find("\r\n\r\n{") == std::string::npos) received += socket.read(1);

  EXPECT_EQ(portal.in_flight(), 1);
  ASSERT_TRUE(portal.wait_until([&] { return portal.delayed() == 1; }));
  portal.release();
  EXPECT_EQ(socket.read(1), "\"") << "release ends one pause, the next byte starts another";
  portal.stop();
  EXPECT_EQ(socket.read_to_end(), "");
}

TEST_F(FaultTest, ADelayBeforeHoldsTheRotation) {
  portal.add_fault({.delay_before = 10min});
  auto reply = std::async(std::launch::async, [&] { return refresh_once(); });
  ASSERT_TRUE(portal.wait_until([&] { return portal.delayed() == 1; }));

  EXPECT_EQ(state(), "current");
  portal.release();

  EXPECT_EQ(reply.get().status, 200);
  EXPECT_EQ(state(), "spent");
}

TEST_F(FaultTest, ADelayAfterHoldsTheAnswerOfARotationThatHappened) {
  portal.add_fault({.delay_after = 10min});
  auto reply = std::async(std::launch::async, [&] { return refresh_once(); });

  ASSERT_TRUE(portal.wait_until([&] { return portal.delayed() == 1; }));

  EXPECT_EQ(state(), "spent");
  EXPECT_EQ(portal.in_flight(), 1);
  portal.release();
  EXPECT_EQ(reply.get().status, 200);
}

TEST_F(FaultTest, StoppingEndsADelayAndLeavesTheTokenUnspent) {
  portal.add_fault({.delay_before = 10min});
  auto reply = std::async(std::launch::async, [&] { return refresh_once(); });
  ASSERT_TRUE(portal.wait_until([&] { return portal.delayed() == 1; }));

  portal.stop();

  EXPECT_EQ(reply.get().exit, kNoAnswer);
  EXPECT_EQ(state(), "current");
}

TEST_F(FaultTest, AFaultIsUsedUpByItsTimesAfterSkippingSome) {
  portal.add_fault({.endpoint = Endpoint::kDevice, .skip = 1, .times = 2, .status = 503});
  const auto status = [&] {
    return curl(url("/api/oauth/device/code"), {"-d", "client_id=c"}).status;
  };

  EXPECT_THAT((std::vector{status(), status(), status(), status()}),
              testing::ElementsAre(200, 503, 503, 200));
}

TEST_F(FaultTest, ZeroTimesIsForEver) {
  portal.add_fault({.times = 0, .status = 503});

  for (int i = 0; i < 3; ++i) EXPECT_EQ(refresh_once().status, 503);
  portal.clear_faults();
  EXPECT_EQ(refresh_once().status, 200);
}

TEST_F(FaultTest, AFaultKeepsToItsFamilyAndGrantType) {
  const auto other = portal.create_grant();
  portal.add_fault({.family = other.family, .status = 503});
  portal.add_fault({.grant_type = "urn:ietf:params:oauth:grant-type:device_code", .status = 503});

  EXPECT_EQ(refresh_once().status, 200);
  EXPECT_EQ(refresh(other.refresh_token).status, 503);
}

TEST_F(FaultTest, EachEndpointHasItsOwn) {
  portal.add_fault({.endpoint = Endpoint::kAgentKey, .status = 402});
  portal.add_fault({.endpoint = Endpoint::kInference, .status = 401});

  EXPECT_EQ(refresh_once().status, 200);
  EXPECT_EQ(mint(grant.access_token).status, 402);
  const auto key = mint(grant.access_token).json().at("api_key");
  EXPECT_EQ(infer(key).status, 401);
  EXPECT_EQ(infer(key).status, 200);
}

TEST_F(FaultTest, OneConnectionServesAnotherRequestAfterAnOrdinaryAnswer) {
  Socket socket(portal.base_url());
  const std::string get = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n";

  socket.send(get + get);
  const std::string end = R"("message":"401"}})";
  std::string received;
  for (int answers = 0; answers < 2;) {
    received += socket.read(1);
    answers += received.size() >= end.size() &&
               received.compare(received.size() - end.size(), end.size(), end) == 0;
  }

  EXPECT_EQ(portal.requests().size(), 2U);
}

}  // namespace
}  // namespace authdb::portal
