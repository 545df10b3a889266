// Clocks that jump, stand still or differ: no refresh for each call, no token for ever.
#include <random>

#include "bearer_fixture.h"

namespace authdb::oauth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Milliseconds kHour{3'600'000};

// Of a provider whose access tokens are bearers, whatever they look like.
Seed token_seed() {
  Seed seed = jwt_seed();
  seed.provider = "openai-codex";
  return seed;
}

class ClockTest : public BearerTest {
 protected:
  ClockTest() { provider_ = "openai-codex"; }
  // As an import brings it, with whatever times its file had.
  Uid import(std::optional<Instant> obtained_at, std::optional<Instant> expires_at) {
    Change change = change_for(token_seed(), kStart);
    change.credentials[0].grant->obtained_at = obtained_at;
    change.credentials[0].grant->expires_at = expires_at;
    const auto applied = open().apply(change);
    if (!applied) throw std::runtime_error(applied.error().message);
    return applied->uids.at(0);
  }
  std::size_t requests() const { return http_script_->seen.size(); }
  // Enough calls that one request for each would show.
  void call_often() {
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(bearer()) << bearer().error().message;
  }
};

TEST_F(ClockTest, AnHourBackOrForwardCostsOneRefresh) {
  add(token_seed());
  answer_refresh("1", R"(,"expires_in":900)");
  pass(Seconds{86400});
  ASSERT_EQ(text(bearer()), "REFRESHED-OAUTH-1");

  answer_refresh("2", R"(,"expires_in":900)");
  pass(-kHour);
  call_often();
  EXPECT_EQ(requests(), 2U);
  answer_refresh("3", R"(,"expires_in":900)");
  pass(kHour);
  call_often();
  EXPECT_EQ(requests(), 3U);
  EXPECT_EQ(text(bearer()), "REFRESHED-OAUTH-3");
}

TEST_F(ClockTest, AMinuteOfJitterCostsNothing) {
  add(token_seed());
  answer_refresh("1");
  pass(Seconds{86400});
  ASSERT_TRUE(bearer());
  for (const int step : {-59, 30, -30, 59}) {
    pass(Seconds{step});
    call_often();
  }

  EXPECT_EQ(requests(), 1U);
}

TEST_F(ClockTest, AnImportedBirthInTheFutureCostsOneRefresh) {
  import(kStart + Seconds{7200}, kStart + Seconds{86400});
  answer_refresh("1");
  call_often();

  EXPECT_EQ(requests(), 1U);
}

TEST_F(ClockTest, AnImportedEndInTheFarFutureIsBelievedUntilTheTokenIsRejected) {
  import(std::nullopt, at_millis(253'402'300'799'999));  // the last moment of the year 9999
  call_often();
  EXPECT_EQ(requests(), 0U);

  answer_refresh("1");
  const auto replaced = bearer(bearer()->fingerprint);

  EXPECT_EQ(text(replaced), "REFRESHED-OAUTH-1");
  EXPECT_EQ(replaced->expires_at, kStart + Seconds{86400});
}

