// Owns key material: move-only, unprintable, incomparable, zeroed on release.
//
// Does not defend against a debugger, a core dump, swap, or copies made by code that reveal() is
// passed to; README, "What it does not protect against", is the full list.
//
// Thread safety: none of its own; a const Secret may be read from several threads.
#pragma once

#include <string.h>  // explicit_bzero

#include <cstddef>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace authdb {

// Zeroes memory in a way the compiler may not remove; a plain memset before a free may be.
inline void wipe(void* data, std::size_t size) noexcept {
  if (size != 0) ::explicit_bzero(data, size);
}

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::vector<char>&& bytes) noexcept : bytes_(std::move(bytes)) {}
  // Copies out of memory the caller still owns and must wipe itself.
  static Secret copy_of(std::string_view text) { return Secret({text.begin(), text.end()}); }
  // Takes a string's content and wipes the string.
  static Secret take(std::string&& text) {
    Secret taken = copy_of(text);
    wipe(text.data(), text.size());
    text.clear();
    return taken;
  }

  // A vector's move steals the buffer, so the source is left empty and nothing is copied.
  Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) { other.bytes_.clear(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this == &other) return *this;
    authdb::wipe(bytes_.data(), bytes_.size());
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { authdb::wipe(bytes_.data(), bytes_.size()); }

  Secret clone() const { return Secret(std::vector<char>(bytes_)); }
  bool empty() const noexcept { return bytes_.empty(); }
  std::size_t size() const noexcept { return bytes_.size(); }

  // The only way out; every call is a place to review. The view dies with this object.
  std::string_view reveal() const& noexcept { return {bytes_.data(), bytes_.size()}; }
  void reveal() const&& = delete;

  bool operator==(const Secret&) const = delete;
  friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

 private:
  std::vector<char> bytes_;  // never grown after construction, so never reallocated unwiped
};

}  // namespace authdb
