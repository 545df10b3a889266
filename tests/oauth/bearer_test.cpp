#include "oauth/bearer.h"

#include "bearer_fixture.h"
#include "store/file_lock.h"
#include "store/rotation.h"

namespace authdb::oauth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kDead =
    R"({"error":"invalid_grant","error_description":"refresh token is no longer valid"})";

Seed with_key(Seconds expires_in) {
  Seed seed;
  seed.agent_key = "seed-key";
  seed.key_expires_in = expires_in;
  return seed;
}

std::string fp(const std::string& token) { return fingerprint(token_hash(token)); }

// ---- Agent keys --------------------------------------------------------------------------------

TEST_F(BearerTest, FreshKeyCostsNoRequest) {
  add(with_key(Seconds{1800}));
  const auto got = bearer();

  EXPECT_EQ(text(got), "seed-key");
  EXPECT_EQ(got->kind, BearerKind::agent_key);
  EXPECT_EQ(got->action, Action::cached);
  EXPECT_EQ(got->fingerprint, fp("seed-key"));
  EXPECT_EQ(got->expires_at, kStart + Seconds{1800});
  EXPECT_EQ(got->base_url, "https://inference-api.nousresearch.com/v1");
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(BearerTest, MissingKeyIsMintedOnceAndKept) {
  add({});
  answer_mint("1");
  const auto first = bearer();

  EXPECT_EQ(text(first), "MINTED-1");
  EXPECT_EQ(first->action, Action::minted);
  EXPECT_EQ(first->expires_at, kStart + Seconds{1800});
  EXPECT_EQ(http_script_->seen.at(0).headers.at("Authorization"), "Bearer seed-oauth");
  EXPECT_EQ(text(bearer()), "MINTED-1");
  EXPECT_THAT(asked(), ElementsAre("agent-key"));
}

TEST_F(BearerTest, KeyWithinTheSkewOrOfUnknownLifeIsReplaced) {
  for (const std::optional<Seconds> life :
       {std::optional(Seconds{120}), std::optional<Seconds>()}) {
    Seed seed = with_key(Seconds{0});
    seed.key_expires_in = life;
    seed.profile = life ? "a" : "b";
    seed.refresh = "rt-" + seed.profile;
    add(seed);
    answer_mint(seed.profile);
    BearerRequest request;
    request.provider = "nous";
    request.profile = seed.profile;

    EXPECT_EQ(text(source().bearer(request)), "MINTED-" + seed.profile);
  }
}

TEST_F(BearerTest, KeyShorterThanTheSkewIsNotMintedOnEachCall) {
  add({});
  answer_mint("1", 100);
  answer_mint("2", 100);

  EXPECT_EQ(text(bearer()), "MINTED-1");
  pass(Seconds{49});
  EXPECT_EQ(text(bearer()), "MINTED-1");
  pass(Seconds{2});
  EXPECT_EQ(text(bearer()), "MINTED-2");
}

TEST_F(BearerTest, ClockThatWasSteppedBackCostsOneMint) {
  add({});
  answer_mint("1");
  answer_mint("2");
  bearer();
  pass(-Seconds{3600});

  EXPECT_EQ(text(bearer()), "MINTED-2");
  EXPECT_EQ(text(bearer()), "MINTED-2");
}

TEST_F(BearerTest, CallerMayAskForMoreLifeButNotForMoreThanHalf) {
  add({});
  answer_mint("1", 1800);
  answer_mint("2", 1800);
  bearer();

  EXPECT_EQ(text(bearer({}, Seconds{86400})), "MINTED-1") << "a mint per call otherwise";
  pass(Seconds{901});
  EXPECT_EQ(text(bearer()), "MINTED-1");
  EXPECT_EQ(text(bearer({}, Seconds{900})), "MINTED-2");
}

TEST_F(BearerTest, ExpiringAccessTokenIsRefreshedBeforeTheMint) {
  Seed seed;
  seed.expires_in = Seconds{30};
  const Uid uid = add(seed);
  answer_refresh("1");
  answer_mint("1");

  EXPECT_EQ(text(bearer()), "MINTED-1");
  EXPECT_THAT(asked(), ElementsAre("token", "agent-key"));
  EXPECT_THAT(http_script_->seen[0].body, HasSubstr("refresh_token=seed-refresh"));
  EXPECT_EQ(http_script_->seen[1].headers.at("Authorization"), "Bearer REFRESHED-OAUTH-1");
  EXPECT_EQ(text(open().unseal(uid)->refresh_token), "REFRESHED-RT-1");
}

TEST_F(BearerTest, AccessTokenOfUnknownExpiryIsNotRefreshedForAMint) {
  Seed seed;
  seed.expires_in.reset();
  add(seed);
  answer_mint("1");
  bearer();

  EXPECT_THAT(asked(), ElementsAre("agent-key"));
}

TEST_F(BearerTest, RotationStandsWhenTheMintFails) {
  Seed seed;
  seed.expires_in = Seconds{30};
  const Uid uid = add(seed);
  answer_refresh("1");
  answer(402, R"({"error":"insufficient_credits","error_description":"top up"})");
  const auto got = bearer();

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::try_later);
  EXPECT_THAT(got.error().message, HasSubstr("insufficient_credits: top up"));
  EXPECT_EQ(text(open().unseal(uid)->refresh_token), "REFRESHED-RT-1");
}

TEST_F(BearerTest, RefusedMintRefreshesOnceAndMintsOnceMore) {
  add({});
  answer(401, R"({"error":"invalid_token"})");
  answer_refresh("1");
  answer_mint("1");

  EXPECT_EQ(text(bearer()), "MINTED-1");
  EXPECT_THAT(asked(), ElementsAre("agent-key", "token", "agent-key"));
}

