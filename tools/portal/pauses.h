// Pauses holds requests that a fault delays, so that nobody has to sit one out.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace authdb::portal {

class Pauses {
 public:
  // Returns after `length`, at once when that is 0, or earlier by release() or stop(). False: the
  // portal stops.
  bool wait(std::chrono::milliseconds length);

  int waiting() const;  // how many pauses are under way

  void release();  // ends the pauses under way, not those to come
  void stop();     // ends all, for good

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  int releases_ = 0;
  bool stopped_ = false;
};

}  // namespace authdb::portal
