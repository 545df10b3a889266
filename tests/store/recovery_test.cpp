// The crash table of docs/design.md, row by row: a process dies at a point of the protocol, and
// another one asks for the bearer.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "store/journal.h"
#include "store/locked.h"
#include "store/rescue.h"
#include "tests/store/attempt_fixture.h"

namespace authdb::test {
namespace {

class RecoveryTest : public StoreTest {
 protected:
  void SetUp() override {
    Store store = open();
    uid_ = add_login(store);
    advance(Seconds(901));
  }

  // Rotates in a child that is killed where `die` says; the parent's script has seen nothing of it.
  void rotate_and_die(const std::function<void(StoreOptions&, Script&)>& arrange) {
    const pid_t child = ::fork();
    if (child == 0) {
      StoreOptions doomed = options();
      arrange(doomed, *script_);
      auto store = Store::open(doomed, OpenMode::use);
      (void)rotate(*store, uid_, {.profile = "default"});
      ::_exit(42);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it survived with " << WEXITSTATUS(status);
  }

  static void die() { ::kill(::getpid(), SIGKILL); }

  // What the next process sees.
  Result<Rotated> next_process() {
    Store store = open(OpenMode::use);
    return rotate(store, uid_, {});
  }

  Uid uid_;
};

// Kills the process when the answer is judged: it is in the journal, and not in the database.
class DyingJudge final : public TokenEndpoint {
 public:
  explicit DyingJudge(std::unique_ptr<TokenEndpoint> real) : real_(std::move(real)) {}
  Answer send(const Secret& token, const std::function<bool()>& sent) override {
    return real_->send(token, sent);
  }
  Judgement judge(const Answer&) const override {
    ::kill(::getpid(), SIGKILL);
    return {};
  }
  TokenPolicy policy() const override { return {}; }

 private:
  std::unique_ptr<TokenEndpoint> real_;
};

TEST_F(RecoveryTest, P4_DiedBeforeTheRequestBeganTheNextHolderRotates) {
  rotate_and_die([](StoreOptions& doomed, Script&) {
    doomed.endpoint_for = [](const Identity&) -> std::unique_ptr<TokenEndpoint> {
      struct Dying final : TokenEndpoint {
        Answer send(const Secret&, const std::function<bool()>&) override {
          die();
          return {};
        }
        Judgement judge(const Answer&) const override { return {}; }
        TokenPolicy policy() const override { return {}; }
      };
      return std::make_unique<Dying>();
    };
  });
  will(grants("refresh-a-2", "access-a-2"));

  const auto rotated = next_process();

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(rotated->action, Action::refreshed);
}

TEST_F(RecoveryTest, P4_DiedWithTheRequestUnderWayTheTokenIsUncertain) {
  rotate_and_die(
      [](StoreOptions&, Script& script) { script.replies.push_back({.meanwhile = die}); });
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(LockedCredential::acquire(store, uid_, {Milliseconds(0)}));
  }

