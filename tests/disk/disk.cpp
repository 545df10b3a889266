#include "tests/disk/disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>

namespace authdb::test {
namespace {

namespace fs = std::filesystem;

// Syncing is looked at here, not waited for: on a file system in memory it costs nothing.
[[maybe_unused]] const bool g_in_memory =
    ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", 0) == 0;

std::string g_root;
DiskWatcher* g_watcher = nullptr;
thread_local bool t_inside = false;  // the watcher at work: its own calls are nobody's business

bool is_watched(const std::string& path) {
  return g_watcher != nullptr && !t_inside && path.compare(0, g_root.size(), g_root) == 0;
}

std::string path_of(int fd) {
  if (g_watcher == nullptr || t_inside) return {};
  std::array<char, 4096> name{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t got = ::readlink(link.c_str(), name.data(), name.size());
  return got < 0 ? std::string() : std::string(name.data(), static_cast<std::size_t>(got));
}

template <typename Real>
auto through(const Call& call, Real real) -> decltype(real()) {
  if (!is_watched(call.path)) return real();
  t_inside = true;
  int error = g_watcher->before(call);
  t_inside = false;
  if (error != 0) {
    errno = error;
    return -1;
  }
  const auto result = real();
  if (result < 0) return result;
  t_inside = true;
  error = g_watcher->after(call);
  t_inside = false;
  if (error == 0) return result;
  if (call.op == Op::open || call.op == Op::create) ::close(static_cast<int>(result));
  errno = error;
  return -1;
}

}  // namespace

std::string Call::text() const {
  static constexpr std::array kWords = {"open", "create", "write",  "truncate", "allocate",
                                        "sync", "link",   "rename", "unlink",   "mkdir"};
  return std::string(kWords.at(static_cast<std::size_t>(op))) + " " +
         (path.size() > g_root.size() ? path.substr(g_root.size()) : path);
}

Watching::Watching(const fs::path& root, DiskWatcher& watcher) {
  g_root = root.string();
  g_watcher = &watcher;
}
Watching::~Watching() { g_watcher = nullptr; }

bool Fault::strikes(const Call& call) const {
  const bool opens = call.op == Op::open || call.op == Op::create;
  switch (trouble_.error) {
    case EMFILE:
      return opens;
    case EROFS:
      return call.op != Op::sync && (call.op != Op::open || call.for_writing);
    case EIO:
      return call.op != Op::open;
    default:  // no space
      return call.op != Op::open && call.op != Op::unlink;
  }
}

int Fault::before(const Call& call) {
  now_ = false;
  if (!strikes(call)) return 0;
  ++seen_;
  now_ = trouble_.kind == Trouble::Kind::stays ? seen_ >= nth_ : seen_ == nth_;
  if (now_ && where_.empty()) where_ = call.text();
  return now_ && trouble_.kind != Trouble::Kind::late ? trouble_.error : 0;
}

int Fault::after(const Call&) {
  return now_ && trouble_.kind == Trouble::Kind::late ? trouble_.error : 0;
}

}  // namespace authdb::test

// ---- what the linker puts in the place of libc's functions -------------------------------------

using authdb::test::Call;
using authdb::test::Op;
using authdb::test::path_of;
using authdb::test::through;

// NOLINTBEGIN: the names are the linker's
extern "C" {
int __real_open(const char*, int, ...);
int __real_open64(const char*, int, ...);
int __real_openat(int, const char*, int, ...);
int __real_openat64(int, const char*, int, ...);
ssize_t __real_write(int, const void*, size_t);
ssize_t __real_pwrite(int, const void*, size_t, off_t);
ssize_t __real_pwrite64(int, const void*, size_t, off_t);
int __real_ftruncate(int, off_t);
int __real_ftruncate64(int, off_t);
int __real_fallocate(int, int, off_t, off_t);
int __real_fallocate64(int, int, off_t, off_t);
int __real_fsync(int);
int __real_fdatasync(int);
int __real_link(const char*, const char*);
int __real_linkat(int, const char*, int, const char*, int);
int __real_rename(const char*, const char*);
int __real_renameat(int, const char*, int, const char*);
int __real_renameat2(int, const char*, int, const char*, unsigned);
int __real_unlink(const char*);
int __real_unlinkat(int, const char*, int);
int __real_mkdir(const char*, mode_t);
}

namespace {

std::string_view view_of(const void* bytes, size_t size) {
  return {static_cast<const char*>(bytes), size};
}

std::string path_at(int directory, const char* name) {
  const std::string above = path_of(directory);
  return *name == '/' || above.empty() ? name : above + "/" + name;
}

Call open_call(const std::string& path, int flags) {
  Call call{Op::open, path};
  // O_CREAT on a file that is there already makes nothing.
  if ((flags & O_CREAT) != 0 && ::access(path.c_str(), F_OK) != 0) call.op = Op::create;
  call.for_writing = (flags & O_ACCMODE) != O_RDONLY;
  return call;
}

Call write_call(int fd, const void* bytes, size_t size, off_t at) {
  Call call{Op::write, path_of(fd)};
  call.offset = at;
  call.bytes = view_of(bytes, size);
  return call;
}

Call truncate_call(int fd, off_t size) {
  Call call{Op::truncate, path_of(fd)};
  call.size = size;
  return call;
}

Call allocate_call(int fd, off_t at, off_t size) {
  Call call{Op::allocate, path_of(fd)};
  call.offset = at;
  call.size = size;
  return call;
}

}  // namespace

extern "C" {

int __wrap_open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  return through(open_call(path, flags), [&] { return __real_open(path, flags, mode); });
}
int __wrap_open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  return through(open_call(path, flags), [&] { return __real_open64(path, flags, mode); });
}
int __wrap_openat(int directory, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  return through(open_call(path_at(directory, path), flags),
                 [&] { return __real_openat(directory, path, flags, mode); });
}
int __wrap_openat64(int directory, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  return through(open_call(path_at(directory, path), flags),
                 [&] { return __real_openat64(directory, path, flags, mode); });
}
ssize_t __wrap_write(int fd, const void* bytes, size_t size) {
  return through(write_call(fd, bytes, size, ::lseek(fd, 0, SEEK_CUR)),
                 [&] { return __real_write(fd, bytes, size); });
}
ssize_t __wrap_pwrite(int fd, const void* bytes, size_t size, off_t at) {
  return through(write_call(fd, bytes, size, at),
                 [&] { return __real_pwrite(fd, bytes, size, at); });
}
ssize_t __wrap_pwrite64(int fd, const void* bytes, size_t size, off_t at) {
  return through(write_call(fd, bytes, size, at),
                 [&] { return __real_pwrite64(fd, bytes, size, at); });
}
int __wrap_ftruncate(int fd, off_t size) {
  return through(truncate_call(fd, size), [&] { return __real_ftruncate(fd, size); });
}
int __wrap_ftruncate64(int fd, off_t size) {
  return through(truncate_call(fd, size), [&] { return __real_ftruncate64(fd, size); });
}
int __wrap_fallocate(int fd, int mode, off_t at, off_t size) {
  return through(allocate_call(fd, at, size), [&] { return __real_fallocate(fd, mode, at, size); });
}
int __wrap_fallocate64(int fd, int mode, off_t at, off_t size) {
  return through(allocate_call(fd, at, size),
                 [&] { return __real_fallocate64(fd, mode, at, size); });
}
int __wrap_fsync(int fd) {
  return through(Call{Op::sync, path_of(fd)}, [&] { return __real_fsync(fd); });
}
int __wrap_fdatasync(int fd) {
  return through(Call{Op::sync, path_of(fd)}, [&] { return __real_fdatasync(fd); });
}
int __wrap_link(const char* from, const char* to) {
  return through(Call{Op::link, to, from}, [&] { return __real_link(from, to); });
}
int __wrap_linkat(int from_at, const char* from, int to_at, const char* to, int flags) {
  return through(Call{Op::link, path_at(to_at, to), path_at(from_at, from)},
                 [&] { return __real_linkat(from_at, from, to_at, to, flags); });
}
int __wrap_renameat(int from_at, const char* from, int to_at, const char* to) {
  return through(Call{Op::rename, path_at(to_at, to), path_at(from_at, from)},
                 [&] { return __real_renameat(from_at, from, to_at, to); });
}
int __wrap_renameat2(int from_at, const char* from, int to_at, const char* to, unsigned flags) {
  return through(Call{Op::rename, path_at(to_at, to), path_at(from_at, from)},
                 [&] { return __real_renameat2(from_at, from, to_at, to, flags); });
}
int __wrap_unlinkat(int at, const char* path, int flags) {
  return through(Call{Op::unlink, path_at(at, path)},
                 [&] { return __real_unlinkat(at, path, flags); });
}
int __wrap_rename(const char* from, const char* to) {
  return through(Call{Op::rename, to, from}, [&] { return __real_rename(from, to); });
}
int __wrap_unlink(const char* path) {
  return through(Call{Op::unlink, path}, [&] { return __real_unlink(path); });
}
int __wrap_mkdir(const char* path, mode_t mode) {
  return through(Call{Op::mkdir, path}, [&] { return __real_mkdir(path, mode); });
}

}  // extern "C"
// NOLINTEND
