// Whole numbers from the command line.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace authdb::cli {

// The whole text as a number between the two, both included.
inline std::optional<std::int64_t> parse_number(std::string_view text, std::int64_t lowest,
                                                std::int64_t highest) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (number < lowest || number > highest) return std::nullopt;
  return number;
}

// A place in a pool, as `#n` shows it.
inline std::optional<std::int64_t> parse_place(std::string_view text) {
  return parse_number(text, 1, 1'000'000);
}

}  // namespace authdb::cli