TEST_F(BearerTest, MintRefusedTwiceNeedsALogin) {
  add({});
  answer(401, R"({"error":"invalid_token"})");
  answer_refresh("1");
  answer(401, R"({"error":"invalid_token"})");
  const auto got = bearer();

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().hint, HasSubstr("hermes auth add nous"));
  EXPECT_THAT(asked(), ElementsAre("agent-key", "token", "agent-key"));

  EXPECT_EQ(bearer().error().code, Errc::login_needed);
  EXPECT_EQ(asked().size(), 3U) << "a dead login is not asked for again";
}

TEST_F(BearerTest, AMintThatFailsIsNotTriedByEverybodyAndSpendsOneRefreshTokenAtMost) {
  struct Failing {
    int status;
    const char* body;
    std::size_t refreshes;
  };
  for (const Failing& one : {Failing{503, "", 0}, Failing{429, "", 0}, Failing{402, "{}", 0},
                             Failing{401, "<html>Unauthorized</html>", 0},
                             Failing{401, R"({"error":"unauthorized"})", 1}}) {
    Seed seed;
    seed.profile += std::to_string(one.status) + std::to_string(one.refreshes);
    seed.refresh += seed.profile;
    const Uid uid = add(seed);
    http_script_->seen.clear();
    const auto ask = [&] {
      BearerRequest request;
      request.provider = seed.provider;
      request.credential = uid;
      return source().bearer(request);
    };
    answer(one.status, one.body);
    if (one.refreshes > 0) {
      answer_refresh("1");
      answer(one.status, one.body);
    }
    EXPECT_EQ(ask().error().code, Errc::try_later) << one.status;
    const std::size_t first = asked().size();
    EXPECT_EQ(first, 1 + 2 * one.refreshes);

    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(ask().error().message, HasSubstr("left alone until")) << one.status;
    }
    EXPECT_EQ(asked().size(), first) << one.status << " " << one.body;
    pass(Seconds{61});
    answer(one.status, one.body);
    EXPECT_EQ(ask().error().code, Errc::try_later);
    EXPECT_EQ(asked().size(), first + 1) << "no token for what another did not mend";
    pass(Seconds{61});
    answer_mint("9");
    EXPECT_TRUE(ask());
    EXPECT_EQ(open().find(uid)->renewal.failures, 0);
  }
}

TEST_F(BearerTest, ForbiddenMintNeedsALoginAtOnce) {
  add({});
  answer(403, R"({"error":"tenant_suspended"})");
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().message, HasSubstr("tenant_suspended"));
  EXPECT_THAT(asked(), ElementsAre("agent-key"));
}

TEST_F(BearerTest, MintThatFailsOtherwiseIsTriedLater) {
  add({});
  for (const int status : {0, 200, 302, 404, 429, 500, 503}) {
    answer(status, "");
    const auto got = bearer();

    ASSERT_FALSE(got) << status;
    EXPECT_EQ(got.error().code, Errc::try_later) << status;
    EXPECT_THAT(got.error().message, HasSubstr("agent-key mint failed for nous \"personal\""));
    pass(Seconds{61});
  }
}

TEST_F(BearerTest, ServerThatAsksToWaitIsQuotedOnTheTime) {
  add({});
  Answer slow = answered(429, "{}");
  slow.retry_after = Seconds{7};
  http_script_->answers.push_back(std::move(slow));

  EXPECT_THAT(bearer().error().hint, HasSubstr("7 s"));
}

TEST_F(BearerTest, KeyThatStillLivesIsServedWhenTheMintFails) {
  add(with_key(Seconds{60}));
  answer(503, "");
  const auto got = bearer();

  EXPECT_EQ(text(got), "seed-key");
  EXPECT_THAT(got->warnings, ElementsAre(HasSubstr("status 503")));
}

TEST_F(BearerTest, TransportThatThrowsLosesNothingAndIsAFailureLikeAnother) {
  class Throwing final : public HttpTransport {
    Answer perform(const HttpRequest&, const std::function<bool()>&) override {
      throw std::runtime_error("the caller's own");
    }
  };
  const Uid uid = add({});
  http_ = std::make_shared<Throwing>();

  const auto failed = bearer();

  EXPECT_EQ(failed.error().code, Errc::try_later);
  EXPECT_THAT(failed.error().message, HasSubstr("given up: the caller's own"));
  http_ = http_script_;
  pass(Seconds{1});
  answer_mint("1");
  EXPECT_EQ(text(bearer()), "MINTED-1");
  EXPECT_EQ(text(open().unseal(uid)->refresh_token), "seed-refresh");
}

TEST_F(BearerTest, RequestToStopBeforeAMintSendsNothing) {
  add({});
  std::stop_source stop;
  stop.request_stop();
  BearerRequest request;
  request.provider = provider_;
  request.stop = stop.get_token();

  EXPECT_EQ(source().bearer(request).error().code, Errc::stopped);
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(BearerTest, DeadGrantIsNotMintedWith) {
  Seed seed;
  seed.expires_in = Seconds{30};
  add(seed);
  answer(400, kDead);
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().message, HasSubstr("refresh token is no longer valid"));
  EXPECT_NE(got.error().hint, "");
  EXPECT_THAT(asked(), ElementsAre("token"));
}

TEST_F(BearerTest, RefreshTokenThatCameAloneIsSentNextTime) {
  Seed seed;
  seed.expires_in = Seconds{-5};
  add(seed);
  answer(200, R"({"refresh_token":"rt-alone"})");
  answer_refresh("2");
  answer_mint("2");

  EXPECT_EQ(bearer().error().code, Errc::try_later);
  EXPECT_EQ(text(bearer()), "MINTED-2");
  EXPECT_THAT(http_script_->seen[1].body, HasSubstr("refresh_token=rt-alone"));
}

