// Device logins: RFC 8628, Codex's own and MiniMax's.
#include "login_fixture.h"

namespace authdb::oauth {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr const char* kSlowDown = R"({"error":"slow_down"})";

using DeviceLogin = LoginTest;

TEST_F(DeviceLogin, AsksEachIntervalUntilThePersonHasApproved) {
  approve_at(3, "ada@example.org");
  const auto session = device();

  ASSERT_TRUE(session) << session.error().message;
  EXPECT_THAT(waits_, ElementsAre(1, 1, 1));  // the simulator's interval
  EXPECT_THAT(revealed(session->grant.refresh_token), StartsWith("nrt_SIM_"));
  EXPECT_EQ(session->identity.label, "ada@example.org");
  EXPECT_EQ(session->identity.account, "ada@example.org");
  EXPECT_EQ(session->grant.expires_at, now_ + Seconds{900});
  EXPECT_EQ(portal_.counters().families.size(), 1U);
}

TEST_F(DeviceLogin, ThePersonIsShownWhereToGoBothWays) {
  approve_at(1);
  ASSERT_TRUE(device());

  ASSERT_THAT(events_, SizeIs(1));
  EXPECT_EQ(events_[0].url, portal_.base_url() + "/device");
  EXPECT_EQ(events_[0].complete_url, events_[0].url + "?user_code=" + events_[0].user_code);
  EXPECT_EQ(events_[0].expires_at, kLoginStart + Seconds{900});
}

TEST_F(DeviceLogin, WithoutAnIntervalItAsksEveryFiveSeconds) {
  for (const char* interval : {"null", "-1", "0", "\"soon\"", "true"}) {
    waits_.clear();
    events_.clear();
    portal::Fault fault;
    fault.endpoint = portal::Endpoint::kDevice;
    fault.merge["interval"] = nlohmann::json::parse(interval);
    portal_.add_fault(fault);
    approve_at(2);
    ASSERT_TRUE(device()) << interval;

    EXPECT_THAT(waits_, ElementsAre(5, 5)) << interval;
  }
}

TEST_F(DeviceLogin, SlowDownAddsFiveSecondsForGood) {
  refuse_polls(1, 400, kSlowDown);
  approve_at(4);
  ASSERT_TRUE(device());

  EXPECT_THAT(waits_, ElementsAre(1, 6, 6, 6));
  ASSERT_THAT(events_, SizeIs(2));
  EXPECT_EQ(events_[1].kind, LoginEvent::Kind::slower);
  EXPECT_EQ(events_[1].interval, Seconds{6});
}

TEST_F(DeviceLogin, PendingAndSlowDownMeanTheSameWithStatus200) {
  refuse_polls(1, 200, R"({"error":"authorization_pending"})");
  refuse_polls(1, 200, kSlowDown);
  refuse_polls(1, 200, "error=authorization_pending&error_description=wait");
  approve_at(4);
  ASSERT_TRUE(device());

  EXPECT_THAT(waits_, ElementsAre(1, 1, 6, 6));
}

TEST_F(DeviceLogin, ARefusalWithStatus200IsFinal) {
  refuse_polls(1, 200, R"({"error":"device_flow_disabled"})");
  const auto session = device();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::login_needed);
  EXPECT_THAT(session.error().message, HasSubstr("device_flow_disabled"));
}

TEST_F(DeviceLogin, ADenialIsFinal) {
  person_ = [this] { portal_.deny_device(events_.front().user_code); };
  const auto session = device();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::login_needed);
  EXPECT_THAT(session.error().message, HasSubstr("denied"));
  EXPECT_THAT(waits_, SizeIs(1));
}

TEST_F(DeviceLogin, ACodeThatExpiresEndsTheWaiting) {
  refuse_polls(1, 400, R"({"error":"expired_token"})");
  const auto session = device();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::try_later);
  EXPECT_THAT(waits_, SizeIs(1));
}

