#include "store/rotation.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "store/engine.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

class RotationTest : public StoreTest {
 protected:
  static constexpr Milliseconds kPastExpiry{901'000};

  // A login whose token endpoint has just asked for 30 s.
  Uid add_resting_login(Store& store) {
    const Uid uid = add_login(store);
    advance(kPastExpiry);
    will({.status = 429, .body = "slow down"});
    EXPECT_FALSE(rotate(store, uid, {}));
    return uid;
  }
};

TEST_F(RotationTest, AFreshAccessTokenIsReturnedWithoutLockOrRequest) {
  Store store = open();
  const Uid uid = add_login(store);
  const std::string before = file_bytes(journal(uid));
  advance(Seconds(1));

  const auto rotated = rotate(store, uid, {});

  ASSERT_TRUE(rotated);
  EXPECT_EQ(text(rotated->held.access_token), "access-a-1");
  EXPECT_EQ(rotated->action, Action::cached);
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(file_bytes(journal(uid)), before) << "whoever takes the lock writes there since when";
}

TEST_F(RotationTest, AnExpiredTokenIsRefreshedAndThePairReplaced) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will(grants("refresh-a-2", "access-a-2"));

  const auto rotated = rotate(store, uid, {});

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(rotated->action, Action::refreshed);
  const auto held = store.unseal(uid);
  ASSERT_TRUE(held);
  EXPECT_EQ(text(held->access_token), "access-a-2");
  EXPECT_EQ(text(held->refresh_token), "refresh-a-2");
  EXPECT_EQ(held->row.generation, 2);
  EXPECT_EQ(held->row.expires_at, now() + Seconds(900));
}

TEST_F(RotationTest, P2_TheReplacedTokenIsRetiredAsSpentAndNeverCurrentAgain) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {}));

  const auto retired = store.retired(hash("refresh-a-1"));
  ASSERT_TRUE(retired && *retired);
  EXPECT_EQ((*retired)->reason, Retirement::spent);
  CredentialChange stale;
  stale.uid = uid;
  stale.planned_against = 2;
  stale.grant.emplace();
  stale.grant->access_token = Secret::copy_of("access-a-1");
  stale.grant->refresh_token = Secret::copy_of("refresh-a-1");
  Change change;
  change.credentials.push_back(std::move(stale));
  EXPECT_FALSE(store.apply(change));
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-2");
}

TEST_F(RotationTest, AnAnswerWithoutRefreshTokenKeepsTheOneThereIs) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will(grants("", "access-a-2"));

  ASSERT_TRUE(rotate(store, uid, {}));

  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
  EXPECT_EQ(store.find(uid)->generation, 2);
  EXPECT_FALSE(*store.retired(hash("refresh-a-1")));
}

TEST_F(RotationTest, TheSameRefreshTokenHandedBackIsNotRetired) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will(grants("refresh-a-1", "access-a-2"));

  ASSERT_TRUE(rotate(store, uid, {}));

  EXPECT_FALSE(*store.retired(hash("refresh-a-1")));
  advance(kPastExpiry);
  will(grants("refresh-a-2", "access-a-3"));
  EXPECT_TRUE(rotate(store, uid, {}));
}

