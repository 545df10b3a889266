// What servers and proxies wrap answers in, done by libraries and hand here, undone by oauth/.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>

namespace authdb::oauth {

inline constexpr int kGzip = MAX_WBITS + 16;
inline constexpr int kZlib = MAX_WBITS;
inline constexpr int kRawDeflate = -MAX_WBITS;

inline std::string compressed(std::string_view text, int window = kGzip) {
  z_stream stream{};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

// Of ASCII.
inline std::string utf16(std::string_view text, bool big_endian, bool marked) {
  std::string out;
  const auto put = [&](char high, char low) {
    out += big_endian ? high : low;
    out += big_endian ? low : high;
  };
  if (marked) put('\xfe', '\xff');
  for (const char c : text) put('\0', c);
  return out;
}

}  // namespace authdb::oauth