TEST_F(DeviceLogin, NobodyIsWaitedForLongerThanAsked) {
  parts_.timeout = Seconds{3};
  const auto session = device();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::try_later);
  EXPECT_THAT(waits_, ElementsAre(1, 1, 1));
}

TEST_F(DeviceLogin, AnOverloadedServerIsAskedLessAndLessOften) {
  refuse_polls(2, 429, "<html>busy</html>");
  refuse_polls(2, 502, "<html>Bad gateway</html>");
  refuse_polls(1, 408, "");
  refuse_polls(1, 403, "<html>checking your browser</html>");
  approve_at(7);
  ASSERT_TRUE(device());

  EXPECT_THAT(waits_, ElementsAre(1, 5, 10, 20, 40, 60, 60));
}

TEST_F(DeviceLogin, AfterTroubleTheUsualIntervalIsBack) {
  refuse_polls(1, 503, "{}");
  approve_at(4);
  ASSERT_TRUE(device());

  EXPECT_THAT(waits_, ElementsAre(1, 5, 1, 1));
}

TEST_F(DeviceLogin, RetryAfterIsHonoured) {
  refuse_polls(1, 503, "{}", "33");
  approve_at(2);
  ASSERT_TRUE(device());

  EXPECT_THAT(waits_, ElementsAre(1, 33));
}

TEST_F(DeviceLogin, AConnectionThatBreaksIsBackedOffFrom) {
  portal_.add_fault({.times = 2, .drop = portal::When::kBefore});
  approve_at(3);
  ASSERT_TRUE(device());

  EXPECT_THAT(waits_, ElementsAre(1, 5, 10));
  EXPECT_EQ(events_[1].kind, LoginEvent::Kind::trouble);
  EXPECT_THAT(events_[1].message, Not(IsEmpty()));
}

TEST_F(DeviceLogin, AnErrorThatNobodyKnowsIsShownScrubbed) {
  refuse_polls(
      1, 400,
      R"({"error":"invalid_client","error_description":"no\u001b[31m sk-live-0123456789abcdef0123"})");
  const auto session = device();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::login_needed);
  EXPECT_THAT(session.error().message, AllOf(HasSubstr("invalid_client"), Not(HasSubstr("sk-live")),
                                             Not(HasSubstr("\x1b"))));
}

TEST_F(DeviceLogin, AGrantThatCannotBeReadIsSaidToBeLost) {
  for (const char* body : {"not json", "{}", "[]", R"({"access_token":""})"}) {
    waits_.clear();
    refuse_polls(1, 200, body);
    const auto session = device();

    ASSERT_FALSE(session) << body;
    EXPECT_EQ(session.error().code, Errc::try_later);
    EXPECT_THAT(session.error().message, HasSubstr("granted")) << body;
    EXPECT_THAT(waits_, SizeIs(1)) << body;
  }
}

TEST_F(DeviceLogin, SignalsAreHeldBackFromTheGrantOnAndAtNoOtherTime) {
  approve_at(2);
  parts_.wait = [this, wait = parts_.wait](Milliseconds span) {
    EXPECT_EQ(shields_, 0);
    wait(span);
  };
  auto session = device();
  ASSERT_TRUE(session);

  EXPECT_EQ(shields_, 1);
  session->shield.reset();
  EXPECT_EQ(shields_, 0);
}

TEST_F(DeviceLogin, StartingIsTriedAgainOnAnOverloadedServer) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kDevice;
  fault.status = 503;
  fault.times = 2;
  portal_.add_fault(fault);
  approve_at(3);
  ASSERT_TRUE([&] {
    person_ = [this] {
      if (waits_.size() == 3) portal_.approve_device(events_.back().user_code);
    };
    return device();
  }());

  EXPECT_THAT(waits_, ElementsAre(5, 10, 1));
}

TEST_F(DeviceLogin, StartingThatIsRefusedEndsAtOnce) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kDevice;
  fault.status = 400;
  fault.body = R"({"error":"unauthorized_client"})";
  portal_.add_fault(fault);
  const auto session = device();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::login_needed);
  EXPECT_THAT(session.error().message, HasSubstr("unauthorized_client"));
  EXPECT_THAT(waits_, IsEmpty());
}

