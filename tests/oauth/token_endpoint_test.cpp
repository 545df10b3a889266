#include "oauth/token_endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fakes.h"

namespace authdb::oauth {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Instant kNow = at_millis(1'779'179'400'000);

class Endpoint : public testing::Test {
 protected:
  OAuthTokenEndpoint endpoint(const std::string& provider, Environment env = no_environment()) {
    const Provider* known = registry_.find(provider);
    return endpoint(known == nullptr ? Provider{} : *known, std::move(env));
  }
  OAuthTokenEndpoint endpoint(Provider provider, Environment env = no_environment()) {
    providers_.push_back(std::move(provider));
    const Clock clock = [] { return kNow; };
    auto discovery = std::make_shared<Discovery>(http_, env, clock);
    return OAuthTokenEndpoint(
        {&providers_.back(), identity_, http_, std::move(env), clock, std::move(discovery)});
  }
  Seen sent_by(OAuthTokenEndpoint endpoint, const std::string& token = "rt/1+x") {
    http_->answers.push_back(answered(200, "{}"));
    endpoint.send(Secret::copy_of(token), [] { return true; });
    EXPECT_EQ(http_->seen.size(), 1U);
    return http_->seen.empty() ? Seen{} : http_->seen.back();
  }
  Judgement judged(int status, const std::string& body) {
    return endpoint("nous").judge(answered(status, body));
  }

