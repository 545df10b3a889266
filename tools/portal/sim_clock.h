// SimClock is the portal's time: wall-clock milliseconds that tests may set, advance and freeze.
//
// Every lifetime the portal hands out is measured on it, so a test lets an hour pass in no time.
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace authdb::portal {

class SimClock {
 public:
  // Starts at `start_ms` (Unix milliseconds), else at the system's time, and runs at its speed.
  explicit SimClock(std::optional<std::int64_t> start_ms = {});

  std::int64_t now_ms() const;
  bool frozen() const;

  void set(std::int64_t now_ms);
  void advance(std::chrono::milliseconds by);  // may be negative: a clock that steps back
  void freeze(bool frozen);                    // thawing goes on from where it stood
  void reset();                                // as constructed

 private:
  std::int64_t now_locked() const;
  void set_locked(std::int64_t now_ms);

  const std::optional<std::int64_t> start_ms_;
  mutable std::mutex mutex_;
  bool frozen_ = false;
  std::int64_t base_ms_ = 0;  // frozen: the time; running: the offset to the system clock
};

std::string iso8601(std::int64_t ms);    // 2026-05-15T10:30:00.000Z
std::string http_date(std::int64_t ms);  // Fri, 15 May 2026 10:30:00 GMT

}  // namespace authdb::portal
