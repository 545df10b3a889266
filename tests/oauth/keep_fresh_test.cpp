// Keeping tokens fresh ahead of time.
#include "oauth/keep_fresh.h"

#include <thread>

#include "bearer_fixture.h"
#include "store/rotation.h"
#include "tools/portal/portal.h"

namespace authdb::oauth {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class KeepFreshTest : public BearerTest {
 protected:
  Uid add_due(const std::string& label, Seconds expires_in) {
    Seed seed = jwt_seed();
    seed.label = label;
    seed.access = "access-" + label;
    seed.refresh = "refresh-" + label;
    seed.expires_in = expires_in;
    return add(seed);
  }
  void mark(const Uid& uid, const std::function<void(CredentialChange&)>& how) {
    Change change;
    change.credentials.emplace_back();
    change.credentials[0].uid = uid;
    change.credentials[0].planned_against = open().find(uid)->generation;
    how(change.credentials[0]);
    ASSERT_TRUE(open().apply(change));
  }
  KeepFresh keeper(std::function<bool()> stop = {}) {
    return {open(), parts(), {.stop = std::move(stop)}};
  }
  static std::vector<std::string> labels(const FreshPass& pass) {
    std::vector<std::string> out;
    for (const Renewal& one : pass.renewals) out.push_back(one.row.identity.label);
    return out;
  }
};

TEST_F(KeepFreshTest, TakesUpWhatExpiresWithinTheLeadAndNothingElse) {
  const Uid due = add_due("due", Seconds{299});
  add_due("later", Seconds{331});  // the lead of 300 s and the largest head start
  answer_refresh("1");
  const auto pass = keeper().pass();

  ASSERT_TRUE(pass) << pass.error().message;
  EXPECT_THAT(labels(*pass), ElementsAre("due"));
  EXPECT_THAT(asked(), SizeIs(1));
  EXPECT_EQ(open().find(due)->generation, 2);
  EXPECT_EQ(pass->renewals[0].now->generation, 2);
  EXPECT_LE(pass->next_at, at_millis(now_) + Seconds{31});
}

Credential expiring(const Uid& uid, std::int64_t generation = 1) {
  Credential row;
  row.uid = uid;
  row.generation = generation;
  row.expires_at = kStart + std::chrono::hours{1};
  return row;
}

TEST(KeepFreshTurns, OfGrantsThatExpireTogetherAreSpreadOverATenthOfTheLeadAndNeverLater) {
  std::map<std::int64_t, int> in_second;  // before the lead
  for (int i = 0; i < 300; ++i) {
    const Credential row = expiring("uid-" + std::to_string(i));
    const Milliseconds early =
        *row.expires_at - Seconds{300} - KeepFresh::due_at(row, Seconds{300}).value();
    ASSERT_GE(early, Seconds{0}) << row.uid;
    ASSERT_LE(early, Seconds{30}) << row.uid;
    ++in_second[std::chrono::floor<Seconds>(early).count()];
  }

  EXPECT_THAT(in_second, SizeIs(testing::Ge(30U))) << "all of them, ten in each on average";
  for (const auto& [second, grants] : in_second) EXPECT_LE(grants, 25) << second;
}

TEST(KeepFreshTurns, AreTheSameForOneGenerationAndOthersForTheNext) {
  int moved = 0;
  for (int i = 0; i < 100; ++i) {
    const Uid uid = "uid-" + std::to_string(i);
    const auto turn = KeepFresh::due_at(expiring(uid), Seconds{300});
    EXPECT_EQ(turn, KeepFresh::due_at(expiring(uid), Seconds{300})) << uid;
    moved += turn != KeepFresh::due_at(expiring(uid, 2), Seconds{300}) ? 1 : 0;
  }

  EXPECT_GE(moved, 99);
}

TEST_F(KeepFreshTest, TheTurnThatIsAnnouncedIsTheTurnThatIsTaken) {
  const Uid uid = add_due("due", Seconds{599});
  const Instant turn = KeepFresh::due_at(open().find(uid).value(), Seconds{300}).value();
  EXPECT_EQ(keeper().pass()->next_at, turn);

  pass(turn - at_millis(now_) - Milliseconds{1});
  EXPECT_THAT(keeper().pass()->renewals, IsEmpty()) << "nor by one that begins only now";
  EXPECT_EQ(keeper().pass()->next_at, turn);
  pass(Milliseconds{1});
  answer_refresh("1");
  EXPECT_THAT(labels(keeper().pass().value()), ElementsAre("due"));
}

TEST_F(KeepFreshTest, P4_ATokenThatWasRefusedIsNotTakenUpAgainWhereAnOlderDatabaseIsPutBack) {
  namespace fs = std::filesystem;
  const Uid uid = add_due("due", Seconds{299});
  const fs::path database = directory_ / "store" / "auth.db";
  fs::copy_file(database, directory_ / "older.db");
  answer_refresh("1", R"(,"expires_in":600)");
  ASSERT_TRUE(keeper().pass());
  pass(Seconds{600});
  answer(400, R"({"error":"invalid_grant"})");
  ASSERT_TRUE(keeper().pass());
  for (const char* end : {"-wal", "-shm"}) fs::remove(database.string() + end);
  fs::copy_file(directory_ / "older.db", database, fs::copy_options::overwrite_existing);
  const auto before = http_script_->seen.size();

  ASSERT_TRUE(keeper().pass());

  EXPECT_EQ(http_script_->seen.size(), before);
  EXPECT_EQ(open().find(uid)->health.status, Status::dead);
}

TEST_F(KeepFreshTest, P8_WhatAClockAheadHasObtainedIsTakenUpAtOnce) {
  Seed seed = jwt_seed();
  seed.label = "ahead";
  Change change = change_for(seed, at_millis(now_) + Seconds{172'800});
  change.credentials[0].grant->obtained_at = at_millis(now_) + Seconds{172'800};
  ASSERT_TRUE(open().apply(change));
  answer_refresh("1");

  EXPECT_THAT(labels(keeper().pass().value()), ElementsAre("ahead"));
  EXPECT_THAT(keeper().pass()->renewals, IsEmpty());
}

TEST_F(KeepFreshTest, P8_WhatIsDueAtOnceIsTakenUpHoweverLateInThePassItIsLookedAt) {
  Change change = change_for(jwt_seed(), at_millis(now_) + Seconds{172'800});
  change.credentials[0].grant->obtained_at = at_millis(now_) + Seconds{172'800};
  ASSERT_TRUE(open().apply(change));
  answer_refresh("1");
  StoreOptions ticking = options();
  const auto reading = std::make_shared<std::atomic<std::int64_t>>(now_.load());
  ticking.clock = [reading] { return at_millis((*reading)++); };

  const auto pass = KeepFresh(Store::open(ticking, OpenMode::use).value(), parts(), {}).pass();

  ASSERT_TRUE(pass);
  EXPECT_THAT(pass->renewals, SizeIs(1));
}

TEST_F(KeepFreshTest, AFailureThatAClockAheadHasSeenPutsNothingOff) {
  add_due("due", Seconds{172'800});
  pass(Seconds{172'800});
  answer(503, "");
  KeepFresh keep = keeper();
  ASSERT_TRUE(keep.pass());
  pass(-Seconds{3600});
  answer_refresh("1");

  EXPECT_THAT(labels(keep.pass().value()), IsEmpty()) << "it lives";
  pass(Seconds{3500});  // due, and before the second attempt that the clock ahead has planned
  EXPECT_THAT(labels(keep.pass().value()), ElementsAre("due"));
}

TEST_F(KeepFreshTest, ATokenOfOursIsNotTakenUpBeforeHalfItsLife) {
  add_due("short", Seconds{10});
  answer_refresh("1", R"(,"expires_in":200)");
  KeepFresh keep = keeper();
  ASSERT_TRUE(keep.pass());
  pass(Seconds{99});
  EXPECT_THAT(keep.pass()->renewals, IsEmpty());
  EXPECT_EQ(keep.pass()->next_at, at_millis(now_) + Seconds{1});

  pass(Seconds{1});
  answer_refresh("2", R"(,"expires_in":200)");
  EXPECT_THAT(keep.pass()->renewals, SizeIs(1));
}

TEST_F(KeepFreshTest, CoolingAccountsAreRefreshedDeadAndHeldOnesAreNot) {
  const Uid cooling = add_due("cooling", Seconds{10});
  mark(add_due("dead", Seconds{10}), [](CredentialChange& one) {
    one.health = Health{};
    one.health->status = Status::dead;
  });
  for (const Hold hold : {Hold::conflict, Hold::uncertain, Hold::handed_over}) {
    mark(add_due("held" + std::to_string(static_cast<int>(hold)), Seconds{10}),
         [&](CredentialChange& one) { one.hold = hold; });
  }
  mark(cooling, [&](CredentialChange& one) {
    one.health = Health{};
    one.health->status = Status::exhausted;
    one.health->cooldown_until = at_millis(now_) + Seconds{3600};
  });
  answer_refresh("1");

  EXPECT_THAT(labels(keeper().pass().value()), ElementsAre("cooling"));
}

TEST_F(KeepFreshTest, WhatFailsIsTriedAgainLessAndLessOften) {
  add_due("due", Seconds{10});
  KeepFresh keep = keeper();
  for (const int pause : {60, 120, 240, 480, 960, 1920, 3600, 3600}) {
    answer(503, "{}");
    const auto failed = keep.pass();
    ASSERT_TRUE(failed);
    ASSERT_THAT(failed->renewals, SizeIs(1)) << pause;
    EXPECT_EQ(failed->renewals[0].error.code, Errc::try_later);
    pass(Seconds{pause - 1});
    EXPECT_THAT(keep.pass()->renewals, IsEmpty()) << pause;
    pass(Seconds{1});
  }
  answer_refresh("1");
  EXPECT_TRUE(keep.pass()->renewals.at(0).now);
}

TEST_F(KeepFreshTest, ARejectedOneNamesTheLoginAndIsNotTriedAgain) {
  add_due("due", Seconds{10});
  answer(400, R"({"error":"invalid_grant"})");
  KeepFresh keep = keeper();
  const auto pass = keep.pass();

  ASSERT_TRUE(pass);
  EXPECT_EQ(pass->renewals.at(0).error.code, Errc::login_needed);
  EXPECT_THAT(pass->renewals.at(0).error.hint, testing::HasSubstr("authdb login nous"));
  this->pass(std::chrono::hours{2});
  EXPECT_THAT(keep.pass()->renewals, IsEmpty());
}

TEST_F(KeepFreshTest, ATokenEndpointThatRestsIsNotAskedAndThatIsReported) {
  const Uid uid = add_due("due", Seconds{10});
  Answer busy = answered(429, "{}");
  busy.retry_after = Seconds{1200};
  http_script_->answers.push_back(std::move(busy));
  ASSERT_TRUE(keeper().pass());
  const Instant rested = at_millis(now_) + Seconds{1200};
  pass(Seconds{1199});

  const auto resting = keeper().pass();  // another process each time, as a timer starts them

  ASSERT_THAT(resting->renewals, SizeIs(1));
  EXPECT_EQ(resting->renewals[0].rests_until, rested);
  EXPECT_EQ(resting->renewals[0].error.code, Errc::try_later);
  EXPECT_THAT(resting->renewals[0].error.message,
              testing::AllOf(testing::HasSubstr(uid), testing::HasSubstr("is left alone until"),
                             testing::HasSubstr("expired")));
  EXPECT_EQ(resting->next_at, rested);
  EXPECT_THAT(asked(), SizeIs(1));
  pass(Seconds{1});
  answer_refresh("1");
  EXPECT_TRUE(keeper().pass()->renewals.at(0).now);
}

TEST_F(KeepFreshTest, WhoeverFailedWhileTheLockWasWaitedForIsNotFollowedAtOnce) {
  const Uid uid = add_due("due", Seconds{10});
  answer(503, "{}");

  const auto done = keeper([&] {
                      RotateRequest request;
                      request.force = true;
                      EXPECT_FALSE(rotate(open(), uid, request));
                      return false;
                    }).pass();

  ASSERT_THAT(done->renewals, SizeIs(1));
  EXPECT_TRUE(done->renewals[0].rests_until);
  EXPECT_THAT(asked(), SizeIs(1));
}

TEST_F(KeepFreshTest, ALoginThatEndedWhileTheLockWasWaitedForIsNotSentAgain) {
  const Uid uid = add_due("due", Seconds{10});
  answer(400, R"({"error":"invalid_grant"})");

  const auto done = keeper([&] {
                      RotateRequest request;
                      request.force = true;
                      EXPECT_FALSE(rotate(open(), uid, request));
                      return false;
                    }).pass();

  ASSERT_THAT(done->renewals, SizeIs(1));
  EXPECT_EQ(done->renewals[0].error.code, Errc::login_needed);
  EXPECT_THAT(asked(), SizeIs(1));
}

TEST_F(KeepFreshTest, WithoutAnythingToDoItLooksAgainSoonEnoughToSeeWhatOthersAdd) {
  const auto pass = keeper().pass();

  ASSERT_TRUE(pass);
  EXPECT_EQ(pass->next_at, at_millis(now_) + Seconds{300});
}

TEST_F(KeepFreshTest, WhenToldToStopNothingNewIsBegun) {
  add_due("due", Seconds{10});

  EXPECT_THAT(keeper([] { return true; }).pass()->renewals, IsEmpty());
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(KeepFreshTest, WhatIsWantedEarlierIsTakenUpEarlierButNotBeforeHalfItsLife) {
  const Uid uid = add_due("file", Seconds{3600});
  const auto at_once = [&]() -> Result<std::map<Uid, Instant>> {
    return std::map<Uid, Instant>{{uid, kStart}};
  };
  KeepFresh keep(open(), parts(), {.wanted = at_once});
  answer_refresh("1", R"(,"expires_in":3600)");
  EXPECT_THAT(labels(keep.pass().value()), ElementsAre("file"));
  pass(Seconds{1799});
  EXPECT_THAT(keep.pass()->renewals, IsEmpty());
  pass(Seconds{1});
  answer_refresh("2", R"(,"expires_in":3600)");
  EXPECT_THAT(keep.pass()->renewals, SizeIs(1));
}

TEST_F(KeepFreshTest, WhatIsWantedAtOneMomentIsSpreadBeforeItAndNeverLate) {
  const Instant wanted_at = at_millis(now_) + Seconds{310};
  std::map<Uid, Instant> wanted;
  for (const char* label : {"a", "b", "c", "d"}) {
    wanted[add_due(label, Seconds{7200})] = wanted_at;
    answer_refresh(label);
  }
  KeepFresh keep(open(), parts(), {.wanted = [&]() -> Result<std::map<Uid, Instant>> {
                   auto still = wanted;
                   std::erase_if(still, [&](const auto& entry) {
                     return open().find(entry.first)->generation > 1;
                   });
                   return still;
                 }});
  std::vector<Instant> turns;
  while (turns.size() < wanted.size()) {
    const auto done = keep.pass();
    turns.insert(turns.end(), done->renewals.size(), at_millis(now_));
    ASSERT_LE(at_millis(now_), wanted_at);
    pass(done->next_at - at_millis(now_));
  }

  EXPECT_GE(turns.front(), wanted_at - Seconds{30});
  EXPECT_LT(turns.front(), turns.back());
}

TEST_F(KeepFreshTest, OnlyTheProfilesOwnIfThereIsOne) {
  Seed seed = jwt_seed();
  seed.profile = "scout";
  seed.expires_in = Seconds{10};
  add(seed);
  add_due("others", Seconds{10});
  answer_refresh("1");
  KeepFresh scouts(open(), parts(), {.profile = "scout"});

  EXPECT_THAT(labels(scouts.pass().value()), ElementsAre("personal"));
}

class KeepFreshAtPortal : public KeepFreshTest {
 protected:
  KeepFreshAtPortal() : portal_({.era = portal::Era::kJwt, .clock_ms = to_millis(kStart)}) {
    portal_.freeze();
    http_ = curl_transport();
  }
  void log_in(const std::string& label) {
    const portal::Grant grant = portal_.create_grant();
    Seed seed = jwt_seed();
    seed.label = label;
    seed.portal = portal_.base_url();
    seed.access = grant.access_token;
    seed.refresh = grant.refresh_token;
    seed.expires_in = Seconds{10};
    add(seed);
  }
  portal::Portal portal_;
};

TEST_F(KeepFreshAtPortal, SeveralKeepersSendEachTokenOnce) {
  for (int i = 0; i < 6; ++i) log_in("c" + std::to_string(i));
  std::vector<std::thread> keepers;
  for (int i = 0; i < 4; ++i) {
    keepers.emplace_back([this] { EXPECT_TRUE(keeper().pass()); });
  }
  for (std::thread& thread : keepers) thread.join();

  EXPECT_EQ(portal_.counters().totals.rotations, 6);
  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
  EXPECT_EQ(portal_.counters().totals.max_in_flight_per_token, 1);
}

TEST_F(KeepFreshAtPortal, NoMoreThanFourAreAskedForAtOnce) {
  for (int i = 0; i < 9; ++i) log_in("c" + std::to_string(i));
  portal_.add_fault({.times = 0, .delay_before = std::chrono::hours(1)});
  FreshPass done;
  std::thread keeping([&] { done = keeper().pass().value(); });
  ASSERT_TRUE(portal_.wait_until([&] { return portal_.in_flight() == 4; }));
  EXPECT_EQ(portal_.requests().size(), 4U);
  portal_.clear_faults();
  portal_.release();
  keeping.join();

  EXPECT_THAT(done.renewals, SizeIs(9));
  EXPECT_EQ(portal_.counters().totals.rotations, 9);
}

}  // namespace
}  // namespace authdb::oauth
