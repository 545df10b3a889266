#include "tools/progress.h"

#include <csignal>

namespace authdb::cli {

using namespace std::chrono_literals;

Progress::Progress(Context& context, std::string what) : err_(context.err), what_(std::move(what)) {
  if (!context.err_is_terminal || context.globals.quiet || context.globals.verbose) return;
  // The new thread inherits the mask: signals stay with the thread that can defer them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { show(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  over_.notify_all();
  thread_.join();
}

void Progress::show() {
  std::unique_lock lock(mutex_);
  const auto began = std::chrono::steady_clock::now();
  if (over_.wait_for(lock, 2s, [this] { return done_; })) return;
  do {
    const auto so_far = std::chrono::steady_clock::now() - began;
    err_ << "\r\x1b[K" << what_ << " … "
         << std::chrono::duration_cast<std::chrono::seconds>(so_far).count() << " s" << std::flush;
  } while (!over_.wait_for(lock, 1s, [this] { return done_; }));
  err_ << "\r\x1b[K" << std::flush;
}

}  // namespace authdb::cli
