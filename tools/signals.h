// Signals, as far as a rotation must not be cut short by them.
#pragma once

#include <csignal>

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

}  // namespace authdb::cli
