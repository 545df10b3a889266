#include "tests/portal/portal_test.h"

namespace authdb::portal {
namespace {

const nlohmann::json kReuseDetected = {
    {"error", "invalid_grant"},
    {"error_description", "Refresh token reuse detected; please re-authenticate"}};
const nlohmann::json kRevoked = {{"error", "invalid_grant"},
                                 {"error_description", "Refresh session has been revoked"}};
const nlohmann::json kUnknown = {{"error", "invalid_grant"},
                                 {"error_description", "refresh token is no longer valid"}};

using RotationTest = PortalTest;

TEST_F(RotationTest, RefreshingGivesANewPairAndKeepsTheScope) {
  const auto grant = portal.create_grant({.scope = "a b"});

  const auto reply = refresh(grant.refresh_token);

  EXPECT_EQ(reply.status, 200);
  const auto answer = reply.json();
  EXPECT_NE(answer["refresh_token"], grant.refresh_token);
  EXPECT_NE(answer["access_token"], grant.access_token);
  EXPECT_EQ(answer["scope"], "a b");
  EXPECT_EQ(answer["token_type"], "Bearer");
  EXPECT_EQ(answer["expires_in"], 900);
  EXPECT_EQ(answer["inference_base_url"], url("/v1"));
}

TEST_F(RotationTest, EveryTokenIsVisiblyFake) {
  const auto answer = refresh(portal.create_grant().refresh_token).json();

  EXPECT_THAT(answer["refresh_token"].get<std::string>(), testing::StartsWith("nrt_SIM_"));
  EXPECT_THAT(answer["access_token"].get<std::string>(), testing::StartsWith("nat_SIM_"));
}

TEST_F(RotationTest, ASuccessorRotatesAgain) {
  auto token = portal.create_grant().refresh_token;

  for (int i = 0; i < 5; ++i) token = refresh(token).json().at("refresh_token");

  EXPECT_EQ(portal.counters().totals.rotations, 5);
  EXPECT_EQ(portal.token(token).generation, 6);
  EXPECT_EQ(portal.token(token).state, "current");
}

TEST_F(RotationTest, ASpentTokenIsReuseTheFirstTimeAndRevokedAfterwards) {
  const auto grant = portal.create_grant();
  const auto successor = refresh(grant.refresh_token).json().at("refresh_token");

  const auto reuse = refresh(grant.refresh_token);
  const auto again = refresh(grant.refresh_token);
  const auto current = refresh(successor);

  EXPECT_EQ(reuse.status, 400);
  EXPECT_EQ(reuse.json(), kReuseDetected);
  EXPECT_EQ(again.status, 400);
  EXPECT_EQ(again.json(), kRevoked);
  EXPECT_EQ(current.json(), kRevoked);
}

TEST_F(RotationTest, ReuseKillsTheBearersOfItsFamilyAndOfNoOther) {
  const auto grant = portal.create_grant();
  const auto neighbour = portal.create_grant();
  const auto key = mint(grant.access_token).json().at("api_key");
  const auto fresh_access = refresh(grant.refresh_token).json().at("access_token");

  refresh(grant.refresh_token);

  EXPECT_EQ(infer(key).status, 401);
  EXPECT_EQ(mint(grant.access_token).status, 401);
  EXPECT_EQ(mint(fresh_access).status, 401);
  EXPECT_EQ(mint(neighbour.access_token).status, 200);
  EXPECT_EQ(refresh(neighbour.refresh_token).status, 200);
}

TEST_F(RotationTest, AnUnknownTokenIsNoReuse) {
  const auto reply = refresh("nrt_SIM_from_elsewhere");

  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json(), kUnknown);
  EXPECT_EQ(portal.counters().totals.reuse_detected, 0);
}

TEST_F(RotationTest, TheClientOfAGrantIsTheOnlyOneWhoMaySpendIt) {
  const auto grant = portal.create_grant({.client_id = "somebody-else"});

  EXPECT_EQ(refresh(grant.refresh_token).status, 400);
  EXPECT_EQ(portal.token(grant.refresh_token).state, "current");
}

TEST_F(RotationTest, TheHeaderCarriesATokenAsWellAsTheBody) {
  const auto grant = portal.create_grant();

  const auto reply = refresh_by_header(grant.refresh_token);

  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(portal.requests().at(0).refresh_in, "header");
  EXPECT_EQ(portal.token(grant.refresh_token).state, "spent");
}

TEST_F(RotationTest, TheStandardEndpointSharesFamiliesAndTakesTheBodyOnly) {
  const auto grant = portal.create_grant();

  const auto by_header = curl(
      url("/oauth/token"),
      {"-d", "grant_type=refresh_token", "-H", "x-nous-refresh-token: " + grant.refresh_token});
  const auto by_body = curl(url("/oauth/token"), {"-d", "grant_type=refresh_token", "-d",
                                                  "refresh_token=" + grant.refresh_token});

  EXPECT_EQ(by_header.json()["error"], "invalid_request");
  EXPECT_EQ(by_body.status, 200);
  EXPECT_FALSE(by_body.json().contains("inference_base_url"));
  EXPECT_EQ(refresh(grant.refresh_token).json(), kReuseDetected);
}

TEST_F(RotationTest, AnUnknownGrantTypeIsRefused) {
  const auto reply = curl(url("/api/oauth/token"), {"-d", "grant_type=password"});

  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json()["error"], "unsupported_grant_type");
}

