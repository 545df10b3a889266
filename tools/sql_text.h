// Values inside SQL text: Store::query takes no parameters.
#pragma once

#include <string>
#include <string_view>

namespace authdb::cli {

// 'it''s': a text literal. Complete in SQLite: there is no other escape inside single quotes.
inline std::string sql_literal(std::string_view text) {
  std::string literal = "'";
  for (const char c : text) {
    literal += c;
    if (c == '\'') literal += c;
  }
  return literal + "'";
}

}  // namespace authdb::cli
