#include "store/cooldown.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "store/timestamp.h"

namespace authdb {
namespace {

using nlohmann::json;

constexpr double kFirstDate = 978'307'200;  // 2001-01-01 in epoch seconds
constexpr double kLongest = 100.0 * 365 * 86'400;
constexpr int kDeepest = 16;
constexpr std::array<std::string_view, 4> kFields{
    "reset_at", "resets_at", "retry_until",
    "x-ratelimit-reset"};  // OpenRouter puts its upstream's headers into the answer

std::optional<Instant> after(Instant now, double seconds) {
  if (!(seconds >= 0) || seconds > kLongest) return std::nullopt;
  return now + Milliseconds(std::llround(seconds * 1000));
}

std::optional<double> number_of(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<Instant> time_of(const json& value, Instant now) {
  const auto number = number_of(value);
  if (number && *number < kFirstDate) return *number > 0 ? after(now, *number) : std::nullopt;
  const auto time = parse_time(value, NaiveTime::reject);
  return time ? std::optional(time->at) : std::nullopt;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

std::optional<Instant> named_in(const json& tree, Instant now, int depth) {
  if (!tree.is_structured() || depth > kDeepest) return std::nullopt;
  if (tree.is_object()) {
    for (const auto& [name, value] : tree.items()) {
      if (std::find(kFields.begin(), kFields.end(), lowered(name)) == kFields.end()) continue;
      if (const auto at = time_of(value, now)) return at;
    }
  }
  for (const auto& child : tree) {
    if (const auto at = named_in(child, now, depth + 1)) return at;
  }
  return std::nullopt;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct Unit {
  std::string_view word;
  double seconds;
};
// Longer words first: `ms` is no `m`.
constexpr std::array kUnits{Unit{"milliseconds", 0.001},
                            Unit{"ms", 0.001},
                            Unit{"days", 86'400},
                            Unit{"day", 86'400},
                            Unit{"d", 86'400},
                            Unit{"hours", 3600},
                            Unit{"hour", 3600},
                            Unit{"hrs", 3600},
                            Unit{"hr", 3600},
                            Unit{"h", 3600},
                            Unit{"minutes", 60},
                            Unit{"minute", 60},
                            Unit{"mins", 60},
                            Unit{"min", 60},
                            Unit{"m", 60},
                            Unit{"seconds", 1},
                            Unit{"second", 1},
                            Unit{"secs", 1},
                            Unit{"sec", 1},
                            Unit{"s", 1}};

const Unit* unit_at(std::string_view text) {
  const auto end =
      std::find_if(text.begin(), text.end(), [](char c) { return c < 'a' || c > 'z'; });
  const auto word = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  const auto* it = std::find_if(kUnits.begin(), kUnits.end(),
                                [&](const Unit& unit) { return unit.word == word; });
  return it == kUnits.end() ? nullptr : it;
}

void skip(std::string_view& text, std::string_view these) {
  text.remove_prefix(std::min(text.find_first_not_of(these), text.size()));
}

// `2hr 5min`, `373.8ms`, `30`: the sum of what stands there; a bare number is seconds.
std::optional<double> span_at(std::string_view text) {
  std::optional<double> total;
  while (!text.empty() && is_digit(text.front())) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) break;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    skip(text, " ");
    const Unit* unit = unit_at(text);
    total = total.value_or(0) + number * (unit ? unit->seconds : 1);
    if (!unit) break;
    text.remove_prefix(unit->word.size());
    skip(text, " ,");
  }
  return total;
}

// The span that follows `phrase`, whatever JSON puts between.
std::optional<double> span_after(std::string_view text, std::string_view phrase) {
  for (auto at = text.find(phrase); at != std::string_view::npos; at = text.find(phrase, at + 1)) {
    auto rest = text.substr(at + phrase.size());
    skip(rest, " \t\\\":=");
    if (const auto span = span_at(rest)) return span;
  }
  return std::nullopt;
}

}  // namespace

Seconds cooldown(int http_status, std::string_view reason, bool sole) {
  if (http_status == 402) return Seconds{3600};
  if (reason == "billing_unverified") return Seconds{60};
  if (http_status == 401) return Seconds{300};
  return sole && !reason.starts_with("billing") ? Seconds{60} : Seconds{3600};
}

bool is_final(int http_status, std::string_view reason) {
  constexpr std::array<std::string_view, 6> kFinal{"token_invalidated",   "token_revoked",
                                                   "invalid_token",       "invalid_grant",
                                                   "unauthorized_client", "refresh_token_reused"};
  return http_status == 401 && std::find(kFinal.begin(), kFinal.end(), reason) != kFinal.end();
}

std::optional<Instant> reset_time(std::string_view answer, Instant now) {
  const json tree = json::parse(answer, nullptr, false);
  if (const auto at = named_in(tree, now, 0)) return at;
  const std::string text = lowered(answer);
  for (const char* phrase : {"quotaresetdelay", "retry after", "retry-after", "resets in"}) {
    if (const auto span = span_after(text, phrase)) return after(now, *span);
  }
  return std::nullopt;
}

}  // namespace authdb
