// Kills a child process before its n-th system call that changes a file, for every n.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>

namespace authdb::migrate::testing {

inline bool changes_files(std::uint64_t call) {
  constexpr std::array<std::uint64_t, 10> kCalls{
      SYS_rename,    SYS_renameat2, SYS_link,     SYS_unlink,    SYS_fsync,
      SYS_fdatasync, SYS_write,     SYS_pwrite64, SYS_ftruncate, SYS_fchmod};
  return std::find(kCalls.begin(), kCalls.end(), call) != kCalls.end();
}

// Runs `body` in a child. False if it ended before the n-th such call (counted from 0).
inline bool killed_before(int n, const std::function<void()>& body) {
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
  for (int seen = 0;;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) || WIFSIGNALED(status)) return false;
    __ptrace_syscall_info call{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof call, &call);
    if (call.op != PTRACE_SYSCALL_INFO_ENTRY || !changes_files(call.entry.nr)) continue;
    if (seen++ < n) continue;
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return true;
  }
}

}  // namespace authdb::migrate::testing