TEST_F(RotationTest, P1_ManyThreadsAtOneExpiryMakeOneCall) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will(grants("refresh-a-2", "access-a-2"));

  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto rotated = rotate(store, uid, {});
      if (rotated && rotated->held.access_token.reveal() == "access-a-2") ++served;
    });
  }
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(served, 8);
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(RotationTest, P1_ProcessesAtOneExpiryMakeOneCall) {
  const Uid uid = [&] {
    Store store = open();
    return add_login(store);
  }();
  advance(kPastExpiry);
  will(grants("refresh-a-2", "access-a-2"));
  auto* calls = static_cast<std::atomic<int>*>(::mmap(nullptr, sizeof(std::atomic<int>),
                                                      PROT_READ | PROT_WRITE,
                                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  new (calls) std::atomic<int>(0);
  script_->replies.front().meanwhile = [calls] { ++*calls; };

  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = Store::open(options(), OpenMode::use);
      const auto rotated = rotate(*store, uid, {});
      ::_exit(rotated && rotated->held.access_token.reveal() == "access-a-2" ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }

  EXPECT_EQ(calls->load(), 1);
  ::munmap(calls, sizeof(std::atomic<int>));
}

// The journal knows nothing of it, and the schema's triggers, which allow no retired token to be
// current, are gone: as after a repair by hand.
TEST_F(RotationTest, P1_ATokenThatOnlyTheDatabaseKnowsAsSpentIsNotSentEvenIfForced) {
  Store store = open();
  const Uid uid = add_login(store);
  const std::string command =
      "sqlite3 '" + database().string() +
      "' \"DROP TRIGGER retired_token_not_current; INSERT INTO retired_token SELECT refresh_hash, "
      "credential, family, generation, 0, 'spent' FROM token_set\"";
  ASSERT_EQ(std::system(command.c_str()), 0);
  will(grants("refresh-a-2", "access-a-2"));

  const auto refused = rotate(store, uid, {.force = true});

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::login_needed) << refused.error().message;
  EXPECT_TRUE(sent().empty());
}

TEST_F(RotationTest, P1_ATokenWhoseSuccessorIsKnownIsNotSentEvenIfForced) {
  Store store = open();
  const Uid uid = add_login(store);
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));
  will(grants("refresh-a-3", "access-a-3"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  EXPECT_EQ(sent(), (std::vector<std::string>{"refresh-a-1", "refresh-a-2"}));
}

TEST_F(RotationTest, ACallerWithALiveBearerDoesNotWaitForSomebodyElsesRefresh) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(800));  // due, and still alive
  Result<Rotated> bystander = fail(Errc::unexpected, "not asked");
  Reply slow = grants("refresh-a-2", "access-a-2");
  slow.meanwhile = [&] { bystander = rotate(store, uid, {}); };
  will(std::move(slow));

  const auto rotated = rotate(store, uid, {});

  ASSERT_TRUE(rotated);
  ASSERT_TRUE(bystander) << bystander.error().message;
  EXPECT_EQ(text(bystander->held.access_token), "access-a-1");
  EXPECT_EQ(bystander->action, Action::cached);
}

TEST_F(RotationTest, ACallerWithALiveBearerDoesNotWaitToSettleWhatAnotherLeft) {
  Store store = open();
  const Uid uid = add_login(store);
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(20);
  Store blocked = *Store::open(impatient, OpenMode::use);
  std::optional<FileLock> gate;  // held by a process that is frozen, say
  Reply reply = grants("refresh-a-2", "access-a-2");
  reply.meanwhile = [&] {
    gate = *FileLock::acquire(database().string() + ".d/gate", Milliseconds(0));
  };
  will(std::move(reply));
  ASSERT_TRUE(rotate(blocked, uid, {.force = true}));
  advance(Seconds(800));  // due by the row that could not be written, and still alive
  StoreOptions patient = options();
  patient.lock_wait = std::chrono::hours(1);
  Store bystander = *Store::open(patient, OpenMode::use);

  const auto served = rotate(bystander, uid, {});

  ASSERT_TRUE(served) << served.error().message;
  EXPECT_EQ(text(served->held.access_token), "access-a-1");
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(RotationTest, ALockNotHadByTheDeadlineNamesItsHolderAndChangesNothing) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(20);
  Store other = *Store::open(impatient, OpenMode::use);
  auto locked = LockedCredential::acquire(store, uid, {Milliseconds(0)});
  ASSERT_TRUE(locked);

  const auto refused = rotate(other, uid, {});

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr(std::to_string(::getpid())));
  EXPECT_EQ(store.find(uid)->health.status, Status::ok);
  EXPECT_TRUE(sent().empty());
}

TEST_F(RotationTest, P5_ARefusedConnectionLeavesTheTokenAsItWas) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.before_send = true});

  const auto failed = rotate(store, uid, {});

  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::try_later);
  EXPECT_EQ(store.find(uid)->hold, Hold::none);
  advance(Seconds(1));  // so long the endpoint rests
  will(grants("refresh-a-2", "access-a-2"));
  EXPECT_TRUE(rotate(store, uid, {}));
}

