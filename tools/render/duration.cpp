#include "tools/render/duration.h"

#include <array>
#include <charconv>

#include "store/timestamp.h"

namespace authdb::cli {
namespace {

struct Unit {
  char letter;
  std::int64_t seconds;
};
constexpr std::array kUnits{Unit{'d', 86'400}, Unit{'h', 3'600}, Unit{'m', 60}, Unit{'s', 1}};
constexpr double kFirstDate = 978'307'200;  // 2001-01-01 in epoch seconds
constexpr std::int64_t kLongest = 100LL * 365 * 86'400;

std::optional<std::int64_t> leading_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || number > kLongest) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

}  // namespace

std::string duration(Seconds span) {
  auto left = span.count() < 0 ? -span.count() : span.count();
  std::string text;
  for (std::size_t i = 0; i < kUnits.size(); ++i) {
    const auto count = left / kUnits[i].seconds;
    if (count == 0) continue;
    text = std::to_string(count) + kUnits[i].letter;
    left %= kUnits[i].seconds;
    if (i + 1 < kUnits.size() && left >= kUnits[i + 1].seconds) {
      text += " " + std::to_string(left / kUnits[i + 1].seconds) + kUnits[i + 1].letter;
    }
    break;
  }
  return text.empty() ? "0s" : text;
}

std::optional<Seconds> parse_duration(std::string_view text) {
  std::int64_t total = 0;
  const bool bare = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const auto number = leading_number(text);
    if (!number) return std::nullopt;
    if (bare) return Seconds{*number};
    const Unit* unit = nullptr;
    for (const auto& candidate : kUnits) {
      if (!text.empty() && candidate.letter == text.front()) unit = &candidate;
    }
    if (unit == nullptr) return std::nullopt;
    text.remove_prefix(1);
    total += *number > kLongest / unit->seconds ? kLongest + 1 : *number * unit->seconds;
    if (total > kLongest) return std::nullopt;
  }
  return Seconds{total};
}

std::optional<Instant> parse_instant(std::string_view text, Instant now, Towards towards) {
  if (const auto iso = parse_iso(text, NaiveTime::reject)) return iso->at;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool numeric = error == std::errc() && end == text.data() + text.size();
  if (numeric && number >= kFirstDate) return from_epoch(number);
  const auto span = parse_duration(text);
  if (!span) return std::nullopt;
  return towards == Towards::past ? now - *span : now + *span;
}

}  // namespace authdb::cli