  ProviderRegistry registry_ = ProviderRegistry::load("/nonexistent");
  std::deque<Provider> providers_;  // endpoints point into it
  std::shared_ptr<ScriptedHttp> http_ = std::make_shared<ScriptedHttp>();
  Identity identity_;
};

std::string text(const Secret& secret) { return std::string(secret.reveal()); }

// ---- The request -------------------------------------------------------------------------------

TEST_F(Endpoint, AgentKeyEraSendsTheTokenInTheBody) {
  for (const char* scope : {"", "inference:mint_agent_key"}) {
    http_->seen.clear();
    identity_.scope = scope;
    const Seen seen = sent_by(endpoint("nous"));

    EXPECT_EQ(seen.url, "https://portal.nousresearch.com/api/oauth/token");
    EXPECT_EQ(seen.body, "grant_type=refresh_token&client_id=hermes-cli&refresh_token=rt%2F1%2Bx");
    EXPECT_EQ(seen.headers.at("Content-Type"), "application/x-www-form-urlencoded");
    EXPECT_FALSE(seen.headers.contains("x-nous-refresh-token"));
  }
}

TEST_F(Endpoint, JwtEraSendsTheTokenInItsHeaderOnly) {
  identity_.scope = "inference:invoke tool:invoke";
  const Seen seen = sent_by(endpoint("nous"));

  EXPECT_EQ(seen.headers.at("x-nous-refresh-token"), "rt/1+x");
  EXPECT_EQ(seen.body, "grant_type=refresh_token&client_id=hermes-cli");
}

TEST_F(Endpoint, CredentialsOwnClientIsTheOneThatRefreshes) {
  identity_.client_id = "mine";

  EXPECT_THAT(sent_by(endpoint("spotify")).body, HasSubstr("client_id=mine"));
}

TEST_F(Endpoint, ProviderMayWantJson) {
  Provider provider = *registry_.find("codex");
  provider.token_body = "json";
  const Seen seen = sent_by(endpoint(provider));

  EXPECT_EQ(seen.headers.at("Content-Type"), "application/json");
  EXPECT_EQ(nlohmann::json::parse(seen.body),
            nlohmann::json({{"grant_type", "refresh_token"},
                            {"client_id", "app_EMoamEEZ73f0CkXaXp7hrann"},
                            {"refresh_token", "rt/1+x"}}));
}

TEST_F(Endpoint, ClientSecretGoesWhereTheProviderWantsIt) {
  Provider provider = *registry_.find("codex");
  provider.client_id = "id:1";
  provider.client_secret_env = "MINE";
  const auto env = environment({{"MINE", "s&t"}});

  provider.client_auth = "post";
  EXPECT_THAT(sent_by(endpoint(provider, env)).body, HasSubstr("client_secret=s%26t"));
  http_->seen.clear();
  provider.client_auth = "basic";
  EXPECT_EQ(sent_by(endpoint(provider, env)).headers.at("Authorization"),
            "Basic aWQlM0ExOnMlMjZ0");  // id%3A1:s%26t
}

TEST_F(Endpoint, ProvidersHeadersTravelAlong) {
  EXPECT_EQ(sent_by(endpoint("anthropic")).headers.at("User-Agent"), "axios/1.7.9");
}

TEST_F(Endpoint, NothingIsSentWithoutAClientOrASecret) {
  Provider secretive = *registry_.find("codex");
  secretive.client_auth = "post";
  secretive.client_secret_env = "MINE";
  bool sent = false;
  for (Provider provider : {*registry_.find("spotify"), secretive}) {
    const Answer answer =
        endpoint(provider).send(Secret::copy_of("rt"), [&] { return sent = true; });
    EXPECT_NE(answer.failure, "");
  }

  EXPECT_FALSE(sent);
  EXPECT_TRUE(http_->seen.empty());
}

TEST_F(Endpoint, NothingIsSentToAHostThatIsNotTheProviders) {
  identity_.portal_base_url = "https://evil.example";
  bool sent = false;
  const Answer answer = endpoint("nous").send(Secret::copy_of("rt"), [&] { return sent = true; });

  EXPECT_FALSE(sent);
  EXPECT_TRUE(http_->seen.empty());
  EXPECT_THAT(answer.failure, HasSubstr("evil.example"));
}

TEST_F(Endpoint, TokenGoesWhereTheIssuerSaysAndNowhereIfItSaysNothing) {
  http_->answers.push_back(answered(
      200, R"({"issuer":"https://auth.x.ai","token_endpoint":"https://auth.x.ai/oauth2/token"})"));
  http_->answers.push_back(answered(200, "{}"));
  endpoint("xai").send(Secret::copy_of("rt-1"), [] { return true; });

  ASSERT_EQ(http_->seen.size(), 2U);
  EXPECT_EQ(http_->seen[1].url, "https://auth.x.ai/oauth2/token");

  http_->seen.clear();
  http_->answers.push_back(answered(
      200, R"({"issuer":"https://auth.x.ai","token_endpoint":"https://evil.example/token"})"));
  bool sent = false;
  const Answer answer = endpoint("xai").send(Secret::copy_of("rt"), [&] { return sent = true; });
  EXPECT_FALSE(sent);
  EXPECT_EQ(http_->seen.size(), 1U);
  EXPECT_THAT(answer.failure, HasSubstr("evil.example"));
}

// ---- The answer --------------------------------------------------------------------------------

TEST_F(Endpoint, FullAnswerIsAGrant) {
  const Judgement got =
      judged(200, R"({"access_token":" at-2 ","refresh_token":" rt-2 ","expires_in":900,"scope":"s",
               "token_type":"Bearer","inference_base_url":"https://welcome-api.nousresearch.com/v1"})");

  ASSERT_EQ(got.ruling, Ruling::granted);
  EXPECT_EQ(text(got.grant->access_token), "at-2");
  EXPECT_EQ(text(got.grant->refresh_token), "rt-2");
  EXPECT_EQ(got.grant->obtained_at, kNow);
  EXPECT_EQ(got.grant->expires_at, kNow + Seconds{900});
  EXPECT_EQ(got.grant->scope, "s");
  EXPECT_EQ(got.grant->inference_base_url, "https://welcome-api.nousresearch.com/v1");
  EXPECT_EQ(got.message, "");
}

TEST_F(Endpoint, AnswerWithoutARefreshTokenKeepsTheOldOne) {
  for (const char* value : {"", R"(,"refresh_token":"  ")", R"(,"refresh_token":null)"}) {
    const Judgement got =
        judged(200, R"({"access_token":"at-2","expires_in":900)" + std::string(value) + "}");

    ASSERT_EQ(got.ruling, Ruling::granted) << value;
    EXPECT_TRUE(got.grant->refresh_token.empty()) << value;
  }
}

TEST_F(Endpoint, NewRefreshTokenWithoutAnAccessTokenIsNotLost) {
  for (const char* access : {"", R"("access_token":"  ",)", R"("access_token":7,)"}) {
    const Judgement got = judged(200, "{" + std::string(access) + R"("refresh_token":"rt-2"})");

    EXPECT_EQ(got.ruling, Ruling::uncertain);
    ASSERT_TRUE(got.grant);
    EXPECT_EQ(text(got.grant->refresh_token), "rt-2");
    EXPECT_TRUE(got.grant->access_token.empty());
    EXPECT_THAT(got.message, HasSubstr("missing access_token"));
  }
}

TEST_F(Endpoint, UnusableSuccessIsUncertain) {
  for (const char* body : {"", "<html>", "[]", "\"x\"", "null", "{}", R"({"access_token":""})",
                           R"({"error":"something_new"})"}) {
    const Judgement got = judged(200, body);

    EXPECT_EQ(got.ruling, Ruling::uncertain) << body;
    EXPECT_FALSE(got.grant) << body;
  }
}

TEST_F(Endpoint, CutAnswerGivesWhatArrivedWhole) {
  Answer answer = answered(200, R"({"refresh_token":"rt-2","access_token":"at)");
  answer.complete = false;
  answer.failure = "connection reset";
  const Judgement half = endpoint("nous").judge(answer);
  EXPECT_EQ(half.ruling, Ruling::uncertain);
  ASSERT_TRUE(half.grant);
  EXPECT_EQ(text(half.grant->refresh_token), "rt-2");

  answer.body = Secret::copy_of(R"({"refresh_token":"rt-2","access_token":"at-2","expires_in":90)");
  const Judgement enough = endpoint("nous").judge(answer);
  EXPECT_EQ(enough.ruling, Ruling::granted);
  EXPECT_EQ(enough.grant->expires_at, kNow + Seconds{3600}) << "a number may have been cut";
}

TEST_F(Endpoint, A2xxThatCannotBeReadIsCalledUnreadableWithoutItsContent) {
  const auto message = [&](const std::string& body, const std::string& type) {
    Answer answer = answered(200, body);
    answer.content_type = type;
    const Judgement got = endpoint("nous").judge(answer);
    EXPECT_TRUE(got.unreadable) << body;
    EXPECT_EQ(got.ruling, Ruling::uncertain) << body;
    EXPECT_EQ(got.code, "unreadable") << body;
    EXPECT_FALSE(got.grant) << body;
    return got.message;
  };

  EXPECT_EQ(message("<html>at-secret</html>", "text/html"),
            "the refresh answer (status 200) is unreadable: it looks like HTML or XML, 22 bytes, "
            "sent as text/html");
  EXPECT_THAT(message("at-secret", ""),
              testing::AllOf(HasSubstr("text, 9"), Not(HasSubstr("at-s"))));
  EXPECT_THAT(message(R"({"access_token":"at-secret","re)", ""),
              testing::AllOf(HasSubstr("JSON"), Not(HasSubstr("at-s"))));
  EXPECT_THAT(message("", ""), HasSubstr("nothing, 0 bytes"));
  EXPECT_THAT(message(std::string("\x1f\x8b\x08rubbish", 10), ""), HasSubstr("gzip"));
  EXPECT_THAT(message(std::string("\x01\x02\x03", 3), ""), HasSubstr("binary data"));
}

TEST_F(Endpoint, P4_AWholeNewPairIsAGrantWhateverItsStatus) {
  const std::string pair = R"("access_token":"at-new","refresh_token":"rt-new")";
  for (const int status : {302, 400, 429, 503}) {
    Answer answer = answered(status, "{" + pair + "}");
    answer.sent = Secret::copy_of("rt-old");
    const Judgement got = endpoint("nous").judge(answer);
    ASSERT_EQ(got.ruling, Ruling::granted) << status;
    EXPECT_EQ(text(got.grant->refresh_token), "rt-new");

    answer.sent = Secret::copy_of("rt-new");
    EXPECT_FALSE(endpoint("nous").judge(answer).grant) << "an echo";
    EXPECT_FALSE(judged(status, R"({"error":"invalid_grant",)" + pair + "}").grant);
    EXPECT_FALSE(judged(status, R"({"access_token":"at-new"})").grant);
  }
}

TEST_F(Endpoint, WhatIsReadableOrCutIsNotCalledUnreadable) {
  Answer cut = answered(200, R"({"access_token":"oops", "refresh_)");
  cut.complete = false;
  const Judgement got = endpoint("nous").judge(cut);

  EXPECT_FALSE(got.unreadable);
  EXPECT_EQ(got.ruling, Ruling::uncertain);
  EXPECT_FALSE(got.grant);
  EXPECT_THAT(got.message, testing::EndsWith("was cut short"));
  for (const char* body : {"{}", R"({"status":"success"})", R"({"error":"something_new"})"}) {
    EXPECT_FALSE(judged(200, body).unreadable) << body;
  }
  EXPECT_THAT(judged(200, R"({"status":"success"})").message, HasSubstr("it had: status"));
  EXPECT_THAT(judged(200, R"({"error":"something_new"})").message, HasSubstr("something_new"));
}

TEST_F(Endpoint, ARefreshTokenThatNobodyCanSendIsNotTakenForNone) {
  for (const char* token :
       {R"("rt\u0007")", "12345", R"({"value":"rt-2"})", R"(["rt-2"])", "true"}) {
    const Judgement got =
        judged(200, R"({"access_token":"at-2","refresh_token":)" + std::string(token) + "}");

    EXPECT_EQ(got.ruling, Ruling::uncertain) << token;
    EXPECT_FALSE(got.grant) << token;
    EXPECT_TRUE(got.unreadable) << token;
  }
}

TEST_F(Endpoint, GrantSaysWhoseItIs) {
  const auto owner = [&](const std::string& members) {
    const Judgement got = judged(200, R"({"refresh_token":"rt-2")" + members + "}");
    const Subjects& subject = got.grant->subject;
    return got.grant->account + "/" + subject.access + "/" + subject.id + "/" + subject.stated;
  };
  const std::string openai =
      fake_jwt(R"({"sub":"user-1","https://api.openai.com/auth":{"chatgpt_account_id":"acc-1"}})");
  const std::string plain = fake_jwt(R"({"sub":"user-2"})");

  EXPECT_EQ(owner(R"(,"id_token":")" + openai + "\""), "acc-1//user-1/");
  EXPECT_EQ(owner(R"(,"access_token":")" + plain + "\""), "/user-2//");
  EXPECT_EQ(owner(R"(,"access_token":")" + plain + R"(","id_token":")" + openai + "\""),
            "acc-1/user-2/user-1/");
  EXPECT_EQ(owner(R"(,"account":{"uuid":"u-1","email_address":"a@b"})"), "u-1///");
  EXPECT_EQ(owner(R"(,"account_id":"acc-2","sub":"user-3")"), "acc-2///user-3");
  EXPECT_EQ(owner(R"(,"user_id":"user-3")"), "///") << "it need not be what a token calls sub";
  EXPECT_EQ(owner(R"(,"access_token":"opaque","account":{"uuid":7})"), "///");
}

TEST_F(Endpoint, UnstatedLifeIsTheProvidersFloorWithAWarningThatNamesKeys) {
  const Judgement got = judged(200, R"({"access_token":"at-secret","expires_in":1e999})");

  EXPECT_EQ(got.grant->expires_at, kNow + Seconds{3600});
  EXPECT_THAT(got.message, HasSubstr("access_token, expires_in"));
  EXPECT_THAT(got.message, Not(HasSubstr("at-secret")));
}

TEST_F(Endpoint, InferenceHostThatIsNotTheProvidersIsNotTaken) {
  for (const char* url : {"https://evil.example/v1", "http://inference-api.nousresearch.com/v1"}) {
    const Judgement got =
        judged(200, R"({"access_token":"a","expires_in":9,"inference_base_url":")" +
                        std::string(url) + "\"}");
    EXPECT_EQ(got.grant->inference_base_url, "") << url;
  }
}

TEST_F(Endpoint, BearerIsTheTokenItselfOnlyIfItIsAJwtThatMayInvoke) {
  const auto kind = [&](const std::string& token, const std::string& scope = "") {
    return judged(200,
                  R"({"expires_in":9,"access_token":")" + token + R"(","scope":")" + scope + "\"}")
        .grant->bearer_kind;
  };
  const std::string plain = fake_jwt(R"({"exp":1779183000})");