TEST_F(DeviceLogin, StartingNamesWhatTheAnswerLacks) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kDevice;
  fault.merge["device_code"] = nullptr;
  portal_.add_fault(fault);
  const auto session = device();

  ASSERT_FALSE(session);
  EXPECT_THAT(session.error().message, HasSubstr("device_code"));
}

// What a server may say instead of a page.
const std::vector<std::string> kNoPages{
    "javascript:alert(1)",
    "JavaScript://acme.example/%0aalert(1)",
    "file:///etc/passwd",
    "data:text/html,<h1>Log in</h1>",
    "http://acme.example/device",
    "ftp://acme.example/device",
    "//acme.example/device",
    "acme.example/device",
    "https://acme.example@evil.example/device",
    "https://user:password@acme.example/device",
    "https:///device",
    "https://acme.example:443x/device",
    "https://acme.example/a b",
    "https://acme.example/#a b",
    "https://acme.example\\@evil.example/",
    "https://acme.example/\u202egpj.exe",
    "https://" + std::string("acme.example/") + std::string(2048, 'x'),
};

TEST_F(DeviceLogin, AVerificationAddressThatIsNoPageEndsTheLoginAndIsShownToNobody) {
  for (const std::string& address : kNoPages) {
    portal::Fault fault;
    fault.endpoint = portal::Endpoint::kDevice;
    fault.merge["verification_uri"] = address;
    portal_.add_fault(fault);
    const auto session = device();

    ASSERT_FALSE(session) << address;
    EXPECT_EQ(session.error().code, Errc::refused) << address;
    EXPECT_THAT(session.error().message, HasSubstr("is to be approved")) << address;
    EXPECT_THAT(session.error().hint, HasSubstr("https")) << address;
    EXPECT_THAT(events_, IsEmpty()) << address;
    EXPECT_THAT(waits_, IsEmpty()) << "nobody could approve it";
  }
}

TEST_F(DeviceLogin, OnlyTheAddressWithTheCodeInItIsLeftOutIfItIsNoPage) {
  for (const std::string& address : kNoPages) {
    events_.clear();
    waits_.clear();
    portal::Fault fault;
    fault.endpoint = portal::Endpoint::kDevice;
    fault.merge["verification_uri_complete"] = address;
    portal_.add_fault(fault);
    approve_at(1);
    ASSERT_TRUE(device()) << address;

    ASSERT_THAT(events_, SizeIs(1)) << address;
    EXPECT_EQ(events_[0].url, portal_.base_url() + "/device");
    EXPECT_EQ(events_[0].complete_url, "") << address;
    EXPECT_THAT(events_[0].message, HasSubstr("is none that is opened")) << address;
  }
}

TEST_F(DeviceLogin, APageMayBeAtAnotherHostAndHaveAFragment) {
  for (const char* address : {"https://login.other.example/device", "https://acme.example/#/device",
                              "http://127.0.0.1:8/device", "http://localhost/device"}) {
    events_.clear();
    waits_.clear();
    portal::Fault fault;
    fault.endpoint = portal::Endpoint::kDevice;
    fault.merge["verification_uri"] = address;
    fault.merge["verification_uri_complete"] = nullptr;
    portal_.add_fault(fault);
    approve_at(1);
    const auto session = device();

    ASSERT_TRUE(session) << session.error().message;
    EXPECT_EQ(events_[0].url, address);
    EXPECT_EQ(events_[0].message, "");
  }
}

TEST_F(DeviceLogin, WithoutAPageFromTheServerTheProvidersOwnIsShownOrTheLoginEnds) {
  const auto without_page = [this] {
    portal::Fault fault;
    fault.endpoint = portal::Endpoint::kDevice;
    fault.merge["verification_uri"] = nullptr;
    portal_.add_fault(fault);
  };
  without_page();
  const auto session = device();
  ASSERT_FALSE(session);
  EXPECT_THAT(session.error().message, HasSubstr("lacks verification_uri"));
  EXPECT_THAT(events_, IsEmpty());

  without_page();
  approve_at(1);
  Provider provider = standard();
  provider.portal_base_url = portal_.base_url();
  provider.verification_uri = "/own";
  ASSERT_TRUE(log_in(provider, "device"));
  EXPECT_EQ(events_.at(0).url, portal_.base_url() + "/own");
}