  const auto rows =
      open(OpenMode::look).query("SELECT outcome, process FROM rotation WHERE kind = 'refresh'");
  ASSERT_EQ(rows->rows.size(), 1u);
  EXPECT_EQ(std::get<std::string>(rows->rows[0][0]), "uncertain");
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
}

TEST_F(RecoveryTest, AnUncertainAttemptIsTakenDownOnce) {
  rotate_and_die(
      [](StoreOptions&, Script& script) { script.replies.push_back({.meanwhile = die}); });
  for (int i = 0; i < 3; ++i) {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(LockedCredential::acquire(store, uid_, {Milliseconds(0)}));
  }

  EXPECT_EQ(
      open(OpenMode::look).query("SELECT 1 FROM rotation WHERE outcome = 'uncertain'")->rows.size(),
      1u);
}

// What another left is told whole, or left to the next: the ledger would miss an attempt for good.
class LeftBehindTest : public RecoveryTest {
 protected:
  void die_with_an_answer(const Reply& reply) {
    rotate_and_die([&](StoreOptions& doomed, Script& script) {
      script.replies.push_back(reply);
      doomed.endpoint_for = [real = doomed.endpoint_for](const Identity& identity) {
        return std::make_unique<DyingJudge>(real(identity));
      };
    });
  }
  // Somebody who does not wait comes while another has the database, then one who finds it free.
  void expect_told_whole(const std::string& outcome) {
    {
      Store store = open(OpenMode::use);
      const auto gate = *FileLock::acquire(database().string() + ".d/gate", Milliseconds(0));
      const auto hurried = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
      ASSERT_FALSE(hurried);
      EXPECT_EQ(hurried.error().code, Errc::busy);
    }
    Store store = open(OpenMode::use);
    ASSERT_TRUE(LockedCredential::acquire(store, uid_, {Milliseconds(0)}));
    const auto rows = store.query(
        "SELECT outcome FROM rotation WHERE kind = 'refresh' AND outcome != 'committed'");
    ASSERT_EQ(rows->rows.size(), 1u);
    EXPECT_EQ(std::get<std::string>(rows->rows[0][0]), outcome);
  }
};

TEST_F(LeftBehindTest, ALossIsToldWholeOrLeftToTheNext) {
  rotate_and_die(
      [](StoreOptions&, Script& script) { script.replies.push_back({.meanwhile = die}); });
  expect_told_whole("uncertain");
}

TEST_F(LeftBehindTest, ARefusalIsToldWholeOrLeftToTheNext) {
  die_with_an_answer({.status = 200, .body = R"({"error":"invalid_grant"})"});
  expect_told_whole("rejected");
}

TEST_F(LeftBehindTest, ALostJournalIsToldWholeOrLeftToTheNext) {
  {
    Store store = open(OpenMode::use);
    will(grants("refresh-a-2", "access-a-2"));
    ASSERT_TRUE(rotate(store, uid_, {}));
  }
  std::filesystem::remove(journal(uid_));
  expect_told_whole("uncertain");
}

TEST_F(RecoveryTest, P4_DiedBetweenAnswerAndCommitTheNextHolderSettlesWithoutARequest) {
  rotate_and_die([](StoreOptions& doomed, Script& script) {
    script.replies.push_back(grants("refresh-a-2", "access-a-2"));
    doomed.endpoint_for = [real = doomed.endpoint_for](const Identity& identity) {
      return std::make_unique<DyingJudge>(real(identity));
    };
  });
  ASSERT_EQ(open(OpenMode::look).find(uid_)->generation, 1);

  const auto recovered = next_process();

  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->action, Action::recovered);
  EXPECT_EQ(text(recovered->held.access_token), "access-a-2");
  EXPECT_TRUE(sent().empty());
  const auto rows =
      open(OpenMode::look).query("SELECT outcome FROM rotation WHERE kind = 'refresh'");
  EXPECT_EQ(std::get<std::string>(rows->rows.at(0).at(0)), "recovered");
}

// The clock is read between the steps: dying at its n-th call visits the gaps between them, the one
// after the commit and before the journal's last word among them.
TEST_F(RecoveryTest, P4_KilledAtAnyReadingOfTheClockNothingIsLostOrSpentTwice) {
  auto* posts = static_cast<std::atomic<int>*>(::mmap(nullptr, sizeof(std::atomic<int>),
                                                      PROT_READ | PROT_WRITE,
                                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  int generation = 1;
  int killed = 0;
  for (bool survived = false; !survived;) {
    new (posts) std::atomic<int>(0);
    const std::string next = std::to_string(generation + 1);
    const pid_t child = ::fork();
    if (child == 0) {
      StoreOptions doomed = options();
      int readings = 0;
      doomed.clock = [&, clock = doomed.clock] {
        if (++readings > killed + 1) die();
        return clock();
      };
      Reply reply = grants("refresh-a-" + next, "access-a-" + next);
      reply.meanwhile = [posts] { ++*posts; };
      will(std::move(reply));
      auto store = Store::open(doomed, OpenMode::use);
      (void)rotate(*store, uid_, {});
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    survived = WIFEXITED(status);
    script_->sent.clear();
    script_->replies.clear();
    will(grants("refresh-a-" + next, "access-a-" + next));
    const auto rotated = next_process();
    ASSERT_TRUE(rotated) << "killed at reading " << killed << ": " << rotated.error().message;
    ASSERT_EQ(text(rotated->held.refresh_token), "refresh-a-" + next);
    ASSERT_LE(static_cast<std::size_t>(posts->load()) + sent().size(), 1u)
        << "killed at " << killed;
    script_->replies.clear();
    advance(Seconds(901));
    ++generation;
    ++killed;
  }
  EXPECT_GE(killed, 6) << "re-argue the protocol before changing this";
  ::munmap(posts, sizeof(std::atomic<int>));
}

TEST_F(RecoveryTest, P2_AnOlderDatabasePutBackTakesTheNewerTokensFromItsJournal) {
  const auto old_copy = dir_.path() / "old.db";
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(store.add_profile("forces a checkpoint at close"));
  }
  std::filesystem::copy_file(database(), old_copy);
  {
    Store store = open(OpenMode::use);
    for (const char* next : {"2", "3"}) {
      will(grants(std::string("refresh-a-") + next, std::string("access-a-") + next));
      ASSERT_TRUE(rotate(store, uid_, {.force = true}));
    }
  }
  std::filesystem::copy_file(old_copy, database(),
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(database().string() + "-wal");
  std::filesystem::remove(database().string() + "-shm");
  script_->sent.clear();

  const auto adopted = next_process();

  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(text(adopted->held.refresh_token), "refresh-a-3");
  EXPECT_EQ(adopted->action, Action::recovered);
  EXPECT_TRUE(sent().empty());
  Store store = open(OpenMode::use);
  EXPECT_EQ(store.find(uid_)->generation, 3);
  EXPECT_TRUE(*store.retired(hash("refresh-a-1")));
  EXPECT_TRUE(*store.retired(hash("refresh-a-2")));
}

TEST_F(RecoveryTest, AMissingDatabaseBesideJournalsIsRefusedNeverReplaced) {
  {
    Store store = open(OpenMode::use);
    will(grants("refresh-a-2", "access-a-2"));
    ASSERT_TRUE(rotate(store, uid_, {}));
  }
  std::filesystem::remove(database());

  const auto refused = Store::open(options(), OpenMode::create);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_FALSE(std::filesystem::exists(database()));
}

TEST_F(RecoveryTest, AForkInTheMiddleOfAHeldLockNeitherFreesNorKeepsIt) {
  Store store = open(OpenMode::use);
  auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
  ASSERT_TRUE(locked);
  int to_child[2];
  int from_child[2];
  ASSERT_EQ(::pipe(to_child), 0);
  ASSERT_EQ(::pipe(from_child), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    { auto inherited = std::move(*locked); }  // its destructor must not unlock the parent's
    char byte = 'x';
    (void)!::write(from_child[1], &byte, 1);
    (void)!::read(to_child[0], &byte, 1);  // lives on while the parent lets go
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(from_child[0], &byte, 1), 1);

  const auto while_held = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
  { auto let_go = std::move(*locked); }
  const auto after = LockedCredential::acquire(store, uid_, {Milliseconds(0)});

  EXPECT_FALSE(while_held) << "the child's destructor freed the parent's lock";
  EXPECT_TRUE(after) << "the child keeps the lock alive";
  ASSERT_EQ(::write(to_child[1], &byte, 1), 1);
  ::waitpid(child, nullptr, 0);
}

TEST_F(RecoveryTest, AStoreIsUsableInAForkedChildAndStaysUsableInTheParent) {
  Store store = open(OpenMode::use);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool works = store.find(uid_) && store.add_profile("from the child");
    ::_exit(works ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);

  EXPECT_EQ(status, 0);
  EXPECT_THAT(*store.profiles(), ::testing::Contains("from the child"));
  EXPECT_TRUE(store.add_profile("from the parent"));
}

TEST_F(RecoveryTest, ADamagedJournalHeadIsKeptAndItsTokenNotSent) {
  {
    Store store = open(OpenMode::use);
    will(grants("refresh-a-2", "access-a-2"));
    ASSERT_TRUE(rotate(store, uid_, {}));
  }
  std::fstream(journal(uid_), std::ios::in | std::ios::out | std::ios::binary).put('X');
  const std::string damaged = file_bytes(journal(uid_));
  advance(Seconds(901));

  const auto refused = next_process();

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_EQ(sent().size(), 1u);
  EXPECT_EQ(file_bytes(journal(uid_)), damaged);
}

class PutBackTest : public RecoveryTest {
 protected:
  void rotate_to(const char* next) {
    Store store = open(OpenMode::use);
    will(grants(std::string("refresh-a-") + next, std::string("access-a-") + next));
    ASSERT_TRUE(rotate(store, uid_, {.force = true}));
  }
  void keep_a_copy() {
    {
      Store store = open(OpenMode::use);
      ASSERT_TRUE(store.add_profile("forces a checkpoint at close"));
    }
    std::filesystem::copy_file(database(), dir_.path() / "old.db");
  }
  void put_it_back() {
    std::filesystem::copy_file(dir_.path() / "old.db", database(),
                               std::filesystem::copy_options::overwrite_existing);
    for (const char* suffix : {"-wal", "-shm"}) {
      std::filesystem::remove(database().string() + suffix);
    }
    script_->sent.clear();
  }
};

TEST_F(PutBackTest, P2_FailedAttemptsInBetweenDoNotMakeAnOlderDatabaseBelievable) {
  keep_a_copy();
  rotate_to("2");
  for (int i = 0; i < 3; ++i) {
    Store store = open(OpenMode::use);
    will({.before_send = true});
    ASSERT_FALSE(rotate(store, uid_, {.force = true}));
  }
  put_it_back();

  const auto adopted = next_process();

  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(text(adopted->held.refresh_token), "refresh-a-2");
  EXPECT_TRUE(sent().empty());
}

TEST_F(PutBackTest, P1_ATokenTheJournalKnowsAsSpentIsNotSentThoughItsSuccessorIsUnreadable) {
  keep_a_copy();
  rotate_to("2");
  put_it_back();
  std::string bytes = file_bytes(journal(uid_));
  std::fill(bytes.begin() + 12288, bytes.end(), '\0');  // both slots
  std::fill(bytes.begin() + 1024, bytes.begin() + 2048, '\0');
  std::ofstream(journal(uid_), std::ios::binary) << bytes;
  will(grants("refresh-x", "access-x"));

  const auto refused = next_process();

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::login_needed);
  EXPECT_TRUE(sent().empty());
}

// The runtime directory is there for one process and not for another (cron).
class RescueTest : public RecoveryTest {
 protected:
  void SetUp() override {
    RecoveryTest::SetUp();
    std::filesystem::create_directory(dir_.path() / "run");
    ::setenv("XDG_RUNTIME_DIR", (dir_.path() / "run").c_str(), 1);
  }
  void TearDown() override { ::unsetenv("XDG_RUNTIME_DIR"); }
  std::filesystem::path rescue() {
    return dir_.path() / "run" / "authdb" / (open(OpenMode::look).id() + "-" + uid_);
  }
  // As where its directory comes late, a home that is mounted at login.
  std::filesystem::path hide_rescue() {
    const auto hidden = dir_.path() / "hidden";
    std::filesystem::rename(rescue(), hidden);
    return hidden;
  }
  // An attempt whose answer reached neither journal nor database, and its rescue file.
  void leave_a_rescue() { ASSERT_TRUE(try_rescue()); }
  bool try_rescue(const std::string& successor = "refresh-a-2") {
    Store store = open(OpenMode::use);
    const auto locked =
        Engine::guarded([&] { return acquire_lock(store, uid_, {Milliseconds(0)}); });
    if (!locked) return false;
    leave_sent(**locked, now());
    const auto answered = answered_with(**locked, grants(successor, "access-a-2").body, now());
    return write_rescue_file(store.engine().place(uid_), answered);
  }
};

TEST_F(RescueTest, P4_ARescuedAnswerIsSettledByTheNextHolderAndThenRemoved) {
  leave_a_rescue();
  ASSERT_TRUE(std::filesystem::exists(rescue()));

  const auto recovered = next_process();

  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(text(recovered->held.refresh_token), "refresh-a-2");
  EXPECT_TRUE(sent().empty());
  EXPECT_FALSE(std::filesystem::exists(rescue()));
}

// cron has no $XDG_RUNTIME_DIR: the intent says where the file would be.
TEST_F(RescueTest, P4_ARescueIsFoundWithoutTheVariableThatItWasWrittenWith) {
  leave_a_rescue();
  ::unsetenv("XDG_RUNTIME_DIR");

  const auto recovered = next_process();

  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(text(recovered->held.refresh_token), "refresh-a-2");
  EXPECT_TRUE(sent().empty());
}

TEST_F(RescueTest, P4_ARescueThatCannotBeSettledStays) {
  leave_a_rescue();
  {
    StoreOptions unknown = options();
    unknown.endpoint_for = {};
    Store store = *Store::open(unknown, OpenMode::use);
    EXPECT_FALSE(LockedCredential::acquire(store, uid_, {Milliseconds(0)}));
  }

  EXPECT_TRUE(std::filesystem::exists(rescue()));
  EXPECT_TRUE(next_process());
}

// A server that hands the same refresh token back: its hash alone does not tell one answer from the
// next.
TEST_F(RescueTest, P2_ARescueFoundLateDoesNotDisplaceANewerAccessToken) {
  ASSERT_TRUE(try_rescue("refresh-a-1"));
  const auto found_late = hide_rescue();
  will(grants("refresh-a-1", "access-a-3"));
  ASSERT_TRUE(next_process());
  std::filesystem::rename(found_late, rescue());

  Store store = open(OpenMode::use);
  ASSERT_TRUE(LockedCredential::acquire(store, uid_, {Milliseconds(0)}));

  EXPECT_EQ(text(store.unseal(uid_)->access_token), "access-a-3");
  EXPECT_FALSE(std::filesystem::exists(rescue()));
}

TEST_F(RescueTest, ARescueFoundLateRaisesTheDead) {
  leave_a_rescue();
  const auto found_late = hide_rescue();
  will({.status = 400, .body = R"({"error":"invalid_grant"})"});
  ASSERT_FALSE(next_process());
  ASSERT_EQ(open(OpenMode::look).find(uid_)->health.status, Status::dead);
  std::filesystem::rename(found_late, rescue());

  ASSERT_TRUE(next_process());

  EXPECT_EQ(open(OpenMode::look).find(uid_)->health.status, Status::ok);
}

TEST_F(RescueTest, ARescueThatOthersCouldHaveWrittenIsNotBelieved) {
  leave_a_rescue();
  std::filesystem::permissions(rescue(), std::filesystem::perms::group_write,
                               std::filesystem::perm_options::add);
  will(grants("refresh-a-3", "access-a-3"));

  const auto rotated = next_process();

  ASSERT_TRUE(rotated);
  EXPECT_EQ(text(rotated->held.refresh_token), "refresh-a-3");
}

// Threads of the parent hold every lock of the store again and again while children are forked.
TEST_F(RecoveryTest, AForkWhileOtherThreadsAreAtWorkLeavesTheChildAStoreThatWorks) {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  GTEST_SKIP() << "the sanitizer's own locks do not survive such a fork";
#endif
#endif
  Store store = open(OpenMode::use);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) (void)store.find(uid_);
    });
  }
  int failed = 0;
  for (int i = 0; i < 60; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(20);  // a child that hangs dies of it
      ::_exit(store.find(uid_) ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) ++failed;
  }
  stop = true;
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace authdb::test
