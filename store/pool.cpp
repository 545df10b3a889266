#include "store/pool.h"

#include <algorithm>

#include "store/rotation.h"
#include "store/state.h"
#include "store/words.h"

namespace authdb {
namespace {

bool bearer_lives(const Credential& row, Instant now) {
  return access_token_lives(row, {}, now) || agent_key_lives(row, {}, now);
}

}  // namespace

std::string_view why_not(const PoolEntry& entry, Instant now) {
  const Credential& row = entry.credential;
  if (row.health.status == Status::dead) return "dead";
  if (row.hold == Hold::conflict || row.hold == Hold::handed_over) return word(row.hold);
  if (cooling_until(entry, now)) return "cooling";
  if (entry.suppressed) return "suppressed";
  return {};
}

std::optional<Instant> cooling_until(const PoolEntry& entry, Instant now) {
  const Credential& row = entry.credential;
  const auto cools = cools_until(row.health, now);
  // A bearer that still lives is served, whatever its token endpoint does.
  const auto rests = bearer_lives(row, now) ? std::nullopt : rests_until(row.renewal, now);
  return std::max(cools, rests);
}

std::vector<const PoolEntry*> in_order(const std::vector<PoolEntry>& pool, Strategy strategy,
                                       Instant now, std::minstd_rand& random) {
  std::vector<const PoolEntry*> order;
  for (const PoolEntry& entry : pool) {
    if (why_not(entry, now).empty()) order.push_back(&entry);
  }
  // Stable, so that equals keep their place in the pool.
  switch (strategy) {
    case Strategy::fill_first:
      break;
    case Strategy::round_robin:
      std::stable_sort(order.begin(), order.end(), [](const PoolEntry* a, const PoolEntry* b) {
        return a->credential.health.last_used_at < b->credential.health.last_used_at;
      });
      break;
    case Strategy::least_used:
      std::stable_sort(order.begin(), order.end(), [](const PoolEntry* a, const PoolEntry* b) {
        return a->credential.health.request_count < b->credential.health.request_count;
      });
      break;
    case Strategy::random:
      std::shuffle(order.begin(), order.end(), random);
      break;
  }
  return order;
}

void drop_rejected(Held& held) {
  const std::string& rejected = held.row.renewal.rejected;
  if (rejected.empty()) return;
  if (held.row.access_fingerprint == rejected) held.access_token = {};
  if (held.row.agent_key_fingerprint == rejected) held.agent_key = {};
}

bool owns_bearer(const Credential& row, std::string_view bearer) {
  return !bearer.empty() &&
         (row.access_fingerprint == bearer || row.agent_key_fingerprint == bearer);
}

void owner_first(std::vector<const PoolEntry*>& order, std::string_view rejected) {
  std::stable_partition(order.begin(), order.end(), [&](const PoolEntry* entry) {
    return owns_bearer(entry->credential, rejected);
  });
}

}  // namespace authdb
