// The crash table of docs/design.md, row by row: a process dies at a point of the protocol, and
// another one asks for the bearer.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/journal.h"
#include "tests/store/store_fixture.h"

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
    ASSERT_TRUE(lock_credential(store, uid_, Milliseconds(0)));
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
    ASSERT_TRUE(lock_credential(store, uid_, Milliseconds(0)));
  }

  EXPECT_EQ(
      open(OpenMode::look).query("SELECT 1 FROM rotation WHERE outcome = 'uncertain'")->rows.size(),
      1u);
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
  auto locked = lock_credential(store, uid_, Milliseconds(0));
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

  const auto while_held = lock_credential(store, uid_, Milliseconds(0));
  { auto let_go = std::move(*locked); }
  const auto after = lock_credential(store, uid_, Milliseconds(0));

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

}  // namespace
}  // namespace authdb::test