  EXPECT_EQ(kind(fake_jwt(R"({"scope":"x inference:invoke"})")), BearerKind::access_token);
  EXPECT_EQ(kind(fake_jwt(R"({"scp":["inference:invoke"]})")), BearerKind::access_token);
  EXPECT_EQ(kind(plain, "inference:invoke"), BearerKind::access_token);
  EXPECT_EQ(kind(plain), BearerKind::agent_key);
  EXPECT_EQ(kind("opaque", "inference:invoke"), BearerKind::agent_key);
  identity_.scope = "inference:invoke";
  EXPECT_EQ(kind(plain), BearerKind::access_token);
  identity_.scope = "inference:mint_agent_key";
  EXPECT_EQ(judged(200, R"({"refresh_token":"r"})").grant->bearer_kind, BearerKind::agent_key);
  EXPECT_EQ(endpoint("codex").judge(answered(200, R"({"access_token":"a"})")).grant->bearer_kind,
            BearerKind::access_token);
}

TEST_F(Endpoint, NoAnswerIsUncertain) {
  Answer none;
  none.failure = "connection reset by peer";
  const Judgement got = endpoint("nous").judge(none);

  EXPECT_EQ(got.ruling, Ruling::uncertain);
  EXPECT_EQ(got.code, "transport");
  EXPECT_THAT(got.message, HasSubstr("connection reset"));
}

