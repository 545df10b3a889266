#include "store/env_source.h"

#include <algorithm>

namespace authdb {
namespace {

constexpr std::string_view kEnvSource = "env:";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; }

}  // namespace

std::optional<std::string_view> variable_of(std::string_view source) {
  if (!source.starts_with(kEnvSource)) return std::nullopt;
  return source.substr(kEnvSource.size());
}

bool is_variable_name(std::string_view name) {
  return !name.empty() && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

bool may_hold_key(std::string_view variable) {
  return is_variable_name(variable) && !variable.starts_with("AUTHDB_");
}

}  // namespace authdb
