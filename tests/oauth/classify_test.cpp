#include "oauth/classify.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace authdb::oauth {
namespace {

const ProviderRegistry& registry() {
  static const ProviderRegistry loaded = ProviderRegistry::load("/nonexistent");
  return loaded;
}

Verdict verdict(const std::string& provider, int status, const std::string& body) {
  const TokenAnswer answer(body);
  return classify(status, read_error(answer), registry().find(provider)->errors);
}

struct Case {
  const char* provider;
  int status;
  const char* body;
  Ruling ruling;
  FailureClass failure;
};

void expect(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const Verdict got = verdict(c.provider, c.status, c.body);
    EXPECT_EQ(got.ruling, c.ruling) << c.provider << " " << c.status << " " << c.body;
    EXPECT_EQ(got.failure, c.failure) << c.provider << " " << c.status << " " << c.body;
  }
}

constexpr const char* kInvalidGrant = R"({"error":"invalid_grant"})";

TEST(Classify, StatusDecidesBeforeTheBodyDoes) {
  for (const char* provider : {"nous", "openai-codex", "anthropic", "xai-oauth", "qwen-oauth",
                               "minimax-oauth", "spotify"}) {
    expect({
        {provider, 301, kInvalidGrant, Ruling::unspent, FailureClass::transient},
        {provider, 307, "", Ruling::unspent, FailureClass::transient},
        {provider, 408, kInvalidGrant, Ruling::uncertain, FailureClass::transient},
        {provider, 425, kInvalidGrant, Ruling::unspent, FailureClass::transient},
        {provider, 429, kInvalidGrant, Ruling::unspent, FailureClass::rate_limited},
        {provider, 500, kInvalidGrant, Ruling::uncertain, FailureClass::transient},
        {provider, 502, "<html>Bad Gateway</html>", Ruling::uncertain, FailureClass::transient},
        {provider, 503, kInvalidGrant, Ruling::unspent, FailureClass::transient},
        {provider, 504, "", Ruling::uncertain, FailureClass::transient},
        {provider, 529, kInvalidGrant, Ruling::uncertain, FailureClass::transient},
        {provider, 100, "", Ruling::uncertain, FailureClass::transient},
    });
  }
}

TEST(Classify, PagesThatAreNotJsonNeverCondemnAToken) {
  for (const int status : {400, 401, 403, 404, 451}) {
    for (const char* body : {"", "<html>Forbidden invalid_grant</html>", "invalid_grant", "[]"}) {
      expect({{"nous", status, body, Ruling::unspent, FailureClass::transient},
              {"xai-oauth", status, body, Ruling::unspent, FailureClass::transient}});
    }
  }
}

TEST(Classify, NousKnowsDeadGrantsAndEmptyPurses) {
  expect({
      {"nous", 400, kInvalidGrant, Ruling::rejected, FailureClass::terminal},
      {"nous", 401, R"({"error":"invalid_token"})", Ruling::rejected, FailureClass::terminal},
      {"nous", 400, R"({"error":{"code":"refresh_token_reused"}})", Ruling::rejected,
       FailureClass::terminal},
      {"nous", 402, R"({"error":"insufficient_credits"})", Ruling::unspent,
       FailureClass::entitlement},
      {"nous", 403, R"({"error":"subscription_required"})", Ruling::unspent,
       FailureClass::entitlement},
      {"nous", 403, R"({"error":"access_denied"})", Ruling::rejected, FailureClass::login},
      {"nous", 400, R"({"error":"something_new"})", Ruling::unspent, FailureClass::transient},
      {"nous", 404, R"({"error":"something_new"})", Ruling::unspent, FailureClass::transient},
  });
}

TEST(Classify, ErrorJsonWithoutErrorIsJudgedByStatusAndCondemnsNoToken) {
  expect({
      {"nous", 400, R"({"message":"bad request"})", Ruling::unspent, FailureClass::transient},
      {"nous", 401, R"({"message":"who are you"})", Ruling::unspent, FailureClass::transient},
      {"nous", 403, "{}", Ruling::unspent, FailureClass::transient},
      {"nous", 429, "{}", Ruling::unspent, FailureClass::rate_limited},
      {"nous", 500, "{}", Ruling::uncertain, FailureClass::transient},
  });
}

