// Which of two pairs of one grant is the newer one, as far as what is written beside them tells.
// Pure.
#pragma once

#include <optional>
#include <string>

#include "store/clock.h"

namespace authdb::migrate {

struct Evidence {
  std::optional<Instant> obtained;    // obtained_at, last_refresh
  bool derived = false;               // `obtained` was computed, or read from a naive time
  std::optional<Instant> issued;      // the access token's iat
  std::optional<Instant> token_ends;  // the access token's exp
  std::optional<Instant> expires;     // expires_at
};

enum class Age { newer, older, unknown };

// By the time it was obtained (or issued), else by the time it expires. `unknown` if there is
// nothing to compare, if all is equal, or if our clock and the server's contradict each other.
Age compare(const Evidence& a, const Evidence& b);

// Why `a` is newer than `b`, for people: `obtained 2026-04-23T19:05:10Z, 9 d after <other>'s`.
std::string reason(const Evidence& a, const Evidence& b, const std::string& other);

// What one of them knows and the other does not, put together: both describe one pair.
void complete(Evidence& a, const Evidence& b);

// `9 d`, `3 h`, `12 min`, `5 s`.
std::string duration_text(Milliseconds span);

}  // namespace authdb::migrate
