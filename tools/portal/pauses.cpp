#include "tools/portal/pauses.h"

namespace authdb::portal {

bool Pauses::wait(std::chrono::milliseconds length) {
  std::unique_lock lock(mutex_);
  if (length.count() <= 0) return !stopped_;
  const int before = releases_;
  ++waiting_;
  changed_.wait_for(lock, length, [&] { return stopped_ || releases_ != before; });
  --waiting_;
  return !stopped_;
}

int Pauses::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

void Pauses::release() {
  const std::lock_guard lock(mutex_);
  ++releases_;
  changed_.notify_all();
}

void Pauses::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

}  // namespace authdb::portal
