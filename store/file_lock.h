// An exclusive kernel lock on a file: who may spend a credential's token, and who may write.
//
// flock(2) on a descriptor of its own, so that threads of one process exclude each other too, and
// the kernel frees it when the holder dies, by whatever means. A forked child does not own it: its
// copy of the descriptor is closed before fork() returns there, so a child can neither free the
// parent's lock nor keep it alive.
#pragma once

#include <pthread.h>

#include <filesystem>
#include <optional>
#include <stop_token>

#include "store/clock.h"
#include "store/files.h"
#include "store/result.h"

namespace authdb {

class FileLock {
 public:
  // Waits at most `wait`; zero does not wait at all. nullopt: not had by then, or `stop` was
  // requested. The file must exist and is opened read-write. Errors: as file_error().
  //
  // The kernel queues those who wait, which costs one thread and one descriptor for each wait. A
  // wait that is given up leaves its thread in the queue; the next one for the same file takes it
  // over, so that there are never more of them than there were callers at once.
  static Result<std::optional<FileLock>> acquire(const std::filesystem::path& path,
                                                 Milliseconds wait,
                                                 const std::stop_token& stop = {});

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

  int fd() const { return fd_; }
  // False in a child that was forked while the lock was held.
  bool owned() const;

 private:
  FileLock(int fd, int epoch) : fd_(fd), epoch_(epoch) {}
  void release() noexcept;
  int fd_ = -1;
  int epoch_ = 0;  // how many forks this process descends from since the lock was taken
};

// While one exists, pthread_cancel() waits. A cancelled thread is unwound where it stands: between
// an answer and its journal, or out of a destructor, which ends the process.
class PutOffCancellation {
 public:
  PutOffCancellation() { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~PutOffCancellation() { ::pthread_setcancelstate(before_, nullptr); }
  PutOffCancellation(const PutOffCancellation&) = delete;
  PutOffCancellation& operator=(const PutOffCancellation&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

// Counts the forks that led to this process. Changes exactly when everything opened before is the
// parent's.
int fork_epoch();

}  // namespace authdb
