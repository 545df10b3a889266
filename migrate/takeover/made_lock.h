// A lock that exists only while it is held: a directory (npm's proper-lockfile, Claude Code, pi) or
// a file (Qwen Code).
//
// The kernel frees no such lock for a holder that dies. So its holder keeps its modification time
// fresh, and one that was not touched for as long as its tool allows was left behind and is taken
// over: exchanged for one of ours, and exchanged back if it is not the one that was judged, for
// between the look and the act somebody else may have done the same.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "migrate/formats/format.h"
#include "store/result.h"

namespace authdb::migrate {

class MadeLock {
 public:
  // Tries until `deadline`, at least once. busy: another process has it. refused: something is in
  // its place that no tool makes. Errors besides: as file_error(). Not for a rule of kind flock.
  static Result<MadeLock> make(const LockRule& rule,
                               std::chrono::steady_clock::time_point deadline);

  MadeLock(MadeLock&&) noexcept;
  MadeLock& operator=(MadeLock&&) noexcept;
  // Removes it, unless somebody took it away meanwhile.
  ~MadeLock();

 private:
  class Held;
  explicit MadeLock(std::unique_ptr<Held> held);
  std::unique_ptr<Held> held_;
};

}  // namespace authdb::migrate