TEST_F(BearerTest, RefreshMayBringATokenThatNeedsNoKey) {
  Seed seed;
  seed.expires_in = Seconds{30};
  add(seed);
  const std::string jwt = fake_jwt(R"({"scope":"inference:invoke","exp":1790086400})");
  answer(200, R"({"access_token":")" + jwt + R"(","refresh_token":"r2"})");
  const auto got = bearer();

  EXPECT_EQ(text(got), jwt);
  EXPECT_EQ(got->kind, BearerKind::access_token);
  EXPECT_EQ(got->action, Action::refreshed);
  EXPECT_EQ(text(bearer()), jwt);
  EXPECT_THAT(asked(), ElementsAre("token"));
}

TEST_F(BearerTest, WhoHasALiveKeyDoesNotWaitForAnothersMint) {
  const Uid uid = add(with_key(Seconds{60}));
  const Store store = open();
  const auto other = LockedCredential::acquire(store, uid, {Milliseconds{0}});
  ASSERT_TRUE(other);

  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(text(bearer()), "seed-key");
  EXPECT_LT(std::chrono::steady_clock::now() - start, Seconds{15});
  EXPECT_THAT(asked(), IsEmpty());
}

// ---- Access tokens that are bearers ------------------------------------------------------------

TEST_F(BearerTest, JwtEraServesTheTokenAndRefreshesByHeader) {
  Seed seed = jwt_seed();
  seed.expires_in = Seconds{600};
  add(seed);
  const std::string jwt = fake_jwt(R"({"scope":"inference:invoke","exp":1790003600})");
  answer(200, R"({"access_token":")" + jwt + R"(","refresh_token":"r2"})");

  EXPECT_EQ(text(bearer()), "seed-oauth");
  pass(Seconds{500});
  const auto got = bearer();
  EXPECT_EQ(text(got), jwt);
  EXPECT_EQ(got->action, Action::refreshed);
  EXPECT_EQ(got->expires_at, at_millis(1'790'003'600'000));
  EXPECT_EQ(http_script_->seen.at(0).headers.at("x-nous-refresh-token"), "seed-refresh");
  EXPECT_THAT(http_script_->seen.at(0).body, Not(HasSubstr("seed-refresh")));
}

TEST_F(BearerTest, TokenOfUnknownExpiryIsNotRefreshed) {
  Seed seed = jwt_seed();
  seed.expires_in.reset();
  add(seed);

  EXPECT_EQ(text(bearer()), "seed-oauth");
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(BearerTest, TokenThatStillLivesIsServedWhenTheRefreshFails) {
  Seed seed = jwt_seed();
  seed.expires_in = Seconds{60};
  add(seed);
  answer(503, "<html>down</html>");
  const auto got = bearer();

  EXPECT_EQ(text(got), "seed-oauth");
  EXPECT_THAT(got->warnings, ElementsAre(HasSubstr("status 503")));
}

TEST_F(BearerTest, TokenThatIsOverIsNotServedWhenTheRefreshFails) {
  Seed seed = jwt_seed();
  seed.expires_in = Seconds{-1};
  add(seed);
  answer(503, "");

  EXPECT_EQ(bearer().error().code, Errc::try_later);
}

TEST_F(BearerTest, DeadGrantIsAnErrorEvenWhileItsTokenLives) {
  Seed seed = jwt_seed();
  seed.expires_in = Seconds{60};
  add(seed);
  answer(400, kDead);

  EXPECT_EQ(bearer().error().code, Errc::login_needed);
}

TEST_F(BearerTest, TokensDoNotGoToAStrangersPortal) {
  Seed seed = jwt_seed();
  seed.portal = "https://evil.example";
  seed.expires_in = Seconds{-1};
  add(seed);

  EXPECT_EQ(bearer().error().code, Errc::refused);
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(BearerTest, ProviderThatNobodyKnowsIsServedWhileItLives) {
  provider_ = "strange";
  Seed seed = jwt_seed();
  seed.provider = "strange";
  seed.expires_in = Seconds{60};
  add(seed);

  EXPECT_EQ(text(bearer()), "seed-oauth");
  pass(Seconds{60});
  EXPECT_EQ(bearer().error().code, Errc::not_found);
}

// ---- Rejected bearers --------------------------------------------------------------------------

TEST_F(BearerTest, RejectedKeyIsReplacedAndTheNextCallerAdopts) {
  add(with_key(Seconds{1800}));
  answer_mint("1");

  EXPECT_EQ(text(bearer(fp("seed-key"))), "MINTED-1");
  const auto next = bearer(fp("seed-key"));
  EXPECT_EQ(text(next), "MINTED-1");
  EXPECT_EQ(next->action, Action::adopted);
  EXPECT_THAT(asked(), ElementsAre("agent-key"));
}

TEST_F(BearerTest, RejectedKeyOfAnExpiringTokenIsRefreshedAndThenMinted) {
  Seed seed = with_key(Seconds{1800});
  seed.expires_in = Seconds{30};
  add(seed);
  answer_refresh("1");
  answer_mint("1");

  EXPECT_EQ(text(bearer(fp("seed-key"))), "MINTED-1");
  EXPECT_THAT(asked(), ElementsAre("token", "agent-key"));
}

TEST_F(BearerTest, FreshReplacementThatIsRejectedTooNeedsALogin) {
  add(with_key(Seconds{1800}));
  answer_mint("1");
  bearer(fp("seed-key"));
  pass(Seconds{2});
  const auto got = bearer(fp("MINTED-1"));

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().message, HasSubstr("the grant may have been revoked"));
  EXPECT_THAT(asked(), ElementsAre("agent-key"));
}

TEST_F(BearerTest, ReplacementThatIsRejectedMuchLaterIsReplacedAgain) {
  add(with_key(Seconds{1800}));
  answer_mint("1", 86400);
  answer_mint("2");
  bearer(fp("seed-key"));
  pass(Seconds{3600});

  EXPECT_EQ(text(bearer(fp("MINTED-1"))), "MINTED-2");
}

TEST_F(BearerTest, FirstKeyOfALoginMayBeRejectedOnce) {
  add({});
  answer_mint("1");
  answer_mint("2");
  bearer();

  EXPECT_EQ(text(bearer(fp("MINTED-1"))), "MINTED-2");
}

TEST_F(BearerTest, RejectedTokenIsRefreshedOnceAndNotForEver) {
  add(jwt_seed());
  const std::string jwt = fake_jwt(R"({"scope":"inference:invoke","exp":1790086400})");
  answer(200, R"({"access_token":")" + jwt + R"(","refresh_token":"r2"})");

  const auto first = bearer(fp("seed-oauth"));
  EXPECT_EQ(text(first), jwt);
  EXPECT_EQ(first->action, Action::refreshed);
  EXPECT_EQ(bearer(fp("seed-oauth"))->action, Action::adopted);
  EXPECT_EQ(bearer(fp(jwt)).error().code, Errc::login_needed);
  EXPECT_THAT(asked(), ElementsAre("token"));
}

TEST_F(BearerTest, RejectedKeyIsNotServedWhenTheMintFails) {
  add(with_key(Seconds{1800}));
  answer(503, "");

  EXPECT_EQ(bearer(fp("seed-key")).error().code, Errc::try_later);
}

TEST_F(BearerTest, P8_AMintThatBringsTheRejectedKeyAgainNeedsALoginAndIsNotRepeatedAtOnce) {
  add(with_key(Seconds{1800}));
  answer(200, R"({"api_key":"seed-key","key_id":"k","expires_in":1800})");
  answer_mint("2");

  EXPECT_EQ(bearer(fp("seed-key")).error().code, Errc::login_needed);
  EXPECT_EQ(bearer().error().code, Errc::login_needed) << "for everybody";
  pass(std::chrono::minutes{5} - Seconds{1});
  EXPECT_EQ(bearer().error().code, Errc::login_needed);
  EXPECT_THAT(asked(), ElementsAre("agent-key"));

  pass(Seconds{1});
  EXPECT_EQ(text(bearer()), "MINTED-2");
}

TEST_F(BearerTest, WhereTheTokenEndpointRestsNoKeyIsAskedForEither) {
  Seed seed;
  seed.expires_in = Seconds{30};  // due, and alive
  const Uid uid = add(seed);
  answer(503, "");
  ASSERT_FALSE(bearer());
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::try_later);
  EXPECT_THAT(got.error().message, HasSubstr("left alone until"));
  EXPECT_THAT(asked(), ElementsAre("token"));

  answer_refresh("1");
  answer_mint("1");
  EXPECT_EQ(text(source().mint(uid, "default")), "MINTED-1") << "who asks for a mint insists";
}

