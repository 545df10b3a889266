#include "oauth/answer_text.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "store/scrub.h"

namespace authdb::oauth {
namespace {

constexpr std::size_t kLongest = 1U << 20U;  // as much as the transport takes of a plain answer
constexpr std::size_t kUsual = 1U << 14U;    // as much as nearly all of them have
constexpr int kLayers = 3;                   // a proxy may compress what is compressed already
constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kMarkup = "HTML or XML";
constexpr std::string_view kGzipMagic = "\x1f\x8b";

// Printable characters and blanks only, in any encoding that keeps ASCII as it is.
bool is_text(std::string_view bytes) {
  return std::none_of(bytes.begin(), bytes.end(), [](char c) {
    const bool control = static_cast<unsigned char>(c) < ' ' || c == 0x7f;
    return control && kBlanks.find(c) == std::string_view::npos;
  });
}

// For inflateInit2(): gzip or zlib, whichever its header says; and deflate without any header,
// which is what some servers send as "deflate".
constexpr int kByHeader = MAX_WBITS + 32;
constexpr int kNoHeader = -MAX_WBITS;

class Inflater {
 public:
  explicit Inflater(int window) : ready_(inflateInit2(&stream_, window) == Z_OK) {}
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // nullopt: there is more than the room takes.
  std::optional<AnswerText> run(std::string_view bytes, std::vector<char>& room) {
    if (!ready_ || bytes.size() > kLongest) return AnswerText{};
    // zlib's interface is older than const; it only reads.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    stream_.next_out = reinterpret_cast<Bytef*>(room.data());
    stream_.avail_out = static_cast<uInt>(room.size());
    bool ended = inflate(&stream_, Z_FINISH) == Z_STREAM_END;
    while (ended && next_member_follows()) {
      inflateReset(&stream_);
      ended = inflate(&stream_, Z_FINISH) == Z_STREAM_END;
    }
    if (!ended && stream_.avail_out == 0) return std::nullopt;
    return AnswerText{Secret::copy_of({room.data(), room.size() - stream_.avail_out}), ended, true};
  }

 private:
  // A gzip file may have several members (RFC 1952 section 2.2).
  bool next_member_follows() const {
    const std::string_view rest(reinterpret_cast<const char*>(stream_.next_in), stream_.avail_in);
    return rest.starts_with(kGzipMagic);
  }

  z_stream stream_{};
  bool ready_;
};

// Nothing of a bomb. The room is not grown, which would leave copies of secrets behind: the little
// that an answer needs is tried first, the most it may have then.
AnswerText inflated(std::string_view bytes, int window) {
  for (const std::size_t size : {kUsual, kLongest}) {
    std::vector<char> room(size);
    auto out = Inflater(window).run(bytes, room);
    wipe(room.data(), room.size());
    if (out) return *std::move(out);
  }
  return {};
}

constexpr std::string_view kLittleEndianMark = "\xff\xfe";
constexpr std::string_view kBigEndianMark = "\xfe\xff";

bool has_utf16_mark(std::string_view bytes) {
  return bytes.starts_with(kLittleEndianMark) || bytes.starts_with(kBigEndianMark);
}

std::optional<bool> big_endian_utf16(std::string_view bytes) {
  if (has_utf16_mark(bytes)) return bytes.starts_with(kBigEndianMark);
  if (bytes.size() < 2 || (bytes[0] == '\0') == (bytes[1] == '\0')) return std::nullopt;
  return bytes[0] == '\0';
}

void append_utf8(std::vector<char>& out, unsigned long c) {
  const auto put = [&](unsigned long byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xc0U | c >> 6U);
  } else if (c < 0x10000) {
    put(0xe0U | c >> 12U);
    put(0x80U | (c >> 6U & 0x3fU));
  } else {
    put(0xf0U | c >> 18U);
    put(0x80U | (c >> 12U & 0x3fU));
    put(0x80U | (c >> 6U & 0x3fU));
  }
  put(0x80U | (c & 0x3fU));
}

AnswerText from_utf16(std::string_view bytes, bool big_endian) {
  std::vector<char> out;
  out.reserve(bytes.size() / 2 * 3);  // so that it never moves and leaves a copy behind
  const auto unit = [&](std::size_t at) -> unsigned long {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const auto second = static_cast<unsigned char>(bytes[at + 1]);
    return big_endian ? first * 256UL + second : second * 256UL + first;
  };
  for (std::size_t at = 0; at + 1 < bytes.size(); at += 2) {
    unsigned long c = unit(at);
    const bool high = c >= 0xd800 && c < 0xdc00;
    const unsigned long low = high && at + 3 < bytes.size() ? unit(at + 2) : 0;
    if (low >= 0xdc00 && low < 0xe000) {
      c = 0x10000 + (c - 0xd800) * 0x400 + (low - 0xdc00);
      at += 2;
    } else if (c >= 0xd800 && c < 0xe000) {
      c = 0xfffd;  // half a character
    }
    append_utf8(out, c);
  }
  return {Secret(std::move(out)), bytes.size() % 2 == 0};
}

std::string_view without_blanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));
}

