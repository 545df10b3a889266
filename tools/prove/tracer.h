// The knife of the crash sweep: runs a program under ptrace(2), sees each counted system call of
// all its threads before it happens, and can kill the program there. A SIGKILL at that stop ends
// the process without the call having been made (tests/crash proves it). The program is the one
// that ships; a seccomp filter makes the kernel stop at the counted calls and at no others.
//
// Counted are the calls that write, lock, sync or send: what a crash can leave half done. Stores
// into mapped memory (SQLite's shared index, auth.db-shm) are no calls and cannot be seen.
//
// Needs Linux 5.3. A trace belongs to the thread that makes it; several threads may trace at once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/prove/child.h"

namespace authdb::prove {

struct Call {
  std::string name;    // as strace calls it: pwrite64
  std::string target;  // what it acts on: a file, `socket`, `memory`; pids and uids are left out
  std::int64_t offset = -1;  // of positioned writes
  std::int64_t size = -1;    // of writes and sends

  bool operator==(const Call&) const = default;
};

std::string describe(const Call& call);  // pwrite64(journal, 272 bytes at 12288)

struct Traced {
  std::vector<Call> calls;  // those that were made
  std::optional<Call> killed_before;
  Finished finished;
};

// Runs to the end, or kills before the n-th counted call (from 1; 0: never).
Traced trace(const Command& command, std::size_t kill_before = 0);

// Why no process can be traced here (a container or a security module forbids it); nullopt: it
// works.
std::optional<std::string> why_no_tracing();

// What is counted, as `strace -e trace=` takes it. Of open and openat only those with O_CREAT, of
// fcntl only locks are counted.
std::string strace_expression();

}  // namespace authdb::prove