TEST_F(Endpoint, DeadGrantIsToldWithTheServersWords) {
  const Judgement got = judged(
      400, R"({"error":"invalid_grant","error_description":"refresh token is no longer valid"})");

  EXPECT_EQ(got.ruling, Ruling::rejected);
  EXPECT_EQ(got.failure, FailureClass::terminal);
  EXPECT_EQ(got.code, "invalid_grant");
  EXPECT_FALSE(got.reuse);
  EXPECT_THAT(got.message, HasSubstr("invalid_grant: refresh token is no longer valid"));
}

TEST_F(Endpoint, ReuseIsToldApartFromOtherDeadGrants) {
  const Judgement got = judged(
      400,
      R"({"error":"invalid_grant","error_description":"Refresh token reuse detected; please re-authenticate"})");

  EXPECT_TRUE(got.reuse);
  EXPECT_THAT(got.message,
              testing::AllOf(HasSubstr("refresh token reuse"), HasSubstr("used before"),
                             HasSubstr("Refresh token reuse detected; please re-authenticate")));
}

TEST_F(Endpoint, PageOfAProxyIsQuotedAndAnEmptyOneIsNot) {
  EXPECT_THAT(judged(502, "<html>Bad gateway</html>").message,
              testing::AllOf(HasSubstr("status 502"), HasSubstr("<html>Bad gateway")));
  EXPECT_THAT(judged(503, "").message, testing::EndsWith("status 503"));
  EXPECT_THAT(judged(500, "{}").message, HasSubstr("status 500"));
}

