// How each provider's token endpoint spells what all of them mean, as curl sees it.
#include "tests/portal/portal_test.h"

namespace authdb::portal {
namespace {

using nlohmann::json;

class DialectTest : public PortalTest {
 protected:
  explicit DialectTest(const Options& options = {}) : PortalTest(options) {}
  Reply refresh_at(const std::string& path, const std::string& token) const {
    return curl(url(path), {"-d", "grant_type=refresh_token", "-d", "client_id=c", "-d",
                            "refresh_token=" + token});
  }
};

TEST_F(DialectTest, CodexNestsItsErrorsAndNamesReuseInTheCode) {
  const auto grant = portal.create_grant();
  const auto first = refresh_at("/openai-codex/oauth/token", grant.refresh_token);
  EXPECT_EQ(first.status, 200);
  EXPECT_TRUE(first.json().contains("id_token"));

  const auto reuse = refresh_at("/openai-codex/oauth/token", grant.refresh_token);
  EXPECT_EQ(reuse.status, 401);
  EXPECT_EQ(reuse.json()["error"]["code"], "refresh_token_reused");
}

TEST_F(DialectTest, AnthropicTakesFormsAndJson) {
  const auto grant = portal.create_grant();
  const auto form = refresh_at("/anthropic/v1/oauth/token", grant.refresh_token);
  EXPECT_EQ(form.status, 200);
  const json body{{"grant_type", "refresh_token"},
                  {"client_id", "c"},
                  {"refresh_token", form.json()["refresh_token"]}};
  const auto as_json = curl(url("/anthropic/v1/oauth/token"),
                            {"-H", "Content-Type: application/json", "-d", body.dump()});
  EXPECT_EQ(as_json.status, 200);
  EXPECT_NE(as_json.json()["refresh_token"], body["refresh_token"]);
}

TEST_F(DialectTest, MiniMaxStatesItsExpiryInMillisecondsAndSaysNoWith200) {
  portal.freeze();
  const auto grant = portal.create_grant();
  const auto yes = refresh_at("/minimax-oauth/oauth/token", grant.refresh_token).json();
  EXPECT_EQ(yes["status"], "success");
  EXPECT_EQ(yes["expired_in"], portal.now_ms() + 900'000);

  const auto no = refresh_at("/minimax-oauth/oauth/token", grant.refresh_token);
  EXPECT_EQ(no.status, 200);
  EXPECT_EQ(no.json()["status"], "error");
}

TEST_F(DialectTest, SpotifyKeepsTheRefreshTokenAndDoesNotRepeatIt) {
  const auto grant = portal.create_grant();
  const auto first = refresh_at("/spotify/api/token", grant.refresh_token).json();
  const auto second = refresh_at("/spotify/api/token", grant.refresh_token).json();

  EXPECT_FALSE(first.contains("refresh_token"));
  EXPECT_NE(first["access_token"], second["access_token"]);
  EXPECT_EQ(portal.token(grant.refresh_token).state, "current");
}

TEST_F(DialectTest, XaiHasItsDocumentUnderItsOwnPath) {
  const auto document = curl(url("/xai-oauth/.well-known/openid-configuration")).json();
  EXPECT_EQ(document["issuer"], url("/xai-oauth"));
  const auto token_endpoint = document["token_endpoint"].get<std::string>();
  const auto path = token_endpoint.substr(portal.base_url().size());
  EXPECT_EQ(refresh_at(path, portal.create_grant().refresh_token).status, 200);
}

class ClientSecretTest : public DialectTest {
 protected:
  ClientSecretTest() : DialectTest({.client_secret = "a+b c"}) {}
};

TEST_F(ClientSecretTest, IsProvenInTheHeaderOrInTheBody) {
  auto token = portal.create_grant().refresh_token;
  EXPECT_EQ(refresh_at("/oauth/token", token).status, 401);
  EXPECT_EQ(refresh_at("/oauth/token", token).json()["error"], "invalid_client");
  const std::vector<std::string> form{"-d", "grant_type=refresh_token", "-d", "client_id=c", "-d"};

  auto by_header = form;
  by_header.insert(by_header.end(), {"refresh_token=" + token, "-u", "c:a%2Bb%20c"});
  const auto first = curl(url("/oauth/token"), by_header);
  EXPECT_EQ(first.status, 200);
  auto by_body = form;
  by_body.insert(by_body.end(),
                 {"refresh_token=" + first.json()["refresh_token"].get<std::string>(),
                  "--data-urlencode", "client_secret=a+b c"});
  EXPECT_EQ(curl(url("/oauth/token"), by_body).status, 200);
}

}  // namespace
}  // namespace authdb::portal
