// What this process has in memory is not for others: no core file, no look from outside.
#pragma once

#include <sys/resource.h>

namespace authdb::cli {

// From here on the kernel writes no core file of this process and lets no other process of its user
// read or trace it; root still may. For main(), before any secret is read. Both settings are those
// of the whole process, so the library leaves them alone: a program that uses it may make the same
// two calls, setrlimit(RLIMIT_CORE) and prctl(PR_SET_DUMPABLE).
//
// Whoever traces a process from its start (gdb, strace, the crash sweep) may go on reading it: what
// it runs is in the tracer's hands anyhow.
void close_memory() noexcept;

// While one exists, programs that are started get the limit of core files that this one was started
// with: whether they may dump core is for them to say. Ours is not dumped meanwhile either.
class CoreLimitForOthers {
 public:
  CoreLimitForOthers() noexcept;
  ~CoreLimitForOthers();
  CoreLimitForOthers(const CoreLimitForOthers&) = delete;
  CoreLimitForOthers& operator=(const CoreLimitForOthers&) = delete;

 private:
  rlimit ours_{};
};

}  // namespace authdb::cli
