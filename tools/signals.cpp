#include "tools/signals.h"

#include <algorithm>
#include <cerrno>
#include <initializer_list>

namespace authdb::cli {

SignalShield::SignalShield() noexcept {
  sigset_t deferred;
  sigemptyset(&deferred);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&deferred, signal);
  pthread_sigmask(SIG_BLOCK, &deferred, &before_);
}

SignalShield::~SignalShield() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

namespace {

constexpr std::initializer_list<int> kStops{SIGINT, SIGTERM, SIGHUP};

}  // namespace

StopSignals::StopSignals() noexcept {
  sigemptyset(&stops_);
  for (const int signal : kStops) sigaddset(&stops_, signal);
  pthread_sigmask(SIG_BLOCK, &stops_, &before_);
}

StopSignals::~StopSignals() {
  wait(Milliseconds{0});  // what has arrived has had its effect
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool StopSignals::wait(Milliseconds span) const noexcept {
  const auto until = std::chrono::steady_clock::now() + span;
  for (;;) {
    const auto left = std::max<std::chrono::nanoseconds>(until - std::chrono::steady_clock::now(),
                                                         std::chrono::nanoseconds{0});
    const auto seconds = std::chrono::duration_cast<Seconds>(left);
    const timespec time{seconds.count(), (left - seconds).count()};
    if (sigtimedwait(&stops_, nullptr, &time) > 0) return true;
    if (errno != EINTR) return false;
  }
}

bool StopSignals::arrived() noexcept {
  sigset_t pending;
  sigpending(&pending);
  return std::any_of(kStops.begin(), kStops.end(),
                     [&](int signal) { return sigismember(&pending, signal) == 1; });
}

}  // namespace authdb::cli
