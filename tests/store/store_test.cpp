#include "store/store.h"

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class StoreApiTest : public StoreTest {
 protected:
  static std::vector<std::string> labels(const std::vector<PoolEntry>& pool) {
    std::vector<std::string> all;
    for (const PoolEntry& entry : pool) all.push_back(entry.credential.identity.label);
    return all;
  }
};

TEST_F(StoreApiTest, WhatIsAddedIsFoundWithWhatWasSaidOfIt) {
  Store store = open();

  const Uid uid = add_login(store);

  const auto row = store.find(uid);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->uid.size(), 12u);
  EXPECT_EQ(row->identity.label, "a");
  EXPECT_EQ(row->obtained_at, now());
  EXPECT_EQ(row->expires_at, now() + Seconds(900));
  EXPECT_EQ(row->refresh_at, now() + Seconds(780));
  EXPECT_EQ(row->refresh_hash, hash("refresh-a-1"));
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
}

TEST_F(StoreApiTest, AnUnknownUidIsNotFound) {
  Store store = open();

  EXPECT_EQ(store.find("zzzzzzzzzzzz").error().code, Errc::not_found);
  EXPECT_EQ(store.unseal("zzzzzzzzzzzz").error().code, Errc::not_found);
  EXPECT_EQ(store.remove("zzzzzzzzzzzz").error().code, Errc::not_found);
  EXPECT_EQ(store.reset("").error().code, Errc::not_found);
  EXPECT_EQ(rotate(store, "zzzzzzzzzzzz", {}).error().code, Errc::not_found);
}

TEST_F(StoreApiTest, ListsAreFilteredByProviderAndProfile) {
  Store store = open();
  add_login(store, "a");
  CredentialChange other = login("b", "access-b", "refresh-b", now());
  other.identity->provider = "codex";
  other.bindings = {{"atlas", {}}};
  add(store, std::move(other));

  EXPECT_EQ(store.list({})->size(), 2u);
  EXPECT_EQ(store.list({.provider = "codex"})->at(0).identity.label, "b");
  EXPECT_EQ(store.list({.profile = "default"})->at(0).identity.label, "a");
  EXPECT_THAT(*store.list({.provider = "codex", .profile = "default"}), IsEmpty());
  EXPECT_THAT(*store.providers(), ElementsAre("codex", "nous"));
}

TEST_F(StoreApiTest, APoolIsInTheOrderOfItsPlaces) {
  Store store = open();
  add_login(store, "a");
  add_login(store, "b");
  const Uid c = add_login(store, "c");

  ASSERT_TRUE(store.set_place("default", c, 1));
  EXPECT_THAT(labels(*store.pool("default", "nous")), ElementsAre("c", "a", "b"));
  ASSERT_TRUE(store.set_place("default", c, 2));
  EXPECT_THAT(labels(*store.pool("default", "nous")), ElementsAre("a", "c", "b"));
  ASSERT_TRUE(store.set_place("default", c, 99));
  EXPECT_THAT(labels(*store.pool("default", "nous")), ElementsAre("a", "b", "c"));
}

TEST_F(StoreApiTest, APlaceInAProfileThatIsNotThereIsNotFound) {
  Store store = open();
  const Uid uid = add_login(store);

  EXPECT_EQ(store.set_place("nobody", uid, 1).error().code, Errc::not_found);
  EXPECT_EQ(store.bind("nobody", uid).error().code, Errc::not_found);
  EXPECT_EQ(store.unbind("nobody", uid).error().code, Errc::not_found);
  EXPECT_EQ(store.remove_profile("nobody").error().code, Errc::not_found);
  EXPECT_EQ(store.set_strategy("nobody", "nous", Strategy::random).error().code, Errc::not_found);
}