TEST_F(BearerTest, TokenWhoseLifetimeWasCutOffIsDueWithinAMinute) {
  Seed seed = jwt_seed();
  seed.expires_in = Seconds{-1};
  const Uid uid = add(seed);
  const std::string first = fake_jwt(R"({"scope":"inference:invoke","sub":"1"})");
  const std::string second = fake_jwt(R"({"scope":"inference:invoke","sub":"1","exp":1790086400})");
  Answer cut =
      answered(200, R"({"refresh_token":"r2","access_token":")" + first + R"(","expires_in":86)");
  cut.complete = false;
  http_script_->answers.push_back(std::move(cut));
  answer(200, R"({"access_token":")" + second + R"(","refresh_token":"r3"})");

  EXPECT_EQ(text(bearer()), first);
  EXPECT_LE(open().find(uid)->refresh_at, kStart + Seconds{60});
  EXPECT_EQ(text(bearer()), first) << "and not at once";
  pass(Seconds{60});
  EXPECT_EQ(text(bearer()), second);
}

// ---- Without a refresh token -------------------------------------------------------------------

TEST_F(BearerTest, LiveKeyWithoutARefreshTokenIsServedUntilItIsOver) {
  Seed seed = with_key(Seconds{60});
  seed.refresh.clear();
  add(seed);

  EXPECT_EQ(text(bearer()), "seed-key");
  pass(Seconds{60});
  EXPECT_EQ(bearer().error().code, Errc::login_needed);
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(BearerTest, StaticKeyInTheTokensPlaceIsServed) {
  Seed seed;
  seed.access = "sk-static-key";
  seed.refresh.clear();
  seed.expires_in.reset();
  add(seed);

  EXPECT_EQ(text(bearer()), "sk-static-key");
}

TEST_F(BearerTest, AccessTokenAloneIsAPartialSetup) {
  Seed seed;
  seed.refresh.clear();
  add(seed);
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().message, HasSubstr("partial OAuth setup"));
}

TEST_F(BearerTest, TokenWithoutARefreshTokenIsServedWhileItLives) {
  Seed seed = jwt_seed();
  seed.refresh.clear();
  seed.expires_in = Seconds{60};
  add(seed);

  EXPECT_EQ(text(bearer()), "seed-oauth");
  EXPECT_EQ(bearer(fp("seed-oauth")).error().code, Errc::login_needed);
  EXPECT_EQ(bearer().error().code, Errc::try_later) << "rests for everybody";
  pass(std::chrono::minutes{5});
  EXPECT_EQ(bearer().error().code, Errc::login_needed) << "it has expired";
}

