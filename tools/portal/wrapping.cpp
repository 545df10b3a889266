#include "tools/portal/wrapping.h"

#include <zlib.h>

#include <stdexcept>

namespace authdb::portal {
namespace {

constexpr int kGzipFormat = MAX_WBITS + 16;

std::string gzipped(const std::string& text) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipFormat, 8,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("zlib has no memory");
  }
  std::string out(deflateBound(&stream, text.size()), '\0');
  // zlib's interface is older than const; it only reads.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

std::string encoded(const std::string& text) {
  constexpr const char* kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    const auto byte = static_cast<unsigned char>(c);
    if (plain || c == '-' || c == '_' || c == '.') {
      out += c;
    } else {
      out += {'%', kHex[byte / 16], kHex[byte % 16]};
    }
  }
  return out;
}

void make_form(Answer& answer) {
  const auto object = nlohmann::json::parse(answer.body, nullptr, false);
  if (!object.is_object()) return;
  std::string form;
  for (const auto& [name, value] : object.items()) {
    form += form.empty() ? "" : "&";
    form +=
        encoded(name) + "=" + encoded(value.is_string() ? value.get<std::string>() : value.dump());
  }
  answer.body = form;
  answer.content_type = "application/x-www-form-urlencoded; charset=utf-8";
}

}  // namespace

void wrap(Answer& answer, Wrapping wrapping) {
  switch (wrapping) {
    case Wrapping::kNone:
      return;
    case Wrapping::kGzip:
      answer.body = gzipped(answer.body);
      answer.headers.emplace_back("Content-Encoding", "gzip");
      return;
    case Wrapping::kForm:
      return make_form(answer);
    case Wrapping::kBom:
      answer.body = "\xEF\xBB\xBF" + answer.body;
      return;
    case Wrapping::kPrefix:
      answer.body = ")]}',\n" + answer.body;
      return;
    case Wrapping::kTrailing:
      answer.body += "\n<!-- 12 ms -->\n";
      return;
    case Wrapping::kData:
      answer.body = R"({"code":0,"data":)" + answer.body + "}";
      return;
  }
}

}  // namespace authdb::portal
