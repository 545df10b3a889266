// URLs of token endpoints, read strictly: what this parser and libcurl might read differently is no
// URL here. Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace authdb::oauth {

struct Url {
  std::string scheme;  // lower case: http or https
  std::string host;    // lower case; an address in its one spelling, IPv6 without its brackets
  std::string port;    // without leading zeros; empty: the scheme's own
  std::string path;    // with query; empty or starting with `/`
};

// nullopt unless it is http(s)://host[:port][/path]: no user, no fragment, no spaces, backslashes
// or control characters, and no IPv4 address but four decimal numbers.
std::optional<Url> parse_url(std::string_view text);

// 127.0.0.0/8 in dotted form, ::1 or localhost.
bool is_loopback(std::string_view host);

// https, or http on loopback.
bool is_secure(const Url& url);

// `base` and `path` with exactly one slash between them.
std::string join_url(std::string_view base, std::string_view path);

}  // namespace authdb::oauth