// Gateways put the words or the number of the status where a code belongs.
TEST(Classify, ACodeThatOnlyRepeatsItsStatusSaysNoMoreThanTheStatus) {
  for (const char* provider : {"nous", "anthropic", "spotify", "minimax-oauth"}) {
    expect({
        {provider, 401, "{}", Ruling::unspent, FailureClass::transient},
        {provider, 401, R"({"error":"Unauthorized"})", Ruling::unspent, FailureClass::transient},
        {provider, 401, R"({"error":"401"})", Ruling::unspent, FailureClass::transient},
        {provider, 401, R"({"error":{"code":401,"message":"no"}})", Ruling::unspent,
         FailureClass::transient},
        {provider, 403, R"({"error":"Forbidden"})", Ruling::unspent, FailureClass::transient},
        {provider, 401, R"({"error":"access_denied"})", Ruling::rejected, FailureClass::login},
    });
  }
}

TEST(Classify, CodexAsksForALoginWithoutBuryingTheToken) {
  expect({
      {"openai-codex", 400, kInvalidGrant, Ruling::rejected, FailureClass::terminal},
      {"openai-codex", 400, R"({"error":{"code":"refresh_token_reused","message":"m"}})",
       Ruling::rejected, FailureClass::terminal},
      {"openai-codex", 400, R"({"error":"invalid_request"})", Ruling::rejected,
       FailureClass::login},
      {"openai-codex", 401, R"({"error":{"code":"internal_error"}})", Ruling::rejected,
       FailureClass::login},
      {"openai-codex", 403, "{}", Ruling::rejected, FailureClass::login},
      {"openai-codex", 404, "{}", Ruling::unspent, FailureClass::transient},
  });
}

TEST(Classify, EachOtherProviderHasItsOwnTable) {
  expect({
      {"xai-oauth", 400, R"({"error":"bad"})", Ruling::rejected, FailureClass::terminal},
      {"xai-oauth", 401, "{}", Ruling::rejected, FailureClass::terminal},
      {"xai-oauth", 403, R"({"error":"tier"})", Ruling::unspent, FailureClass::entitlement},
      {"minimax-oauth", 400, R"({"message":"got Invalid_Refresh_Token here"})", Ruling::rejected,
       FailureClass::terminal},
      {"minimax-oauth", 400, R"({"error":"invalid_refresh_token"})", Ruling::rejected,
       FailureClass::terminal},
      {"qwen-oauth", 400, kInvalidGrant, Ruling::rejected, FailureClass::login},
      {"qwen-oauth", 404, R"({"error":"x"})", Ruling::unspent, FailureClass::transient},
      {"spotify", 400, kInvalidGrant, Ruling::rejected, FailureClass::terminal},
      {"anthropic", 400, kInvalidGrant, Ruling::rejected, FailureClass::terminal},
      {"anthropic", 400, R"({"error":{"type":"rate_limit_error","message":"m"}})", Ruling::unspent,
       FailureClass::rate_limited},
  });
}

TEST(Classify, CodesThatMeanTheSameEverywhereNeedNoTable) {
  expect({
      {"spotify", 400, R"({"error":"temporarily_unavailable"})", Ruling::unspent,
       FailureClass::transient},
      {"spotify", 400, R"({"error":"server_error"})", Ruling::unspent, FailureClass::transient},
      {"spotify", 400, R"({"error":"slow_down"})", Ruling::unspent, FailureClass::rate_limited},
  });
}

TEST(Classify, ARefusalWithoutAWordCountsAsOneThatNobodyKnows) {
  for (const int status : {400, 401, 403}) {
    for (const char* body : {"", " \r\n", "{}"}) {
      const Verdict verdict = classify(status, read_error(TokenAnswer(body)), {});
      EXPECT_TRUE(verdict.unknown) << status << body;
      EXPECT_EQ(verdict.ruling, Ruling::unspent);
    }
    EXPECT_FALSE(classify(status, read_error(TokenAnswer("", /*complete=*/false)), {}).unknown);
    EXPECT_FALSE(classify(status, read_error(TokenAnswer("<html>")), {}).unknown);
  }
}