// Bearers that nobody can replace: their refresh token or their provider is gone.
std::vector<Seed> unrenewable() {
  Seed token = jwt_seed();
  token.refresh.clear();
  Seed key = with_key(Seconds{86400});
  key.refresh.clear();
  Seed of_nobody = jwt_seed();
  of_nobody.provider = "strange";
  std::vector<Seed> all{token, key, of_nobody};
  for (std::size_t i = 0; i < all.size(); ++i) all[i].profile = "p" + std::to_string(i);
  return all;
}

std::string bearer_of(const Seed& seed) {
  return seed.agent_key.empty() ? seed.access : seed.agent_key;
}

BearerRequest request_for(const Seed& seed) {
  BearerRequest request;
  request.provider = seed.provider;
  request.profile = seed.profile;
  return request;
}

TEST_F(BearerTest, P8_ARejectedBearerThatNobodyCanReplaceIsServedToNobody) {
  for (const Seed& seed : unrenewable()) {
    add(seed);
    BearerRequest request = request_for(seed);
    ASSERT_EQ(text(source().bearer(request)), bearer_of(seed));
    request.rejected = fp(bearer_of(seed));
    EXPECT_FALSE(source().bearer(request)) << seed.profile;

    request.rejected.clear();
    EXPECT_FALSE(source().bearer(request)) << seed.profile;
    pass(std::chrono::minutes{6});
    EXPECT_FALSE(source().bearer(request)) << seed.profile << ", after its rest";
  }
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(BearerTest, P8_ABearerThatIsReportedAndThatNobodyCanReplaceIsServedToNobody) {
  for (const Seed& seed : unrenewable()) {
    const Uid uid = add(seed);
    ASSERT_EQ(source().report(uid, fp(bearer_of(seed)), {401, {}, "", "", seed.profile})->end,
              ReportEnd::noted);

    EXPECT_FALSE(source().bearer(request_for(seed))) << seed.profile;
    pass(std::chrono::minutes{6});
    EXPECT_FALSE(source().bearer(request_for(seed))) << seed.profile << ", after its rest";
  }
  EXPECT_THAT(asked(), IsEmpty());
}

// ---- API keys ----------------------------------------------------------------------------------

Seed api_key_seed(const std::string& label, const std::string& key, const std::string& source) {
  Seed seed;
  seed.label = label;
  seed.auth_type = AuthType::api_key;
  seed.kind = BearerKind::api_key;
  seed.source = source;
  seed.access = key;
  seed.refresh.clear();
  seed.expires_in.reset();
  return seed;
}

TEST_F(BearerTest, ApiKeyIsTheBearer) {
  add(api_key_seed("one", "sk-one", "manual"));
  const auto got = bearer();

  EXPECT_EQ(text(got), "sk-one");
  EXPECT_EQ(got->kind, BearerKind::api_key);
  EXPECT_EQ(bearer(fp("sk-one")).error().code, Errc::login_needed);
}

Seed env_seed(const std::string& variable) {
  Seed seed = api_key_seed("one", "", "env:" + variable);
  seed.provider = "anthropic";
  return seed;
}

TEST_F(BearerTest, KeyThatLivesInTheEnvironmentIsReadThere) {
  provider_ = "anthropic";
  add(env_seed("ANTHROPIC_API_KEY"));
  variables_["ANTHROPIC_API_KEY"] = "sk-from-env";

  EXPECT_EQ(text(bearer()), "sk-from-env");
  EXPECT_EQ(bearer()->base_url, "https://api.anthropic.com");
}

TEST_F(BearerTest, KeyInAVariableThatNobodyVouchesForIsNotRead) {
  provider_ = "anthropic";
  add(env_seed("MY_KEY"));
  variables_["MY_KEY"] = "sk-from-env";

  EXPECT_EQ(bearer().error().code, Errc::refused);
  EXPECT_THAT(bearer().error().message, HasSubstr("MY_KEY"));
}

TEST_F(BearerTest, MissingVariableMeansTheNextCredential) {
  provider_ = "anthropic";
  add(env_seed("ANTHROPIC_API_KEY"));
  EXPECT_THAT(bearer().error().message, HasSubstr("ANTHROPIC_API_KEY is not set"));

  Seed two = api_key_seed("two", "sk-two", "manual");
  two.provider = "anthropic";
  add(two);
  const auto got = bearer();
  EXPECT_EQ(text(got), "sk-two");
  EXPECT_THAT(got->warnings, ElementsAre(HasSubstr("ANTHROPIC_API_KEY is not set")));
}

// ---- The pool ----------------------------------------------------------------------------------

TEST_F(BearerTest, EmptyPoolSaysHowToFillIt) {
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::not_found);
  EXPECT_THAT(got.error().hint, HasSubstr("authdb login nous"));
}

TEST_F(BearerTest, FailingCredentialGivesWayToTheNext) {
  Seed first;
  first.expires_in = Seconds{-1};
  add(first);
  Seed second = with_key(Seconds{1800});
  second.label = "work";
  second.refresh = "rt-work";
  add(second);
  answer(400, kDead);
  const auto got = bearer();

  EXPECT_EQ(text(got), "seed-key");
  EXPECT_EQ(got->label, "work");
  EXPECT_THAT(got->warnings, ElementsAre(HasSubstr("personal")));
}

TEST_F(BearerTest, FirstErrorIsTheOneThatIsTold) {
  for (const char* label : {"one", "two"}) {
    Seed seed;
    seed.label = label;
    seed.refresh = std::string("rt-") + label;
    seed.expires_in = Seconds{-1};
    add(seed);
  }
  answer(503, "");
  answer(400, kDead);
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::try_later);
  EXPECT_THAT(got.error().message, HasSubstr("one"));
  EXPECT_EQ(asked().size(), 2U);
}

