#include "oauth/reuse_words.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

namespace authdb::oauth {
namespace {

using Words = std::vector<std::string>;

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> known) {
  return std::find(known.begin(), known.end(), word) != known.end();
}

// Lower case, without signs: `refresh_token_reused` is three of them, "re-used" is one.
Words words_of(std::string_view text) {
  Words words(1);
  for (const char c : text) {
    if (c == '\'') continue;  // "hasn't" is one word
    const bool upper = c >= 'A' && c <= 'Z';
    const bool part = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (part) {
      words.back() += upper ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!words.back().empty() && words.back() != "re") {
      words.emplace_back();
    }
  }
  return words;
}

bool has_at(const Words& words, std::size_t at, std::initializer_list<std::string_view> known) {
  return at < words.size() && is_one_of(words[at], known);
}

// What a token can only suffer once.
bool is_spending(std::string_view word) {
  return is_one_of(word, {"used", "reused", "consumed", "redeemed", "rotated", "exchanged", "spent",
                          "replayed", "superseded"});
}

// "… already been used", "the token provided was used", `token_reused`. Other things than tokens
// are used too ("the wrong client was used"), but only of a token does anybody say "already".
bool spent_before(const Words& words, std::size_t verb) {
  bool already = false;
  std::size_t at = verb;  // goes back over the auxiliary verbs to what stands before them
  while (at > 0 && is_one_of(words[at - 1], {"already", "previously", "has", "have", "had", "been",
                                             "was", "were"})) {
    --at;
    already = already || is_one_of(words[at], {"already", "previously"});
  }
  if (at > 0 && is_one_of(words[at - 1], {"not", "never"})) return false;
  if (already) return true;
  const bool has_auxiliary = at < verb;
  while (at > 0 &&
         is_one_of(words[at - 1], {"provided", "presented", "supplied", "given", "sent"})) {
    --at;
  }
  const bool of_token = at > 0 && is_one_of(words[at - 1], {"token", "it"});
  return of_token && (has_auxiliary || is_one_of(words[verb], {"reused", "replayed", "consumed"}));
}

// "may only be used once", "used twice", "used more than once".
bool spent_too_often(const Words& words, std::size_t verb) {
  const bool only_once = verb >= 2 && words[verb - 1] == "be" && words[verb - 2] == "only" &&
                         has_at(words, verb + 1, {"once"});
  return only_once || has_at(words, verb + 1, {"twice"}) ||
         (has_at(words, verb + 1, {"more", "multiple"}) &&
          has_at(words, verb + 2, {"than", "times"}));
}

// "token reuse", "reuse detected", "reuse was detected", "detected a replay", "reuse of a token".
bool names_reuse(const Words& words, std::size_t noun) {
  const std::initializer_list<std::string_view> detected{"detected", "detect"};
  for (std::size_t after = 1; after <= 3; ++after) {
    if (has_at(words, noun + after, detected)) return true;
  }
  for (std::size_t before = 1; before <= 4 && before <= noun; ++before) {
    if (is_one_of(words[noun - before], detected)) return true;
  }
  if (noun > 0 && words[noun - 1] == "token") return true;
  if (!has_at(words, noun + 1, {"of"})) return false;
  const auto from = words.begin() + static_cast<std::ptrdiff_t>(noun);
  const auto to = words.begin() + static_cast<std::ptrdiff_t>(std::min(noun + 6, words.size()));
  return std::find(from, to, "token") != to;
}

}  // namespace

bool tells_of_reuse(std::string_view text) {
  const Words words = words_of(text);
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (is_spending(words[i]) && (spent_before(words, i) || spent_too_often(words, i))) return true;
    if (is_one_of(words[i], {"reuse", "replay"}) && names_reuse(words, i)) return true;
  }
  return false;
}

}  // namespace authdb::oauth
