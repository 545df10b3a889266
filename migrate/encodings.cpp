#include "migrate/encodings.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "store/secret.h"

namespace authdb::migrate {
namespace {

using Found = std::function<bool(std::string_view)>;

constexpr int kDepth = 2;  // base64 of JSON, say; percent signs in percent signs
// What decodes to less is no token. Bytes; and what they need of letters.
constexpr std::size_t kShortest = 16;
constexpr std::size_t kShortestBase64 = 22;
constexpr std::size_t kShortestHex = 32;

// Room for a reading, which may hold a secret: never grown, wiped.
class Reading {
 public:
  explicit Reading(std::size_t room) { text_.reserve(room); }
  ~Reading() { wipe(text_.data(), text_.size()); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  void clear() { text_.clear(); }
  void put(char c) { text_.push_back(c); }
  std::string_view text() const { return text_; }

 private:
  std::string text_;
};

// ---- escapes -----------------------------------------------------------------------------------

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What an escape at the beginning of a text stands for, and its length.
struct Escape {
  char stands_for;
  std::size_t length;
};

std::optional<Escape> ascii(std::uint32_t code, std::size_t length) {
  if (code == 0 || code >= 0x80) return std::nullopt;
  return Escape{static_cast<char>(code), length};
}

// Exactly `digits` of them, after `prefix` characters.
std::optional<Escape> fixed_hex(std::string_view text, std::size_t prefix, std::size_t digits) {
  if (text.size() < prefix + digits) return std::nullopt;
  std::uint32_t code = 0;
  for (const char c : text.substr(prefix, digits)) {
    const int digit = hex_digit(c);
    if (digit < 0) return std::nullopt;
    code = code * 16 + static_cast<std::uint32_t>(digit);
  }
  return ascii(code, prefix + digits);
}

std::optional<Escape> backslash(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  if (text[1] == 'u') return fixed_hex(text, 2, 4);
  if (text[1] == 'x') return fixed_hex(text, 2, 2);
  constexpr std::string_view kLetters = "nrtbf";
  constexpr std::string_view kMeant = "\n\r\t\b\f";
  if (const auto at = kLetters.find(text[1]); at != std::string_view::npos) {
    return Escape{kMeant[at], 2};
  }
  return Escape{text[1], 2};
}

constexpr std::array<std::pair<std::string_view, char>, 45> kEntities{{
    {"amp", '&'},      {"lt", '<'},
    {"gt", '>'},       {"quot", '"'},
    {"apos", '\''},    {"plus", '+'},
    {"sol", '/'},      {"equals", '='},
    {"period", '.'},   {"lowbar", '_'},
    {"commat", '@'},   {"colon", ':'},
    {"num", '#'},      {"dollar", '$'},
    {"percnt", '%'},   {"ast", '*'},
    {"bsol", '\\'},    {"AMP", '&'},
    {"LT", '<'},       {"GT", '>'},
    {"QUOT", '"'},     {"UnderBar", '_'},
    {"midast", '*'},   {"Tab", '\t'},
    {"NewLine", '\n'}, {"excl", '!'},
    {"lpar", '('},     {"rpar", ')'},
    {"comma", ','},    {"semi", ';'},
    {"quest", '?'},    {"lsqb", '['},
    {"lbrack", '['},   {"rsqb", ']'},
    {"rbrack", ']'},   {"Hat", '^'},
    {"grave", '`'},    {"DiacriticalGrave", '`'},
    {"lcub", '{'},     {"lbrace", '{'},
    {"rcub", '}'},     {"rbrace", '}'},
    {"verbar", '|'},   {"vert", '|'},
}};

std::optional<Escape> numbered_entity(std::string_view text) {
  const bool hex = text.size() > 2 && (text[2] == 'x' || text[2] == 'X');
  constexpr std::size_t kMostDigits = 8;  // zeroes in front
  std::size_t at = hex ? 3 : 2;
  const std::size_t begin = at;
  std::uint32_t code = 0;
  for (; at < text.size() && at - begin < kMostDigits; ++at) {
    const int digit = hex_digit(text[at]);
    if (digit < 0 || (!hex && digit > 9)) break;
    code = code * (hex ? 16 : 10) + static_cast<std::uint32_t>(digit);
  }
  const bool closed = at < text.size() && text[at] == ';';
  return at == begin ? std::nullopt : ascii(code, at + (closed ? 1 : 0));
}

std::optional<Escape> entity(std::string_view text) {
  if (text.size() > 1 && text[1] == '#') return numbered_entity(text);
  for (const auto& [name, meant] : kEntities) {
    const std::size_t end = 1 + name.size();
    if (text.size() > end && text.substr(1, name.size()) == name && text[end] == ';') {
      return Escape{meant, end + 1};
    }
  }
  return std::nullopt;
}

std::optional<Escape> escape_at(std::string_view text) {
  if (text.front() == '%') return fixed_hex(text, 1, 2);
  if (text.front() == '\\') return backslash(text);
  if (text.front() == '&') return entity(text);
  return std::nullopt;
}

// ---- stretches of letters ----------------------------------------------------------------------

constexpr std::int8_t kNone = -1;
constexpr std::int8_t kSkipped = -2;
using Alphabet = std::array<std::int8_t, 256>;

constexpr Alphabet base64_letters() {
  Alphabet values{};
  values.fill(kNone);
  std::int8_t next = 0;
  for (char c = 'A'; c <= 'Z'; ++c) values[static_cast<unsigned char>(c)] = next++;
  for (char c = 'a'; c <= 'z'; ++c) values[static_cast<unsigned char>(c)] = next++;
  for (char c = '0'; c <= '9'; ++c) values[static_cast<unsigned char>(c)] = next++;
  values['+'] = values['-'] = 62;
  values['/'] = values['_'] = 63;
  values['\r'] = values['\n'] = kSkipped;
  return values;
}

constexpr Alphabet hex_letters() {
  Alphabet values{};
  values.fill(kNone);
  for (std::int8_t i = 0; i < 10; ++i) values[static_cast<std::size_t>('0' + i)] = i;
  for (std::int8_t i = 0; i < 6; ++i) {
    values[static_cast<std::size_t>('a' + i)] = values[static_cast<std::size_t>('A' + i)] =
        static_cast<std::int8_t>(10 + i);
  }
  return values;
}

// With `between` the letters, too.
constexpr Alphabet spaced(Alphabet values, std::string_view between) {
  for (const char c : between) values[static_cast<unsigned char>(c)] = kSkipped;
  return values;
}

struct Encoding {
  Alphabet letters;
  unsigned bits;         // of a letter
  std::size_t group;     // letters that begin with a whole byte
  std::size_t shortest;  // that is read
};
constexpr Encoding kBase64{base64_letters(), 6, 4, kShortestBase64};
constexpr Encoding kHex{hex_letters(), 4, 2, kShortestHex};
// In indented lines; in bytes. Beside the strict ones, for here the words around are letters too,
// and what they decode to may be glued to the token: one that is retired is then not found.
constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kBetweenBytes = " \t\r\n:-,";
constexpr Encoding kSpacedBase64{spaced(base64_letters(), kBlanks), 6, 4, kShortestBase64};
constexpr Encoding kSpacedHex{spaced(hex_letters(), kBetweenBytes), 4, 2, kShortestHex};

bool is_printable(unsigned char c) {
  return (c >= 0x20 && c < 0x7f) || c == '\t' || c == '\r' || c == '\n';
}

bool any_reading(std::string_view text, const Found& found, int depth);

// The printable texts in what `letters` stand for, if the first of a group is at `begin`.
bool any_text_in(std::string_view letters, std::size_t begin, const Encoding& encoding,
                 const Found& found, int depth) {
  Reading reading(letters.size());
  const auto read = [&] {
    const bool is_it =
        reading.text().size() >= kShortest && any_reading(reading.text(), found, depth);
    reading.clear();
    return is_it;
  };
  std::uint32_t held = 0;
  unsigned bits = 0;
  std::size_t letter = 0;
  for (const char c : letters) {
    const std::int8_t value = encoding.letters[static_cast<unsigned char>(c)];
    if (value < 0 || letter++ < begin) continue;
    held = (held << encoding.bits) | static_cast<std::uint32_t>(value);
    bits += encoding.bits;
    if (bits < 8) continue;
    bits -= 8;
    const auto byte = static_cast<unsigned char>(held >> bits);
    if (is_printable(byte)) {
      reading.put(static_cast<char>(byte));
    } else if (read()) {
      return true;
    }
  }
  return read();
}

bool any_decoded(std::string_view text, const Encoding& encoding, const Found& found, int depth) {
  const auto is_letter = [&](char c) {
    return encoding.letters[static_cast<unsigned char>(c)] != kNone;
  };
  for (auto at = text.begin(); at != text.end();) {
    at = std::find_if(at, text.end(), is_letter);
    const auto end = std::find_if_not(at, text.end(), is_letter);
    const std::string_view letters(at, end);
    at = end;
    if (letters.size() < encoding.shortest) continue;
    for (std::size_t begin = 0; begin < encoding.group; ++begin) {
      if (any_text_in(letters, begin, encoding, found, depth)) return true;
    }
  }
  return false;
}

bool any_spaced(std::string_view text, std::string_view between, const Encoding& encoding,
                const Found& found, int depth) {
  return text.find_first_of(between) != std::string_view::npos &&
         any_decoded(text, encoding, found, depth);
}

bool any_unescaped(std::string_view text, const Found& found, int depth) {
  if (text.find_first_of("%\\&") == std::string_view::npos) return false;
  Reading reading(text.size());
  bool any = false;
  for (std::size_t at = 0; at < text.size();) {
    const auto escape = escape_at(text.substr(at));
    reading.put(escape ? escape->stands_for : text[at]);
    at += escape ? escape->length : 1;
    any = any || escape;
  }
  return any && any_reading(reading.text(), found, depth);
}

bool any_reading(std::string_view text, const Found& found, int depth) {
  if (found(text)) return true;
  if (depth == 0) return false;
  return any_unescaped(text, found, depth - 1) || any_decoded(text, kBase64, found, depth - 1) ||
         any_decoded(text, kHex, found, depth - 1) ||
         any_spaced(text, kBlanks, kSpacedBase64, found, depth - 1) ||
         any_spaced(text, kBetweenBytes, kSpacedHex, found, depth - 1);
}

}  // namespace

bool any_reading(std::string_view text, const Found& found) {
  return any_reading(text, found, kDepth);
}

}  // namespace authdb::migrate
