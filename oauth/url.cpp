#include "oauth/url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace authdb::oauth {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

template <typename Allowed>
bool only(std::string_view text, Allowed allowed) {
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

// In the one spelling that an address has; empty if it is none.
std::string canonical_address(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (::inet_pton(family, text.c_str(), address.data()) != 1) return {};
  ::inet_ntop(family, address.data(), out.data(), out.size());
  return out.data();
}

// `127.1`, `0x7f.1` and `0177.0.0.1` are 127.0.0.1 to libcurl: what ends in a number is an IPv4
// address (WHATWG URL, "ends in a number checker") and has one spelling here.
bool ends_in_number(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string_view last = host.substr(host.rfind('.') + 1);
  if (only(last, is_digit)) return true;
  if (!last.starts_with("0x")) return false;
  last.remove_prefix(2);
  return last.empty() || only(last, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

// Splits `host[:port]`; false if it is neither a name nor an address.
bool read_authority(std::string_view text, Url& url) {
  if (!text.empty() && text.front() == '[') {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return false;
    url.host = canonical_address(AF_INET6, std::string(text.substr(1, end - 1)));
    if (url.host.empty()) return false;
    text.remove_prefix(end + 1);
  } else {
    const std::string_view host = text.substr(0, text.find(':'));
    if (!only(host, [](char c) { return is_alnum(c) || c == '.' || c == '-' || c == '_'; })) {
      return false;
    }
    url.host = lower(host);
    if (ends_in_number(url.host) && canonical_address(AF_INET, url.host) != url.host) return false;
    text.remove_prefix(host.size());
  }
  if (text.empty()) return true;
  if (text.front() != ':') return false;
  text.remove_prefix(1);
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535) {
    return false;
  }
  url.port = std::to_string(port);
  return true;
}

}  // namespace

std::optional<Url> parse_url(std::string_view text) {
  const auto printable = [](char c) { return c > ' ' && c < 0x7f && c != '\\' && c != '#'; };
  if (!only(text, printable)) return std::nullopt;
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) return std::nullopt;

  Url url;
  url.scheme = lower(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https") return std::nullopt;
  const std::string_view rest = text.substr(colon + 3);
  const auto slash = std::min(rest.find_first_of("/?"), rest.size());
  if (!read_authority(rest.substr(0, slash), url)) return std::nullopt;
  url.path = std::string(rest.substr(slash));
  return url;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  int parts = 0;
  for (std::string_view rest = host;; ++parts) {
    const auto dot = std::min(rest.find('.'), rest.size());
    const std::string_view part = rest.substr(0, dot);
    if (!only(part, is_digit) || part.size() > 3 || (part.size() > 1 && part.front() == '0')) {
      return false;
    }
    int value = 0;
    std::from_chars(part.data(), part.data() + part.size(), value);
    if (value > 255 || (parts == 0 && value != 127)) return false;
    if (dot == rest.size()) break;
    rest.remove_prefix(dot + 1);
  }
  return parts == 3;
}

bool is_secure(const Url& url) { return url.scheme == "https" || is_loopback(url.host); }

std::string join_url(std::string_view base, std::string_view path) {
  while (!base.empty() && base.back() == '/') base.remove_suffix(1);
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  return std::string(base) + "/" + std::string(path);
}

}  // namespace authdb::oauth
