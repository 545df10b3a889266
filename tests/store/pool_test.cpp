#include "store/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace authdb {
namespace {

constexpr Instant kNow = at_millis(1'790'000'000'000);

PoolEntry entry(const Uid& uid) {
  PoolEntry made;
  made.credential.uid = uid;
  return made;
}

std::vector<PoolEntry> three() {
  std::vector<PoolEntry> pool = {entry("a"), entry("b"), entry("c")};
  for (std::size_t i = 0; i < pool.size(); ++i) pool[i].position = static_cast<std::int64_t>(i) + 1;
  return pool;
}

std::string order(const std::vector<PoolEntry>& pool, Strategy strategy) {
  static std::minstd_rand random(1);
  std::string uids;
  for (const PoolEntry* one : in_order(pool, strategy, kNow, random)) uids += one->credential.uid;
  return uids;
}

TEST(Pool, FillFirstKeepsThePlaces) { EXPECT_EQ(order(three(), Strategy::fill_first), "abc"); }

TEST(Pool, RoundRobinTakesTheOneUsedLongestAgoAndTheUnusedFirst) {
  auto pool = three();
  pool[0].credential.health.last_used_at = kNow;
  pool[1].credential.health.last_used_at = kNow - Seconds(5);

  EXPECT_EQ(order(pool, Strategy::round_robin), "cba");
}

TEST(Pool, LeastUsedTakesTheFewestRequestsAndKeepsTheOrderOfEquals) {
  auto pool = three();
  pool[0].credential.health.request_count = 2;

  EXPECT_EQ(order(pool, Strategy::least_used), "bca");
}

TEST(Pool, RandomReachesEveryCredential) {
  std::set<char> first;
  for (int i = 0; i < 50; ++i) first.insert(order(three(), Strategy::random)[0]);

  EXPECT_EQ(first.size(), 3u);
}

TEST(Pool, DeadConflictHandedOverCoolingAndSuppressedArePassedOver) {
  auto pool = three();
  pool.push_back(entry("d"));
  pool.push_back(entry("e"));
  pool[0].credential.health.status = Status::dead;
  pool[1].credential.hold = Hold::conflict;
  pool[2].credential.hold = Hold::handed_over;
  pool[3].credential.health.cooldown_until = kNow + Milliseconds(1);
  pool[4].suppressed = true;

  EXPECT_EQ(order(pool, Strategy::fill_first), "");
  EXPECT_EQ(why_not(pool[0], kNow), "dead");
  EXPECT_EQ(why_not(pool[1], kNow), "conflict");
  EXPECT_EQ(why_not(pool[2], kNow), "handed_over");
  EXPECT_EQ(why_not(pool[3], kNow), "cooling");
  EXPECT_EQ(why_not(pool[4], kNow), "suppressed");
}

TEST(Pool, AnUncertainCredentialIsNotPassedOver) {
  PoolEntry uncertain = entry("a");
  uncertain.credential.hold = Hold::uncertain;

  EXPECT_EQ(why_not(uncertain, kNow), "");
}

// An attempt has failed, so its token endpoint rests; its access token is good for another second.
PoolEntry resting(const Uid& uid) {
  PoolEntry one = entry(uid);
  one.credential.renewal.rest_since = kNow;
  one.credential.renewal.rest_until = kNow + Seconds(30);
  one.credential.access_fingerprint = "sha256:" + uid;
  one.credential.expires_at = kNow + Seconds(1);
  return one;
}

TEST(Pool, ARestingTokenEndpointIsNothingToABearerThatLives) {
  std::vector<PoolEntry> pool{resting("r"), entry("a")};

  EXPECT_EQ(order(pool, Strategy::fill_first), "ra");
  EXPECT_EQ(why_not(pool[0], kNow), "");
}

TEST(Pool, AnAgentKeyThatLivesIsABearerToo) {
  PoolEntry one = resting("r");
  one.credential.expires_at = kNow;
  one.credential.has_agent_key = true;
  one.credential.agent_key_expires_at = kNow + Seconds(1);

  EXPECT_EQ(order({one}, Strategy::fill_first), "r");
}

TEST(Pool, WithoutALiveBearerARestingCredentialIsPassedOver) {
  std::vector<PoolEntry> pool(3, resting("r"));
  pool[0].credential.expires_at = kNow;
  pool[1].credential.access_fingerprint.clear();
  pool[2].credential.renewal.rejected = pool[2].credential.access_fingerprint;

  EXPECT_EQ(order(pool, Strategy::fill_first), "");
  EXPECT_EQ(why_not(pool[0], kNow), "cooling");
}

TEST(Pool, ARestOrCooldownThatAClockAheadHasSetDoesNotCount) {
  PoolEntry rests = resting("r");
  rests.credential.expires_at = kNow;
  rests.credential.renewal.rest_since = kNow + std::chrono::hours(1);
  rests.credential.renewal.rest_until = kNow + std::chrono::hours(2);
  PoolEntry cools = entry("c");
  cools.credential.health.status_at = kNow + std::chrono::hours(1);
  cools.credential.health.cooldown_until = kNow + std::chrono::hours(2);

  EXPECT_EQ(order({rests, cools}, Strategy::fill_first), "rc");
}

TEST(Pool, ACooldownEndsAtItsInstant) {
  PoolEntry cooling = entry("a");
  cooling.credential.health.status = Status::exhausted;
  cooling.credential.health.cooldown_until = kNow;

  EXPECT_EQ(why_not(cooling, kNow), "");
}

}  // namespace
}  // namespace authdb