TEST_F(RotationTest, WhoeverWasFasterThanAForcedRefreshHasDoneIt) {
  Store store = open();
  const Uid uid = add_login(store);
  const std::int64_t listed = store.find(uid)->generation;
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  const auto late = rotate(store, uid, {.force = true, .seen_generation = listed});

  ASSERT_TRUE(late) << late.error().message;
  EXPECT_EQ(late->action, Action::adopted);
  EXPECT_EQ(text(late->held.access_token), "access-a-2");
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(RotationTest, P5_A429LeavesTheTokenAndTheEndpointRestsAsLongAsTheServerAsked) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.status = 429, .body = "slow down"});

  const auto failed = rotate(store, uid, {});

  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::try_later);
  EXPECT_EQ(store.find(uid)->renewal.rest_until, now() + Seconds(30));
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
}

TEST_F(RotationTest, WhoWaitedWhileTheServerAskedForTimeDoesNotAskBeforeItIsOver) {
  Store store = open();
  const Uid uid = add_resting_login(store);
  will(grants("refresh-a-2", "access-a-2"));

  const auto late = rotate(store, uid, {});  // had chosen it before the answer came

  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::try_later);
  EXPECT_THAT(late.error().message, ::testing::HasSubstr(format_iso(now() + Seconds(30))));
  EXPECT_EQ(sent().size(), 1U);
  advance(Seconds(30));
  EXPECT_TRUE(rotate(store, uid, {}));
}

TEST_F(RotationTest, ALiveTokenIsServedWhileTheServerHasAskedForTime) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(600));
  const RotateRequest wants_more{.min_ttl = Seconds(400)};  // than the 300 s it has left
  will({.status = 429, .body = "slow down"});
  ASSERT_FALSE(rotate(store, uid, wants_more));

  const auto served = rotate(store, uid, wants_more);

  ASSERT_TRUE(served) << served.error().message;
  EXPECT_EQ(text(served->held.access_token), "access-a-1");
  EXPECT_THAT(served->warning, ::testing::HasSubstr("left alone until"));
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(RotationTest, WhoeverInsistsIsNotHeldBackByTheTimeTheServerAskedFor) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  for (const RotateRequest& insisting :
       {RotateRequest{.force = true}, RotateRequest{.ignore_rest = true}}) {
    will({.status = 429, .body = "slow down"});
    EXPECT_FALSE(rotate(store, uid, insisting));
  }
  EXPECT_EQ(sent().size(), 2U);
}

TEST_F(RotationTest, AnAnswerEndsTheTimeTheServerAskedFor) {
  Store store = open();
  const Uid uid = add_resting_login(store);
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  EXPECT_EQ(store.find(uid)->renewal.rest_until, std::nullopt);
}

TEST_F(RotationTest, AnAccountThatAResourceServerExhaustedIsStillRefreshed) {
  Store store = open();
  const Uid uid = add_login(store);
  Report report;
  report.http_status = 429;
  report.reset_at = now() + Seconds(3600);
  ASSERT_TRUE(store.report(uid, report));
  advance(kPastExpiry);
  will({.status = 429, .body = "slow down"});
  ASSERT_FALSE(rotate(store, uid, {}));
  EXPECT_EQ(store.find(uid)->health.cooldown_until, report.reset_at);
  advance(Seconds(30));

  will(grants("refresh-a-2", "access-a-2"));
  EXPECT_TRUE(rotate(store, uid, {}));
  EXPECT_EQ(store.find(uid)->health.cooldown_until, report.reset_at) << "not the endpoint's to end";
}

TEST_F(RotationTest, P5_AfterA429TheNextHolderFindsNothingUncertain) {
  Store store = open();
  const Uid uid = add_resting_login(store);

  const auto locked = LockedCredential::acquire(store, uid, {Milliseconds(0)});

  ASSERT_TRUE(locked);
  EXPECT_EQ(locked->held().row.hold, Hold::none);
}

