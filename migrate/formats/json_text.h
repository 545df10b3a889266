// JSON from files we did not write, read strictly. Pure functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "store/result.h"
#include "store/secret.h"

namespace authdb::migrate {

inline constexpr std::size_t kMaxDepth = 64;
// Bounds the tree's memory whatever the text looks like; a hundred thousand rows need a fifth.
inline constexpr std::size_t kMaxValues = 16'000'000;

// A byte order mark is tolerated. Refused, with `path`, line and column (1-based, in characters):
// malformed text, invalid UTF-8, a key that occurs twice in one object, nesting deeper than
// kMaxDepth, more than kMaxValues values. The error quotes nothing of the text.
Result<nlohmann::json> parse_json(std::string_view text, const std::string& path);

// True if the text is UTF-8 (RFC 3629), as every text of a tree must be.
bool is_utf8(std::string_view text);

// Zeroes every string of the tree, keys excepted.
// NOLINTNEXTLINE(bugprone-exception-escape): types are asked before they are used
void wipe_strings(nlohmann::json& tree) noexcept;

// The text of a tree, which is wiped; empty if the tree is null or an object without members.
Secret seal_text(nlohmann::json&& tree);
// The tree of such a text.
nlohmann::json open_text(const Secret& text);

}  // namespace authdb::migrate
