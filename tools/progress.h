// A sign of life for what may take long.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "tools/command.h"

namespace authdb::cli {

// Says `what` and the seconds so far on a terminal's stderr, with a bar where something is counted,
// from `patience` after it was made until it is destroyed, which wipes the line. Nothing where
// stderr is no terminal, or under --quiet.
class Progress {
 public:
  Progress(Context& context, std::string what, Milliseconds patience = Milliseconds{2000});
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Moves the bar: `done` of `all` have been through `step` (`files read`). From any thread; cheap
  // enough to be called for each of a million. Empty where nothing is shown.
  std::function<void(std::string_view step, std::size_t done, std::size_t all)> counter();

 private:
  void show(Milliseconds patience);
  std::string line(Seconds so_far) const;

  std::ostream& err_;
  std::string what_;
  std::mutex mutex_;
  std::condition_variable over_;
  bool ended_ = false;
  std::string step_;  // of which `done_` of `all_`; nothing is counted yet if `all_` is 0
  std::size_t done_ = 0;
  std::size_t all_ = 0;
  std::thread thread_;
};

}  // namespace authdb::cli
