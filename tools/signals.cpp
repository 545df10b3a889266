#include "tools/signals.h"

#include <initializer_list>

namespace authdb::cli {

SignalShield::SignalShield() noexcept {
  sigset_t deferred;
  sigemptyset(&deferred);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&deferred, signal);
  pthread_sigmask(SIG_BLOCK, &deferred, &before_);
}

SignalShield::~SignalShield() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace authdb::cli
