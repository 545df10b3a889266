// Signals, as far as a rotation must not be cut short by them, and the orderly end of what runs for
// long.
#pragma once

#include <csignal>

#include "store/clock.h"

namespace authdb::cli {

// While one exists, SIGINT, SIGTERM and SIGHUP wait, and so does SIGPIPE: a log line to a reader
// that has gone must not end a rotation either. What arrived meanwhile takes effect when it goes.
// For the calling thread; no thread of this command takes signals but the first.
class SignalShield {
 public:
  SignalShield() noexcept;
  ~SignalShield();
  SignalShield(const SignalShield&) = delete;
  SignalShield& operator=(const SignalShield&) = delete;

 private:
  sigset_t before_{};
};

// While one exists, SIGINT, SIGTERM and SIGHUP end nothing: they are asked for. Make it before any
// thread.
class StopSignals {
 public:
  StopSignals() noexcept;
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // True as soon as one has arrived, false after `span`.
  bool wait(Milliseconds span) const noexcept;
  // From any thread; what arrived stays to be waited for.
  static bool arrived() noexcept;

 private:
  sigset_t stops_{};
  sigset_t before_{};
};

}  // namespace authdb::cli
