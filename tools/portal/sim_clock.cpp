#include "tools/portal/sim_clock.h"

#include <cstdio>
#include <ctime>

namespace authdb::portal {
namespace {

std::int64_t system_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

std::string format(std::int64_t ms, const char* pattern) {
  const std::time_t seconds = ms / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[64];
  return {text, std::strftime(text, sizeof text, pattern, &utc)};
}

}  // namespace

SimClock::SimClock(std::optional<std::int64_t> start_ms) : start_ms_(start_ms) { reset(); }

std::int64_t SimClock::now_ms() const {
  const std::lock_guard lock(mutex_);
  return now_locked();
}

bool SimClock::frozen() const {
  const std::lock_guard lock(mutex_);
  return frozen_;
}

void SimClock::set(std::int64_t now_ms) {
  const std::lock_guard lock(mutex_);
  set_locked(now_ms);
}

void SimClock::advance(std::chrono::milliseconds by) {
  const std::lock_guard lock(mutex_);
  base_ms_ += by.count();
}

void SimClock::freeze(bool frozen) {
  const std::lock_guard lock(mutex_);
  const auto now = now_locked();
  frozen_ = frozen;
  set_locked(now);
}

void SimClock::reset() {
  const std::lock_guard lock(mutex_);
  frozen_ = false;
  set_locked(start_ms_.value_or(system_ms()));
}

std::int64_t SimClock::now_locked() const { return frozen_ ? base_ms_ : base_ms_ + system_ms(); }

void SimClock::set_locked(std::int64_t now_ms) {
  base_ms_ = frozen_ ? now_ms : now_ms - system_ms();
}

std::string iso8601(std::int64_t ms) {
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%03dZ", static_cast<int>(ms % 1000));
  return format(ms, "%Y-%m-%dT%H:%M:%S") + fraction;
}

std::string http_date(std::int64_t ms) { return format(ms, "%a, %d %b %Y %H:%M:%S GMT"); }

}  // namespace authdb::portal
