// Makes text that a server or another tool wrote fit to show: one line, short, and without anything
// that may be a token. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/secret.h"

namespace authdb {

inline constexpr std::size_t kShownText = 200;

// What may be a token becomes `[redacted]`: a run that begins as tokens do (`sk-`, `eyJ`, …), one
// that is too long or too odd for words, what follows `Bearer` or `token=`, and every occurrence of
// `known`, the secrets that the writer was sent, whatever they look like. Of more than `longest`
// bytes the first are kept, to the end of a character, and `...` follows.
std::string scrub(std::string_view text, const std::vector<const Secret*>& known = {},
                  std::size_t longest = kShownText);

}  // namespace authdb