TEST_F(RotationTest, P5_ATerminalRefusalMarksTheCredentialDeadAndKeepsItsTokens) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.status = 400,
        .body = R"({"error":"invalid_grant","error_description":"no longer valid"})"});

  const auto failed = rotate(store, uid, {});

  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::login_needed);
  EXPECT_EQ(store.find(uid)->health.status, Status::dead);
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
}

TEST_F(RotationTest, WhoWaitedWhileTheServerSaidNoDoesNotAskAgain) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.status = 400,
        .body = R"({"error":"invalid_grant","error_description":"no longer valid"})"});
  ASSERT_FALSE(rotate(store, uid, {}));

  const auto late = rotate(store, uid, {});  // had chosen it before it was known to be dead

  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::login_needed);
  EXPECT_THAT(late.error().message, ::testing::HasSubstr("has ended"));
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(RotationTest, P1_OfTwoThreadsTheOneThatWaitedGoesByTheRowAsItIsThen) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will(grants("refresh-a-2", "access-a-2"));
  std::atomic<bool> asks = false;  // for the lock: who waits is told from when on
  StoreOptions patient = options();
  patient.clock = [&asks, clock = patient.clock] {
    asks = true;
    asks.notify_all();
    return clock();
  };
  Store other = *Store::open(patient, OpenMode::use);
  auto first = LockedCredential::acquire(store, uid, {Milliseconds(0)});
  ASSERT_TRUE(first);
  asks = false;
  Result<Rotated> second = fail(Errc::unexpected, "");
  std::thread waiting([&] {
    auto locked = LockedCredential::acquire(other, uid, {std::chrono::hours(1)});
    second = locked ? locked->rotate({}) : Result<Rotated>(fail(locked.error()));
  });

  asks.wait(false);
  // What only the row knows.
  ASSERT_TRUE(store.report(uid, {401, {}, "token_revoked", "", "default"}));
  first = fail(Errc::unexpected, "let go");
  waiting.join();

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::login_needed);
  EXPECT_TRUE(sent().empty());
}

TEST_F(RotationTest, ReuseOfATokenSentOnceIsExplainedAsAnOutsider) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.status = 400,
        .body = R"({"error":"invalid_grant","error_description":"Refresh token reuse detected"})"});

  const auto failed = rotate(store, uid, {.profile = "atlas"});

  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, ::testing::HasSubstr("profile atlas"));
  EXPECT_THAT(failed.error().hint, ::testing::HasSubstr("something else has a copy"));
}

TEST_F(RotationTest, P5_ALiveTokenIsServedWhenTheServerGoesSilent) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(800));
  will({.silence = true});

  const auto served = rotate(store, uid, {});

  ASSERT_TRUE(served) << served.error().message;
  EXPECT_EQ(text(served->held.access_token), "access-a-1");
  EXPECT_FALSE(served->warning.empty());
  EXPECT_EQ(store.find(uid)->hold, Hold::uncertain);
}

TEST_F(RotationTest, P1_AnUncertainTokenIsNotReplayedWhileABearerLives) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(800));
  will({.silence = true});
  ASSERT_TRUE(rotate(store, uid, {}));

  EXPECT_TRUE(rotate(store, uid, {}));
  const auto forced = rotate(store, uid, {.force = true});

  ASSERT_FALSE(forced);
  EXPECT_EQ(forced.error().code, Errc::try_later);
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(RotationTest, AnUncertainTokenIsReplayedOnceNothingIsLiveAndHealsIfItWasUnspent) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(800));
  will({.silence = true});
  ASSERT_TRUE(rotate(store, uid, {}));
  advance(Seconds(200));
  will(grants("refresh-a-2", "access-a-2"));

  const auto rotated = rotate(store, uid, {});

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(text(rotated->held.access_token), "access-a-2");
  EXPECT_EQ(store.find(uid)->hold, Hold::none);
}

