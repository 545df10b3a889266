#include "tools/render/safe_output.h"

#include <algorithm>

#include "store/secret.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kSequence = "\x1b[";
constexpr std::size_t kLongestSequence = 12;  // ours are shorter

// Of one of our own sequences at the start of the text. 0: there is none. npos: there may be one,
// once more is there.
std::size_t length_of_sequence(std::string_view text) {
  const auto common = std::min(text.size(), kSequence.size());
  if (text.substr(0, common) != kSequence.substr(0, common)) return 0;
  const auto end = text.find_first_not_of("0123456789;", common);
  if (common < kSequence.size() || end == std::string_view::npos) {
    return text.size() < kLongestSequence ? std::string_view::npos : 0;
  }
  const bool ours = text[end] == 'm' || text[end] == 'K';
  return ours && end < kLongestSequence ? end + 1 : 0;
}

// What our own output consists of beside text; the same.
std::size_t length_of_control(std::string_view text) {
  constexpr std::string_view kLineEnds = "\n\t";
  if (kLineEnds.find(text.front()) != std::string_view::npos) return 1;
  if (text.front() != '\r') return length_of_sequence(text);
  if (text.size() == 1) return std::string_view::npos;
  if (text[1] == '\n') return 1;
  // Before anything else it would let what follows be written over the line.
  const std::size_t next = length_of_sequence(text.substr(1));
  return next == 0 || next == std::string_view::npos ? next : 1;
}

bool may_become_whole(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
  return text.size() < wanted && std::all_of(text.begin() + 1, text.end(), [](char c) {
           return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
         });
}

bool is_misleading(char32_t c) {
  const bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
  const bool direction = c == 0x61C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
                         (c >= 0x2066 && c <= 0x2069);
  const bool line = c == 0x2028 || c == 0x2029;
  const bool invisible =
      c == 0xFEFF || c == 0x200B || (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
  return control || direction || line || invisible;
}

// 0 bytes if there is no whole valid one.
struct Character {
  char32_t code = 0;
  std::size_t bytes = 0;
};

Character first_character(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {};
  const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (text.size() < bytes) return {};
  char32_t code = lead & (0xFFU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    code = (code << 6U) | (byte(i) & 0x3FU);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (code < kSmallest[bytes] || surrogate || code > 0x10FFFF) return {};
  return {code, bytes};
}

}  // namespace

std::string_view take_character(std::string_view& text) {
  const Character next = first_character(text);
  const std::string_view bytes = text.substr(0, std::max<std::size_t>(next.bytes, 1));
  text.remove_prefix(bytes.size());
  return next.bytes > 0 && !is_misleading(next.code) ? bytes : "?";
}

SafeOutput::SafeOutput(std::ostream& stream) : stream_(stream), below_(stream.rdbuf()) {
  const auto state = stream_.rdstate();
  stream_.rdbuf(this);
  stream_.setstate(state);
}

SafeOutput::~SafeOutput() {
  take(/*at_end=*/true);
  const auto state = stream_.rdstate();
  stream_.rdbuf(below_);
  stream_.setstate(state);
}

bool SafeOutput::put_unchanged(std::string_view bytes) {
  const auto size = static_cast<std::streamsize>(bytes.size());
  return take(/*at_end=*/true) && below_->sputn(bytes.data(), size) == size;
}

SafeOutput::int_type SafeOutput::overflow(int_type byte) {
  if (traits_type::eq_int_type(byte, traits_type::eof())) return traits_type::not_eof(byte);
  pending_ += traits_type::to_char_type(byte);
  return take(false) ? byte : traits_type::eof();
}

std::streamsize SafeOutput::xsputn(const char* bytes, std::streamsize count) {
  pending_.append(bytes, static_cast<std::size_t>(count));
  return take(false) ? count : 0;
}

int SafeOutput::sync() { return below_->pubsync(); }

// Hands on what can be told by now.
bool SafeOutput::take(bool at_end) {
  std::string clean;
  clean.reserve(pending_.size());
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const std::size_t control = length_of_control(rest);
    if (control == std::string_view::npos && !at_end) break;
    if (control != 0 && control != std::string_view::npos) {
      clean += rest.substr(0, control);
      rest.remove_prefix(control);
      continue;
    }
    if (!at_end && may_become_whole(rest)) break;
    clean += take_character(rest);
  }
  std::string left(rest);
  wipe(pending_.data(), pending_.size());  // a bearer may have been among it
  pending_ = std::move(left);
  const auto size = static_cast<std::streamsize>(clean.size());
  const bool written = below_->sputn(clean.data(), size) == size;
  wipe(clean.data(), clean.size());
  return written;
}

}  // namespace authdb::cli
