#include "tests/model/answer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "tests/model/random.h"

namespace authdb::model {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;  // values as JSON has them

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

Fields fields_of(const Said& said, const Step& step) {
  Fields fields{{"access_token", quoted(said.access)},
                {"expires_in", std::to_string(said.life_s)},
                {"token_type", quoted("Bearer")}};
  if (!said.refresh.empty()) fields.emplace_back("refresh_token", quoted(said.refresh));
  if (!said.id_token.empty()) fields.emplace_back("id_token", quoted(said.id_token));
  if (step.big > 0) {
    fields.emplace_back("note",
                        quoted(std::string(static_cast<std::size_t>(step.big) * 1024, 'x')));
  }
  Random random(static_cast<std::uint64_t>(step.seed));
  for (std::size_t i = fields.size(); i > 1; --i) {
    std::swap(fields[i - 1], fields[static_cast<std::size_t>(random.below(static_cast<int>(i)))]);
  }
  return fields;
}

std::string json_of(const Fields& fields) {
  std::string out = "{";
  for (const auto& [name, value] : fields) {
    if (out.size() > 1) out += ",";
    out += quoted(name) + ":" + value;
  }
  return out + "}";
}

std::string form_of(const Fields& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    if (!out.empty()) out += "&";
    out += name + "=";
    for (const char c : value) {
      if (c != '"') out += c;
    }
  }
  return out;
}

std::uint32_t crc_of(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

void append_little(std::string& out, std::uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xffU);
}

// RFC 1952 around one stored block: valid, and needs no library to write.
std::string gzip_of(const std::string& bytes) {
  std::string out("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01", 11);
  const auto size = static_cast<std::uint32_t>(bytes.size());
  append_little(out, size, 2);
  append_little(out, ~size, 2);
  out += bytes;
  append_little(out, crc_of(bytes), 4);
  append_little(out, size, 4);
  return out;
}

std::string dressed(const Fields& fields, Clothes clothes) {
  const std::string json = json_of(fields);
  switch (clothes) {
    case Clothes::plain:
      return json;
    case Clothes::bom:
      return "\xef\xbb\xbf" + json;
    case Clothes::prefix:
      return ")]}',\n" + json;
    case Clothes::trailing:
      return json + "\n<!-- served by node 7 -->\n";
    case Clothes::data:
      return "{\"data\":" + json + "}";
    case Clothes::form:
      return form_of(fields);
    case Clothes::gzip:
      return gzip_of(json);
  }
  return json;
}

// True if the value is in the first bytes to its very end.
bool has_whole(const std::string& body, Clothes clothes, const std::string& name,
               const std::string& value) {
  if (value.empty()) return false;
  if (clothes == Clothes::form)
    return ("&" + body).find("&" + name + "=" + value + "&") != std::string::npos;
  return body.find(quoted(name) + ":" + quoted(value)) != std::string::npos;
}

std::optional<Seconds> retry_after_of(const Step& step) {
  constexpr std::array<int, 4> kWaits{-1, 0, 3, 120};
  const int wait = kWaits.at(static_cast<std::size_t>(step.seed) % kWaits.size());
  if (wait < 0) return std::nullopt;
  return Seconds(wait);
}

Written whole_answer(int status, const std::string& body, const std::string& type) {
  Written out;
  out.answer.http_status = status;
  out.answer.complete = true;
  out.answer.content_type = type;
  out.answer.body = Secret::copy_of(body);
  out.whole = true;
  return out;
}

}  // namespace

int life_of(const Step& step) {
  constexpr std::array<int, 4> kLives{900, 900, 3600, 240};
  return kLives.at(static_cast<std::size_t>(step.seed / 4) % kLives.size());
}

Written write_grant(const Said& said, const Step& step) {
  const bool cut = step.reply == Reply::cut || step.reply == Reply::broken;
  // Half a compressed answer is no answer, and half of a trailer is a whole one: neither is a cut.
  const bool no_cut = step.clothes == Clothes::gzip || step.clothes == Clothes::trailing;
  // Nobody can tell that a form is broken if its transfer was not.
  const bool no_break = step.reply == Reply::broken && step.clothes == Clothes::form;
  const Clothes clothes = cut && (no_cut || no_break) ? Clothes::plain : step.clothes;
  std::string body = dressed(fields_of(said, step), clothes);
  const std::string type =
      clothes == Clothes::form ? "application/x-www-form-urlencoded" : "application/json";
  if (!cut) {
    Written out = whole_answer(200, body, type);
    out.has_access = true;
    out.has_refresh = !said.refresh.empty();
    return out;
  }
  body.resize(static_cast<std::size_t>(step.seed) % body.size());
  Written out = whole_answer(200, body, type);
  out.answer.complete = step.reply == Reply::broken;
  if (!out.answer.complete) out.answer.failure = "the connection was closed before the end";
  out.whole = false;
  out.has_life = false;  // of a broken document only strings count
  out.has_access = has_whole(body, clothes, "access_token", said.access);
  out.has_refresh = has_whole(body, clothes, "refresh_token", said.refresh);
  return out;
}

Written write_key(const Said& said) {
  Written out = whole_answer(200,
                             R"({"api_key":")" + said.key + R"(","key_id":"k","expires_in":)" +
                                 std::to_string(said.life_s) + "}",
                             "application/json");
  out.has_access = true;
  return out;
}

Written write_error(int status, const std::string& code, const Step& step) {
  Written out = whole_answer(status, R"({"error":")" + code + R"(","error_description":"made up"})",
                             "application/json");
  if (status == 429 || status == 503) out.answer.retry_after = retry_after_of(step);
  return out;
}

Written write_page(int status, const Step& step) {
  Written out = whole_answer(status, "<html><body>not now</body></html>", "text/html");
  out.answer.retry_after = retry_after_of(step);
  return out;
}

Written write_nonsense(const Step& step) {
  Written out = whole_answer(200, step.seed % 2 == 0 ? "\x01\x02\x03 no answer" : "",
                             "application/octet-stream");
  out.whole = false;
  return out;
}

std::string id_token_for(const std::string& subject) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out = "eyJhbGciOiJub25lIn0.";
  unsigned bits = 0;
  unsigned held = 0;
  for (const char c : R"({"sub":")" + subject + R"("})") {
    bits = (bits << 8U | static_cast<unsigned char>(c)) & 0xffffU;
    for (held += 8; held >= 6; held -= 6) out += kAlphabet[bits >> (held - 6U) & 63U];
  }
  if (held > 0) out += kAlphabet[bits << (6U - held) & 63U];
  return out + ".c2ln";
}

}  // namespace authdb::model
