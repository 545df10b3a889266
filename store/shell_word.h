// Texts in the commands that hints and warnings suggest. Pure.
#pragma once

#include <string>
#include <string_view>

namespace authdb {

// As one word for a shell; in quotes only where it needs them.
std::string shell_quoted(std::string_view text);

}  // namespace authdb