TEST_F(RotationTest, ReplaysBackOffAndSayWhenTheNextOneIs) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.silence = true});
  ASSERT_FALSE(rotate(store, uid, {}));
  will({.silence = true});
  ASSERT_FALSE(rotate(store, uid, {}));  // the first replay is at once
  ASSERT_EQ(sent().size(), 2u);

  const auto early = rotate(store, uid, {});
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().hint, ::testing::HasSubstr(format_iso(now() + Seconds(5))));
  EXPECT_EQ(sent().size(), 2u);
  advance(Seconds(6));
  will(grants("refresh-a-2", "access-a-2"));
  EXPECT_TRUE(rotate(store, uid, {}));
}

TEST_F(RotationTest, ARejectedReplayIsExplainedAsOurOwnLostAnswer) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.silence = true});
  ASSERT_FALSE(rotate(store, uid, {}));
  will({.status = 400,
        .body = R"({"error":"invalid_grant","error_description":"Refresh token reuse detected"})"});

  const auto dead = rotate(store, uid, {});

  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, Errc::login_needed);
  EXPECT_THAT(dead.error().hint, ::testing::HasSubstr("our own lost answer"));
  EXPECT_EQ(store.find(uid)->health.status, Status::dead);
}

TEST_F(RotationTest, ReplayOnRequestSendsAnUncertainTokenAtOnce) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(800));
  will({.silence = true});
  ASSERT_TRUE(rotate(store, uid, {}));
  will(grants("refresh-a-2", "access-a-2"));

  EXPECT_TRUE(rotate(store, uid, {.force = true, .replay = true}));
  EXPECT_EQ(sent().size(), 2u);
}

TEST_F(RotationTest, InsideTheProvidersGraceAnUncertainTokenIsReplayedAtOnce) {
  script_->policy.reuse_grace = Seconds(10);
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(800));
  will({.silence = true});
  ASSERT_TRUE(rotate(store, uid, {}));
  will(grants("refresh-a-2", "access-a-2"));

  const auto healed = rotate(store, uid, {});

  ASSERT_TRUE(healed);
  EXPECT_EQ(text(healed->held.access_token), "access-a-2");
}

TEST_F(RotationTest, P3_ARefreshTokenWithoutAccessTokenIsSavedBeforeTheFailureIsTold) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.status = 200, .body = R"({"refresh_token":"refresh-a-2"})"});

  const auto failed = rotate(store, uid, {});

  ASSERT_FALSE(failed);
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-2");
  EXPECT_EQ((*store.retired(hash("refresh-a-1")))->reason, Retirement::spent);
  will(grants("refresh-a-3", "access-a-3"));
  EXPECT_TRUE(rotate(store, uid, {}));
  EXPECT_EQ(sent().back(), "refresh-a-2");
}

TEST_F(RotationTest, ATokenShorterThanTheSkewIsNotRefreshedOnEachCall) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will(grants("refresh-a-2", "access-a-2", /*lifetime_s=*/60));
  ASSERT_TRUE(rotate(store, uid, {}));

  advance(Seconds(20));
  EXPECT_EQ(rotate(store, uid, {})->action, Action::cached);
  EXPECT_EQ(sent().size(), 1u);
  advance(Seconds(15));  // past half its life
  will(grants("refresh-a-3", "access-a-3", 60));
  EXPECT_EQ(rotate(store, uid, {})->action, Action::refreshed);
}

TEST_F(RotationTest, MinTtlAsksForMoreButNotForARefreshPerCall) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(Seconds(100));

  EXPECT_EQ(rotate(store, uid, {.min_ttl = Seconds(5000)})->action, Action::cached);
  advance(Seconds(400));
  will(grants("refresh-a-2", "access-a-2"));
  EXPECT_EQ(rotate(store, uid, {.min_ttl = Seconds(5000)})->action, Action::refreshed);
}

