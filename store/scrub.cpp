#include "store/scrub.h"

#include <string.h>  // memmem

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace authdb {
namespace {

constexpr std::string_view kRedacted = "[redacted]";
constexpr std::size_t kTokenLength = 16;    // shorter runs are words and numbers
constexpr std::size_t kLongRun = 20;        // longer ones are words only if nothing but words
constexpr std::size_t kLongestWord = 20;    // longer ones without a separator are no words
constexpr std::size_t kShortestSecret = 6;  // shorter ones would redact half the alphabet
constexpr std::array<std::string_view, 8> kTokenStarts{"sk-", "eyJ",   "nrt_", "nat_",
                                                       "rt_", "anon_", "xrt_", "Bearer"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
// What tokens of all kinds are written with: base64 in both alphabets, JWT's dots, `sk-` and `rt_`,
// and the signs that some opaque ones have (`M.C5_BAY.0.U.-Cq*7h!x$`, `17|x9…`).
bool is_token_char(char c) {
  return is_digit(c) || is_upper(c) || is_lower(c) ||
         std::string_view("_-.+~=/%*!$|").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

// Also after a sign: `x=nrt_…` and `x%nrt_…` are one run.
bool begins_as_token(std::string_view run) {
  for (std::size_t at = 0; at < run.size(); ++at) {
    const bool begins =
        at == 0 || std::string_view("=%*!$|").find(run[at - 1]) != std::string_view::npos;
    if (!begins) continue;
    const std::string_view rest = run.substr(at);
    if (rest == "Bearer") continue;  // announces one
    if (std::any_of(kTokenStarts.begin(), kTokenStarts.end(),
                    [&](std::string_view start) { return rest.starts_with(start); })) {
      return true;
    }
  }
  return false;
}

// `refresh_token_reused`, `please re-authenticate` and host names are words; a run with digits,
// inner capitals or no end is not, nor is a long one that has capitals at all.
bool is_no_words(std::string_view run) {
  if (run.size() < kTokenLength) return false;
  std::size_t word = 0;
  for (std::size_t i = 0; i < run.size(); ++i) {
    const char c = run[i];
    word = is_lower(c) || is_upper(c) ? word + 1 : 0;
    if (word > kLongestWord || is_digit(c) || c == '+' || c == '=' || c == '%') return true;
    if (is_upper(c) && i > 0 && is_lower(run[i - 1])) return true;
    if ((is_upper(c) || c == '~') && run.size() >= kLongRun) return true;
  }
  return false;
}

bool may_be_token(std::string_view run) { return begins_as_token(run) || is_no_words(run); }

// Words after which a secret follows, whatever it looks like.
bool announces_secret(std::string_view word) {
  static constexpr std::array<std::string_view, 6> kNames{
      "bearer", "token", "refresh_token", "access_token", "api_key", "agent_key"};
  return std::find(kNames.begin(), kNames.end(), lower(word)) != kNames.end();
}

// One line of printable text. Bytes of UTF-8 stay, C1 controls in it do not.
std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 =
        c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) ++i;
    const bool blank = c <= ' ' || c == 0x7f || c1;
    if (!blank) {
      out += text[i];
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// ---- known secrets, in whatever clothes --------------------------------------------------------

// One character of a text, as it is meant: an HTML or percent escape stands for one.
struct Meant {
  char c = '\0';
  std::size_t at = 0;  // where it begins
  std::size_t end = 0;
};

std::optional<Meant> html_escape(std::string_view text, std::size_t at) {
  constexpr std::size_t kLongest = 10;
  const std::size_t end = text.substr(0, at + kLongest).find(';', at);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(at + 1, end - at - 1);
  static constexpr std::array<std::pair<std::string_view, char>, 5> kNames{
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};
  for (const auto& [known, c] : kNames) {
    if (name == known) return Meant{c, at, end + 1};
  }
  const auto is_letter = [](char c) { return is_lower(c) || is_upper(c); };
  if (!name.empty() && std::all_of(name.begin(), name.end(), is_letter)) {
    return Meant{' ', at, end + 1};  // `&nbsp;`, `&shy;`
  }
  if (!name.starts_with('#')) return std::nullopt;
  const bool hex = name.size() > 1 && (name[1] == 'x' || name[1] == 'X');
  const std::string_view digits = name.substr(hex ? 2 : 1);
  unsigned code = 0;
  const auto [last, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
  if (error != std::errc() || last != digits.data() + digits.size()) return std::nullopt;
  const char c = code < 0x7f ? static_cast<char>(code) : ' ';
  return Meant{c, at, end + 1};
}

std::optional<Meant> percent_escape(std::string_view text, std::size_t at) {
  unsigned code = 0;
  if (at + 3 > text.size()) return std::nullopt;
  const char* digits = text.data() + at + 1;
  const auto [last, error] = std::from_chars(digits, digits + 2, code, 16);
  if (error != std::errc() || last != digits + 2 || code > 0x7f) return std::nullopt;
  return Meant{static_cast<char>(code), at, at + 3};
}

// `<wbr>`, `<br/>`: nothing.
std::optional<Meant> tag(std::string_view text, std::size_t at) {
  constexpr std::size_t kLongest = 8;
  const std::size_t end = text.substr(0, at + kLongest).find('>', at);
  if (end == std::string_view::npos) return std::nullopt;
  return Meant{' ', at, end + 1};
}

// False of what a text may be folded with. Secrets are ASCII.
bool is_meant(char c) { return c > ' ' && c < 0x7f && c != '\\'; }

// A text as it is meant.
struct Meaning {
  std::string letters;
  std::vector<Meant> from;  // one for each letter
};

// Without the blanks that a text may be folded with, and with its escapes read or left as they are.
Meaning meaning_of(std::string_view text, bool read_escapes) {
  Meaning out;
  for (std::size_t at = 0; at < text.size();) {
    std::optional<Meant> escaped;
    if (read_escapes && text[at] == '&') escaped = html_escape(text, at);
    if (read_escapes && text[at] == '<') escaped = tag(text, at);
    if (read_escapes && text[at] == '%') escaped = percent_escape(text, at);
    const Meant one = escaped.value_or(Meant{text[at], at, at + 1});
    at = one.end;
    if (!is_meant(one.c)) continue;
    out.letters += one.c;
    out.from.push_back(one);
  }
  return out;
}

struct Span {
  std::size_t at = 0;
  std::size_t end = 0;
};

// Where it stands, from left to right. A server chooses both: memmem() takes no longer than to read
// them, whatever they are.
std::vector<Span> occurrences(std::string_view wanted, std::string_view text) {
  std::vector<Span> out;
  for (std::size_t at = 0;; at = out.back().end) {
    const void* found = ::memmem(text.data() + at, text.size() - at, wanted.data(), wanted.size());
    if (found == nullptr) return out;
    at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
    out.push_back({at, at + wanted.size()});
  }
}

// The ways in which a secret may stand in a text.
enum class Reading { as_it_is, without_folds, without_escapes };
constexpr std::array kReadings{Reading::as_it_is, Reading::without_folds, Reading::without_escapes};

std::vector<Span> places_of(std::string_view secret, std::string_view text, Reading reading) {
  if (secret.size() < kShortestSecret) return {};
  if (reading == Reading::as_it_is) return occurrences(secret, text);
  // What an escape stands for is never longer than the escape. Names are short, and many.
  const auto letters =
      static_cast<std::size_t>(std::count_if(secret.begin(), secret.end(), is_meant));
  if (letters < kShortestSecret || text.size() < letters) return {};
  const Meaning meaning = meaning_of(text, reading == Reading::without_escapes);
  std::vector<Span> places = occurrences(meaning_of(secret, false).letters, meaning.letters);
  for (Span& place : places) {
    place = {meaning.from[place.at].at, meaning.from[place.end - 1].end};
  }
  return places;
}

std::string without(std::string_view text, const std::vector<Span>& places) {
  std::string out;
  std::size_t from = 0;
  for (const Span& place : places) {
    out.append(text.substr(from, place.at - from)).append(kRedacted);
    from = place.end;
  }
  return out.append(text.substr(from));
}

void cut_out(std::string& text, std::string_view secret) {
  for (const Reading reading : kReadings) text = without(text, places_of(secret, text, reading));
}

bool stands_in(std::string_view secret, std::string_view text) {
  return std::any_of(kReadings.begin(), kReadings.end(),
                     [&](Reading reading) { return !places_of(secret, text, reading).empty(); });
}

std::string without_tokens(std::string_view text) {
  std::string out;
  std::string_view before;  // the last run
  bool assigned = false;    // a `=` or `:` stood after it
  for (std::size_t i = 0; i < text.size();) {
    if (!is_token_char(text[i])) {
      assigned = assigned || text[i] == ':';
      out += text[i++];
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && is_token_char(text[end])) ++end;
    std::string_view run = text.substr(i, end - i);
    // `token=abc` is one run; what stands left of the sign is the name.
    if (const auto sign = run.find('=');
        sign != std::string_view::npos && announces_secret(run.substr(0, sign))) {
      out += std::string(run.substr(0, sign + 1)) + std::string(kRedacted);
    } else if (may_be_token(run) ||
               (announces_secret(before) && (assigned || lower(before) == "bearer") &&
                run.size() >= kShortestSecret)) {
      out += kRedacted;
    } else {
      out += run;
    }
    before = run;
    assigned = false;
    i = end;
  }
  return out;
}

}  // namespace

std::string shortened(std::string_view text, std::size_t longest) {
  if (text.size() <= longest) return std::string(text);
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

std::string scrub(std::string_view text, const std::vector<const Secret*>& known,
                  std::size_t longest) {
  std::string out(text);
  for (const Secret* secret : known) cut_out(out, secret->reveal());
  return shortened(without_tokens(printable(out)), longest);
}

bool tells_secret(std::string_view text, const std::vector<const Secret*>& known) {
  return std::any_of(known.begin(), known.end(),
                     [&](const Secret* secret) { return stands_in(secret->reveal(), text); });
}

// Narrower than what scrub() takes for one: labels and profiles have digits, too.
std::string without_secrets(const std::string& text, const std::vector<const Secret*>& known) {
  return tells_secret(text, known) ? scrub(text, known) : text;
}

bool looks_like_token(std::string_view word) {
  if (word.size() < kTokenLength || !std::all_of(word.begin(), word.end(), is_token_char)) {
    return false;
  }
  if (begins_as_token(word)) return true;
  std::size_t length = 0;
  bool digit = false;
  bool letter = false;
  for (const char c : word) {
    const bool is_letter = is_upper(c) || is_lower(c);
    if (!is_letter && !is_digit(c)) {
      length = 0;
      digit = letter = false;
      continue;
    }
    ++length;
    digit = digit || is_digit(c);
    letter = letter || is_letter;
    if (length >= kTokenLength && digit && letter) return true;
  }
  return false;
}

}  // namespace authdb