TEST_F(RotationTest, OfManyConcurrentPostsOfOneTokenExactlyOneRotates) {
  const auto grant = portal.create_grant();
  portal.add_fault({.times = 0, .delay_before = std::chrono::minutes(5)});
  std::vector<std::unique_ptr<Process>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<Process>(std::vector<std::string>{
        "curl", "-q", "-s", url("/api/oauth/token"), "-d", "grant_type=refresh_token", "-d",
        "refresh_token=" + grant.refresh_token}));
  }
  ASSERT_TRUE(portal.wait_until([&] { return portal.delayed() == 4; }));
  portal.release();

  int rotated = 0;
  for (auto& client : clients) {
    rotated += client->finish().out.find("access_token") != std::string::npos;
  }
  EXPECT_EQ(rotated, 1);
  EXPECT_EQ(portal.counters().totals.reuse_detected, 1);
}

class HeaderOnlyTest : public PortalTest {
 protected:
  HeaderOnlyTest() : PortalTest({.refresh_in = RefreshIn::kHeader}) {}
};

TEST_F(HeaderOnlyTest, ATokenInTheBodyIsRefusedUnspent) {
  const auto grant = portal.create_grant();

  EXPECT_EQ(refresh(grant.refresh_token).json()["error"], "invalid_request");
  EXPECT_EQ(refresh_by_header(grant.refresh_token).status, 200);
}

class BodyOnlyTest : public PortalTest {
 protected:
  BodyOnlyTest() : PortalTest({.refresh_in = RefreshIn::kBody}) {}
};

TEST_F(BodyOnlyTest, ATokenInTheHeaderIsRefusedUnspent) {
  const auto grant = portal.create_grant();

  EXPECT_EQ(refresh_by_header(grant.refresh_token).json()["error"], "invalid_request");
  EXPECT_EQ(refresh(grant.refresh_token).status, 200);
}

class GraceTest : public PortalTest {
 protected:
  GraceTest() : PortalTest({.reuse_grace = std::chrono::seconds(10)}) { portal.freeze(); }
};

TEST_F(GraceTest, WithinItTheSpentPredecessorGetsTheSameSuccessorAgain) {
  const auto grant = portal.create_grant();
  const auto first = refresh(grant.refresh_token);
  portal.advance(std::chrono::milliseconds(9999));

  const auto second = refresh(grant.refresh_token);

  EXPECT_EQ(second.json()["refresh_token"], first.json()["refresh_token"]);
  EXPECT_EQ(second.json()["access_token"], first.json()["access_token"]);
  EXPECT_EQ(portal.counters().totals.rotations, 1);
}

TEST_F(GraceTest, AfterItThePredecessorIsReuse) {
  const auto grant = portal.create_grant();
  refresh(grant.refresh_token);
  portal.advance(std::chrono::seconds(10));

  EXPECT_EQ(refresh(grant.refresh_token).json(), kReuseDetected);
}

TEST_F(GraceTest, ItDoesNotCoverTheTokenBeforeThePredecessor) {
  const auto grant = portal.create_grant();
  refresh(refresh(grant.refresh_token).json().at("refresh_token"));

  EXPECT_EQ(refresh(grant.refresh_token).json(), kReuseDetected);
}

}  // namespace
}  // namespace authdb::portal