// What keeps a browser from running JSON as a script.
std::string_view without_prefix(std::string_view text) {
  static constexpr std::array<std::string_view, 8> kPrefixes{
      "\xef\xbb\xbf", ")]}'",      "while(1);",   "while (1);",
      "for(;;);",     "for (;;);", "&&&START&&&", "{}&&"};
  text = without_blanks(text);
  for (const std::string_view prefix : kPrefixes) {
    if (!text.starts_with(prefix)) continue;
    text = without_blanks(text.substr(prefix.size()));
    if (text.starts_with(',')) text.remove_prefix(1);
  }
  return without_blanks(text);
}

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

bool is_value_char(char c) { return c > ' ' && c < 0x7f && c != '&'; }

// A `{` alone is also how some compressed bytes begin.
bool begins_as_object(std::string_view text) {
  if (!text.starts_with('{')) return false;
  text = without_blanks(text.substr(1));
  return text.empty() || text.front() == '"' || text.front() == '}';
}

// Its first field is whole, as far as its bytes go.
bool begins_as_form(std::string_view text) {
  const auto first = std::find_if_not(text.begin(), text.end(), is_name_char);
  if (first - text.begin() < 2 || first == text.end() || *first != '=') return false;
  const auto end = std::find_if_not(first, text.end(), is_value_char);
  static constexpr std::string_view kPadding(" \t\r\n\0", 5);
  return end == text.end() || *end == '&' ||
         std::string_view(end, text.end()).find_first_not_of(kPadding) == std::string_view::npos;
}

// What an answer is read from. Whatever bytes stand further on, it is not compressed.
bool begins_as_answer(std::string_view bytes) {
  const std::string_view text = without_prefix(bytes);
  return begins_as_object(text) || begins_as_form(text);
}

// One layer less, or nothing if there is none that we know.
std::optional<AnswerText> unwrapped_once(std::string_view bytes) {
  if (is_text(bytes) || begins_as_answer(bytes)) return std::nullopt;
  AnswerText inner = inflated(bytes, kByHeader);
  if (!inner.text.empty()) return inner;
  if (bytes.starts_with(kGzipMagic)) return AnswerText{};  // cut too soon, or a bomb
  // Without a header to tell them by, only what they yield shows what the bytes were: short ones
  // are deflate, or UTF-16, by mere chance.
  if (const auto big_endian = big_endian_utf16(bytes)) {
    inner = from_utf16(bytes, *big_endian);
    if (has_utf16_mark(bytes) || begins_as_answer(inner.text.reveal())) return inner;
  }
  inner = inflated(bytes, kNoHeader);
  if (!begins_as_answer(inner.text.reveal())) return std::nullopt;
  return inner;
}

}  // namespace

AnswerText unwrap_text(std::string_view bytes, bool complete) {
  AnswerText out{Secret::copy_of(bytes), complete};
  for (int layer = 0; layer < kLayers; ++layer) {
    auto inner = unwrapped_once(out.text.reveal());
    if (!inner) break;
    inner->whole = inner->whole && out.whole;
    inner->compressed = inner->compressed || out.compressed;
    out = *std::move(inner);
  }
  out.text = Secret::copy_of(without_prefix(out.text.reveal()));
  return out;
}

bool is_markup(std::string_view bytes) { return looks_like(bytes) == kMarkup; }

std::string_view looks_like(std::string_view bytes) {
  const std::string_view text = without_prefix(bytes);
  if (text.empty()) return "nothing";
  if (bytes.starts_with(kGzipMagic)) return "gzip";
  if (!is_text(text)) return "binary data";
  if (text.front() == '<') return kMarkup;
  return text.front() == '{' || text.front() == '[' ? "JSON" : "text";
}

std::string page_text(const Answer& answer, const std::vector<const Secret*>& known) {
  if (answer.body.empty()) return {};
  const AnswerText page = unwrap_text(answer.body.reveal(), answer.complete);
  if (page.text.empty() || !is_text(page.text.reveal())) {
    return std::string(looks_like(answer.body.reveal()));
  }
  return scrub(page.text.reveal(), known);
}

}  // namespace authdb::oauth