TEST_F(BearerTest, PoolWhoseTokenEndpointAskedToWaitStillHandsOutTheBearerThatLives) {
  Seed seed = jwt_seed();
  seed.expires_in = Seconds{60};  // due, and alive
  add(seed);
  Answer slow = answered(429, R"({"error":"slow_down"})");
  slow.retry_after = Seconds{30};
  http_script_->answers.push_back(std::move(slow));
  EXPECT_EQ(text(bearer()), "seed-oauth");
  EXPECT_EQ(asked().size(), 1U);

  const auto again = bearer();
  EXPECT_EQ(text(again), "seed-oauth");
  EXPECT_THAT(again->warnings, testing::ElementsAre(HasSubstr("left alone until")));
  EXPECT_EQ(asked().size(), 1U) << "only refreshing waits";
  pass(Seconds{31});
  answer_refresh("1");
  EXPECT_EQ(text(bearer()), "REFRESHED-OAUTH-1");
}

TEST_F(BearerTest, PoolThatOnlyCoolsSaysWhenAndWho) {
  const Uid uid = add(with_key(Seconds{1800}));
  ASSERT_TRUE(open().report(uid, {429, kStart + Seconds{90}, "", ""}));
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::try_later);
  EXPECT_THAT(got.error().message,
              HasSubstr("\"personal\" (" + uid + ") is cooling until 2026-09-21T14:14:50Z"));
  pass(Seconds{91});
  EXPECT_EQ(text(bearer()), "seed-key");
}

TEST_F(BearerTest, DeadPoolNeedsALogin) {
  Seed seed;
  seed.expires_in = Seconds{-1};
  add(seed);
  answer(400, kDead);
  bearer();
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().message, HasSubstr("is dead"));
  EXPECT_THAT(asked(), ElementsAre("token"));
}

TEST_F(BearerTest, HeldPoolSaysWhatWouldReleaseIt) {
  for (const auto& [hold, code, hint] :
       {std::tuple{Hold::conflict, Errc::login_needed, "--prefer"},
        std::tuple{Hold::handed_over, Errc::try_later, "authdb migrate takes it back"}}) {
    Seed seed = with_key(Seconds{1800});
    seed.profile = hint;
    seed.refresh = hint;
    Change change = change_for(seed, kStart);
    change.credentials[0].hold = hold;
    ASSERT_TRUE(open().apply(change));
    BearerRequest request;
    request.provider = "nous";
    request.profile = hint;
    const auto got = source().bearer(request);

    EXPECT_EQ(got.error().code, code);
    EXPECT_THAT(got.error().hint, HasSubstr(hint));
    EXPECT_THAT(got.error().message,
                HasSubstr(hold == Hold::conflict ? "is in conflict" : "is handed over"));
  }
}

TEST_F(BearerTest, RoundRobinTakesTurns) {
  for (const char* label : {"one", "two"}) {
    Seed seed = with_key(Seconds{1800});
    seed.label = label;
    seed.refresh = std::string("rt-") + label;
    add(seed);
  }
  ASSERT_TRUE(open().set_strategy("default", "nous", Strategy::round_robin));
  std::vector<std::string> labels;
  for (int i = 0; i < 4; ++i) {
    labels.push_back(bearer()->label);
    pass(Seconds{1});
  }

  EXPECT_THAT(labels, ElementsAre("one", "two", "one", "two"));
}

TEST_F(BearerTest, OwnerOfARejectedBearerGoesFirstWhateverTheStrategy) {
  for (const char* label : {"one", "two"}) {
    Seed seed = with_key(Seconds{1800});
    seed.label = label;
    seed.agent_key = std::string("key-") + label;
    seed.refresh = std::string("rt-") + label;
    add(seed);
  }
  answer_mint("two");

  const auto got = bearer(fp("key-two"));
  EXPECT_EQ(got->label, "two");
  EXPECT_EQ(text(got), "MINTED-two");
}

// ---- Reports
// --------------------------------------------------------------------------------------

TEST_F(BearerTest, ReportedRejectionReplacesTheBearerAndNothingRests) {
  const Uid uid = add(with_key(Seconds{1800}));
  answer_mint("2");

  const auto end = source().report(uid, fp("seed-key"), {401, {}, "", "", "default"});

  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end->end, ReportEnd::renewed);
  EXPECT_EQ(text(bearer()), "MINTED-2");
  EXPECT_EQ(open().find(uid)->health.status, Status::ok);
}

TEST_F(BearerTest, ReportedRejectionThatNoRefreshMendsMovesOnToTheNext) {
  Seed bad = jwt_seed();
  bad.label = "bad";
  const Uid uid = add(bad);
  Seed good = jwt_seed();
  good.label = "good";
  good.access = "good-access";
  good.refresh = "good-refresh";
  add(good);
  answer(503, "busy");

  const auto end = source().report(uid, fp("seed-oauth"), {401, {}, "", "", "default"});

  EXPECT_EQ(end->end, ReportEnd::noted);
  EXPECT_EQ(bearer()->label, "good");
  EXPECT_EQ(open().find(uid)->health.cooldown_until, kStart + Seconds{300});
}

TEST_F(BearerTest, ReportedRejectionOfAReplacedBearerTouchesNothing) {
  const Uid uid = add(with_key(Seconds{1800}));

  const auto end = source().report(uid, fp("an-older-key"), {401, {}, "", "", "default"});

  EXPECT_EQ(end->end, ReportEnd::replaced_before);
  EXPECT_EQ(text(bearer()), "seed-key");
}

