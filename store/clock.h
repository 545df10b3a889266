// Time as the store knows it: wall-clock milliseconds in UTC, injected so that tests move it and
// never wait for it.
#pragma once

#include <chrono>
#include <functional>

namespace authdb {

using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;
using Instant = std::chrono::sys_time<Milliseconds>;

// Must be callable from any thread. Wall time, for expiry; time-outs use the steady clock instead.
using Clock = std::function<Instant()>;

inline Instant system_now() {
  return std::chrono::time_point_cast<Milliseconds>(std::chrono::system_clock::now());
}

inline constexpr Instant at_millis(std::int64_t ms) { return Instant{Milliseconds{ms}}; }
inline constexpr std::int64_t to_millis(Instant t) { return t.time_since_epoch().count(); }

}  // namespace authdb