TEST_F(StoreApiTest, ACredentialMayBeBoundToSeveralProfiles) {
  Store store = open();
  const Uid uid = add_login(store);
  ASSERT_TRUE(store.add_profile("atlas"));

  ASSERT_TRUE(store.bind("atlas", uid));
  ASSERT_TRUE(store.bind("atlas", uid));

  EXPECT_THAT(*store.profiles_of(uid), ElementsAre("default", "atlas"));
  ASSERT_TRUE(store.unbind("default", uid));
  EXPECT_THAT(*store.pool("default", "nous"), IsEmpty());
  EXPECT_EQ(store.pool("atlas", "nous")->size(), 1u);
}

TEST_F(StoreApiTest, RemovingAProfileNeverRemovesACredential) {
  Store store = open();
  const Uid uid = add_login(store);

  ASSERT_TRUE(store.remove_profile("default"));

  EXPECT_TRUE(store.unseal(uid));
  EXPECT_THAT(*store.profiles_of(uid), IsEmpty());
  EXPECT_THAT(*store.profiles(), IsEmpty());
}

TEST_F(StoreApiTest, AProfileNeedsAName) {
  EXPECT_EQ(open().add_profile("").error().code, Errc::usage);
}

TEST_F(StoreApiTest, ARemovedCredentialIsGoneAndItsTokenRetired) {
  Store store = open();
  const Uid uid = add_login(store);

  ASSERT_TRUE(store.remove(uid));

  EXPECT_EQ(store.find(uid).error().code, Errc::not_found);
  EXPECT_THAT(*store.list({}), IsEmpty());
  EXPECT_THAT(*store.pool("default", "nous"), IsEmpty());
  EXPECT_EQ(store.list({.include_removed = true})->size(), 1u);
  EXPECT_EQ((*store.retired(hash("refresh-a-1")))->reason, Retirement::removed);
  EXPECT_EQ(store.remove(uid).error().code, Errc::not_found);
}

TEST_F(StoreApiTest, P2_ARemovedTokenCannotBeAddedAgain) {
  Store store = open();
  ASSERT_TRUE(store.remove(add_login(store)));
  Change again;
  again.credentials.push_back(login("a", "access-a-1", "refresh-a-1", now()));

  const auto refused = store.apply(again);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_THAT(*store.list({}), IsEmpty());
}

TEST_F(StoreApiTest, P1_ARemovedCredentialIsNeverSent) {
  Store store = open();
  const Uid uid = add_login(store);
  ASSERT_TRUE(store.remove(uid));

  EXPECT_FALSE(rotate(store, uid, {.force = true, .replay = true}));

  EXPECT_TRUE(sent().empty());
}

TEST_F(StoreApiTest, P5_OnlyARemovalAfterADayWipes) {
  Store store = open();
  const Uid a = add_login(store, "a");
  const Uid b = add_login(store, "b");
  const auto sealed = [&] {
    const std::string count = "sqlite3 '" + database().string() +
                              "' \"SELECT count(refresh_token) FROM token_set\" > " +
                              (dir_.path() / "out").string();
    EXPECT_EQ(std::system(count.c_str()), 0);
    return file_bytes(dir_.path() / "out");
  };
  ASSERT_TRUE(store.remove(a));
  EXPECT_EQ(sealed(), "2\n");
  advance(std::chrono::hours(25));

  ASSERT_TRUE(store.remove(b));

  EXPECT_EQ(sealed(), "1\n");
}

TEST_F(StoreApiTest, AReportCoolsUntilTheResetTheServerNamed) {
  Store store = open();
  const Uid uid = add_login(store);

  ASSERT_TRUE(store.report(uid, {429, now() + Seconds(90), "rate_limited", "slow down"}));

  const Health health = store.find(uid)->health;
  EXPECT_EQ(health.status, Status::exhausted);
  EXPECT_EQ(health.cooldown_until, now() + Seconds(90));
  EXPECT_EQ(health.error_code, 429);
  EXPECT_EQ(health.error_reason, "rate_limited");
}

