#include "store/file_lock.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace authdb {
namespace {

namespace fs = std::filesystem;

std::atomic<int> g_epoch{0};

// The descriptors that a forked child must close. Never destroyed: fork handlers cannot be taken
// back.
struct Registry {
  std::mutex mutex;
  std::vector<int> fds;
};

Registry& registry() {
  static Registry* const instance = [] {
    auto* made = new Registry;
    ::pthread_atfork([] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); },
                     [] {
                       // close(), never LOCK_UN: the open file is the parent's, and so is the lock.
                       for (const int fd : registry().fds) ::close(fd);
                       registry().fds.clear();
                       g_epoch.fetch_add(1);
                       registry().mutex.unlock();
                     });
    return made;
  }();
  return *instance;
}

int open_registered(const fs::path& path) {
  Registry& all = registry();
  const std::lock_guard guard(all.mutex);
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0) all.fds.push_back(fd);
  return fd;
}

void close_registered(int fd) noexcept {
  Registry& all = registry();
  const std::lock_guard guard(all.mutex);
  all.fds.erase(std::remove(all.fds.begin(), all.fds.end(), fd), all.fds.end());
  ::close(fd);
}

// A blocking flock() has no time-out, so a thread does the waiting. It is woken by the kernel at
// hand-over; whoever gives up leaves it behind, and it frees the lock it gets too late.
struct Wait {
  std::mutex mutex;
  std::condition_variable changed;
  bool had = false;
  bool abandoned = false;
};

void wait_for_lock(const std::shared_ptr<Wait>& wait, int fd) {
  while (::flock(fd, LOCK_EX) != 0 && errno == EINTR) {
  }
  const std::lock_guard guard(wait->mutex);
  if (wait->abandoned) {
    close_registered(fd);
    return;
  }
  wait->had = true;
  wait->changed.notify_one();
}

// The waiting thread takes no signals: they are the caller's, who may be deferring them. False if
// there is no thread to be had.
bool start_waiting(const std::shared_ptr<Wait>& wait, int fd) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    std::thread(wait_for_lock, wait, fd).detach();
  } catch (const std::system_error&) {
    started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

// Without a thread: late by half a turn, and out of the kernel's queue, but right.
bool poll_for_lock(int fd, Milliseconds wait_time) {
  constexpr Milliseconds kTurn{5};
  const auto deadline = std::chrono::steady_clock::now() + wait_time;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      close_registered(fd);
      return false;
    }
    std::this_thread::sleep_for(kTurn);
  }
  return true;
}

// If it returns false, the descriptor is closed or will be.
bool lock_within(int fd, Milliseconds wait_time) {
  const auto wait = std::make_shared<Wait>();
  if (!start_waiting(wait, fd)) return poll_for_lock(fd, wait_time);
  std::unique_lock guard(wait->mutex);
  if (wait->changed.wait_for(guard, wait_time, [&] { return wait->had; })) return true;
  wait->abandoned = true;
  return false;
}

// The lock is worth something only while the path leads to the file it is on.
bool still_there(int fd, const fs::path& path) {
  struct stat locked {};
  struct stat named {};
  return ::fstat(fd, &locked) == 0 && ::stat(path.c_str(), &named) == 0 &&
         locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

}  // namespace

int fork_epoch() {
  registry();
  return g_epoch.load();
}

Result<std::optional<FileLock>> FileLock::acquire(const fs::path& path, Milliseconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (;;) {
    const int fd = open_registered(path);
    if (fd < 0) return fail(file_error("cannot open", path, errno));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        const int error = errno;
        close_registered(fd);
        return fail(file_error("cannot lock", path, error));
      }
      const auto left =
          std::chrono::ceil<Milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left <= Milliseconds::zero()) {
        close_registered(fd);
        return std::optional<FileLock>();
      }
      // From here the descriptor is the waiting thread's until it says it has the lock.
      if (!lock_within(fd, left)) return std::optional<FileLock>();
    }
    if (still_there(fd, path)) return std::optional<FileLock>(FileLock(fd, fork_epoch()));
    close_registered(fd);
  }
}

FileLock::FileLock(FileLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), epoch_(other.epoch_) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  if (this != &other) {
    release();
    fd_ = std::exchange(other.fd_, -1);
    epoch_ = other.epoch_;
  }
  return *this;
}

FileLock::~FileLock() { release(); }

bool FileLock::owned() const { return fd_ >= 0 && epoch_ == fork_epoch(); }

void FileLock::release() noexcept {
  // In a forked child the number may be somebody else's descriptor by now.
  if (owned()) close_registered(fd_);
  fd_ = -1;
}

}  // namespace authdb
