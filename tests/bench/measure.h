// What the benchmarks share: a directory, a stopwatch, percentiles, and processes that start at one
// moment. Figures are printed with their ratio to something everybody has, measured in the same
// run.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "store/store.h"

namespace authdb::bench {

using Stopwatch = std::chrono::steady_clock;

template <typename F>
double milliseconds(F&& work) {
  const auto start = Stopwatch::now();
  work();
  return std::chrono::duration<double, std::milli>(Stopwatch::now() - start).count();
}

// 0 < share < 1 of the values are smaller.
inline double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto at = static_cast<std::size_t>(share * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

// Below $TMPDIR or the current directory, never /tmp by habit: that may be memory.
class Scratch {
 public:
  Scratch() {
    const char* base = ::getenv("TMPDIR");
    std::string pattern = std::string(base == nullptr ? "." : base) + "/authdb-bench-XXXXXX";
    path_ = std::filesystem::absolute(::mkdtemp(pattern.data()));
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline StoreOptions store_in(const Scratch& scratch) {
  StoreOptions options;
  options.path = scratch / "store/auth.db";
  options.key_file = scratch / "seal.key";
  return options;
}

// A login whose access token has `left` to live.
inline Uid add_login(Store& store, const std::string& name, Seconds left,
                     const std::string& refresh, const std::string& access = "access") {
  CredentialChange one;
  one.identity.emplace();
  one.identity->provider = "nous";
  one.identity->label = name;
  one.identity->scope = "inference:invoke";
  one.grant.emplace();
  one.grant->access_token = Secret::copy_of(access);
  one.grant->refresh_token = Secret::copy_of(refresh);
  one.grant->expires_at = system_now() + left;
  one.bindings.push_back({"default", {}});
  Change change;
  change.credentials.push_back(std::move(one));
  const auto applied = store.apply(change);
  if (!applied) {
    std::fprintf(stderr, "%s\n", applied.error().message.c_str());
    std::exit(1);
  }
  return applied->uids.at(0);
}

// Memory that forked processes share.
template <typename T>
T* shared(std::size_t count = 1) {
  void* const memory =
      ::mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (memory) T[count]();
}

// `count` processes: each prepares, all wait for one word, then each does its work.
class Processes {
 public:
  // `prepare` returns the work.
  Processes(int count, const std::function<std::function<void()>(int)>& prepare) {
    int ready[2];
    int go[2];
    int end[2];
    if (::pipe(ready) != 0 || ::pipe(go) != 0 || ::pipe(end) != 0) std::abort();
    for (int i = 0; i < count; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::close(go[1]);
        ::close(end[1]);
        const auto work = prepare(i);
        char byte = 0;
        (void)!::write(ready[1], "r", 1);
        (void)!::read(go[0], &byte, 1);  // ends when the parent closes its end
        work();
        ::close(ready[1]);
        (void)!::read(end[0], &byte, 1);
        ::_exit(0);
      }
      children_.push_back(child);
    }
    ::close(go[0]);
    ::close(end[0]);
    ::close(ready[1]);
    char byte = 0;
    for (int i = 0; i < count; ++i) (void)!::read(ready[0], &byte, 1);
    ready_ = ready[0];
    go_ = go[1];
    end_ = end[1];
  }
  // Lets them go, and waits for all. None ends before the last is done: dismantling a process is no
  // part of what the others wait for.
  void run() {
    char byte = 0;
    ::close(go_);
    while (::read(ready_, &byte, 1) > 0) {
    }
    ::close(ready_);
    ::close(end_);
    for (const pid_t child : children_) ::waitpid(child, nullptr, 0);
  }

 private:
  std::vector<pid_t> children_;
  int ready_ = -1;  // ends when all are done
  int go_ = -1;
  int end_ = -1;
};

// The lock of the naive alternative: one for the whole file, held across everything.
class WholeFileLock {
 public:
  explicit WholeFileLock(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    ::flock(fd_, LOCK_EX);
  }
  ~WholeFileLock() { ::close(fd_); }
  WholeFileLock(const WholeFileLock&) = delete;
  WholeFileLock& operator=(const WholeFileLock&) = delete;

 private:
  int fd_;
};

// As a careful program rewrites a JSON file: another name, fsync, rename, fsync of the directory.
inline void rewrite(const std::filesystem::path& path, const std::string& text) {
  const auto temporary = path.string() + ".new";
  const int fd = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  (void)!::write(fd, text.data(), text.size());
  ::fsync(fd);
  ::close(fd);
  ::rename(temporary.c_str(), path.c_str());
  const int directory = ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ::fsync(directory);
  ::close(directory);
}

}  // namespace authdb::bench
