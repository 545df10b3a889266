// Whoever calls may want to stop, throw or go away at any moment: a token that has arrived is never
// dropped for it, and no lock stays behind.
#include <pthread.h>
#include <unistd.h>

#include <stdexcept>
#include <thread>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Thrown : std::runtime_error {
  Thrown() : std::runtime_error("the caller's own, about refresh-a-1") {}
};

// Throws where a test says; else what the script says.
struct Trap {
  bool before_sent = false;
  bool after_sent = false;
  bool after_answer = false;
  bool in_judge = false;
};

class TrappedEndpoint final : public TokenEndpoint {
 public:
  TrappedEndpoint(std::unique_ptr<TokenEndpoint> real, const Trap& trap)
      : real_(std::move(real)), trap_(trap) {}
  Answer send(const Secret& token, const std::function<bool()>& sent) override {
    if (trap_.before_sent) throw Thrown();
    Answer answer = real_->send(token, [&] {
      const bool may = sent();
      if (trap_.after_sent) throw Thrown();
      return may;
    });
    if (trap_.after_answer) throw Thrown();
    return answer;
  }
  Judgement judge(const Answer& answer) const override {
    if (trap_.in_judge) throw Thrown();
    return real_->judge(answer);
  }
  TokenPolicy policy() const override { return real_->policy(); }

 private:
  std::unique_ptr<TokenEndpoint> real_;
  const Trap& trap_;
};

class CancellationTest : public StoreTest {
 protected:
  void SetUp() override {
    Store store = open();
    uid_ = add_login(store);
    advance(Seconds(901));
  }
  Store open_trapped(StoreOptions made) {
    made.endpoint_for = [this, real = made.endpoint_for](const Identity& identity) {
      return std::make_unique<TrappedEndpoint>(real(identity), trap_);
    };
    return *Store::open(made, OpenMode::use);
  }
  Store open_trapped() { return open_trapped(options()); }
  bool lock_is_free() {
    const auto free = [](const std::filesystem::path& path) {
      const auto lock = FileLock::acquire(path, Milliseconds(0));
      return lock ? lock->has_value() : !std::filesystem::exists(path);
    };
    return free(journal(uid_)) && free(database().string() + ".d/gate");
  }

  Trap trap_;
  Uid uid_;
};

// ---- stop requests -----------------------------------------------------------------------------

TEST_F(CancellationTest, ARequestToStopBeforeTheIntentSendsNothing) {
  Store store = open();
  std::stop_source stop;
  stop.request_stop();

  const auto stopped = rotate(store, uid_, {.stop = stop.get_token()});

  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Errc::stopped);
  EXPECT_TRUE(sent().empty());
  EXPECT_TRUE(lock_is_free());
  EXPECT_EQ(store.find(uid_)->hold, Hold::none);
}

TEST_F(CancellationTest, ARequestToStopDoesNotWithholdALiveBearer) {
  Store store = open();
  advance(-Milliseconds(901'000));
  std::stop_source stop;
  stop.request_stop();

  EXPECT_TRUE(rotate(store, uid_, {.stop = stop.get_token()}));
}

TEST_F(CancellationTest, ARequestToStopEndsTheWaitForALock) {
  StoreOptions patient = options();
  patient.lock_wait = std::chrono::hours(1);
  Store store = *Store::open(patient, OpenMode::use);
  auto held = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
  ASSERT_TRUE(held);
  std::stop_source stop;
  Result<Rotated> waited = fail(Errc::unexpected, "");
  std::thread waiting([&] { waited = rotate(store, uid_, {.stop = stop.get_token()}); });

  stop.request_stop();
  waiting.join();

  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, Errc::stopped);
  EXPECT_TRUE(sent().empty());
}

TEST_F(CancellationTest, ARequestToStopWhileATokenIsInFlightIsNotHeard) {
  Store store = open();
  std::stop_source stop;
  Reply reply = grants("refresh-a-2", "access-a-2");
  reply.meanwhile = [&] { stop.request_stop(); };
  will(std::move(reply));

  const auto rotated = rotate(store, uid_, {.stop = stop.get_token()});

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(text(store.unseal(uid_)->refresh_token), "refresh-a-2");
}

// ---- exceptions --------------------------------------------------------------------------------

TEST_F(CancellationTest, ATransportThatThrowsBeforeItSentLeavesTheTokenUnspent) {
  Store store = open_trapped();
  trap_.before_sent = true;

  const auto failed = rotate(store, uid_, {});

  ASSERT_FALSE(failed);
  EXPECT_EQ(store.find(uid_)->hold, Hold::none);
  EXPECT_TRUE(lock_is_free());
  trap_ = {};
  advance(Seconds(1));  // so long its endpoint rests
  will(grants("refresh-a-2", "access-a-2"));
  EXPECT_TRUE(rotate(store, uid_, {}));
}

TEST_F(CancellationTest, ATransportThatThrowsWithTheTokenInFlightLeavesItUncertain) {
  for (bool Trap::*const where : {&Trap::after_sent, &Trap::after_answer}) {
    Store store = open_trapped();
    const Uid uid = add_login(store, where == &Trap::after_sent ? "b" : "c");
    trap_ = {};
    trap_.*where = true;
    will(grants("refresh-2", "access-2"));

    const auto failed = rotate(store, uid, {.force = true});

    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::try_later);
    EXPECT_EQ(store.find(uid)->hold, Hold::uncertain);
  }
}

