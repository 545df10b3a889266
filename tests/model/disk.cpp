#include "tests/model/disk.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <map>
#include <mutex>
#include <new>
#include <string_view>

namespace authdb::model {
namespace {

enum class Mode { off, crash, fault };

std::string g_root;
std::atomic<Mode> g_mode{Mode::off};
int g_at = 0;
Fault g_fault = Fault::full;
std::mutex g_hook_mutex;
std::function<void()> g_hook;

DiskCounts* make_counts() {
  void* page = ::mmap(nullptr, sizeof(DiskCounts), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (page) DiskCounts;
}

std::string path_of(int fd) {
  std::array<char, 4096> name{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t got = ::readlink(link.c_str(), name.data(), name.size());
  return got < 0 ? std::string() : std::string(name.data(), static_cast<std::size_t>(got));
}

bool in_root(const std::string& path) { return path.compare(0, g_root.size(), g_root) == 0; }

bool is_journal(const std::string& path) {
  return path.find("/auth.db.d/") != std::string::npos || path.find("/run/") != std::string::npos;
}

// What a call does to a disk that has no room: only what makes something new or longer needs any.
struct Touch {
  bool grows = false;
  bool writes = false;
  bool syncs = false;
};

int error_of(int seen, const Touch& touch) {
  const bool once = g_fault == Fault::once_full || g_fault == Fault::once_broken;
  if (once ? seen != g_at : seen < g_at) return 0;
  if (g_fault == Fault::no_growth) return touch.grows ? ENOSPC : 0;
  return g_fault == Fault::once_full || g_fault == Fault::full ? ENOSPC : EIO;
}

template <typename Real>
auto through(const std::string& path, const Touch& touch, Real real) -> decltype(real()) {
  if (!in_root(path)) return real();
  DiskCounts& counts = disk_counts();
  const int seen = ++counts.calls;
  if (g_mode == Mode::crash && seen == g_at) ::_exit(99);
  const int error = g_mode == Mode::fault ? error_of(seen, touch) : 0;
  if (error != 0) {
    counts.struck = true;
    if (is_journal(path)) ++counts.failures;
    errno = error;
    return -1;
  }
  const auto result = real();
  if (result >= 0 && is_journal(path)) {
    if (touch.writes) ++counts.journal_writes;
    if (touch.syncs) ++counts.journal_syncs;
  }
  return result;
}

template <typename Real>
auto on_file(int fd, Touch touch, Real real) -> decltype(real()) {
  if (g_mode == Mode::off) return real();
  return through(path_of(fd), touch, real);
}

template <typename Real>
auto on_path(const char* path, Touch touch, Real real) -> decltype(real()) {
  if (g_mode == Mode::off) return real();
  return through(path, touch, real);
}

// What has been allocated behind the end of a file has its room (fallocate(2)).
struct Room {
  off_t from = 0;
  off_t to = 0;
};
std::mutex g_rooms_mutex;
std::map<ino_t, Room> g_rooms;  // the last that was asked for

bool grows(int fd, off_t from, off_t end) {
  if (g_mode == Mode::off) return false;
  struct stat now {};
  if (::fstat(fd, &now) != 0 || end <= now.st_size) return false;
  const std::lock_guard guard(g_rooms_mutex);
  const auto rooms = g_rooms.find(now.st_ino);
  return rooms == g_rooms.end() || from < rooms->second.from || end > rooms->second.to;
}

void has_room(int fd, off_t from, off_t to) {
  struct stat now {};
  if (::fstat(fd, &now) != 0) return;
  constexpr std::size_t kMost = 10'000;  // files of histories that are over
  const std::lock_guard guard(g_rooms_mutex);
  if (g_rooms.size() > kMost) g_rooms.clear();
  g_rooms[now.st_ino] = {from, to};
}

}  // namespace

DiskCounts& disk_counts() {
  static DiskCounts* const counts = make_counts();
  return *counts;
}

void forget_writes() {
  disk_counts().journal_writes = 0;
  disk_counts().journal_syncs = 0;
  disk_counts().failures = 0;
}

bool answer_is_kept() {
  const DiskCounts& counts = disk_counts();
  return counts.failures == 0 && counts.journal_writes > 0 && counts.journal_syncs > 0;
}

void arm_crash(const std::filesystem::path& root, int at) {
  g_root = root.string();
  g_at = at;
  disk_counts().calls = 0;
  disk_counts().struck = false;
  forget_writes();
  g_mode = Mode::crash;
}

void arm_fault(const std::filesystem::path& root, int at, Fault fault) {
  arm_crash(root, at);
  g_fault = fault;
  g_mode = Mode::fault;
}

void disarm() { g_mode = Mode::off; }

void passing_point() {
  if (g_mode != Mode::crash) return;
  if (++disk_counts().calls == g_at) ::_exit(99);
}

void on_blocking_lock(std::function<void()> hook) {
  const std::lock_guard guard(g_hook_mutex);
  g_hook = std::move(hook);
}

}  // namespace authdb::model

// ---- what the linker puts in the place of libc's functions -------------------------------------

using authdb::model::grows;
using authdb::model::has_room;
using authdb::model::on_file;
using authdb::model::on_path;
using authdb::model::Touch;

// NOLINTBEGIN: the names are the linker's
extern "C" {
int __real_open(const char*, int, ...);
int __real_open64(const char*, int, ...);
ssize_t __real_write(int, const void*, size_t);
ssize_t __real_pwrite(int, const void*, size_t, off_t);
ssize_t __real_pwrite64(int, const void*, size_t, off_t);
int __real_ftruncate(int, off_t);
int __real_ftruncate64(int, off_t);
int __real_fsync(int);
int __real_fdatasync(int);
int __real_openat(int, const char*, int, ...);
int __real_openat64(int, const char*, int, ...);
int __real_linkat(int, const char*, int, const char*, int);
int __real_rename(const char*, const char*);
int __real_renameat(int, const char*, int, const char*);
int __real_renameat2(int, const char*, int, const char*, unsigned);
int __real_unlink(const char*);
int __real_unlinkat(int, const char*, int);
int __real_mkdir(const char*, mode_t);
int __real_flock(int, int);
int __real_sqlite3_busy_timeout(sqlite3*, int);
int __real_fallocate(int, int, off_t, off_t);
int __real_posix_fallocate(int, off_t, off_t);
int __real_posix_fallocate64(int, off_t, off_t);

static bool creates(const char* path, int flags) {
  return (flags & O_CREAT) != 0 && ::access(path, F_OK) != 0;
}
static bool creates_at(int directory, const char* path, int flags) {
  return (flags & O_CREAT) != 0 && ::faccessat(directory, path, F_OK, 0) != 0;
}

int __wrap_open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  const auto real = [&] { return __real_open(path, flags, mode); };
  return creates(path, flags) ? on_path(path, {.grows = true}, real) : real();
}
int __wrap_open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  const auto real = [&] { return __real_open64(path, flags, mode); };
  return creates(path, flags) ? on_path(path, {.grows = true}, real) : real();
}
ssize_t __wrap_write(int fd, const void* bytes, size_t size) {
  const off_t at = ::lseek(fd, 0, SEEK_CUR);
  return on_file(fd, {.grows = grows(fd, at, at + static_cast<off_t>(size)), .writes = true},
                 [&] { return __real_write(fd, bytes, size); });
}
ssize_t __wrap_pwrite(int fd, const void* bytes, size_t size, off_t at) {
  return on_file(fd, {.grows = grows(fd, at, at + static_cast<off_t>(size)), .writes = true},
                 [&] { return __real_pwrite(fd, bytes, size, at); });
}
ssize_t __wrap_pwrite64(int fd, const void* bytes, size_t size, off_t at) {
  return on_file(fd, {.grows = grows(fd, at, at + static_cast<off_t>(size)), .writes = true},
                 [&] { return __real_pwrite64(fd, bytes, size, at); });
}
int __wrap_ftruncate(int fd, off_t size) {
  return on_file(fd, {.grows = grows(fd, size, size)}, [&] { return __real_ftruncate(fd, size); });
}
int __wrap_ftruncate64(int fd, off_t size) {
  return on_file(fd, {.grows = grows(fd, size, size)},
                 [&] { return __real_ftruncate64(fd, size); });
}
int __wrap_fsync(int fd) {
  return on_file(fd, {.syncs = true}, [&] { return __real_fsync(fd); });
}
int __wrap_fdatasync(int fd) {
  return on_file(fd, {.syncs = true}, [&] { return __real_fdatasync(fd); });
}
int __wrap_openat(int directory, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  const auto real = [&] { return __real_openat(directory, path, flags, mode); };
  return creates_at(directory, path, flags) ? on_file(directory, {.grows = true}, real) : real();
}
int __wrap_openat64(int directory, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  const auto real = [&] { return __real_openat64(directory, path, flags, mode); };
  return creates_at(directory, path, flags) ? on_file(directory, {.grows = true}, real) : real();
}
int __wrap_linkat(int from_at, const char* from, int to_at, const char* to, int flags) {
  return on_file(to_at, {.grows = true},
                 [&] { return __real_linkat(from_at, from, to_at, to, flags); });
}
int __wrap_renameat(int from_at, const char* from, int to_at, const char* to) {
  return on_file(to_at, {}, [&] { return __real_renameat(from_at, from, to_at, to); });
}
int __wrap_renameat2(int from_at, const char* from, int to_at, const char* to, unsigned flags) {
  return on_file(to_at, {}, [&] { return __real_renameat2(from_at, from, to_at, to, flags); });
}
int __wrap_unlinkat(int at, const char* path, int flags) {
  return on_file(at, {}, [&] { return __real_unlinkat(at, path, flags); });
}
int __wrap_rename(const char* from, const char* to) {
  return on_path(to, {}, [&] { return __real_rename(from, to); });
}
int __wrap_unlink(const char* path) {
  return on_path(path, {}, [&] { return __real_unlink(path); });
}
int __wrap_mkdir(const char* path, mode_t mode) {
  return on_path(path, {.grows = true}, [&] { return __real_mkdir(path, mode); });
}
int __wrap_fallocate(int fd, int mode, off_t at, off_t size) {
  const auto real = [&] {
    const int result = __real_fallocate(fd, mode, at, size);
    if (result == 0) has_room(fd, at, at + size);
    return result;
  };
  return on_file(fd, {.grows = grows(fd, at, at + size)}, real);
}
// These two return the error instead of setting errno.
int __wrap_posix_fallocate(int fd, off_t at, off_t size) {
  const auto real = [&] {
    errno = __real_posix_fallocate(fd, at, size);
    return errno == 0 ? 0 : -1;
  };
  return on_file(fd, {.grows = grows(fd, at, at + size)}, real) == 0 ? 0 : errno;
}
int __wrap_posix_fallocate64(int fd, off_t at, off_t size) {
  const auto real = [&] {
    errno = __real_posix_fallocate64(fd, at, size);
    return errno == 0 ? 0 : -1;
  };
  return on_file(fd, {.grows = grows(fd, at, at + size)}, real) == 0 ? 0 : errno;
}
// Whoever sits on the database's lock here does so until the step is over: waiting longer for it
// shows nothing more.
int __wrap_sqlite3_busy_timeout(sqlite3* database, int ms) {
  return __real_sqlite3_busy_timeout(database, ms < 5 ? ms : 5);
}
int __wrap_flock(int fd, int operation) {
  if ((operation & LOCK_EX) != 0 && (operation & LOCK_NB) == 0) {
    const std::lock_guard guard(authdb::model::g_hook_mutex);
    if (authdb::model::g_hook) authdb::model::g_hook();
  }
  return __real_flock(fd, operation);
}
}  // extern "C"
// NOLINTEND