TEST_F(Endpoint, ServerThatQuotesTheTokenDoesNotLeakIt) {
  OAuthTokenEndpoint nous = endpoint("nous");
  http_->answers.push_back(answered(
      400,
      R"({"error":"bad seed-refresh","error_description":"seed-refresh\u0000\u001b[2J is bad"})"));
  Answer answer = nous.send(Secret::copy_of("seed-refresh"), [] { return true; });
  answer.sent = Secret::copy_of("seed-refresh");  // as the store says
  const Judgement got = nous.judge(answer);

  EXPECT_THAT(got.code + got.message, Not(HasSubstr("seed-refresh")));
  EXPECT_THAT(got.message, Not(HasSubstr("\x1b")));
  EXPECT_LT(got.message.size(), 400U);
}

TEST_F(Endpoint, TransportThatQuotesTheTokenDoesNotLeakItEither) {
  Answer failed;
  failed.failure = "cannot send seed-refresh";
  http_->answers.push_back(std::move(failed));
  const Answer answer = endpoint("nous").send(Secret::copy_of("seed-refresh"), [] { return true; });

  EXPECT_EQ(answer.failure, "cannot send [redacted]");
}

TEST_F(Endpoint, MiniMaxSaysNoWithStatus200) {
  const Judgement got = endpoint("minimax").judge(answered(200, R"({"status":"error"})"));

  EXPECT_EQ(got.ruling, Ruling::rejected);
  EXPECT_EQ(got.failure, FailureClass::terminal);
  EXPECT_EQ(endpoint("minimax")
                .judge(answered(200, R"({"status":"success","access_token":"a","expired_in":900})"))
                .grant->expires_at,
            kNow + Seconds{900});
}

TEST_F(Endpoint, RetryAfterIsHandedOn) {
  Answer answer = answered(429, "{}");
  answer.retry_after = Seconds{7};

  EXPECT_EQ(endpoint("nous").judge(answer).retry_after, Seconds{7});
}

TEST_F(Endpoint, AnyBytesYieldAJudgement) {
  for (int status = -1; status < 700; ++status) {
    for (const char* body : {"", "{", "[[", "{\"error\":{}}", "{\"error\":[1]}", "\xff\xfe"}) {
      const Judgement got = judged(status, body);
      EXPECT_NE(got.ruling, Ruling::granted) << status << body;
    }
  }
}

}  // namespace
}  // namespace authdb::oauth
