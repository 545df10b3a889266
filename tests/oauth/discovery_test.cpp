#include "oauth/discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace authdb::oauth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kAcme =
    R"({"issuer":"https://id.acme.example","token_endpoint":"https://id.acme.example/token",
        "revocation_endpoint":"https://id.acme.example/revoke",
        "authorization_endpoint":"https://evil.example/authorize",
        "authorization_response_iss_parameter_supported":true})";

constexpr const char* kWhole =
    R"({"issuer":"https://id.acme.example","token_endpoint":"https://id.acme.example/token",
        "device_authorization_endpoint":"https://id.acme.example/device",
        "authorization_endpoint":"https://id.acme.example/authorize"})";

class DiscoveryTest : public testing::Test {
 protected:
  DiscoveryTest() {
    acme_.id = "acme";
    acme_.issuer = "https://id.acme.example";
  }
  Result<std::string> find(std::string_view field) {
    return discovery_.endpoint(acme_, identity_, field);
  }
  void answer(int status, const std::string& body) {
    http_->answers.push_back(answered(status, body));
  }
  std::vector<std::string> asked() const {
    std::vector<std::string> urls;
    for (const Seen& seen : http_->seen) urls.push_back(seen.url);
    return urls;
  }

  std::shared_ptr<ScriptedHttp> http_ = std::make_shared<ScriptedHttp>();
  Instant now_ = at_millis(1'790'000'000'000);
  Discovery discovery_{http_, no_environment(), [this] { return now_; }};
  Provider acme_;
  Identity identity_;
};

TEST_F(DiscoveryTest, WhatTheFileStatesIsNotLookedUp) {
  acme_.token_endpoint = "https://id.acme.example/t";

  EXPECT_EQ(find("token_endpoint").value_or("none"), "https://id.acme.example/t");
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(DiscoveryTest, TheIssuersDocumentNamesTheOthersAndIsReadOnce) {
  answer(200, kAcme);

  EXPECT_EQ(find("token_endpoint").value_or("none"), "https://id.acme.example/token");
  EXPECT_EQ(find("revocation_endpoint").value_or("none"), "https://id.acme.example/revoke");
  EXPECT_TRUE(discovery_.metadata(acme_, identity_)->iss_in_answers);
  EXPECT_THAT(asked(),
              ElementsAre("https://id.acme.example/.well-known/oauth-authorization-server"));
  EXPECT_EQ(http_->seen[0].method, "GET");
  EXPECT_EQ(http_->seen[0].body, "");
}

TEST_F(DiscoveryTest, AnIssuerWithAPathHasItsDocumentInOneOfTwoPlaces) {
  acme_.issuer = "https://id.acme.example/tenant/7";
  answer(200, "<html>a page</html>");
  answer(200, R"({"issuer":"https://id.acme.example/tenant/7",
                  "token_endpoint":"https://id.acme.example/t7"})");

  EXPECT_EQ(find("token_endpoint").value_or("none"), "https://id.acme.example/t7");
  EXPECT_THAT(asked(),
              ElementsAre("https://id.acme.example/.well-known/oauth-authorization-server/tenant/7",
                          "https://id.acme.example/tenant/7/.well-known/openid-configuration"));
}

TEST_F(DiscoveryTest, ADocumentThatSpeaksForAnotherIssuerIsRefused) {
  for (const char* issuer : {"https://evil.example", "https://id.acme.example/", ""}) {
    answer(200, R"({"issuer":")" + std::string(issuer) +
                    R"(","token_endpoint":"https://id.acme.example/token"})");
    const auto found = find("token_endpoint");

    ASSERT_FALSE(found) << issuer;
    EXPECT_EQ(found.error().code, Errc::refused);
    EXPECT_THAT(found.error().message, HasSubstr("speaks for the issuer"));
  }
}

TEST_F(DiscoveryTest, AnEndpointOnAHostThatIsNotListedIsRefused) {
  answer(200, kAcme);
  const auto found = find("authorization_endpoint");

  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::refused);
  EXPECT_THAT(found.error().message, HasSubstr("evil.example"));
  acme_.allowed_hosts = {"evil.example"};
  EXPECT_TRUE(find("authorization_endpoint"));
}

TEST_F(DiscoveryTest, AnEndpointMustBeEncrypted) {
  answer(200,
         R"({"issuer":"https://id.acme.example","token_endpoint":"http://id.acme.example/t"})");

  EXPECT_EQ(find("token_endpoint").error().code, Errc::refused);
}

TEST_F(DiscoveryTest, WhatIsNotPublishedIsNotThere) {
  answer(200, kAcme);
  EXPECT_EQ(find("device_authorization_endpoint").error().code, Errc::usage);
  acme_.issuer.clear();
  EXPECT_EQ(find("revocation_endpoint").error().code, Errc::usage);
}

TEST_F(DiscoveryTest, AnIssuerThatDoesNotAnswerIsAskedAgain) {
  answer(503, "");
  answer(503, "");
  const auto found = find("token_endpoint");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::try_later);
  EXPECT_THAT(found.error().message, HasSubstr("status 503"));

  answer(200, kAcme);
  EXPECT_TRUE(find("token_endpoint"));
}

