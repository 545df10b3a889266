// Stops a child process before its system calls that change a file: to kill it there, to fail the
// call, or to look around.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace authdb::migrate::testing {

inline bool changes_files(std::uint64_t call) {
  constexpr std::array<std::uint64_t, 13> kCalls{
      SYS_rename,   SYS_renameat,  SYS_renameat2, SYS_link,      SYS_linkat,
      SYS_unlink,   SYS_unlinkat,  SYS_fsync,     SYS_fdatasync, SYS_write,
      SYS_pwrite64, SYS_ftruncate, SYS_fchmod};
  return std::find(kCalls.begin(), kCalls.end(), call) != kCalls.end();
}

// What becomes of a call that the child is about to make.
enum class Fate { happens, fails, kills };

// Runs `body` in a child, and asks `fate_of` before each such call, which waits meanwhile. True if
// the child was killed there.
inline bool traced(const std::function<void()>& body,
                   const std::function<Fate(std::uint64_t call)>& fate_of) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  for (;;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) || WIFSIGNALED(status)) return false;
    __ptrace_syscall_info call{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof call, &call);
    if (call.op != PTRACE_SYSCALL_INFO_ENTRY || !changes_files(call.entry.nr)) continue;
    const Fate fate = fate_of(call.entry.nr);
    // A call that does not exist: it does nothing and fails with ENOSYS.
    if (fate == Fate::fails) ::ptrace(PTRACE_POKEUSER, child, offsetof(user, regs.orig_rax), -1L);
    if (fate != Fate::kills) continue;
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return true;
  }
}

// False if `body` ended before the n-th such call (counted from 0).
inline bool killed_before(int n, const std::function<void()>& body) {
  return traced(body, [&](std::uint64_t) { return n-- > 0 ? Fate::happens : Fate::kills; });
}

// The same, but that call fails, and `body` goes on.
inline bool failed_at(int n, const std::function<void()>& body) {
  bool failed = false;
  traced(body, [&](std::uint64_t) {
    const bool now = n-- == 0;
    failed = failed || now;
    return now ? Fate::fails : Fate::happens;
  });
  return failed;
}

}  // namespace authdb::migrate::testing
