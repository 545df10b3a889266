#include "store/pool.h"

#include <algorithm>

#include "store/rotation.h"
#include "store/words.h"

namespace authdb {
namespace {

// Only its token endpoint has asked to wait, which is nothing to a bearer that still lives.
bool rests_with_a_live_bearer(const PoolEntry& entry, Instant now) {
  const Credential& row = entry.credential;
  return why_not(entry, now) == "cooling" && asked_to_wait_until(row.health) && !entry.suppressed &&
         (access_token_lives(row, {}, now) || agent_key_lives(row, {}, now));
}

}  // namespace

std::string_view why_not(const PoolEntry& entry, Instant now) {
  const Credential& row = entry.credential;
  if (row.health.status == Status::dead) return "dead";
  if (row.hold == Hold::conflict || row.hold == Hold::handed_over) return word(row.hold);
  if (row.health.cooldown_until && *row.health.cooldown_until > now) return "cooling";
  if (entry.suppressed) return "suppressed";
  return {};
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
  for (const PoolEntry& entry : pool) {
    if (rests_with_a_live_bearer(entry, now)) order.push_back(&entry);
  }
  return order;
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
