// What reaches a terminal is text, in whatever pieces it was written.
#include <algorithm>
#include <sstream>
#include <string>

#include "tests/fuzz/fuzz.h"
#include "tools/render/safe_output.h"

namespace {

std::string written(std::string_view text, std::size_t piece) {
  std::ostringstream out;
  {
    authdb::cli::SafeOutput safe(out);
    for (std::size_t at = 0; at < text.size(); at += piece) out << text.substr(at, piece);
  }
  return out.str();
}

// Colours and what clears a line are our own: ESC [ digits and semicolons, and m or K.
void check_escape(std::string_view rest) {
  using authdb::fuzz::require;
  require(rest.starts_with("\x1b["), "an escape sequence is one of ours");
  const auto end = rest.find_first_not_of("0123456789;", 2);
  require(end != std::string_view::npos && (rest[end] == 'm' || rest[end] == 'K'),
          "an escape sequence is a colour or clears the line");
}

void check(std::string_view out) {
  using authdb::fuzz::require;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto byte = static_cast<unsigned char>(out[i]);
    if (byte == 0x1B) check_escape(out.substr(i));
    require(byte >= 0x20 || byte == 0x1B || byte == '\n' || byte == '\t' || byte == '\r',
            "no control characters");
    require(byte != 0x7F, "no DEL");
    require(out.substr(i, 2) < "\xC2\x80" || out.substr(i, 2) > "\xC2\x9F", "no C1 characters");
    require(out.substr(i, 3) < "\xE2\x80\xAA" || out.substr(i, 3) > "\xE2\x80\xAE",
            "nothing turns the direction of writing");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = authdb::fuzz::text_of(data, size);
  const std::string whole = written(text, std::max<std::size_t>(size, 1));
  check(whole);
  authdb::fuzz::require(written(text, 1) == whole, "pieces make no difference");
  authdb::fuzz::require(written(text, 7) == whole, "pieces make no difference");
  authdb::fuzz::require(written(whole, 7) == whole, "what is clean stays as it is");
  return 0;
}
