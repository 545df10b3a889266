#include "migrate/scrub.h"

#include <algorithm>
#include <array>

namespace authdb::migrate {
namespace {

constexpr std::size_t kLongestWord = 20;
constexpr std::size_t kLongestText = 300;
constexpr std::array<std::string_view, 8> kTokenStarts{"sk-", "eyJ",   "nrt_", "nat_",
                                                       "rt_", "anon_", "xrt_", "Bearer"};

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-_.~+/").find(c) != std::string_view::npos;
}

bool suspicious(std::string_view word) {
  if (word == "Bearer") return false;
  // An error code is a long word too, but of small letters and underscores only.
  const bool code = std::all_of(word.begin(), word.end(),
                                [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
  if (word.size() >= kLongestWord && !code) return true;
  return std::any_of(kTokenStarts.begin(), kTokenStarts.end(),
                     [&](std::string_view start) { return word.starts_with(start); });
}

}  // namespace

std::string scrubbed(std::string_view text) {
  std::string out;
  while (!text.empty() && out.size() < kLongestText) {
    const auto* word_end = std::find_if_not(text.begin(), text.end(), is_token_char);
    const auto size = std::max<std::size_t>(1, static_cast<std::size_t>(word_end - text.begin()));
    const std::string_view word = text.substr(0, size);
    out += suspicious(word) ? std::string_view("[…]") : word;
    text.remove_prefix(size);
  }
  // Cut between characters.
  std::size_t end = std::min(out.size(), kLongestText);
  while (end < out.size() && (out[end] & 0xC0) == 0x80) --end;
  out.resize(end);
  return out;
}

}  // namespace authdb::migrate
