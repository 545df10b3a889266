// Which pair of a family is the live one. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "migrate/plan/evidence.h"
#include "migrate/plan/families.h"
#include "store/store.h"

namespace authdb::migrate {

// Nothing is obtained in the future: a clock that was wrong, or a mistyped time, would otherwise
// outdo every later login. A day leaves room for clocks that disagree.
inline constexpr std::chrono::hours kClockSlack{24};

// The copies that show one refresh token; without one, one access token.
struct Pair {
  std::vector<std::size_t> copies;  // the one with the newest access token first
  std::optional<TokenHash> refresh;
  std::optional<TokenHash> access;  // of the first copy
  Evidence evidence;                // of the first copy, completed by those with its access token
  std::string holder;               // whose it is, for people
  bool preferred = false;           // --prefer names its source
  bool held = false;                // it is what the store has now
  std::optional<RetiredToken> retired;
};

// The pairs that copies show, in their order. References have none. Times of obtaining after
// `latest` are not believed.
std::vector<Pair> pairs_of(const std::vector<std::size_t>& family, const std::vector<Copy>& copies,
                           std::optional<Instant> latest);

struct Choice {
  std::size_t winner = 0;  // index
  bool decided = false;    // the winner is newer than every other, or preferred
  std::string reason;      // empty if there was nothing to choose from
};

// `pairs` is not empty. With a preferred pair, the newest of those wins, decidable or not.
Choice choose(const std::vector<Pair>& pairs);

}  // namespace authdb::migrate