TEST_F(ClockTest, AnImportedEndBefore1970IsOverAndRefreshedOnce) {
  import(std::nullopt, at_millis(-5'000));
  answer_refresh("1");
  call_often();

  EXPECT_EQ(requests(), 1U);
}

TEST_F(ClockTest, AnImportThatEndsBeforeItBeganIsRefreshedOnce) {
  import(kStart - Seconds{10}, kStart - Seconds{7200});
  answer_refresh("1");
  call_often();

  EXPECT_EQ(requests(), 1U);
}

TEST_F(ClockTest, AServerWhoseClockIsBehindCausesNoRefreshForEachCall) {
  add(token_seed());
  pass(Seconds{86400});
  const std::string an_hour_ago = std::to_string(to_millis(at_millis(now_)) / 1000 - 3600);
  answer_refresh("1", R"(,"expires_in":900,"expires_at":)" + an_hour_ago);
  call_often();

  EXPECT_EQ(requests(), 1U);
  EXPECT_EQ(bearer()->expires_at, at_millis(now_) + Seconds{900});
}

TEST_F(ClockTest, AServerThatStatesOnlyAPastEndIsGivenTheFloorAndAWarning) {
  add(token_seed());
  pass(Seconds{86400});
  const std::string an_hour_ago = std::to_string(to_millis(at_millis(now_)) / 1000 - 3600);
  answer_refresh("1", R"(,"expires_at":)" + an_hour_ago);
  const auto got = bearer();

  ASSERT_TRUE(got);
  EXPECT_THAT(got->warnings, ElementsAre(HasSubstr("past by this machine's clock")));
  call_often();
  EXPECT_EQ(requests(), 1U);
}

TEST_F(ClockTest, ABearerOfAClockAheadIsServedWithoutItsTimesWhereItsRenewalFails) {
  import(kStart + Seconds{172'800}, kStart + Seconds{176'400});
  answer(503, "");
  const auto got = bearer();

  ASSERT_EQ(text(got), "seed-oauth");
  EXPECT_EQ(got->obtained_at, std::nullopt);
  EXPECT_EQ(got->expires_at, std::nullopt);
  EXPECT_THAT(got->warnings, testing::Contains(HasSubstr("a clock that was ahead")));
}

// ---- the server's Date -------------------------------------------------------------------------

class ServerClockTest : public ClockTest {
 protected:
  // A refresh whose answer says that it is `apart` later than here.
  Result<Bearer> refresh_with_date(Milliseconds apart) {
    add(token_seed());
    pass(Seconds{86400});
    answer_refresh("1", R"(,"expires_in":900)");
    http_script_->answers.back().server_time = at_millis(now_) + apart;
    return bearer();
  }
};

TEST_F(ServerClockTest, ThatDiffersByMoreThanAMinuteIsWarnedOfOnceForEachRefresh) {
  const auto got = refresh_with_date(kHour);

  ASSERT_TRUE(got);
  EXPECT_THAT(got->warnings, ElementsAre(HasSubstr("3600 s behind the server's")));
  EXPECT_THAT(bearer()->warnings, IsEmpty()) << "once is enough";
}

TEST_F(ServerClockTest, ThatIsBehindIsSaidTheOtherWayRound) {
  EXPECT_THAT(refresh_with_date(-kHour)->warnings,
              ElementsAre(HasSubstr("3600 s ahead of the server's")));
}

TEST_F(ServerClockTest, WithinAMinuteIsNotWorthAWord) {
  EXPECT_THAT(refresh_with_date(Seconds{60})->warnings, IsEmpty());
}

TEST_F(ServerClockTest, IsNeverUsedToComputeAnExpiry) {
  const auto got = refresh_with_date(kHour);

  ASSERT_TRUE(got);
  EXPECT_EQ(got->expires_at, at_millis(now_) + Seconds{900});
}

// ---- a random walk -----------------------------------------------------------------------------

// A server that hands out tokens of one lifetime and knows, by a clock that never jumps, when.
class Issuer final : public HttpTransport {
 public:
  explicit Issuer(Milliseconds life) : life_(life) {}

  Answer perform(const HttpRequest& request, const std::function<bool()>& sent) override {
    if (sent && !sent()) return {};
    const bool mint = request.url.ends_with("agent-key");
    (mint ? mints : refreshes)++;
    const std::string name = "walk-" + std::to_string(issued_.size());
    issued_[name] = {monotonic, wall_offset};
    const std::string life = std::to_string(life_.count() / 1000);
    const std::string key = mint ? "api_key" : "access_token";
    return answered(200, "{\"" + key + "\":\"" + name + "\",\"refresh_token\":\"rt-" + name +
                             R"(","expires_in":)" + life + "}");
  }

  // How much longer than its life the bearer has been in use; negative while it lives.
  Milliseconds overdue(const std::string& name) const {
    return monotonic - issued_.at(name).at - life_;
  }
  // How far the wall clock has been set back since it was issued.
  Milliseconds set_back(const std::string& name) const {
    return issued_.at(name).wall_offset - wall_offset;
  }

  Milliseconds monotonic{0};
  Milliseconds wall_offset{0};  // what the wall clock is ahead by
  int refreshes = 0;
  int mints = 0;

 private:
  struct Issue {
    Milliseconds at;
    Milliseconds wall_offset;
  };
  Milliseconds life_;
  std::map<std::string, Issue> issued_;
};

struct Walk {
  Seconds life;
  BearerKind kind;
};

class ClockWalkTest : public BearerTest, public testing::WithParamInterface<Walk> {};

TEST_P(ClockWalkTest, RefreshesAreBoundedByLifetimesAndJumpsAndNoBearerOutlivesItsOwn) {
  constexpr int kCalls = 500;
  const Seconds life = GetParam().life;
  const auto issuer = std::make_shared<Issuer>(life);
  http_ = issuer;
  Seed seed = GetParam().kind == BearerKind::agent_key ? Seed{} : token_seed();
  seed.expires_in = Seconds{-1};
  add(seed);
  BearerSource source = this->source();
  BearerRequest request;
  request.provider = seed.provider;
  std::mt19937_64 random(static_cast<std::uint64_t>(life.count()));
  const auto up_to = [&](Milliseconds most) {
    return Milliseconds(std::uniform_int_distribution<std::int64_t>(0, most.count())(random));
  };

  ASSERT_TRUE(source.bearer(request));  // from here on every bearer is one of the issuer's
  int jumps = 0;
  for (int call = 0; call < kCalls; ++call) {
    Milliseconds passed{0};
    Milliseconds jump{0};
    switch (random() % 16) {
      case 0:
        jump = up_to(2 * kHour);  // set forward, or woken from suspend
        break;
      case 1:
        jump = -up_to(2 * kHour);
        break;
      case 2:
        jump = up_to(Seconds{120}) - Seconds{60};
        break;
      default:
        passed = up_to(life / 4);
    }
    if (jump != Milliseconds{0}) ++jumps;
    issuer->monotonic += passed;
    issuer->wall_offset += jump;
    pass(passed + jump);

    const auto got = source.bearer(request);

    ASSERT_TRUE(got) << "call " << call << ": " << got.error().message;
    const std::string name = text(got->token);
    ASSERT_LE(issuer->overdue(name), std::max(issuer->set_back(name), Milliseconds{0}))
        << "call " << call;
  }
  const Milliseconds due_after = std::max<Milliseconds>(life - Seconds{120}, life / 2);
  const auto lifetimes = issuer->monotonic / due_after;
  EXPECT_LE(issuer->refreshes, lifetimes + jumps + 1);
  EXPECT_LE(issuer->mints, lifetimes + jumps + 1);
  EXPECT_GT(issuer->refreshes, lifetimes / 4) << "the walk proved nothing";
}

INSTANTIATE_TEST_SUITE_P(Lives, ClockWalkTest,
                         testing::Values(Walk{Seconds{30}, BearerKind::access_token},
                                         Walk{Seconds{200}, BearerKind::access_token},
                                         Walk{Seconds{3600}, BearerKind::access_token},
                                         Walk{Seconds{60}, BearerKind::agent_key},
                                         Walk{Seconds{1800}, BearerKind::agent_key}),
                         [](const auto& one) {
                           return std::string(one.param.kind == BearerKind::agent_key ? "Key"
                                                                                      : "Token") +
                                  std::to_string(one.param.life.count()) + "s";
                         });

}  // namespace
}  // namespace authdb::oauth