TEST_F(RotationTest, ARejectedAccessTokenIsReplacedOnceForAllWhoReportIt) {
  Store store = open();
  const Uid uid = add_login(store);
  const std::string rejected = store.find(uid)->access_fingerprint;
  will(grants("refresh-a-2", "access-a-2"));

  EXPECT_EQ(rotate(store, uid, {.rejected = rejected})->action, Action::refreshed);
  const auto second = rotate(store, uid, {.rejected = rejected});

  ASSERT_TRUE(second);
  EXPECT_EQ(text(second->held.access_token), "access-a-2");
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(RotationTest, AClockSteppedBackCausesOneRefreshAndNoStorm) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(-Milliseconds(3'600'000));
  will(grants("refresh-a-2", "access-a-2"));

  EXPECT_EQ(rotate(store, uid, {})->action, Action::refreshed);
  EXPECT_EQ(rotate(store, uid, {})->action, Action::cached);
}

TEST_F(RotationTest, AHeldConflictIsNeverSent) {
  Store store = open();
  CredentialChange change = login("a", "access-a-1", "refresh-a-1", now());
  change.hold = Hold::conflict;
  const Uid uid = add(store, std::move(change));
  advance(kPastExpiry);

  const auto refused = rotate(store, uid, {.force = true});

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::login_needed);
  EXPECT_TRUE(sent().empty());
}

TEST_F(RotationTest, EveryAttemptIsInTheLedger) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  will({.before_send = true});
  ASSERT_FALSE(rotate(store, uid, {.profile = "atlas"}));
  advance(Seconds(1));
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.profile = "atlas"}));

  const auto rows = store.query(
      "SELECT outcome, profile, from_generation, to_generation, fingerprint, pid "
      "FROM rotation WHERE kind = 'refresh'");

  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->rows.size(), 2u);
  EXPECT_EQ(std::get<std::string>(rows->rows[0][0]), "not_sent");
  EXPECT_EQ(std::get<std::string>(rows->rows[1][0]), "committed");
  EXPECT_EQ(std::get<std::string>(rows->rows[1][1]), "atlas");
  EXPECT_EQ(std::get<std::int64_t>(rows->rows[1][3]), 2);
  EXPECT_EQ(std::get<std::string>(rows->rows[1][4]), fingerprint(hash("refresh-a-1")));
  EXPECT_EQ(std::get<std::int64_t>(rows->rows[1][5]), ::getpid());
}

TEST_F(RotationTest, TheShieldStandsFromIntentToSettlement) {
  StoreOptions shielded = options();
  int depth = 0;
  int depth_while_sending = 0;
  shielded.shield = [&]() -> std::shared_ptr<void> {
    ++depth;
    return {&depth, [](int* count) { --*count; }};
  };
  Store store = *Store::open(shielded, OpenMode::create);
  const Uid uid = add_login(store);
  Reply reply = grants("refresh-a-2", "access-a-2");
  reply.meanwhile = [&] { depth_while_sending = depth; };
  will(std::move(reply));

  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  EXPECT_EQ(depth_while_sending, 1);
  EXPECT_EQ(depth, 0);
}

