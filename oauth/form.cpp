#include "oauth/form.h"

#include <nlohmann/json.hpp>

namespace authdb::oauth {
namespace {

bool unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

void append_encoded(std::vector<char>& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    if (unreserved(c)) {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.insert(out.end(), {'%', kHex[byte >> 4U], kHex[byte & 15U]});
    }
  }
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::vector<char> base64(std::string_view in) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<char> out;
  out.reserve((in.size() + 2) / 3 * 4 + 8);
  for (std::size_t i = 0; i < in.size(); i += 3) {
    const auto byte = [&](std::size_t at) {
      return at < in.size() ? static_cast<unsigned>(static_cast<unsigned char>(in[at])) : 0U;
    };
    const unsigned bits = byte(i) << 16U | byte(i + 1) << 8U | byte(i + 2);
    out.push_back(kAlphabet[bits >> 18U]);
    out.push_back(kAlphabet[bits >> 12U & 63U]);
    out.push_back(i + 1 < in.size() ? kAlphabet[bits >> 6U & 63U] : '=');
    out.push_back(i + 2 < in.size() ? kAlphabet[bits & 63U] : '=');
  }
  return out;
}

}  // namespace

Secret form_body(const FormFields& fields) {
  std::size_t longest = 0;
  for (const auto& [name, value] : fields) longest += 3 * (name.size() + value.size()) + 2;
  std::vector<char> out;
  out.reserve(longest);  // so that it never moves and leaves a copy behind
  for (const auto& [name, value] : fields) {
    if (!out.empty()) out.push_back('&');
    append_encoded(out, name);
    out.push_back('=');
    append_encoded(out, value);
  }
  return Secret(std::move(out));
}

std::optional<std::string> form_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());  // so that it never moves and leaves a copy behind
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

Secret json_body(const FormFields& fields) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, value] : fields) object[std::string(name)] = std::string(value);
  Secret body = Secret::take(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  for (auto& item : object) {
    auto& text = item.get_ref<std::string&>();
    wipe(text.data(), text.size());
  }
  return body;
}

Secret basic_credentials(std::string_view id, std::string_view secret) {
  std::vector<char> plain;
  plain.reserve(3 * (id.size() + secret.size()) + 1);
  append_encoded(plain, id);
  plain.push_back(':');
  append_encoded(plain, secret);
  const Secret pair(std::move(plain));

  const Secret encoded(base64(pair.reveal()));
  constexpr std::string_view kScheme = "Basic ";
  std::vector<char> out;
  out.reserve(kScheme.size() + encoded.size());
  out.insert(out.end(), kScheme.begin(), kScheme.end());
  out.insert(out.end(), encoded.reveal().begin(), encoded.reveal().end());
  return Secret(std::move(out));
}

}  // namespace authdb::oauth
