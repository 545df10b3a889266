#include "tools/prove/tracer.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "store/draft.h"

namespace authdb::prove {
namespace {

namespace fs = std::filesystem;

constexpr unsigned long kOptions = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE |
                                   PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;

// <sys/ptrace.h> and <linux/ptrace.h> do not go together, and only the latter has what we read.
long ask_kernel(unsigned long request, pid_t tid, unsigned long address, void* data) {
  return ::syscall(SYS_ptrace, request, tid, address, data);
}

void must(unsigned long request, pid_t tid, unsigned long data, const char* what) {
  if (ask_kernel(request, tid, 0, reinterpret_cast<void*>(data)) != 0 && errno != ESRCH) {
    throw std::system_error(errno, std::generic_category(), what);
  }
}

// Where a call has what we show: the descriptor or path it acts on, its size, its offset. -1: none.
struct Kind {
  long number;
  const char* name;
  int fd = -1;
  int path = -1;
  int size = -1;
  int offset = -1;
};

constexpr std::array kCounted = {
    Kind{SYS_write, "write", 0, -1, 2},
    Kind{SYS_pwrite64, "pwrite64", 0, -1, 2, 3},
    Kind{SYS_writev, "writev", 0},
    Kind{SYS_pwritev, "pwritev", 0, -1, -1, 3},
    Kind{SYS_pwritev2, "pwritev2", 0, -1, -1, 3},
    Kind{SYS_sendfile, "sendfile", 0},
    Kind{SYS_copy_file_range, "copy_file_range", 2},
    Kind{SYS_ftruncate, "ftruncate", 0, -1, 1},
    Kind{SYS_truncate, "truncate", -1, 0, 1},
    Kind{SYS_fallocate, "fallocate", 0},
    Kind{SYS_fsync, "fsync", 0},
    Kind{SYS_fdatasync, "fdatasync", 0},
    Kind{SYS_sync_file_range, "sync_file_range", 0},
    Kind{SYS_msync, "msync"},
    Kind{SYS_flock, "flock", 0},
    Kind{SYS_fcntl, "fcntl", 0},
    Kind{SYS_openat, "openat", -1, 1},
    Kind{SYS_mkdirat, "mkdirat", -1, 1},
    Kind{SYS_linkat, "linkat", -1, 3},
    Kind{SYS_symlinkat, "symlinkat", -1, 2},
    Kind{SYS_unlinkat, "unlinkat", -1, 1},
    Kind{SYS_renameat2, "renameat2", -1, 3},
    Kind{SYS_fchmod, "fchmod", 0},
    Kind{SYS_fchmodat, "fchmodat", -1, 1},
    Kind{SYS_connect, "connect", 0},
    Kind{SYS_sendto, "sendto", 0, -1, 2},
    Kind{SYS_sendmsg, "sendmsg", 0},
    Kind{SYS_sendmmsg, "sendmmsg", 0},
    Kind{SYS_shutdown, "shutdown", 0},
// What newer architectures do not have any more.
#ifdef SYS_open
    Kind{SYS_open, "open", -1, 0},
#endif
#ifdef SYS_creat
    Kind{SYS_creat, "creat", -1, 0},
#endif
#ifdef SYS_mkdir
    Kind{SYS_mkdir, "mkdir", -1, 0},
#endif
#ifdef SYS_rmdir
    Kind{SYS_rmdir, "rmdir", -1, 0},
#endif
#ifdef SYS_link
    Kind{SYS_link, "link", -1, 1},
#endif
#ifdef SYS_symlink
    Kind{SYS_symlink, "symlink", -1, 1},
#endif
#ifdef SYS_unlink
    Kind{SYS_unlink, "unlink", -1, 0},
#endif
#ifdef SYS_rename
    Kind{SYS_rename, "rename", -1, 1},
#endif
#ifdef SYS_renameat
    Kind{SYS_renameat, "renameat", -1, 3},
#endif
#ifdef SYS_chmod
    Kind{SYS_chmod, "chmod", -1, 0},
#endif
};

using Arguments = decltype(ptrace_syscall_info::seccomp.args);

bool makes_a_file(const Kind& kind, const Arguments& args) {
  const int flags_at = std::strcmp(kind.name, "openat") == 0 ? 2 : 1;
  return (args[flags_at] & O_CREAT) != 0;
}

bool locks(const Arguments& args) {
  const auto command = static_cast<int>(args[1]);
  return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
         command == F_OFD_SETLKW;
}

const Kind* counted(const ptrace_syscall_info& info) {
  for (const Kind& kind : kCounted) {
    if (static_cast<std::uint64_t>(kind.number) != info.seccomp.nr) continue;
    if (std::strncmp(kind.name, "open", 4) == 0 && !makes_a_file(kind, info.seccomp.args)) break;
    if (kind.number == SYS_fcntl && !locks(info.seccomp.args)) break;
    return &kind;
  }
  return nullptr;
}

// Stops at the calls of the list, whatever their arguments, and nowhere else.
std::vector<sock_filter> stop_at_counted() {
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const Kind& kind : kCounted) {
    program.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(kind.number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return program;
}

std::string text_at(pid_t tid, std::uint64_t address) {
  std::array<char, 4096> text{};
  const iovec ours{text.data(), text.size() - 1};
  // Up to the end of the page: what is behind it may not be mapped.
  const std::size_t size = text.size() - address % text.size();
  const iovec theirs{reinterpret_cast<void*>(address), size};
  const iovec rest{reinterpret_cast<void*>(address + size), text.size() - size};
  const std::array<iovec, 2> both{theirs, rest};
  if (::process_vm_readv(tid, &ours, 1, both.data(), 2, 0) < 0) return "?";
  return text.data();
}

std::string path_of_descriptor(pid_t tid, std::uint64_t fd) {
  std::error_code gone;
  const auto link = "/proc/" + std::to_string(tid) + "/fd/" + std::to_string(static_cast<int>(fd));
  return fs::read_symlink(link, gone).string();
}

// A file by its place in the store: uids, pids and scratch directories differ from run to run.
std::string place_of(const std::string& path) {
  if (path.starts_with("socket:")) return "socket";
  if (path.starts_with("pipe:")) return "pipe";
  if (path.starts_with("/memfd:")) return "stdio";
  const fs::path file(path);
  const std::string name = file.filename();
  if (!name_of_draft(name).empty()) return "draft";
  const bool in_journals = file.parent_path().parent_path().filename() == "auth.db.d";
  if (in_journals) return "journal";
  if (file.parent_path().filename() == "auth.db.d" && name.size() == 2) return "journals";
  return name;
}

// A path that a call names, below the directory whose descriptor stands before it.
std::string path_named(pid_t tid, const Kind& kind, const Arguments& args) {
  const std::string path = text_at(tid, args[kind.path]);
  const std::string_view name = kind.name;
  const bool is_relative = name.ends_with("at") || name.ends_with("at2");
  if (!is_relative || path.starts_with('/')) return path;
  const auto directory = static_cast<int>(args[kind.path - 1]);
  return directory == AT_FDCWD ? path : path_of_descriptor(tid, args[kind.path - 1]) + "/" + path;
}

Call seen(pid_t tid, const Kind& kind, const Arguments& args) {
  Call call{kind.name, {}};
  if (kind.fd >= 0) call.target = place_of(path_of_descriptor(tid, args[kind.fd]));
  if (kind.path >= 0) call.target = place_of(path_named(tid, kind, args));
  if (kind.size >= 0) call.size = static_cast<std::int64_t>(args[kind.size]);
  if (kind.offset >= 0) call.offset = static_cast<std::int64_t>(args[kind.offset]);
  return call;
}

// One trace, from the first stop to the end of the process.
class Trace {
 public:
  Trace(const Command& command, std::size_t kill_before)
      : filter_(stop_at_counted()),
        program_{static_cast<unsigned short>(filter_.size()), filter_.data()},
        child_(command, &program_),
        kill_before_(kill_before) {
    must(PTRACE_SEIZE, child_.pid(), kOptions, "ptrace");
    child_.go();
  }

  Traced follow() {
    for (;;) {
      int status = 0;
      const pid_t tid = ::waitpid(-1, &status, __WALL | __WNOTHREAD);
      if (tid < 0 && errno == EINTR) continue;
      if (tid < 0) throw std::system_error(errno, std::generic_category(), "waitpid");
      if (WIFSTOPPED(status)) {
        at_stop(tid, status);
      } else if (tid == child_.pid()) {  // comes after those of its threads
        traced_.finished = child_.reaped(status);
        return std::move(traced_);
      }
    }
  }

 private:
  void at_stop(pid_t tid, int status) {
    const int signal = WSTOPSIG(status);
    const int event = status >> 16;
    if (event == PTRACE_EVENT_SECCOMP) {
      if (!at_call(tid)) must(PTRACE_CONT, tid, 0, "ptrace");
    } else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
      must(PTRACE_LISTEN, tid, 0, "ptrace");  // stopped by a signal: stays so
    } else {
      const bool delivery = event == 0;
      must(PTRACE_CONT, tid, delivery ? static_cast<unsigned long>(signal) : 0, "ptrace");
    }
  }

  // True if this is where it dies.
  bool at_call(pid_t tid) {
    if (traced_.killed_before) return true;
    ptrace_syscall_info info{};
    if (ask_kernel(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0) return false;
    if (info.op != PTRACE_SYSCALL_INFO_SECCOMP) return false;
    const Kind* kind = counted(info);
    if (kind == nullptr) return false;
    Call call = seen(tid, *kind, info.seccomp.args);
    if (kill_before_ == traced_.calls.size() + 1) {
      traced_.killed_before = std::move(call);
      child_.signal(SIGKILL);
      return true;
    }
    traced_.calls.push_back(std::move(call));
    return false;
  }

  std::vector<sock_filter> filter_;
  sock_fprog program_;
  Child child_;
  const std::size_t kill_before_;
  Traced traced_;
};

}  // namespace

std::string describe(const Call& call) {
  std::string text = call.name + "(" + call.target;
  if (call.size >= 0) text += ", " + std::to_string(call.size) + " bytes";
  if (call.offset >= 0) text += " at " + std::to_string(call.offset);
  return text + ")";
}

Traced trace(const Command& command, std::size_t kill_before) {
  return Trace(command, kill_before).follow();
}

std::optional<std::string> why_no_tracing() {
  try {
    const Traced tried = trace({{"/bin/sh", "-c", "echo traced"}, {}});
    if (tried.finished.out != "traced\n") return "a traced /bin/sh did not run as it should";
    if (tried.calls.empty()) return "the kernel does not tell of system calls (Linux 5.3 does)";
    return std::nullopt;
  } catch (const std::system_error& error) {
    return error.what();
  }
}

std::string strace_expression() {
  std::string all = "trace=";
  for (const Kind& kind : kCounted) {
    if (all.back() != '=') all += ',';
    all += '?';  // unknown on this architecture: no error
    all += kind.name;
  }
  return all;
}

}  // namespace authdb::prove