TEST_F(DiscoveryTest, ALoginGetsTheEndpointsThatTheFileLeavesOut) {
  acme_.authorization_endpoint = "https://id.acme.example/stated";
  answer(200, kAcme);
  const auto completed = discovery_.completed(acme_, false);

  ASSERT_TRUE(completed) << completed.error().message;
  EXPECT_EQ(completed->token_endpoint, "https://id.acme.example/token");
  EXPECT_EQ(completed->authorization_endpoint, "https://id.acme.example/stated");
  EXPECT_TRUE(discovery_.completed(*completed, false)) << "asks no more";
  EXPECT_EQ(asked().size(), 1U);
}

TEST_F(DiscoveryTest, ALoginAsksForTheEndpointThatItsOwnFlowBeginsAt) {
  struct Stated {
    const char* login;
    bool in_browser;
    const char* device;
    const char* authorization;
    bool asks;
  };
  const char* url = "https://id.acme.example/stated";
  for (const Stated& one : std::initializer_list<Stated>{
           {"", false, url, "", false},
           {"", false, "", url, false},
           {"", false, "", "", true},
           {"", true, url, "", true},
           {"", true, "", url, false},
           {"device", false, "", url, true},
           {"device", true, url, "", true},
           {"device", false, url, "", false},
           {"codex_device", false, "", url, true},
           {"loopback", false, url, "", true},
           {"loopback", false, "", url, false},
           {"pasted_code", false, url, "", true},
           {"pasted_code", true, "", url, false},
       }) {
    Provider provider = acme_;
    provider.token_endpoint = url;
    provider.login = one.login;
    provider.device_authorization_endpoint = one.device;
    provider.authorization_endpoint = one.authorization;
    http_->seen.clear();
    http_->answers.clear();
    answer(200, kWhole);
    Discovery discovery(http_, no_environment(), [this] { return now_; });
    const auto completed = discovery.completed(provider, one.in_browser);

    ASSERT_TRUE(completed) << completed.error().message;
    EXPECT_EQ(asked().size(), one.asks ? 1U : 0U)
        << one.login << (one.in_browser ? " --browser" : "") << " with the device endpoint \""
        << one.device << "\" and the authorization endpoint \"" << one.authorization << '"';
  }
}

TEST_F(DiscoveryTest, WhatTheEnvironmentStatesIsNotLookedUpForALogin) {
  acme_.device_authorization_endpoint = "https://id.acme.example/device";
  acme_.env = {{"token_endpoint", "ACME_TOKEN"}};
  Discovery discovery(http_, environment({{"ACME_TOKEN", "https://id.acme.example/t"}}),
                      [this] { return now_; });

  EXPECT_TRUE(discovery.completed(acme_, false));
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(DiscoveryTest, OnlyTheWordTrueMeansThatAnswersNameTheIssuer) {
  for (const char* said : {R"("true")", "1", "false", "null"}) {
    answer(200, R"({"issuer":"https://id.acme.example",
                    "authorization_response_iss_parameter_supported":)" +
                    std::string(said) + "}");
    Discovery discovery(http_, no_environment(), [this] { return now_; });

    EXPECT_FALSE(discovery.metadata(acme_, identity_)->iss_in_answers) << said;
  }
}

TEST_F(DiscoveryTest, ALoginDoesNotGoToAHostThatTheFileDoesNotList) {
  answer(200, kAcme);

  EXPECT_EQ(discovery_.completed(acme_, false).error().code, Errc::refused);
}

TEST_F(DiscoveryTest, ADocumentIsGoodForADayAndLongerIfTheIssuerIsAway) {
  answer(200, kAcme);
  EXPECT_TRUE(find("token_endpoint"));
  now_ += std::chrono::hours{25};
  answer(503, "");
  answer(503, "");
  EXPECT_EQ(find("token_endpoint").value_or("none"), "https://id.acme.example/token");
  EXPECT_EQ(asked().size(), 3U);

  answer(200, R"({"issuer":"https://id.acme.example",
                  "token_endpoint":"https://id.acme.example/moved"})");
  EXPECT_EQ(find("token_endpoint").value_or("none"), "https://id.acme.example/moved");
}

}  // namespace
}  // namespace authdb::oauth
