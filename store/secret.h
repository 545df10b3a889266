// Owns key material: move-only, unprintable, incomparable, zeroed on release,
// in memory that is not dumped and, within the process's limit, not swapped
// (secret_memory.h).
//
// Does not defend against a debugger, or copies made by code that reveal() is
// passed to; README, "What it does not protect against", is the full list. The
// command keeps debuggers out (tools/closed_memory.h); to do so is a matter of
// the whole process, so a program that uses the library decides for itself.
//
// Thread safety: none of its own; a const Secret may be read from several
// threads.
#pragma once

#include <string.h>  // explicit_bzero

#include <algorithm>
#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/secret_memory.h"

namespace authdb {

// Zeroes memory in a way the compiler may not remove; a plain memset before a
// free may be.
inline void wipe(void* data, std::size_t size) noexcept {
  if (size != 0) ::explicit_bzero(data, size);
}

class Secret {
 public:
  Secret() = default;
  // Takes a vector's content and wipes the vector.
  explicit Secret(std::vector<char>&& bytes)
      : Secret(std::string_view(bytes.data(), bytes.size())) {
    authdb::wipe(bytes.data(), bytes.size());
    bytes.clear();
  }
  // Copies out of memory the caller still owns and must wipe itself.
  static Secret copy_of(std::string_view text) { return Secret(text); }
  // Takes a string's content and wipes the string.
  static Secret take(std::string&& text) {
    Secret taken = copy_of(text);
    wipe(text.data(), text.size());
    text.clear();
    return taken;
  }

  // The source is left empty, and nothing is copied.
  Secret(Secret&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Secret& operator=(Secret&& other) noexcept {
    Secret old(std::move(other));
    std::swap(data_, old.data_);
    std::swap(size_, old.size_);
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { secret_memory::give_back(data_, size_); }

  Secret clone() const { return copy_of(reveal()); }
  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }

  // The only way out; every call is a place to review. The view dies with this
  // object.
  std::string_view reveal() const& noexcept { return {data_, size_}; }
  void reveal() const&& = delete;

  bool operator==(const Secret&) const = delete;
  friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

 private:
  explicit Secret(std::string_view text)
      : data_(secret_memory::take(text.size())), size_(text.size()) {
    std::copy(text.begin(), text.end(), data_);
  }

  char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace authdb