TEST_F(BearerTest, ReportedRejectionOfAnApiKeyThatWasReplacedTouchesNothing) {
  Seed seed = with_key(Seconds{1800});
  seed.auth_type = AuthType::api_key;
  seed.kind = BearerKind::api_key;
  seed.refresh.clear();
  const Uid uid = add(seed);
  Change change;
  change.credentials.emplace_back();
  change.credentials[0].uid = uid;
  change.credentials[0].planned_against = 1;
  change.credentials[0].grant.emplace();
  change.credentials[0].grant->access_token = Secret::copy_of("the-next-key");
  change.credentials[0].grant->bearer_kind = BearerKind::api_key;
  ASSERT_TRUE(open().apply(change));

  const auto end = source().report(uid, fp("seed-oauth"), {401, {}, "", "", "default"});

  EXPECT_EQ(end->end, ReportEnd::replaced_before);
  EXPECT_EQ(text(bearer()), "the-next-key");
}

TEST_F(BearerTest, ReportedRejectionOfAnApiKeyRests) {
  Seed seed = with_key(Seconds{1800});
  seed.auth_type = AuthType::api_key;
  seed.kind = BearerKind::api_key;
  seed.refresh.clear();
  const Uid uid = add(seed);

  EXPECT_EQ(source().report(uid, fp("seed-oauth"), {401, {}, "", "", "default"})->end,
            ReportEnd::noted);
  EXPECT_EQ(bearer().error().code, Errc::try_later);
}

TEST_F(BearerTest, P7_ATokenThatIsPutWhereItIsStoredInClearIsLeftOut) {
  for (const std::string token : {"rt-old-one", "rt-new-one", "at-new-one"}) {
    Seed seed = jwt_seed();
    seed.provider = "codex";
    seed.scope = "openid";
    seed.label = token;
    seed.refresh = "rt-old-one";
    const Uid uid = add(seed);
    answer(200, R"({"access_token":"at-new-one","refresh_token":"rt-new-one","scope":"x )" + token +
                    R"(","token_type":")" + token + R"("})");

    ASSERT_TRUE(source().refresh(uid, "default", false));

    EXPECT_EQ(open().find(uid)->identity.scope, "openid") << token;
    EXPECT_EQ(open().find(uid)->identity.token_type, "") << token;
    std::filesystem::remove_all(directory_ / "store");
  }
}

TEST_F(BearerTest, P7_ATokenThatTheServerQuotesIsInNoMessage) {
  Seed seed = jwt_seed();
  seed.provider = "codex";
  seed.refresh = "seed refresh";
  const Uid uid = add(seed);
  answer(400, R"({"error":"invalid_grant","error_description":"seed\n refresh is bad"})");

  const auto got = source().refresh(uid, "default", false);

  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, testing::Not(HasSubstr("seed")));
  EXPECT_THAT(open().find(uid)->health.error_message, testing::Not(HasSubstr("seed")));
}

TEST_F(BearerTest, ARejectionOfWhatTheStoreNeverHadIsNoReasonToGiveUpOnTheNext) {
  Seed seed = jwt_seed();
  seed.provider = provider_ = "codex";
  add(seed);
  BearerRequest request;
  request.provider = provider_;
  pass(Seconds{86400});
  answer_refresh("1");  // so that it has just been replaced
  const std::string fresh = text(source().bearer(request));

  request.rejected = fp("a bearer of before the import");
  ASSERT_EQ(text(source().bearer(request)), fresh);
  answer_refresh("2");
  request.rejected = fp(fresh);
  const auto got = source().bearer(request);

  ASSERT_TRUE(got) << got.error().message;
  EXPECT_NE(text(got), fresh);
}

TEST_F(BearerTest, P8_ARejectionIsRememberedOfACredentialThatIsNotSelected) {
  for (const bool another : {false, true}) {
    Seed seed = jwt_seed();
    seed.profile = another ? "two" : "one";
    seed.access += seed.profile;
    seed.refresh += seed.profile;
    const Uid uid = add(seed);
    Seed other = seed;
    other.label = "other";
    other.access += "-other";
    other.refresh += "-other";
    if (another) add(other);
    ASSERT_TRUE(open().report(uid, {429, at_millis(now_) + Seconds{60}, "", "", seed.profile}));
    BearerRequest request;
    request.provider = provider_;
    request.profile = seed.profile;
    request.rejected = fp(seed.access);
    (void)source().bearer(request);
    pass(Seconds{61});

    request.rejected.clear();
    request.credential = uid;
    const auto got = source().bearer(request);
    EXPECT_NE(text(got), seed.access);
    EXPECT_EQ(open().find(uid)->renewal.rejected, fp(seed.access));
  }
}

TEST_F(BearerTest, P8_ABearerWhoseAnswerWaitsIsNotServedOnceItIsRejected) {
  Seed seed = jwt_seed();
  seed.provider = provider_ = "codex";
  const Uid uid = add(seed);
  const StoreOptions impatient = [&] {
    StoreOptions made = options();
    made.lock_wait = Milliseconds(20);
    return made;
  }();
  const auto gate = (directory_ / "store" / "auth.db.d" / "gate").string();
  pass(Seconds{86400});
  answer_refresh("1");
  {
    const auto store = Store::open(impatient, OpenMode::use);
    // The first refresh of a credential needs the database, later ones do not.
    ASSERT_TRUE(BearerSource(*store, parts()).refresh(uid, "default", false));
    pass(Seconds{86400});
    answer_refresh("2");
    const auto outsider = FileLock::acquire(gate, Milliseconds(0));
    ASSERT_TRUE(outsider && *outsider);
    BearerRequest request;
    request.provider = provider_;
    ASSERT_EQ(text(BearerSource(*store, parts()).bearer(request)), "REFRESHED-OAUTH-2");
    request.rejected = fp("REFRESHED-OAUTH-2");
    EXPECT_FALSE(BearerSource(*store, parts()).bearer(request));
  }

  answer(503, "busy");
  EXPECT_NE(text(bearer()), "REFRESHED-OAUTH-2");
  EXPECT_EQ(open().find(uid)->renewal.rejected, fp("REFRESHED-OAUTH-2"));
}

