// Words for people: quoting, joining, wrapping. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace authdb::cli {

// Foreign text as it may reach a terminal: control characters, and with them escape sequences, are
// replaced.
std::string printable(std::string_view text);

// What somebody typed, for an error message: printable, in quotes, and cut when it is so long that
// it may be a key that was typed in the wrong place.
std::string in_quotes(std::string_view text);

std::string joined(const std::vector<std::string>& words, std::string_view between = ", ");

// `1 credential`, `2 credentials`.
std::string counted(std::int64_t n, std::string_view noun);

// Characters, as good as terminal columns for what labels are made of.
std::size_t width(std::string_view text);

// A term and what it means, for --help: two columns, the second wrapped.
std::string hanging(std::string_view term, std::string_view meaning);

}  // namespace authdb::cli