TEST_F(CancellationTest, WhatAnExceptionSaysIsNotQuotedWithTheToken) {
  Store store = open_trapped();
  trap_.before_sent = true;

  const auto failed = rotate(store, uid_, {});

  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message + failed.error().hint, Not(HasSubstr("refresh-a-1")));
}

TEST_F(CancellationTest, P4_AJudgeThatThrowsLeavesTheAnswerForTheNextCall) {
  Store store = open_trapped();
  trap_.in_judge = true;
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_FALSE(rotate(store, uid_, {}));
  ASSERT_TRUE(lock_is_free());
  trap_ = {};

  const auto next = rotate(store, uid_, {});

  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(next->action, Action::recovered);
  EXPECT_EQ(text(store.unseal(uid_)->refresh_token), "refresh-a-2");
  EXPECT_EQ(sent().size(), 1u);
}

// The clock is asked between all the steps; each reading throws once.
TEST_F(CancellationTest, P4_AClockThatThrowsAtAnyReadingLosesNothing) {
  int armed = 0;  // throws at this reading; 0: never
  StoreOptions made = options();
  made.clock = [&armed, clock = made.clock] {
    if (armed > 0 && --armed == 0) throw Thrown();
    return clock();
  };
  Store store = *Store::open(made, OpenMode::use);
  int generation = 1;
  int readings = 1;
  for (bool thrown = true; thrown; ++readings) {
    const std::string next = std::to_string(++generation);
    const std::size_t before = sent().size();
    will(grants("refresh-a-" + next, "access-a-" + next));
    armed = readings;
    (void)rotate(store, uid_, {});
    thrown = armed == 0;
    armed = 0;
    ASSERT_TRUE(lock_is_free()) << "at reading " << readings;

    const auto rotated = rotate(store, uid_, {});

    ASSERT_TRUE(rotated) << "at reading " << readings << ": " << rotated.error().message;
    ASSERT_EQ(text(rotated->held.refresh_token), "refresh-a-" + next) << readings;
    ASSERT_EQ(sent().size(), before + 1) << readings;
    advance(Seconds(901));
  }
  EXPECT_GE(readings, 8) << "re-argue the protocol before changing this";
}

TEST_F(CancellationTest, ALoggerThatThrowsCostsNoToken) {
  StoreOptions made = options();
  made.log = [](LogLevel, std::string_view) { throw Thrown(); };
  made.lock_wait = Milliseconds(20);
  Store store = open_trapped(made);
  std::optional<FileLock> gate;  // nothing can be settled, which is worth a log line
  Reply reply{.silence = true};
  reply.meanwhile = [&] {
    gate = *FileLock::acquire(database().string() + ".d/gate", Milliseconds(0));
  };
  will(std::move(reply));

  const auto failed = rotate(store, uid_, {});

  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::try_later) << failed.error().message;
}

TEST_F(CancellationTest, AShieldThatThrowsSendsNothing) {
  StoreOptions made = options();
  made.shield = []() -> std::shared_ptr<void> { throw Thrown(); };
  Store store = *Store::open(made, OpenMode::use);

  ASSERT_FALSE(rotate(store, uid_, {}));
  EXPECT_TRUE(sent().empty());
  EXPECT_TRUE(lock_is_free());
}

TEST_F(CancellationTest, AClockThatThrowsInsideAQueryIsReplacedByTheMachinesOwn) {
  bool armed = false;
  StoreOptions made = options();
  made.clock = [&armed, clock = made.clock] {
    if (armed) throw Thrown();
    return clock();
  };
  Store store = *Store::open(made, OpenMode::use);
  armed = true;

  const auto rows = store.query("SELECT 1 FROM freshness WHERE age_s IS NOT NULL");

  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->rows.size(), 1u);
}

// ---- a cancelled thread ------------------------------------------------------------------------

TEST_F(CancellationTest, AThreadCancelledWithATokenInFlightSettlesFirst) {
  struct Run {
    Store store;
    Uid uid;
    bool rotated = false;
  } run{open(), uid_};
  Reply reply = grants("refresh-a-2", "access-a-2");
  reply.meanwhile = [] {
    ::pthread_cancel(::pthread_self());
    ::pthread_testcancel();  // where a transport reads, or waits
  };
  will(std::move(reply));
  pthread_t thread{};
  const auto body = [](void* context) -> void* {
    auto& mine = *static_cast<Run*>(context);
    mine.rotated = rotate(mine.store, mine.uid, {}).has_value();
    ::pthread_testcancel();
    return nullptr;
  };
  ASSERT_EQ(::pthread_create(&thread, nullptr, body, &run), 0);
  void* ended = nullptr;
  ::pthread_join(thread, &ended);

  EXPECT_EQ(ended, PTHREAD_CANCELED);
  EXPECT_TRUE(run.rotated);
  EXPECT_EQ(text(run.store.unseal(uid_)->refresh_token), "refresh-a-2");
  EXPECT_TRUE(lock_is_free());
}

}  // namespace
}  // namespace authdb::test
