#include "store/file_lock.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

using namespace std::chrono_literals;

class FileLockTest : public ::testing::Test {
 protected:
  void SetUp() override { std::ofstream(path()) << "x"; }
  std::filesystem::path path() { return dir_.path() / "lock"; }
  std::optional<FileLock> take(Milliseconds wait = 0ms) {
    auto lock = FileLock::acquire(path(), wait);
    EXPECT_TRUE(lock) << lock.error().message;
    return std::move(*lock);
  }

  TemporaryDirectory dir_;
};

// A process that holds the lock until it is told to go, or killed.
class Holder {
 public:
  explicit Holder(const std::filesystem::path& path) {
    int ready[2];
    int go[2];
    EXPECT_EQ(::pipe(ready), 0);
    EXPECT_EQ(::pipe(go), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(go[1]);
      const auto lock = FileLock::acquire(path, 0ms);
      char byte = lock && *lock ? 'y' : 'n';
      (void)!::write(ready[1], &byte, 1);
      (void)!::read(go[0], &byte, 1);
      ::_exit(0);
    }
    ::close(go[0]);
    go_ = go[1];
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    holds_ = byte == 'y';
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Holder() {
    ::close(go_);
    ::waitpid(pid_, nullptr, 0);
  }
  bool holds() const { return holds_; }
  void kill() const { ::kill(pid_, SIGKILL); }

 private:
  pid_t pid_ = -1;
  int go_ = -1;
  bool holds_ = false;
};

TEST_F(FileLockTest, ThreadsExcludeEachOther) {
  int inside = 0;  // no atomic: the lock is what keeps them apart
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 25; ++turn) {
        const auto lock = FileLock::acquire(path(), 30s);
        if (lock && *lock) ++inside;
      }
    });
  }
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(inside, 200);
}

TEST_F(FileLockTest, ASecondOneInTheSameThreadIsNotHad) {
  const auto first = take();

  EXPECT_FALSE(take());
  EXPECT_FALSE(take(10ms));
}

TEST_F(FileLockTest, ProcessesExcludeEachOther) {
  const Holder holder(path());

  ASSERT_TRUE(holder.holds());
  EXPECT_FALSE(take());
  EXPECT_FALSE(take(10ms));
}

TEST_F(FileLockTest, AProcessIsExcludedByThisOne) {
  const auto lock = take();

  EXPECT_FALSE(Holder(path()).holds());
}

TEST_F(FileLockTest, TheDeadlineIsKept) {
  const auto lock = take();
  const auto begin = std::chrono::steady_clock::now();

  const auto late = take(50ms);

  const auto waited = std::chrono::steady_clock::now() - begin;
  EXPECT_FALSE(late);
  EXPECT_GE(waited, 50ms);
  EXPECT_LT(waited, 5s);
}

TEST_F(FileLockTest, AKilledHoldersLockIsHandedOverToWhoWaits) {
  const Holder holder(path());
  std::optional<FileLock> had;
  std::thread waiting([&] { had = take(30s); });

  holder.kill();
  waiting.join();

  EXPECT_TRUE(had);
}

TEST_F(FileLockTest, WhoGaveUpDoesNotKeepTheLockItGetsTooLate) {
  {
    const auto lock = take();
    EXPECT_FALSE(take(1ms));
  }

  EXPECT_TRUE(take(30s));
}

TEST_F(FileLockTest, MovedItIsHeldOnceAndFreedOnce) {
  auto first = take();
  {
    const FileLock second = std::move(*first);
    first.reset();
    EXPECT_FALSE(take());
  }

  EXPECT_TRUE(take());
}

TEST_F(FileLockTest, AForkedChildNeitherOwnsNorFreesNorKeepsIt) {
  auto lock = take();
  int done[2];
  int go[2];
  ASSERT_EQ(::pipe(done), 0);
  ASSERT_EQ(::pipe(go), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(go[1]);
    char byte = lock->owned() ? 'y' : 'n';
    lock.reset();
    (void)!::write(done[1], &byte, 1);
    (void)!::read(go[0], &byte, 1);  // lives on while the parent lets go
    ::_exit(0);
  }
  ::close(go[0]);
  char owned = 0;
  ASSERT_EQ(::read(done[0], &owned, 1), 1);

  EXPECT_EQ(owned, 'n');
  EXPECT_FALSE(take()) << "the child freed it";
  lock.reset();
  EXPECT_TRUE(take()) << "the child keeps it";
  ::close(go[1]);
  ::waitpid(child, nullptr, 0);
}

TEST_F(FileLockTest, AFileReplacedWhileWaitingIsNoticed) {
  auto old_file = take();
  std::optional<FileLock> had;
  std::thread waiting([&] { had = take(30s); });
  const auto aside = dir_.path() / "aside";
  std::filesystem::rename(path(), aside);
  std::ofstream(path()) << "y";

  old_file.reset();
  waiting.join();

  ASSERT_TRUE(had);
  struct stat locked {};
  struct stat named {};
  ASSERT_EQ(::fstat(had->fd(), &locked), 0);
  ASSERT_EQ(::stat(path().c_str(), &named), 0);
  EXPECT_EQ(locked.st_ino, named.st_ino);
}

TEST_F(FileLockTest, AMissingFileIsAnErrorNotALock) {
  std::filesystem::remove(path());

  EXPECT_FALSE(FileLock::acquire(path(), 0ms));
}

TEST_F(FileLockTest, ASymbolicLinkIsNotFollowed) {
  std::filesystem::create_symlink(path(), dir_.path() / "link");

  EXPECT_FALSE(FileLock::acquire(dir_.path() / "link", 0ms));
}

#ifndef __SANITIZE_THREAD__
// Where no thread can be had, waiting still works, and the caller's signals are as they were.
TEST_F(FileLockTest, WithoutAThreadToWaitInItStillKeepsItsDeadline) {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a thread of the sanitizer's own is in the way";
#endif
#endif
  const auto lock = take();
  ::chmod(dir_.path().c_str(), 0777);
  ::chmod(path().c_str(), 0666);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit none{1, 1};
    if (::geteuid() == 0 && ::setuid(65533) != 0) ::_exit(90);
    ::setrlimit(RLIMIT_NPROC, &none);
    int answer = 1;
    try {
      const auto refused = FileLock::acquire(path(), 20ms);
      sigset_t mask;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      answer = !refused ? 2 : *refused ? 3 : ::sigismember(&mask, SIGTERM) == 1 ? 4 : 0;
    } catch (...) {
      answer = 5;
    }
    ::_exit(answer);
  }
  int status = 0;
  ::waitpid(child, &status, 0);

  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}
#endif

}  // namespace
}  // namespace authdb::test
