// A sign of life for what may take long.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "tools/command.h"

namespace authdb::cli {

// Says `what` and the seconds so far on a terminal's stderr, from the second second until it is
// destroyed. Nothing where stderr is no terminal, or under --quiet.
class Progress {
 public:
  Progress(Context& context, std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  void show();

  std::ostream& err_;
  std::string what_;
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace authdb::cli
