// The replay rule (docs/promises.md): when a token may be sent again whose answer never came. The
// server may have rotated it, and then a second use may end bearers that still work; or it may not,
// and then it is the only way on.
#include <algorithm>

#include "store/locked.h"

namespace authdb {
namespace {

// When the last live bearer ends; nullopt: never, as far as anybody knows.
std::optional<Instant> end_of_bearers(const Credential& row, bool token_lives, bool key_lives) {
  if (!token_lives) return row.agent_key_expires_at;
  if (!key_lives || !row.expires_at) return row.expires_at;
  return std::max(*row.expires_at, *row.agent_key_expires_at);
}

}  // namespace

std::optional<Instant> next_replay(const Locked& locked, const std::string& rejected) {
  const Instant now = locked.engine.now();
  const Credential& row = locked.held.row;
  const Losses& losses = locked.state.renewal.losses;
  // The server forgives for so long after the use that rotated, which may have been the first.
  const auto grace = locked.engine.policy(row.identity).reuse_grace;
  const bool forgiven =
      losses.count > 0 && grace && losses.first_at <= now && now - losses.first_at <= *grace;
  const bool token_lives = access_token_lives(row, rejected, now);
  const bool key_lives = agent_key_lives(row, rejected, now);
  if (!forgiven && (token_lives || key_lives)) return end_of_bearers(row, token_lives, key_lives);
  if (now < losses.last_at) return now;  // the clock was stepped back: its waiting means nothing
  return losses.last_at + replay_after(losses.count);
}

}  // namespace authdb
