// Makes text that a server wrote fit to show: one line, short, and without anything that may be a
// token. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/secret.h"

namespace authdb::oauth {

inline constexpr std::size_t kShownText = 200;

// `known` are secrets that the server was sent: cut out wherever they occur, whatever they look
// like.
std::string scrub(std::string_view text, const std::vector<const Secret*>& known = {},
                  std::size_t longest = kShownText);

}  // namespace authdb::oauth
