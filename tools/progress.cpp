#include "tools/progress.h"

#include <algorithm>
#include <csignal>

namespace authdb::cli {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kCells = 24;

std::string bar(std::size_t done, std::size_t all) {
  const std::size_t full = std::min(done, all) * kCells / all;
  return "[" + std::string(full, '#') + std::string(kCells - full, '.') + "]";
}

}  // namespace

Progress::Progress(Context& context, std::string what, Milliseconds patience)
    : err_(context.err), what_(std::move(what)) {
  if (!context.err_is_terminal || context.globals.quiet || context.globals.verbose) return;
  // The new thread inherits the mask: signals stay with the thread that can defer them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, patience] { show(patience); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  over_.notify_all();
  thread_.join();
}

std::function<void(std::string_view, std::size_t, std::size_t)> Progress::counter() {
  if (!thread_.joinable()) return {};
  return [this](std::string_view step, std::size_t done, std::size_t all) {
    const std::lock_guard lock(mutex_);
    step_ = step;
    done_ = done;
    all_ = all;
  };
}

std::string Progress::line(Seconds so_far) const {
  const std::string time = std::to_string(so_far.count()) + " s";
  if (all_ == 0) return what_ + " … " + time;
  return what_ + " " + bar(done_, all_) + " " + std::to_string(done_) + " of " +
         std::to_string(all_) + " " + step_ + ", " + time;
}

void Progress::show(Milliseconds patience) {
  std::unique_lock lock(mutex_);
  const auto began = std::chrono::steady_clock::now();
  if (over_.wait_for(lock, patience, [this] { return ended_; })) return;
  do {
    const auto so_far = std::chrono::steady_clock::now() - began;
    err_ << "\r\x1b[K" << line(std::chrono::duration_cast<Seconds>(so_far)) << std::flush;
  } while (!over_.wait_for(lock, 250ms, [this] { return ended_; }));
  err_ << "\r\x1b[K" << std::flush;
}

}  // namespace authdb::cli
