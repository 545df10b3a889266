// Makes text that a server or another tool wrote fit to show: one line, short, and without anything
// that may be a token. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/secret.h"

namespace authdb {

inline constexpr std::size_t kShownText = 200;
inline constexpr std::size_t kShownLabel = 80;

// What may be a token becomes `[redacted]`: a run that begins as tokens do (`sk-`, `eyJ`, …), one
// that is too long or too odd for words, what follows `Bearer` or `token=`, and every occurrence of
// `known`, the secrets that the writer was sent, whatever they look like. Then
// shortened().
std::string scrub(std::string_view text, const std::vector<const Secret*>& known = {},
                  std::size_t longest = kShownText);

// Of more than `longest` bytes the first are kept, to the end of a character, and `...` follows.
std::string shortened(std::string_view text, std::size_t longest);

// True if one of the secrets stands in it, as scrub() would find it: text that is to be stored or
// shown whole is left out then.
bool tells_secret(std::string_view text, const std::vector<const Secret*>& known);

// For text that was scrubbed where it came from, and beyond that has words of our own in it, such
// as names of files: it stays whole, unless one of the secrets stands in it.
std::string without_secrets(const std::string& text, const std::vector<const Secret*>& known);

// True if a person who typed it has probably typed a token.
bool looks_like_token(std::string_view word);

}  // namespace authdb
