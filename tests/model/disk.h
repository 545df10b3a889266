// The system calls that change files, in the model's hand: counted, failed, or the last ones of a
// process. The linker routes them through here (--wrap, in CMakeLists.txt), as in tests/disk.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>

#include "tests/model/step.h"

namespace authdb::model {

// What happened to journals and rescue files since an answer was last delivered. In shared memory:
// the process that counted may be dead.
struct DiskCounts {
  std::atomic<int> calls{0};
  std::atomic<int> journal_writes{0};
  std::atomic<int> journal_syncs{0};
  std::atomic<int> failures{0};
  std::atomic<bool> struck{false};
};

DiskCounts& disk_counts();
void forget_writes();  // an answer was delivered
// True if what was delivered last is in a journal, whole and synced.
bool answer_is_kept();

// Below `root`, from now on: the process dies at the n-th call, or calls fail from it on.
void arm_crash(const std::filesystem::path& root, int at);
void arm_fault(const std::filesystem::path& root, int at, Fault fault);
void disarm();
// One more call that counts, and is not on a file: a request that leaves, an answer that is read.
void passing_point();

// Called in the thread that is about to wait for a kernel lock.
void on_blocking_lock(std::function<void()> hook);

}  // namespace authdb::model
