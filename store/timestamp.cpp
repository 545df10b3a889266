#include "store/timestamp.h"

#include <strings.h>

#include <charconv>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace authdb {
namespace {

using nlohmann::json;

constexpr double kMillisAbove = 1e12;  // as Hermes reads them: seconds reach this in the year 33658
constexpr double kLastMilli = 253402300799999.0;  // 9999-12-31, the last year ISO can write
constexpr double kLongestLifetime = 100.0 * 365 * 86400;

// Consumes the text from the left; every method is false, and the cursor unusable, on a mismatch.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool digits(std::size_t count, int& out) {
    if (rest_.size() < count) return false;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + count, out);
    if (error != std::errc() || end != rest_.data() + count || rest_.front() == '-') return false;
    rest_.remove_prefix(count);
    return true;
  }
  // A fraction of any length, cut to milliseconds.
  bool fraction(int& millis) {
    std::size_t count = 0;
    for (int scale = 100; count < rest_.size() && is_digit(rest_[count]); ++count, scale /= 10) {
      millis += (rest_[count] - '0') * scale;
    }
    rest_.remove_prefix(count);
    return count != 0;
  }
  bool next_is_digit() const { return !rest_.empty() && is_digit(rest_.front()); }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  std::string_view rest_;
};

struct DayTime {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, milli = 0;
};

// The rest of `2026-W20-5` or `2026W205`, Monday being 1: week 1 is the one with January 4th in it.
bool read_week_date(Cursor& in, DayTime& t, bool extended) {
  using namespace std::chrono;
  int week = 0;
  int weekday_number = 0;
  if (!in.digits(2, week) || (extended && !in.take('-')) || !in.digits(1, weekday_number)) {
    return false;
  }
  if (week < 1 || week > 53 || weekday_number < 1 || weekday_number > 7) return false;
  const sys_days fourth{year{t.year} / January / 4};
  const sys_days monday = fourth - (weekday{fourth} - Monday);
  const sys_days wanted = monday + weeks{week - 1} + days{weekday_number - 1};
  const sys_days next_fourth{year{t.year + 1} / January / 4};
  if (week == 53 && wanted >= next_fourth - (weekday{next_fourth} - Monday)) return false;
  const year_month_day date{wanted};
  t.year = static_cast<int>(date.year());
  t.month = static_cast<int>(static_cast<unsigned>(date.month()));
  t.day = static_cast<int>(static_cast<unsigned>(date.day()));
  return true;
}

bool read_date(Cursor& in, DayTime& t) {
  if (!in.digits(4, t.year)) return false;
  const bool extended = in.take('-');
  if (in.take('W')) return read_week_date(in, t, extended);
  return in.digits(2, t.month) && (!extended || in.take('-')) && in.digits(2, t.day);
}

bool read_time(Cursor& in, DayTime& t) {
  if (!in.digits(2, t.hour)) return false;
  const bool extended = in.take(':');
  if (!in.digits(2, t.minute)) return false;
  if (extended ? in.take(':') : in.next_is_digit()) {
    if (!in.digits(2, t.second)) return false;
    if (in.take('.') || in.take(',')) return in.fraction(t.milli);
  }
  return true;
}

// Minutes east of UTC; nullopt if what is left is no offset.
std::optional<int> read_offset(Cursor& in) {
  if (in.take('Z')) return in.done() ? std::optional(0) : std::nullopt;
  const int sign = in.take('+') ? 1 : in.take('-') ? -1 : 0;
  int hours = 0;
  int minutes = 0;
  if (sign == 0 || !in.digits(2, hours)) return std::nullopt;
  if (!in.done()) {
    in.take(':');
    if (!in.digits(2, minutes)) return std::nullopt;
  }
  if (!in.done() || hours > 23 || minutes > 59) return std::nullopt;
  return sign * (hours * 60 + minutes);
}

std::optional<Instant> to_instant(const DayTime& t, int offset_minutes) {
  using namespace std::chrono;
  const year_month_day date{year{t.year}, month{static_cast<unsigned>(t.month)},
                            day{static_cast<unsigned>(t.day)}};
  if (!date.ok() || t.hour > 23 || t.minute > 59 || t.second > 60) return std::nullopt;
  const Instant at = sys_days{date} + hours{t.hour} + minutes{t.minute - offset_minutes} +
                     seconds{t.second} + milliseconds{t.milli};
  if (at <= Instant{}) return std::nullopt;  // before 1970 is a mistake, not a credential
  return at;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> number_of(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return parse_number(trimmed(value.get_ref<const std::string&>()));
  return std::nullopt;
}

}  // namespace

std::optional<ParsedTime> parse_iso(std::string_view text, NaiveTime naive) {
  Cursor in(trimmed(text));
  DayTime t;
  if (!read_date(in, t) || !(in.take('T') || in.take(' ')) || !read_time(in, t))
    return std::nullopt;
  const bool has_offset = !in.done();
  if (!has_offset && naive == NaiveTime::reject) return std::nullopt;
  const auto offset = has_offset ? read_offset(in) : std::optional(0);
  if (!offset) return std::nullopt;
  const auto at = to_instant(t, *offset);
  if (!at) return std::nullopt;
  return ParsedTime{*at, !has_offset};
}

std::optional<Instant> parse_http_date(std::string_view text) {
  static const locale_t kNobodys = ::newlocale(LC_ALL_MASK, "C", nullptr);
  std::tm date{};
  const std::string copy(text);
  const char* rest = ::strptime_l(copy.c_str(), "%a, %d %b %Y %H:%M:%S ", &date, kNobodys);
  if (rest == nullptr || ::strcasecmp(rest, "GMT") != 0) return std::nullopt;
  return from_epoch(static_cast<double>(::timegm(&date)));
}

std::optional<Instant> from_epoch(double number) {
  if (!std::isfinite(number) || number <= 0) return std::nullopt;
  const double millis = number > kMillisAbove ? number : number * 1000.0;
  if (millis < 1 || millis > kLastMilli) return std::nullopt;
  return at_millis(static_cast<std::int64_t>(std::llround(millis)));
}

std::optional<ParsedTime> parse_time(const json& value, NaiveTime naive) {
  if (const auto number = number_of(value)) {
    const auto at = from_epoch(*number);
    return at ? std::optional(ParsedTime{*at, false}) : std::nullopt;
  }
  return value.is_string() ? parse_iso(value.get_ref<const std::string&>(), naive) : std::nullopt;
}

std::optional<Milliseconds> parse_lifetime(const json& value) {
  const auto seconds = number_of(value);
  if (!seconds || !std::isfinite(*seconds) || *seconds < 0.001 || *seconds > kLongestLifetime) {
    return std::nullopt;
  }
  return Milliseconds(static_cast<std::int64_t>(std::llround(*seconds * 1000.0)));
}

std::string format_iso(Instant at) {
  using namespace std::chrono;
  const auto day = floor<days>(at);
  const year_month_day date{day};
  const hh_mm_ss time{at - day};
  std::array<char, 40> out{};
  const int used = std::snprintf(
      out.data(), out.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
      static_cast<int>(time.seconds().count()));
  std::string text(out.data(), static_cast<std::size_t>(used));
  if (const auto ms = time.subseconds().count(); ms != 0) {
    std::snprintf(out.data(), out.size(), ".%03d", static_cast<int>(ms));
    text += out.data();
  }
  return text + "Z";
}

std::string format_compact(Instant at) {
  std::string text = format_iso(std::chrono::floor<std::chrono::seconds>(at));
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

}  // namespace authdb