TEST_F(BearerTest, AllCoolingSaysUntilWhen) {
  const Uid uid = add(with_key(Seconds{1800}));
  ASSERT_TRUE(open().report(uid, {429, kStart + Seconds{90}, "", "", "default"}));

  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::try_later);
  EXPECT_THAT(got.error().message, HasSubstr("2026-09-21T14:14:50Z"));
  EXPECT_THAT(got.error().hint, HasSubstr("90 s"));
}

TEST_F(BearerTest, LeastUsedCountsWhoServesWhenTheFirstCannot) {
  Seed dead_end = jwt_seed();
  dead_end.label = "expired";
  dead_end.refresh.clear();
  dead_end.expires_in = Seconds{-5};
  const Uid expired = add(dead_end);
  Seed good = jwt_seed();
  good.label = "good";
  good.access = "good-access";
  const Uid uid = add(good);
  ASSERT_TRUE(open().set_strategy("default", "nous", Strategy::least_used));

  EXPECT_EQ(bearer()->label, "good");

  EXPECT_EQ(open().find(uid)->health.request_count, 1);
}

TEST_F(BearerTest, NamedCredentialIsServedAlone) {
  const Uid uid = add(with_key(Seconds{1800}));
  BearerRequest request;
  request.provider = "nous";
  request.credential = uid;

  EXPECT_EQ(text(source().bearer(request)), "seed-key");
}

// ---- What the caller gets along ----------------------------------------------------------------

TEST_F(BearerTest, BaseUrlOfTheEnvironmentWins) {
  add(with_key(Seconds{1800}));
  variables_["NOUS_INFERENCE_BASE_URL"] = "http://127.0.0.1:9/v1";

  EXPECT_EQ(bearer()->base_url, "http://127.0.0.1:9/v1");
}

TEST_F(BearerTest, AnAddressThatIsNoneOfTheProvidersIsNotHandedOutWithItsBearer) {
  const Uid uid = add(with_key(Seconds{1800}));
  const Identity before = open().find(uid)->identity;
  for (const auto field : {&Identity::inference_base_url, &Identity::base_url}) {
    Change change;
    auto& one = change.credentials.emplace_back();
    one.uid = uid;
    one.identity = before;
    (*one.identity).*field = "https://llm.attacker.example/v1";
    ASSERT_TRUE(open().apply(change));
    BearerRequest request;
    request.provider = "nous";
    request.credential = uid;
    const auto got = source().bearer(request);

    EXPECT_EQ(got->base_url, "https://inference-api.nousresearch.com/v1");
    EXPECT_THAT(got->warnings, ElementsAre(HasSubstr("llm.attacker.example")));
  }
}

TEST_F(BearerTest, FreshBearerAsksForNoProviderUnlessItsAddressIsWanted) {
  add(with_key(Seconds{1800}));
  BearerSource bearers = source();
  registry_asked_ = 0;
  BearerRequest request;
  request.provider = "nous";
  request.want_base_url = false;

  EXPECT_EQ(bearers.bearer(request)->base_url, "");
  EXPECT_EQ(registry_asked_, 0);
}

TEST_F(BearerTest, ErrorsNeverHoldATokenThatTheServerQuotes) {
  add({});
  answer(403, R"({"error":{"code":"no","message":"seed-oauth is suspended"}})");
  const auto got = bearer();

  EXPECT_THAT(got.error().message + got.error().hint, Not(HasSubstr("seed-oauth")));
}

// ---- Forced ------------------------------------------------------------------------------------

TEST_F(BearerTest, RefreshIsDoneAlthoughNothingIsDueAndCooldownsDoNotCount) {
  const Uid uid = add(with_key(Seconds{1800}));
  ASSERT_TRUE(open().report(uid, {429, kStart + Seconds{90}, "", ""}));
  answer_refresh("1");
  const auto got = source().refresh(uid, "default", false);

  EXPECT_EQ(text(got), "REFRESHED-OAUTH-1");
  EXPECT_EQ(got->kind, BearerKind::access_token);
  EXPECT_EQ(got->action, Action::refreshed);
}

TEST_F(BearerTest, ForcedRefreshThatFailsIsAnErrorThoughTheTokenLives) {
  const Uid uid = add(jwt_seed());
  answer(503, "");

  EXPECT_EQ(source().refresh(uid, "default", false).error().code, Errc::try_later);
}

TEST_F(BearerTest, MintIsDoneAlthoughTheKeyIsFresh) {
  const Uid uid = add(with_key(Seconds{1800}));
  answer_mint("1");
  const auto got = source().mint(uid, "default");

  EXPECT_EQ(text(got), "MINTED-1");
  EXPECT_EQ(got->action, Action::minted);
}

TEST_F(BearerTest, WhatCannotBeRefreshedOrMintedSaysSo) {
  const Uid key = add(api_key_seed("one", "sk-one", "manual"));
  const Uid jwt = add(jwt_seed());

  EXPECT_EQ(source().refresh(key, "default", false).error().code, Errc::usage);
  EXPECT_EQ(source().mint(key, "default").error().code, Errc::usage);
  EXPECT_EQ(source().mint(jwt, "default").error().code, Errc::usage);
}

}  // namespace
}  // namespace authdb::oauth
