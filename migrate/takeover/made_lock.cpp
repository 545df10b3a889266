#include "migrate/takeover/made_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "store/descriptors.h"
#include "store/file_lock.h"
#include "store/files.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;
using Kind = LockRule::Kind;

constexpr Milliseconds kPoll{50};
// The shortest age at which a tool takes such a lock for abandoned is 10 s: pi's for a write.
constexpr Milliseconds kLongestBeat{3'000};

// What is there under that name, and when it was touched.
struct Seen {
  dev_t device;
  ino_t inode;
  mode_t mode;
  std::chrono::nanoseconds touched;
  friend bool operator==(const Seen&, const Seen&) = default;
};

// nullopt: nothing.
std::optional<Seen> look(const fs::path& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return std::nullopt;
  return Seen{
      found.st_dev, found.st_ino, found.st_mode,
      std::chrono::seconds(found.st_mtim.tv_sec) + std::chrono::nanoseconds(found.st_mtim.tv_nsec)};
}

// How long ago it was touched; less than nothing if its time is yet to come.
std::chrono::nanoseconds age(const Seen& seen) {
  return std::chrono::system_clock::now().time_since_epoch() - seen.touched;
}

// 0, or errno.
int try_to_make(const LockRule& rule) {
  if (rule.kind == Kind::directory) return ::mkdir(rule.path.c_str(), 0700) == 0 ? 0 : errno;
  const Fd made(::open(rule.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  return made ? 0 : errno;
}

bool is_made_by(const LockRule& rule, const Seen& seen) {
  return rule.kind == Kind::directory ? S_ISDIR(seen.mode) : S_ISREG(seen.mode);
}

bool remove(const LockRule& rule) {
  const char* const path = rule.path.c_str();
  return (rule.kind == Kind::directory ? ::rmdir(path) : ::unlink(path)) == 0;
}

tl::unexpected<Error> misplaced(const LockRule& rule, const std::string& what) {
  return fail(Errc::refused, "the lock " + rule.path.string() + " " + what,
              "Its tool cannot take it either. If nothing of yours, remove it.");
}

tl::unexpected<Error> held_by_another(const LockRule& rule, const std::optional<Seen>& seen) {
  if (seen && age(*seen) < -std::chrono::minutes(1)) {
    return fail(Errc::busy,
                rule.path.string() +
                    " is locked, and its time is in the future, so that nobody "
                    "can tell whether it was left behind",
                "Nothing was changed. If its tool is not running, remove it.");
  }
  return fail(Errc::busy, rule.path.string() + " is locked by another process",
              "The tool that owns it is at work. Nothing was changed; try again. What a tool that "
              "was killed left behind is taken over after " +
                  std::to_string(rule.stale.count()) + " s.");
}

// Puts one of ours in the place of what was left behind, in one step, so that nobody finds the
// place empty. nullopt: something else had come there; it is there again.
Result<std::optional<Seen>> take_over(const LockRule& rule, const Seen& judged) {
  LockRule ours = rule;
  ours.path += ".authdb-" + std::to_string(::gettid()) + "-" +
               std::to_string(SteadyClock::now().time_since_epoch().count());
  if (const int error = try_to_make(ours)) {
    return fail(file_error("cannot make the lock", ours.path, error));
  }
  const auto exchange = [&] {
    return ::renameat2(AT_FDCWD, ours.path.c_str(), AT_FDCWD, rule.path.c_str(), RENAME_EXCHANGE) ==
           0;
  };
  std::optional<Seen> left;
  if (exchange()) {
    left = look(ours.path);
    if (left == judged && remove(ours)) return look(rule.path);
    exchange();
  }
  remove(ours);
  if (left == judged) return misplaced(rule, "is not empty");
  return std::optional<Seen>();
}

}  // namespace

class MadeLock::Held {
 public:
  Held(LockRule rule, const Seen& made)
      : rule_(std::move(rule)), ours_(made), epoch_(fork_epoch()), heart_(start()) {}
  ~Held() {
    if (epoch_ != fork_epoch()) {  // a child's copy, without the thread
      heart_.detach();
      return;
    }
    heart_.request_stop();
    heart_.join();
    if (look(rule_.path) == ours_) remove(rule_);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  // Signals go to the threads that expect them.
  std::jthread start() {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    std::jthread heart([this](const std::stop_token& stop) { beat(stop); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return heart;
  }

  void beat(const std::stop_token& stop) {
    const auto pause = std::min<Milliseconds>(kLongestBeat, Milliseconds(rule_.stale) / 4);
    std::mutex mutex;
    std::condition_variable_any wait;
    std::unique_lock lock(mutex);
    while (!wait.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); })) {
      if (look(rule_.path) != ours_) return;  // it was taken over
      ::utimensat(AT_FDCWD, rule_.path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
      const auto now = look(rule_.path);
      if (!now || now->inode != ours_.inode) return;
      ours_ = *now;
    }
  }

  LockRule rule_;
  Seen ours_;  // the thread's, while it runs
  int epoch_;
  std::jthread heart_;
};

MadeLock::MadeLock(std::unique_ptr<Held> held) : held_(std::move(held)) {}
MadeLock::MadeLock(MadeLock&&) noexcept = default;
MadeLock& MadeLock::operator=(MadeLock&&) noexcept = default;
MadeLock::~MadeLock() = default;

Result<MadeLock> MadeLock::make(const LockRule& rule, SteadyClock::time_point deadline) try {
  while (true) {
    const int error = try_to_make(rule);
    const auto seen = look(rule.path);
    if (error == 0 && seen) return MadeLock(std::make_unique<Held>(rule, *seen));
    if (error != 0 && error != EEXIST) {
      return fail(file_error("cannot make the lock", rule.path, error));
    }
    if (seen && !is_made_by(rule, *seen)) {
      return misplaced(rule, "is something else than its tool makes");
    }
    if (seen && age(*seen) > rule.stale) {
      const auto taken = take_over(rule, *seen);
      if (!taken) return fail(taken.error());
      if (*taken) return MadeLock(std::make_unique<Held>(rule, **taken));
    }
    if (SteadyClock::now() + kPoll > deadline) return held_by_another(rule, seen);
    std::this_thread::sleep_for(kPoll);
  }
} catch (const std::system_error& error) {
  remove(rule);
  return fail(Errc::try_later, std::string("no thread can be started: ") + error.what(),
              "Nothing was changed; try again.");
}

}  // namespace authdb::migrate
