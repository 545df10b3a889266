#include <sodium.h>

#include "tests/portal/portal_test.h"

namespace authdb::portal {
namespace {

using BearerTest = PortalTest;

nlohmann::json claims_of(const std::string& jwt) {
  const auto begin = jwt.find('.') + 1;
  const auto payload = jwt.substr(begin, jwt.rfind('.') - begin);
  std::string text(payload.size(), '\0');
  std::size_t size = 0;
  sodium_base642bin(reinterpret_cast<unsigned char*>(text.data()), text.size(), payload.data(),
                    payload.size(), nullptr, &size, nullptr,
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  return nlohmann::json::parse(text.substr(0, size));
}

TEST_F(BearerTest, AnAccessTokenMintsAnAgentKey) {
  portal.freeze();
  portal.set_now_ms(1778841000123);  // 2026-05-15T10:30:00.123Z

  const auto reply = mint(portal.create_grant().access_token);

  EXPECT_EQ(reply.status, 200);
  const auto answer = reply.json();
  EXPECT_THAT(answer["api_key"].get<std::string>(), testing::StartsWith("sk-nous-SIM-"));
  EXPECT_FALSE(answer["key_id"].get<std::string>().empty());
  EXPECT_EQ(answer["expires_at"], "2026-05-16T10:30:00.123Z");
  EXPECT_EQ(answer["expires_in"], 86400);
  EXPECT_EQ(answer["reused"], false);
}

TEST_F(BearerTest, AnExpiredOrUnknownAccessTokenMintsNothing) {
  const auto grant = portal.create_grant({.access_ttl = std::chrono::seconds(60)});
  portal.advance(std::chrono::seconds(61));

  EXPECT_EQ(mint(grant.access_token).status, 401);
  EXPECT_EQ(mint("nat_SIM_unknown").json()["error"], "invalid_token");
  EXPECT_EQ(portal.counters().totals.mints, 0);
}

TEST_F(BearerTest, AnAgentKeyDoesNotMintAnother) {
  const auto key = mint(portal.create_grant().access_token).json().at("api_key");

  EXPECT_EQ(mint(key).status, 401);
}

TEST_F(BearerTest, TheAccessTokenOutlivesTheRotationOfItsGrant) {
  const auto grant = portal.create_grant();
  refresh(grant.refresh_token);

  EXPECT_EQ(mint(grant.access_token).status, 200);
}

TEST_F(BearerTest, OnlyALiveAgentKeyInfers) {
  const auto grant = portal.create_grant();
  const auto key = mint(grant.access_token).json().at("api_key");

  EXPECT_EQ(infer(key).status, 200);
  EXPECT_EQ(infer(key).json()["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(infer(grant.access_token).status, 401);
  portal.advance(std::chrono::hours(24));
  EXPECT_EQ(infer(key).status, 401);
}

TEST_F(BearerTest, ARejectedInferenceSaysSoInTheWordsOfTheField) {
  EXPECT_EQ(infer("sk-nous-SIM-unknown").json(),
            nlohmann::json::parse(R"({"error":{"code":"invalid_api_key","message":"401"}})"));
}

TEST_F(BearerTest, ModelsAreListedForLiveBearersOnly) {
  const std::string key = mint(portal.create_grant().access_token).json().at("api_key");

  EXPECT_EQ(curl(url("/v1/models")).status, 401);
  const auto reply = curl(url("/v1/models"), {"-H", "Authorization: Bearer " + key});
  EXPECT_TRUE(reply.json()["data"][0]["id"].is_string());
}

TEST_F(BearerTest, ARevokedFamilyHasNoLiveBearer) {
  const auto grant = portal.create_grant();
  const auto key = mint(grant.access_token).json().at("api_key");

  EXPECT_EQ(control("revoke", R"({"family":")" + grant.family + "\"}").status, 200);

  EXPECT_EQ(infer(key).status, 401);
  EXPECT_EQ(refresh(grant.refresh_token).json()["error_description"],
            "Refresh session has been revoked");
}

class JwtEraTest : public PortalTest {
 protected:
  JwtEraTest() : PortalTest({.era = Era::kJwt}) {}
};

TEST_F(JwtEraTest, TheAccessTokenIsAJwtAndInfersItself) {
  portal.freeze();
  const auto grant = portal.create_grant({.account = "ada@example.com"});

  EXPECT_EQ(infer(grant.access_token).status, 200);
  const auto claims = claims_of(grant.access_token);
  EXPECT_EQ(claims["exp"].get<std::int64_t>(), claims["iat"].get<std::int64_t>() + 900);
  EXPECT_EQ(claims["scope"], "inference:invoke");
  EXPECT_EQ(claims["sub"], "ada@example.com");
  EXPECT_EQ(claims["client_id"], "hermes-cli");
}

TEST_F(JwtEraTest, WithoutTheInvokeScopeItDoesNotInfer) {
  EXPECT_EQ(infer(portal.create_grant({.scope = "profile"}).access_token).status, 401);
}

TEST_F(JwtEraTest, MintingIsRetired) {
  EXPECT_EQ(mint(portal.create_grant().access_token).status, 404);
}

class BothErasTest : public PortalTest {
 protected:
  BothErasTest() : PortalTest({.era = Era::kBoth}) {}
};

TEST_F(BothErasTest, EitherBearerInfers) {
  const auto grant = portal.create_grant();

  EXPECT_EQ(infer(grant.access_token).status, 200);
  EXPECT_EQ(infer(mint(grant.access_token).json().at("api_key")).status, 200);
}

}  // namespace
}  // namespace authdb::portal
