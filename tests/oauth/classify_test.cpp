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

TEST(Classify, ErrorJsonWithoutErrorIsJudgedByStatusAndNeverTerminal) {
  expect({
      {"nous", 400, R"({"message":"bad request"})", Ruling::unspent, FailureClass::transient},
      {"nous", 401, R"({"message":"who are you"})", Ruling::rejected, FailureClass::login},
      {"nous", 403, "{}", Ruling::unspent, FailureClass::transient},
      {"nous", 429, "{}", Ruling::unspent, FailureClass::rate_limited},
      {"nous", 500, "{}", Ruling::uncertain, FailureClass::transient},
  });
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

TEST(Classify, ReusableConnectionsAreNoReuse) {
  for (const char* body :
       {R"({"error":"internal_error","error_description":"this is not a reusable connection"})",
        R"({"error":"invalid_grant","error_description":"please reuse your session"})"}) {
    EXPECT_FALSE(verdict("nous", 400, body).reuse) << body;
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
