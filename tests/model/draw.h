// Histories out of a seed.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "tests/model/step.h"

namespace authdb::model {

// `only`: names of verbs, replies, twists and clothes that may be drawn; empty: all. What is named
// `-NAME` is never drawn.
struct Menu {
  std::set<std::string> only;
  std::set<std::string> never;
  bool has(std::string_view name) const {
    const std::string word(name);
    return never.count(word) == 0 && (only.empty() || only.count(word) != 0);
  }
};

History draw(std::uint64_t seed, int steps, const Menu& menu);

}  // namespace authdb::model
