// The replay rule (DESIGN 5.4): when a token may be sent again whose answer never came. The server
// may have rotated it, and then a second use may end bearers that still work; or it may not, and
// then it is the only way on.
#include <algorithm>
#include <array>

#include "store/locked.h"
#include "store/rotation.h"

namespace authdb {
namespace {

// By how often it was lost so far.
constexpr std::array<Seconds, 5> kReplayAfter = {Seconds{0}, Seconds{5}, Seconds{15}, Seconds{60},
                                                 Seconds{300}};

// When the last live bearer ends; nullopt: never, as far as anybody knows.
std::optional<Instant> end_of_bearers(const Credential& row, bool token_lives, bool key_lives) {
  if (!token_lives) return row.agent_key_expires_at;
  if (!key_lives || !row.expires_at) return row.expires_at;
  return std::max(*row.expires_at, *row.agent_key_expires_at);
}

}  // namespace

LostAttempts lost_attempts(const Locked& locked) {
  const auto& row = locked.held.row;
  return locked.engine.backend->view()->lost_attempts(row.id,
                                                      row.refresh_hash.value_or(TokenHash{}));
}

std::optional<Instant> next_replay(const Locked& locked, const LostAttempts& lost,
                                   const std::string& rejected) {
  const Instant now = locked.engine.now();
  const Credential& row = locked.held.row;
  // The server forgives for so long after the use that rotated, which may have been the first.
  const auto grace = locked.engine.policy(row.identity).reuse_grace;
  const bool forgiven = grace && lost.first_at <= now && now - lost.first_at <= *grace;
  const bool token_lives = access_token_lives(row, rejected, now);
  const bool key_lives = agent_key_lives(row, rejected, now);
  if (!forgiven && (token_lives || key_lives)) return end_of_bearers(row, token_lives, key_lives);
  if (now < lost.last_at) return now;  // the clock was stepped back: its waiting means nothing
  const auto place = static_cast<std::size_t>(std::clamp(lost.count, 1, 5)) - 1;
  return lost.last_at + kReplayAfter.at(place);
}

}  // namespace authdb