TEST(Classify, ARuleForStatus200KnowsANoThatLooksLikeAYes) {
  const std::vector<ErrorRule> rules{{200, "bad_refresh_token", "", FailureClass::terminal},
                                     {std::nullopt, "", "", FailureClass::terminal}};
  const auto judged = [&](const char* body) {
    return classify(200, read_error(TokenAnswer(body)), rules).ruling;
  };

  EXPECT_EQ(judged(R"({"error":"bad_refresh_token"})"), Ruling::rejected);
  EXPECT_EQ(judged(R"({"error":"other"})"), Ruling::uncertain);
  EXPECT_EQ(judged("<html>"), Ruling::uncertain);
}

TEST(Classify, NoIsANoAlsoWithStatus200) {
  expect({
      {"spotify", 200, kInvalidGrant, Ruling::rejected, FailureClass::terminal},
      {"spotify", 200, R"({"error":"bad_refresh_token"})", Ruling::rejected,
       FailureClass::terminal},
      {"qwen-oauth", 200, kInvalidGrant, Ruling::rejected, FailureClass::login},
      {"nous", 200, R"({"error":{"code":"invalid_token"}})", Ruling::rejected,
       FailureClass::terminal},
      {"nous", 200, R"({"error":"subscription_required"})", Ruling::unspent,
       FailureClass::entitlement},
      {"spotify", 200, R"({"error":"login_required"})", Ruling::rejected, FailureClass::login},
  });
}

TEST(Classify, NotNowIsNotNowAlsoWithStatus200) {
  expect({
      {"spotify", 200, R"({"error":"temporarily_unavailable"})", Ruling::unspent,
       FailureClass::transient},
      {"spotify", 200, R"({"error":"slow_down"})", Ruling::unspent, FailureClass::rate_limited},
      {"spotify", 200, R"({"error":"rate_limited"})", Ruling::unspent, FailureClass::rate_limited},
      {"spotify", 200, R"({"error":"invalid_client"})", Ruling::unspent, FailureClass::transient},
      {"anthropic", 200, R"({"error":{"type":"overloaded_error"}})", Ruling::unspent,
       FailureClass::transient},
  });
}

TEST(Classify, AnErrorWithStatus200ThatNobodyKnowsIsUncertain) {
  expect({
      {"nous", 200, R"({"error":"something_new"})", Ruling::uncertain, FailureClass::transient},
      {"nous", 200, R"({"error":"server_error"})", Ruling::uncertain, FailureClass::transient},
      {"nous", 200, R"({"message":"the token has already been used"})", Ruling::uncertain,
       FailureClass::transient},
      {"xai-oauth", 200, R"({"error":"bad"})", Ruling::uncertain, FailureClass::transient},
      {"nous", 200, "<html>invalid_grant</html>", Ruling::uncertain, FailureClass::transient},
  });
}

TEST(Classify, WhereSomebodyHasToComeALoginIsWanted) {
  for (const char* provider :
       {"nous", "openai-codex", "anthropic", "qwen-oauth", "minimax-oauth", "spotify"}) {
    for (const char* body :
         {R"({"error":"interaction_required"})", R"({"error":"login_required"})",
          R"({"error":"consent_required"})", R"({"error":"account_selection_required"})"}) {
      expect({{provider, 400, body, Ruling::rejected, FailureClass::login}});
    }
  }
}

TEST(Classify, QwenCallsADeadTokenAnInvalidRequest) {
  expect({
      {"qwen-oauth", 400,
       R"({"error":"invalid_request","error_description":"Invalid refresh token or client_id"})",
       Ruling::rejected, FailureClass::login},
      {"spotify", 400, R"({"error":"invalid_request"})", Ruling::unspent, FailureClass::transient},
  });
}

TEST(Classify, AnthropicDoesNotFindADeadToken) {
  const char* body = R"({"type":"error","error":{"type":"not_found_error","message":"x"}})";
  expect({
      {"anthropic", 404, body, Ruling::rejected, FailureClass::login},
      {"spotify", 404, body, Ruling::unspent, FailureClass::transient},
      {"anthropic", 404, "<html>Not found</html>", Ruling::unspent, FailureClass::transient},
  });
}