TEST_F(RotationTest, P3_ARotatedTokenIsInTheJournalBeforeItIsInTheDatabase) {
  Store store = open();
  const Uid uid = add_login(store);
  // Another connection holds the write lock, so that step 7 cannot succeed.
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(50);
  Store blocked = *Store::open(impatient, OpenMode::use);
  std::optional<FileLock> gate;
  Reply reply = grants("refresh-a-2", "access-a-2");
  reply.meanwhile = [&] {
    gate = *std::move(FileLock::acquire(database().string() + ".d/gate", Milliseconds(0)));
  };
  will(std::move(reply));

  const auto served = rotate(blocked, uid, {.force = true});

  ASSERT_TRUE(served) << served.error().message;
  EXPECT_EQ(text(served->held.access_token), "access-a-2");
  EXPECT_THAT(served->warning, ::testing::HasSubstr("safe in its journal"));
  EXPECT_EQ(store.find(uid)->generation, 1);
  gate.reset();
  const auto next = rotate(store, uid, {.force = true});
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(next->action, Action::recovered);
  EXPECT_EQ(store.find(uid)->generation, 2);
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(RotationTest, WhatCannotBeRenewedIsServedToItsLastSecond) {
  Store store = open();
  const Uid uid = add(store, login("a", "access-a-1", "", now()));
  advance(Seconds(899));  // within the skew, and still alive

  const auto served = rotate(store, uid, {});

  ASSERT_TRUE(served) << served.error().message;
  EXPECT_EQ(text(served->held.access_token), "access-a-1");
  EXPECT_FALSE(served->warning.empty());
  advance(Seconds(1));
  EXPECT_EQ(rotate(store, uid, {}).error().code, Errc::login_needed);
}

TEST_F(RotationTest, P3_ALoneRefreshTokenThatCannotBeSettledIsNoSuccessAndIsNotLost) {
  Store store = open();
  const Uid uid = add_login(store);
  advance(kPastExpiry);
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(20);
  Store blocked = *Store::open(impatient, OpenMode::use);
  std::optional<FileLock> gate;
  Reply reply{.status = 200, .body = R"({"refresh_token":"refresh-a-2"})"};
  reply.meanwhile = [&] {
    gate = *FileLock::acquire(database().string() + ".d/gate", Milliseconds(0));
  };
  will(std::move(reply));

  const auto failed = rotate(blocked, uid, {});

  ASSERT_FALSE(failed) << "an empty bearer was served";
  EXPECT_EQ(failed.error().code, Errc::try_later);
  gate.reset();
  will(grants("refresh-a-3", "access-a-3"));
  EXPECT_TRUE(rotate(store, uid, {}));
  EXPECT_EQ(sent().back(), "refresh-a-2");
}

// Step 7 compares hash and generation, each for itself.
TEST_F(RotationTest, P2_TheRowMovesOnlyFromExactlyTheTokenThatWasSent) {
  Store store = open();
  const Uid uid = add_login(store);
  Engine& engine = store.engine();
  const Credential row = *store.find(uid);
  Grant grant;
  grant.access_token = Secret::copy_of("access-a-2");
  grant.refresh_token = Secret::copy_of("refresh-a-2");
  const auto fresh = engine.seal_grant(uid, row.identity, grant, Origin::rotation, 1, 2, nullptr);
  const auto txn = engine.begin_write();

  EXPECT_FALSE(txn->advance(row.id, hash("refresh-of-somebody"), row.generation, fresh));
  EXPECT_FALSE(txn->advance(row.id, std::nullopt, row.generation, fresh));
  EXPECT_FALSE(txn->advance(row.id, row.refresh_hash, row.generation + 1, fresh));
  EXPECT_FALSE(txn->advance(row.id, row.refresh_hash, row.generation - 1, fresh));
  EXPECT_TRUE(txn->advance(row.id, row.refresh_hash, row.generation, fresh));
}

// Everybody who writes queues at the gate, also while it is somebody else's database connection
// that is busy.
TEST_F(RotationTest, AWriterWaitsAtTheGateAndNamesIt) {
  Store store = open();
  add_login(store);
  const auto path = dir_.path() / "store" / "auth.db.d" / "gate";
  const auto gate = FileLock::acquire(path, Milliseconds(0));
  ASSERT_TRUE(gate && *gate);
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(0);

  const auto refused = Store::open(impatient, OpenMode::use)->add_profile("p");

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
  EXPECT_NE(refused.error().message.find(path.string()), std::string::npos);
}

// No token moves, and none is removed, while somebody is spending it.
TEST_F(RotationTest, P1_NeitherARemovalNorAnImportMovesATokenThatIsBeingSpent) {
  Store store = open();
  const Uid uid = add_login(store);
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(0);
  Store other = *Store::open(impatient, OpenMode::use);
  const auto locked = LockedCredential::acquire(store, uid, {Milliseconds(0)});
  ASSERT_TRUE(locked);
  Change change;
  change.credentials.push_back(login("a", "access-b-1", "refresh-b-1", now()));
  change.credentials.back().uid = uid;
  change.credentials.back().planned_against = 1;

  const auto removed = other.remove(uid);
  const auto applied = other.apply(change);

  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, Errc::busy);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, Errc::busy);
}

}  // namespace
}  // namespace authdb::test