TEST_F(StoreApiTest, WithoutAResetWhoseFaultItWasSaysForHowLongItCools) {
  Store store = open();
  const Uid uid = add_login(store);

  for (const auto& [status, seconds] :
       std::map<int, int>{{401, 300}, {402, 3600}, {403, 60}, {429, 60}, {500, 10}}) {
    ASSERT_TRUE(store.reset(uid));
    ASSERT_TRUE(store.report(uid, {status, {}, {}, {}}));
    EXPECT_EQ(store.find(uid)->health.cooldown_until, now() + Seconds(seconds)) << status;
  }
}

TEST_F(StoreApiTest, AGoodReportAndAResetClearTheCooldownAndKeepTheCount) {
  Store store = open();
  const Uid uid = add_login(store);
  ASSERT_TRUE(store.touch(uid));
  for (const bool by_report : {true, false}) {
    ASSERT_TRUE(store.report(uid, {429, {}, "x", "y"}));
    ASSERT_TRUE(by_report ? store.report(uid, {200, {}, {}, {}}) : store.reset(uid));
    const Health health = store.find(uid)->health;
    EXPECT_EQ(health.status, Status::ok);
    EXPECT_EQ(health.cooldown_until, std::nullopt);
    EXPECT_EQ(health.error_reason, "");
    EXPECT_EQ(health.request_count, 1);
  }
}

TEST_F(StoreApiTest, P5_AReportChangesNoToken) {
  Store store = open();
  const Uid uid = add_login(store);

  ASSERT_TRUE(store.report(uid, {403, {}, {}, {}}));

  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
  EXPECT_EQ(store.find(uid)->generation, 1);
}

TEST_F(StoreApiTest, ALateReportDoesNotRaiseTheDead) {
  Store store = open();
  const Uid uid = add_login(store);
  will({.status = 400, .body = R"({"error":"invalid_grant"})"});
  ASSERT_FALSE(rotate(store, uid, {.force = true}));

  ASSERT_TRUE(store.report(uid, {200, {}, {}, {}}));

  EXPECT_EQ(store.find(uid)->health.status, Status::dead);
}

TEST_F(StoreApiTest, TouchesAreCounted) {
  Store store = open();
  const Uid uid = add_login(store);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(store.touch(uid));

  EXPECT_EQ(store.find(uid)->health.request_count, 3);
  EXPECT_EQ(store.find(uid)->health.last_used_at, now());
}

TEST_F(StoreApiTest, AStrategyIsKeptAndTheRestOfTheStateWithIt) {
  Store store = open();
  Change change;
  change.states.push_back({"default", "nous", true, Strategy::fill_first, {"env:X"}, Secret()});
  ASSERT_TRUE(store.apply(change));

  ASSERT_TRUE(store.set_strategy("default", "nous", Strategy::least_used));

  const auto state = store.provider_state("default", "nous");
  EXPECT_EQ(state->strategy, Strategy::least_used);
  EXPECT_TRUE(state->active);
  EXPECT_THAT(state->suppressed_sources, ElementsAre("env:X"));
}

TEST_F(StoreApiTest, TheLedgerIsBoundedAndKeepsTheNewest) {
  Store store = open();
  const Uid uid = add_login(store);
  auto lock = LockedCredential::acquire(store, uid, {Milliseconds(0)});
  ASSERT_TRUE(lock);
  for (int i = 0; i < 1200; ++i) {
    Attempt attempt = lock->begin_attempt(AttemptKind::mint, {});
    attempt.error_code = std::to_string(i);
    lock->record(attempt);
  }

  const auto rows = store.query("SELECT error_code FROM rotation");

  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_LE(rows->rows.size(), 1064u);
  EXPECT_GE(rows->rows.size(), 1000u);
  const auto newest = store.query("SELECT max(CAST(error_code AS INTEGER)) FROM rotation");
  EXPECT_EQ(std::get<std::int64_t>(newest->rows[0][0]), 1199);
}

}  // namespace
}  // namespace authdb::test