TEST(Classify, ARefusalThatWasCutCountsIfItsCodeIsWhole) {
  expect({
      {"nous", 400, R"({"error":"invalid_grant","error_descr)", Ruling::rejected,
       FailureClass::terminal},
      {"nous", 400, R"({"error":"invalid_gra)", Ruling::unspent, FailureClass::transient},
      {"nous", 401, R"({"messa)", Ruling::unspent, FailureClass::transient},
  });
}

TEST(Classify, ReuseIsKnownByCodeOrByItsUsualWords) {
  for (
      const char* body :
      {R"({"error":"refresh_token_reused"})", R"({"error":{"code":"Refresh_Token_REUSED"}})",
       R"({"error":"invalid_grant","error_description":"Refresh token reuse detected; please re-authenticate"})",
       R"({"error":"x","message":"Token Reuse"})"}) {
    const Verdict got = verdict("nous", 400, body);
    EXPECT_TRUE(got.reuse) << body;
    EXPECT_EQ(got.failure, FailureClass::terminal) << body;
  }
}

TEST(Classify, ReuseIsKnownWhateverTheStatusAndTheCode) {
  const char* words = R"(","error_description":"The refresh token has already been used"})";
  for (const int status : {200, 400, 401, 403, 404, 409, 422}) {
    for (const char* code : {"invalid_grant", "invalid_request", "access_denied", "x"}) {
      const std::string body = R"({"error":")" + std::string(code) + words;
      for (const char* provider : {"nous", "openai-codex", "xai-oauth", "spotify"}) {
        const Verdict got = verdict(provider, status, body);
        EXPECT_TRUE(got.reuse) << status << body;
        EXPECT_EQ(got.ruling, Ruling::rejected) << status << body;
      }
    }
  }
  for (const int status : {408, 425, 429, 500, 503}) {
    EXPECT_FALSE(verdict("nous", status, R"({"error":"x)" + std::string(words)).reuse) << status;
  }
}

TEST(Classify, ReuseIsKnownInManyWords) {
  for (const char* words :
       {"Invalid Refresh Token: Already Used",
        "the refresh token was already used",
        "Your refresh token has already been used to generate a new access token.",
        "Token has been used",
        "the token provided was used",
        "refresh_token_reused",
        "token_already_rotated",
        "Refresh token was consumed by another client",
        "this grant was already redeemed",
        "has previously been exchanged",
        "token consumed",
        "Maximum allowed refresh token reuse exceeded",
        "Re-use of a refresh token",
        "REUSE DETECTED",
        "reuse has been detected",
        "we detected a possible replay",
        "refresh tokens can only be used once",
        "it was used twice",
        "used more than once",
        "The refresh token was re-used",
        "token has been superseded"}) {
    EXPECT_TRUE(says_reuse({true, "invalid_request", words})) << words;
    EXPECT_TRUE(says_reuse({true, words, ""})) << words;
  }
}

TEST(Classify, ReusableConnectionsAreNoReuse) {
  for (const char* words :
       {"this is not a reusable connection", "please reuse your session", "unused",
        "the token has not been used for 90 days", "hasn't been used", "never been used",
        "an unsupported grant type was used", "the wrong client was used with this token",
        "the redirection URI used in the authorization request", "All tokens have been used up",
        "cannot be used here", "the refresh token used is invalid", "token expired",
        "your credits have been consumed", "is used by another client", ""}) {
    EXPECT_FALSE(says_reuse({true, "invalid_grant", words})) << words;
  }
  EXPECT_FALSE(verdict("nous", 500, R"({"error":"refresh_token_reused"})").reuse);
}

TEST(Classify, BothShapesOfErrorBodiesAreRead) {
  const ErrorBody nested =
      read_error(TokenAnswer(R"({"error":{"type":" rate_limited ","message":" slow down "}})"));
  EXPECT_EQ(nested.code, "rate_limited");
  EXPECT_EQ(nested.description, "slow down");

  const ErrorBody flat =
      read_error(TokenAnswer(R"({"error":"x","error_description":" ","message":"m"})"));
  EXPECT_EQ(flat.code, "x");
  EXPECT_EQ(flat.description, "m");

  EXPECT_EQ(read_error(TokenAnswer(R"({"error":7})")).code, "");
  EXPECT_FALSE(read_error(TokenAnswer("[]")).json);
}

}  // namespace
}  // namespace authdb::oauth