TEST_F(DeviceLogin, NousSessionsAreKnownToEndThirtyDaysLater) {
  approve_at(1);
  const auto session = log_in(at_portal("nous"), "device");

  ASSERT_TRUE(session) << session.error().message;
  EXPECT_EQ(session->identity.portal_base_url, portal_.base_url());
  EXPECT_EQ(session->identity.client_id, "hermes-cli");
  EXPECT_EQ(session->grant.bearer_kind, BearerKind::access_token);
  EXPECT_EQ(session->grant.session_ends_at, now_ + std::chrono::days{30});
}

TEST_F(DeviceLogin, QwenCarriesAChallengeAndProvesIt) {
  Provider qwen = at_portal("qwen");
  qwen.device_authorization_endpoint = portal_.base_url() + "/api/oauth/device/code";
  qwen.token_endpoint = portal_.base_url() + "/oauth/token";
  approve_at(1);

  EXPECT_TRUE(log_in(qwen, "device"));  // the simulator refuses another verifier
}

TEST_F(DeviceLogin, AConfidentialClientProvesItselfAtBothEndpoints) {
  auto http = std::make_shared<ScriptedHttp>();
  http->answers.push_back(answered(
      200, R"({"device_code":"d","user_code":"U","verification_uri":"https://acme.example"})"));
  http->answers.push_back(answered(200, R"({"access_token":"a","refresh_token":"r"})"));
  parts_.http = http;
  parts_.environment = environment({{"ACME_SECRET", "s3cret"}});
  Provider provider = standard();
  provider.client_auth = "basic";
  provider.client_secret_env = "ACME_SECRET";
  ASSERT_TRUE(log_in(provider, "device"));

  ASSERT_THAT(http->seen, SizeIs(2));
  for (const Seen& seen : http->seen) {
    EXPECT_EQ(seen.headers.at("Authorization"), "Basic YXBwOnMzY3JldA==");
  }
}

// ---- Codex -------------------------------------------------------------------------------------

using CodexLogin = LoginTest;

TEST_F(CodexLogin, AnApprovedCodeBuysTheGrant) {
  approve_at(2);
  const auto session = log_in(at_portal("codex"), "codex_device");

  ASSERT_TRUE(session) << session.error().message;
  EXPECT_THAT(waits_, ElementsAre(3, 3));  // never faster
  EXPECT_EQ(events_[0].url, portal_.base_url() + "/codex/device");
  EXPECT_EQ(session->identity.account, "ada");
  EXPECT_EQ(portal_.counters().families.size(), 1U);
}

TEST_F(CodexLogin, PendingAndSlowDownMeanTheSameWithStatus200) {
  for (const char* body : {R"({"error":"authorization_pending"})", kSlowDown}) {
    portal_.add_fault(
        {.endpoint = portal::Endpoint::kDevice, .skip = 1, .status = 200, .body = body});
  }
  approve_at(3);
  ASSERT_TRUE(log_in(at_portal("codex"), "codex_device"));

  EXPECT_THAT(waits_, ElementsAre(3, 3, 8));
}

TEST_F(CodexLogin, GivesUpAfterSixBrokenConnections) {
  portal_.add_fault({.endpoint = portal::Endpoint::kDevice,
                     .skip = 1,
                     .times = 0,
                     .drop = portal::When::kBefore});
  const auto session = log_in(at_portal("codex"), "codex_device");

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::try_later);
  EXPECT_THAT(waits_, SizeIs(6));
}

TEST_F(CodexLogin, TheExchangeIsRepeatedOnlyIfNothingWasSent) {
  portal_.add_fault({.grant_type = "authorization_code", .drop = portal::When::kBefore});
  approve_at(1);
  const auto session = log_in(at_portal("codex"), "codex_device");

  ASSERT_FALSE(session);  // the request was out: whether the code is spent, nobody knows
  EXPECT_EQ(session.error().code, Errc::try_later);
  EXPECT_THAT(waits_, SizeIs(1));
}

// ---- MiniMax -----------------------------------------------------------------------------------

using MinimaxLogin = LoginTest;

TEST_F(MinimaxLogin, PollsWithTheUserCodeUntilTheStatusIsSuccess) {
  approve_at(3);
  const auto session = log_in(at_portal("minimax"), "minimax_user_code");

  ASSERT_TRUE(session) << session.error().message;
  EXPECT_THAT(waits_, ElementsAre(2, 2, 2));  // never faster
  EXPECT_THAT(revealed(session->grant.refresh_token), StartsWith("nrt_SIM_"));
  EXPECT_EQ(session->grant.expires_at, now_ + Seconds{900});
}

TEST_F(MinimaxLogin, PendingAndSlowDownMeanTheSameWithStatus200) {
  refuse_polls(1, 200, R"({"error":"authorization_pending"})");
  refuse_polls(1, 200, kSlowDown);
  approve_at(3);
  ASSERT_TRUE(log_in(at_portal("minimax"), "minimax_user_code"));

  EXPECT_THAT(waits_, ElementsAre(2, 2, 7));
}

TEST_F(MinimaxLogin, AnotherStateIsRefused) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kDevice;
  fault.merge["state"] = "somebody's";
  portal_.add_fault(fault);
  const auto session = log_in(at_portal("minimax"), "minimax_user_code");

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::refused);
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(MinimaxLogin, AStatusOfErrorIsFinal) {
  person_ = [this] { portal_.deny_device(events_.front().user_code); };
  const auto session = log_in(at_portal("minimax"), "minimax_user_code");

  ASSERT_FALSE(session);
  EXPECT_THAT(session.error().message, HasSubstr("The user said no"));
  EXPECT_THAT(waits_, SizeIs(1));
}

