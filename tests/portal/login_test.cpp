#include "tests/portal/portal_test.h"

namespace authdb::portal {
namespace {

class DeviceTest : public PortalTest {
 protected:
  explicit DeviceTest(const Options& options = {}) : PortalTest(options) {}

  nlohmann::json start() const {
    return curl(url("/api/oauth/device/code"), {"-d", "client_id=hermes-cli", "-d", "scope=s"})
        .json();
  }

  Reply poll(const nlohmann::json& device) const {
    return curl(url("/api/oauth/token"),
                {"-d", "grant_type=urn:ietf:params:oauth:grant-type:device_code", "-d",
                 "client_id=hermes-cli", "-d",
                 "device_code=" + device.at("device_code").get<std::string>()});
  }
};

TEST_F(DeviceTest, TheAnswerHasEveryFieldClientsNeed) {
  const auto device = start();

  for (const auto* field : {"device_code", "user_code", "verification_uri",
                            "verification_uri_complete", "expires_in", "interval"}) {
    EXPECT_TRUE(device.contains(field)) << field;
  }
}

TEST_F(DeviceTest, PollingIsPendingUntilApprovedAndThenGrantsOnce) {
  const auto device = start();
  EXPECT_EQ(poll(device).json()["error"], "authorization_pending");

  const nlohmann::json verdict = {{"user_code", device["user_code"]}, {"account", "ada"}};
  EXPECT_EQ(control("device/approve", verdict.dump()).status, 200);

  const auto grant = poll(device);
  EXPECT_EQ(grant.status, 200);
  EXPECT_EQ(grant.json()["scope"], "s");
  EXPECT_EQ(poll(device).json()["error"], "invalid_grant");
  EXPECT_EQ(portal.counters().families.begin()->second.account, "ada");
  EXPECT_EQ(refresh(grant.json().at("refresh_token")).status, 200);
}

TEST_F(DeviceTest, DenialEndsThePolling) {
  const auto device = start();

  EXPECT_EQ(
      control("device/deny", nlohmann::json{{"user_code", device["user_code"]}}.dump()).status,
      200);

  EXPECT_EQ(poll(device).json()["error"], "access_denied");
}

TEST_F(DeviceTest, ACodeExpires) {
  const auto device = start();
  portal.advance(std::chrono::seconds(900));

  EXPECT_EQ(poll(device).json()["error"], "expired_token");
}

TEST_F(DeviceTest, AnUnknownUserCodeIsNotFound) {
  EXPECT_EQ(control("device/approve", R"({"user_code":"NONE-SUCH"})").status, 404);
}

class AutoApproveTest : public DeviceTest {
 protected:
  AutoApproveTest() : DeviceTest({.auto_approve_device = true}) {}
};

TEST_F(AutoApproveTest, TheFirstPollGrants) { EXPECT_EQ(poll(start()).status, 200); }

class BrowserTest : public PortalTest {
 protected:
  // RFC 7636, appendix B.
  const std::string verifier_ = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  const std::string challenge_ = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
  const std::string redirect_ = "http://127.0.0.1:9/callback";

  Reply authorize(const std::string& redirect_uri) const {
    return curl(
        url("/oauth/authorize"),
        {"-G", "-d", "response_type=code", "-d", "client_id=app", "--data-urlencode", "state=x y",
         "-d", "code_challenge_method=S256", "-d", "code_challenge=" + challenge_,
         "--data-urlencode", "redirect_uri=" + redirect_uri});
  }

  std::string code() const {
    const auto location = authorize(redirect_).header("Location");
    const auto begin = location.find("code=") + 5;
    return location.substr(begin, location.find('&') - begin);
  }

  Reply redeem(const std::string& code, const std::string& verifier) const {
    return curl(url("/oauth/token"),
                {"-d", "grant_type=authorization_code", "-d", "client_id=app", "-d", "code=" + code,
                 "-d", "code_verifier=" + verifier, "-d", "redirect_uri=" + redirect_});
  }
};

TEST_F(BrowserTest, TheUserIsSentBackWithACodeAndTheState) {
  const auto reply = authorize(redirect_);

  EXPECT_EQ(reply.status, 302);
  EXPECT_THAT(reply.header("Location"), testing::StartsWith(redirect_ + "?code=code_SIM_"));
  EXPECT_THAT(reply.header("Location"), testing::HasSubstr("&state=x%20y"));
}

TEST_F(BrowserTest, TheCodeAndItsVerifierBuyAGrantOnce) {
  const auto bought = code();

  EXPECT_EQ(redeem(bought, verifier_).status, 200);
  EXPECT_EQ(redeem(bought, verifier_).json()["error"], "invalid_grant");
}

TEST_F(BrowserTest, AnotherVerifierBuysNothing) {
  EXPECT_EQ(redeem(code(), "wrong").json()["error"], "invalid_grant");
}

TEST_F(BrowserTest, ARedirectBeyondLoopbackIsRefused) {
  EXPECT_EQ(authorize("https://example.com/callback").status, 400);
}

TEST_F(BrowserTest, DiscoveryNamesTheEndpoints) {
  const auto document = curl(url("/.well-known/openid-configuration")).json();

  EXPECT_EQ(document["issuer"], portal.base_url());
  EXPECT_EQ(document["token_endpoint"], url("/oauth/token"));
}

TEST_F(BrowserTest, RevokingATokenRevokesItsFamily) {
  const auto grant = portal.create_grant();

  EXPECT_EQ(curl(url("/oauth/revoke"), {"-d", "token=" + grant.refresh_token}).status, 200);

  EXPECT_EQ(refresh(grant.refresh_token).status, 400);
}

}  // namespace
}  // namespace authdb::portal
