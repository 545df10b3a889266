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
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace authdb {
namespace {

namespace fs = std::filesystem;

std::atomic<int> g_epoch{0};

// flock() keeps threads apart, but the language knows nothing of it: what one thread did under a
// lock happens before what the next one does, by this.
std::atomic<unsigned> g_let_go{0};

// A wait in the kernel's queue. A blocking flock() has no time-out, so a thread of its own does it.
// Everything but `fd` is guarded by the registry's mutex.
struct Wait {
  explicit Wait(int descriptor) : fd(descriptor) {}
  const int fd;
  std::condition_variable_any over;
  bool done = false;  // flock() has returned
  int error = 0;      // what it failed with; 0: the lock is had
  bool given_up = false;
};

using FileId = std::pair<dev_t, ino_t>;

// What a forked child must close and forget. Never destroyed: fork handlers cannot be taken back.
struct Registry {
  std::mutex mutex;
  std::vector<int> fds;
  std::multimap<FileId, std::shared_ptr<Wait>> given_up;  // still in the queue, for nobody
};

Registry& registry() {
  static Registry* const instance = [] {
    auto* made = new Registry;
    ::pthread_atfork([] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); },
                     [] {
                       // close(), never LOCK_UN: the open file is the parent's, and so is the lock.
                       for (const int fd : registry().fds) ::close(fd);
                       registry().fds.clear();
                       registry().given_up.clear();  // their threads are the parent's
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
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd >= 0) all.fds.push_back(fd);
  return fd;
}

// Under the registry's mutex.
void close_listed(Registry& all, int fd) noexcept {
  g_let_go.fetch_add(1, std::memory_order_release);
  all.fds.erase(std::remove(all.fds.begin(), all.fds.end(), fd), all.fds.end());
  ::close(fd);
}

void close_registered(int fd) noexcept {
  Registry& all = registry();
  const std::lock_guard guard(all.mutex);
  close_listed(all, fd);
}

FileId id_of(int fd) {
  struct stat st {};
  ::fstat(fd, &st);
  return {st.st_dev, st.st_ino};
}

void wait_for_lock(const std::shared_ptr<Wait>& wait) {
  int error = 0;
  while (::flock(wait->fd, LOCK_EX) != 0) {
    error = errno;
    if (error != EINTR) break;
    error = 0;
  }
  Registry& all = registry();
  const std::lock_guard guard(all.mutex);
  wait->done = true;
  wait->error = error;
  if (wait->given_up) {  // nobody is there any more: the next in the queue has it at once
    std::erase_if(all.given_up, [&](const auto& entry) { return entry.second == wait; });
    close_listed(all, wait->fd);
  } else {
    wait->over.notify_all();
  }
}

// The waiting thread takes no signals: they are the caller's, who may be deferring them. False if
// there is no thread to be had.
bool start_thread(const std::shared_ptr<Wait>& wait) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    std::thread(wait_for_lock, wait).detach();
  } catch (const std::system_error&) {
    started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

// A wait for the file of `fd` that somebody gave up, with its place in the queue; `fd` is closed
// then.
std::shared_ptr<Wait> take_over(int fd) {
  Registry& all = registry();
  const std::lock_guard guard(all.mutex);
  const auto found = all.given_up.find(id_of(fd));
  if (found == all.given_up.end()) return nullptr;
  auto wait = std::move(found->second);
  all.given_up.erase(found);
  wait->given_up = false;
  close_listed(all, fd);
  return wait;
}

// How a wait ended: the descriptor that has the lock, or -1 and an errno (0: not had in time).
struct Waited {
  int fd = -1;
  int error = 0;
};

// 0: had. EWOULDBLOCK: somebody else has it. Anything else went wrong.
int try_lock(int fd) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

// Without a thread: late by half a turn, and out of the kernel's queue, but right.
Waited poll_for_lock(int fd, Milliseconds wait_time, const std::stop_token& stop) {
  constexpr Milliseconds kTurn{5};
  const auto deadline = std::chrono::steady_clock::now() + wait_time;
  for (;;) {
    const int error = try_lock(fd);
    if (error == 0) return {fd, 0};
    const bool over = stop.stop_requested() || std::chrono::steady_clock::now() >= deadline;
    if (error != EWOULDBLOCK || over) {
      close_registered(fd);
      return {-1, error == EWOULDBLOCK ? 0 : error};
    }
    // Nobody wakes us: the kernel's queue takes a thread, and there is none to be had.
    std::this_thread::sleep_for(kTurn);
  }
}

// From here on `fd` is not the caller's any more; what comes back is.
Waited lock_within(int fd, Milliseconds wait_time, const std::stop_token& stop) {
  auto wait = take_over(fd);
  if (!wait) {
    wait = std::make_shared<Wait>(fd);
    if (!start_thread(wait)) return poll_for_lock(fd, wait_time, stop);
  }
  Registry& all = registry();
  std::unique_lock guard(all.mutex);
  wait->over.wait_for(guard, stop, wait_time, [&] { return wait->done; });
  if (!wait->done) {
    wait->given_up = true;
    all.given_up.emplace(id_of(wait->fd), wait);
    return {};
  }
  if (wait->error == 0) return {wait->fd, 0};
  close_listed(all, wait->fd);
  return {-1, wait->error};
}

Waited lock_until(int fd, std::chrono::steady_clock::time_point deadline,
                  const std::stop_token& stop) {
  const int error = try_lock(fd);
  if (error == 0) return {fd, 0};
  const auto left = std::chrono::ceil<Milliseconds>(deadline - std::chrono::steady_clock::now());
  if (error == EWOULDBLOCK && left > Milliseconds::zero() && !stop.stop_requested()) {
    return lock_within(fd, left, stop);
  }
  close_registered(fd);
  return {-1, error == EWOULDBLOCK ? 0 : error};
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

Result<std::optional<FileLock>> FileLock::acquire(const fs::path& path, Milliseconds wait,
                                                  const std::stop_token& stop) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (;;) {
    const int fd = open_registered(path);
    if (fd < 0) return fail(file_error("cannot open", path, errno));
    const Waited waited = lock_until(fd, deadline, stop);
    if (waited.error != 0) return fail(file_error("cannot lock", path, waited.error));
    if (waited.fd < 0) return std::optional<FileLock>();
    if (still_there(waited.fd, path)) {
      (void)g_let_go.load(std::memory_order_acquire);
      return std::optional<FileLock>(FileLock(waited.fd, fork_epoch()));
    }
    close_registered(waited.fd);
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
  const PutOffCancellation unwinding_later;  // close() is where a thread may be cancelled
  // In a forked child the number may be somebody else's descriptor by now.
  if (owned()) close_registered(fd_);
  fd_ = -1;
}

}  // namespace authdb
