#include "store/reset_time.h"

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
constexpr std::chrono::days kLongest{366};  // no provider means more
constexpr int kDeepest = 16;

// Without `-` and `_`, in small letters.
constexpr std::array<std::string_view, 8> kTimes{
    "resetat",
    "resetsat",
    "retryuntil",
    "resettime",
    "xratelimitreset",
    "quotaresettimestamp",
    "retryat",
    "anthropicratelimitunifiedreset"};  // headers: OpenRouter puts its upstream's into the answer
constexpr std::array<std::string_view, 10> kSpans{
    "retryafter",        "retryafterseconds", "resetsinseconds", "resetinseconds", "resetafter",
    "resetafterseconds", "retrydelay",        "quotaresetdelay", "retryinseconds", "resetsin"};
constexpr std::array<std::string_view, 3> kMilliseconds{"retryafterms", "resetsinms", "retryinms"};

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

std::string plain_name(std::string_view name) {
  std::string out = lowered(name);
  std::erase_if(out, [](char c) { return c == '-' || c == '_'; });
  return out;
}

std::optional<Instant> after(Instant now, double seconds) {
  if (!(seconds >= 0) || seconds > Seconds{kLongest}.count()) return std::nullopt;
  return now + Milliseconds(std::llround(seconds * 1000));
}

// ---- spans -------------------------------------------------------------------------------------

struct Unit {
  std::string_view word;
  double seconds;
};
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

// `2hr 5min`, `373.8ms`, `30`: the sum of what stands there. A bare number is in `bare` seconds.
std::optional<double> span_at(std::string_view text, double bare = 1) {
  std::optional<double> total;
  while (!text.empty() && is_digit(text.front())) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) break;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    skip(text, " ");
    const Unit* unit = unit_at(text);
    total = total.value_or(0) + number * (unit ? unit->seconds : bare);
    if (!unit) break;
    text.remove_prefix(unit->word.size());
    skip(text, " ,");
  }
  return total;
}

// google.protobuf.Duration as an object.
std::optional<double> duration_of(const json& value) {
  const auto seconds = value.find("seconds");
  if (seconds == value.end()) return std::nullopt;
  const auto nanos = value.find("nanos");
  const double part = nanos != value.end() && nanos->is_number() ? nanos->get<double>() / 1e9 : 0;
  if (seconds->is_number()) return seconds->get<double>() + part;
  if (!seconds->is_string()) return std::nullopt;
  const auto whole = span_at(seconds->get_ref<const std::string&>());
  return whole ? std::optional(*whole + part) : std::nullopt;
}

std::optional<double> span_of(const json& value, double bare) {
  if (value.is_number()) return value.get<double>() * bare;
  if (value.is_object()) return duration_of(value);
  return value.is_string() ? span_at(lowered(value.get_ref<const std::string&>()), bare)
                           : std::nullopt;
}

// ---- times -------------------------------------------------------------------------------------

std::optional<double> number_of(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<Instant> date_of(const json& value) {
  if (const auto time = parse_time(value, NaiveTime::reject)) return time->at;
  return value.is_string() ? parse_http_date(value.get_ref<const std::string&>()) : std::nullopt;
}

std::optional<Instant> time_of(const json& value, Instant now) {
  const auto number = number_of(value);
  if (number && *number < kFirstDate) return *number > 0 ? after(now, *number) : std::nullopt;
  const auto date = date_of(value);
  return date && *date <= now + kLongest ? date : std::nullopt;
}

std::optional<Instant> span_or_date(const json& value, double bare, Instant now) {
  if (const auto span = span_of(value, bare)) {
    // `retry_after` with a date in epoch seconds is a time.
    if (*span >= kFirstDate) return time_of(value, now);
    if (*span > 0) return after(now, *span);
    return std::nullopt;
  }
  return value.is_string() ? time_of(value, now) : std::nullopt;
}

std::optional<Instant> said_by(std::string_view name, const json& value, Instant now) {
  const std::string plain = plain_name(name);
  if (is_one_of(plain, kTimes)) return time_of(value, now);
  if (is_one_of(plain, kSpans)) return span_or_date(value, 1, now);
  if (is_one_of(plain, kMilliseconds)) return span_or_date(value, 0.001, now);
  return std::nullopt;
}

std::optional<Instant> named_in(const json& tree, Instant now, int depth) {
  if (!tree.is_structured() || depth > kDeepest) return std::nullopt;
  if (tree.is_object()) {
    for (const auto& [name, value] : tree.items()) {
      if (const auto at = said_by(name, value, now)) return at;
    }
  }
  for (const auto& child : tree) {
    if (const auto at = named_in(child, now, depth + 1)) return at;
  }
  return std::nullopt;
}

// ---- texts -------------------------------------------------------------------------------------

struct Phrase {
  std::string_view words;
  double bare;  // what a number without a unit counts, in seconds
};
constexpr std::array kPhrases{
    Phrase{"retry-after-ms", 0.001}, Phrase{"quotaresetdelay", 1}, Phrase{"retrydelay", 1},
    Phrase{"retry after", 1},        Phrase{"retry-after", 1},     Phrase{"retry in", 1},
    Phrase{"resets in", 1},          Phrase{"reset in", 1},        Phrase{"reset after", 1},
    Phrase{"again in", 1},           Phrase{"available in", 1},    Phrase{"please wait", 1}};

// What follows `phrase`, whatever JSON or a person puts between.
std::optional<Instant> said_after(std::string_view text, const Phrase& phrase, Instant now) {
  for (auto at = text.find(phrase.words); at != std::string_view::npos;
       at = text.find(phrase.words, at + 1)) {
    auto rest = text.substr(at + phrase.words.size());
    skip(rest, " \t\\\":=~");
    for (const std::string_view word : {"about ", "approximately ", "around "}) {
      if (rest.starts_with(word)) rest.remove_prefix(word.size());
    }
    skip(rest, "~");
    const auto date = parse_http_date(rest.substr(0, rest.find_first_of("\r\n\"")));
    if (date && *date <= now + kLongest) return date;
    const auto span = span_at(rest, phrase.bare);
    if (span && *span > 0) return after(now, *span);
  }
  return std::nullopt;
}

}  // namespace

std::optional<Instant> reset_time(std::string_view answer, Instant now) {
  const json tree = json::parse(answer, nullptr, false);
  if (const auto at = named_in(tree, now, 0)) return at;
  const std::string text = lowered(answer);
  for (const Phrase& phrase : kPhrases) {
    if (const auto at = said_after(text, phrase, now)) return at;
  }
  return std::nullopt;
}

}  // namespace authdb
