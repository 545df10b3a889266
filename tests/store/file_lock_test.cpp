#include "store/file_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
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
    return lock ? std::move(*lock) : std::nullopt;
  }

  TemporaryDirectory dir_;
};

std::size_t entries(const char* directory) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory),
                                                std::filesystem::directory_iterator()));
}

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
  void kill() const { signal(SIGKILL); }
  void signal(int number) const { ::kill(pid_, number); }

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
  const auto replacement = dir_.path() / "replacement";
  std::ofstream(replacement) << "y";
  const std::size_t threads = entries("/proc/self/task");
  std::optional<FileLock> had;
  std::thread waiting([&] { had = take(30s); });
  // That thread, and the one that stands in the kernel's queue for it.
  while (entries("/proc/self/task") < threads + 2) std::this_thread::yield();

  std::filesystem::rename(replacement, path());  // there is a file at the path at every moment
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

TEST_F(FileLockTest, WaitsThatAreGivenUpDoNotPileUp) {
  const auto lock = take();
  const std::size_t before = entries("/proc/self/task");
  // A wait that is over before it began has no thread.
  while (entries("/proc/self/task") == before) EXPECT_FALSE(take(1ms));
  const std::size_t threads = entries("/proc/self/task");
  const std::size_t descriptors = entries("/proc/self/fd");

  for (int i = 0; i < 20; ++i) EXPECT_FALSE(take(1ms));

  EXPECT_LE(entries("/proc/self/task"), threads);
  EXPECT_LE(entries("/proc/self/fd"), descriptors);
}

TEST_F(FileLockTest, AWaitTakenOverFromWhoGaveItUpGetsTheLock) {
  auto lock = take();
  EXPECT_FALSE(take(1ms));
  std::optional<FileLock> had;
  std::thread waiting([&] { had = take(30s); });

  lock.reset();
  waiting.join();

  ASSERT_TRUE(had);
  EXPECT_FALSE(take()) << "it is not held";
  had.reset();
  EXPECT_TRUE(take(30s)) << "it was not freed";
}

TEST_F(FileLockTest, AWaitGivenUpForAFileThatIsGoneIsNotTakenOver) {
  const auto old_file = take();
  EXPECT_FALSE(take(1ms));
  std::filesystem::rename(path(), dir_.path() / "aside");
  std::ofstream(path()) << "y";
  auto new_file = take();
  std::optional<FileLock> had;
  std::thread waiting([&] { had = take(30s); });

  new_file.reset();
  waiting.join();

  EXPECT_TRUE(had);
}

TEST_F(FileLockTest, AStopRequestEndsTheWait) {
  auto lock = take();
  std::stop_source stop;
  std::optional<FileLock> had;
  std::thread waiting(
      [&] { had = *FileLock::acquire(path(), std::chrono::hours(1), stop.get_token()); });

  stop.request_stop();
  waiting.join();

  EXPECT_FALSE(had);
  lock.reset();
  EXPECT_TRUE(take(30s));
}

TEST_F(FileLockTest, AStoppedHolderKeepsItAndTheDeadlineHolds) {
  const Holder holder(path());
  holder.signal(SIGSTOP);

  EXPECT_FALSE(take(10ms));
  holder.signal(SIGCONT);
}

TEST_F(FileLockTest, AProgramThatWasStartedMeanwhileDoesNotKeepIt) {
  auto lock = take();
  int in[2];
  ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
  // No fork handler runs, and the other program has begun when this returns; the kernel may still
  // be about to close what it must not keep.
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  std::array<char, 4> cat{"cat"};
  std::array<char*, 2> arguments{cat.data(), nullptr};
  pid_t child = 0;
  ASSERT_EQ(::posix_spawnp(&child, "cat", &actions, nullptr, arguments.data(), environ), 0);
  ::posix_spawn_file_actions_destroy(&actions);

  lock.reset();

  EXPECT_TRUE(take(5000ms));
  ::close(in[1]);
  ::close(in[0]);
  ::waitpid(child, nullptr, 0);
}

TEST_F(FileLockTest, WithoutADescriptorItIsAnErrorToTryLater) {
#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
  GTEST_SKIP() << "the sanitizer needs descriptors itself, and takes their want for a bad pointer";
#endif
#endif
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  const auto lock = FileLock::acquire(path(), 0ms);
  ::setrlimit(RLIMIT_NOFILE, &before);

  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().code, Errc::try_later);
}

// Of writers that all want it at once, over and over, none is left out.
TEST_F(FileLockTest, EveryoneInTheQueueIsServed) {
  constexpr int kWriters = 32;
  constexpr int kTurns = 20;
  std::vector<pid_t> writers;
  for (int i = 0; i < kWriters; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int turn = 0; turn < kTurns; ++turn) {
        const auto lock = FileLock::acquire(path(), 60s);
        if (!lock || !*lock) ::_exit(1);
      }
      ::_exit(0);
    }
    writers.push_back(child);
  }
  for (const pid_t writer : writers) {
    int status = 0;
    ::waitpid(writer, &status, 0);
    EXPECT_EQ(status, 0);
  }
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