TEST_F(MinimaxLogin, AHostThatMovedIsShownWhereItIs) {
  auto http = std::make_shared<ScriptedHttp>();
  parts_.http = http;
  http->answers.push_back(answered(400, "{}"));
  Provider provider = at_portal("minimax");
  provider.verification_uri = "https://www.minimaxi.io/device?x=1";
  provider.login = "device";
  http->answers.clear();
  http->answers.push_back(answered(200, R"({"device_code":"d","user_code":"U"})"));
  http->answers.push_back(answered(200, R"({"access_token":"a"})"));
  ASSERT_TRUE(log_in(provider, "device"));

  EXPECT_EQ(events_[0].url, "https://platform.minimaxi.io/device?x=1");
}

// ---- Which flow --------------------------------------------------------------------------------

TEST(LoginFlow, FollowsTheProviderElseItsEndpoints) {
  const auto registry = ProviderRegistry::load("/nonexistent");
  const auto flow = [&](const char* id) { return login_flow(*registry.find(id), false).value(); };
  EXPECT_EQ(flow("nous"), "device");
  EXPECT_EQ(flow("codex"), "codex_device");
  EXPECT_EQ(flow("minimax"), "minimax_user_code");
  EXPECT_EQ(flow("anthropic"), "pasted_code");
  EXPECT_EQ(flow("spotify"), "loopback");
  EXPECT_EQ(login_flow(*registry.find("codex"), true), "loopback");

  Provider bare;
  bare.id = "bare";
  bare.token_endpoint = "https://bare.example/token";
  EXPECT_EQ(login_flow(bare, false).error().code, Errc::usage);
  EXPECT_EQ(login_flow(*registry.find("nous"), true).error().code, Errc::usage);
  bare.authorization_endpoint = "https://bare.example/authorize";
  EXPECT_EQ(login_flow(bare, false), "loopback");
}

}  // namespace
}  // namespace authdb::oauth
