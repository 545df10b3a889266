// Which credential a profile gets: strategies, suppression and cooldowns against a real database.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <set>
#include <thread>

#include "store/words.h"
#include "store_fixture.h"

namespace authdb::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SelectionTest : public StoreTest {
 protected:
  Uid key(Store& store, const std::string& label, const std::string& source = "manual",
          std::vector<Binding> bindings = {{"default", {}}}) {
    CredentialChange change = login(label, "key-" + label, "", now());
    change.identity->auth_type = AuthType::api_key;
    change.identity->source = source;
    change.grant->bearer_kind = BearerKind::api_key;
    change.grant->expires_at.reset();
    change.bindings = std::move(bindings);
    return add(store, std::move(change));
  }
  std::vector<std::string> labels(Store& store, const std::string& profile = "default") {
    std::vector<std::string> out;
    const auto selection = store.select(profile, "nous");
    EXPECT_TRUE(selection) << selection.error().message;
    for (const PoolEntry* entry : selection->order) {
      out.push_back(entry->credential.identity.label);
    }
    return out;
  }
  std::string first(Store& store) {
    const auto all = labels(store);
    return all.empty() ? "" : all.front();
  }
  void by(Store& store, Strategy strategy) {
    ASSERT_TRUE(store.set_strategy("default", "nous", strategy));
  }
  std::int64_t uses(const Store& store, const Uid& uid) {
    return store.find(uid)->health.request_count;
  }
};

TEST_F(SelectionTest, TwoThatAskAtOnceGetDifferentCredentials) {
  Store store = open();
  for (const char* label : {"a", "b", "c", "d"}) key(store, label);
  for (const Strategy strategy : {Strategy::least_used, Strategy::round_robin}) {
    by(store, strategy);
    std::array<std::string, 4> got;  // the clock stands still: not even a millisecond tells them
    std::vector<std::thread> workers;
    for (auto& mine : got) workers.emplace_back([&] { mine = first(store); });
    for (auto& worker : workers) worker.join();

    EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 4u) << word(strategy);
  }
}

TEST_F(SelectionTest, ProcessesThatAskAtOnceShareOneCount) {
  Store store = open();
  const Uid a = key(store, "a");
  const Uid b = key(store, "b");
  by(store, Strategy::least_used);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      Store mine = open(OpenMode::use);
      for (int n = 0; n < 25; ++n) (void)mine.select("default", "nous");
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }

  EXPECT_EQ(uses(store, a), 50);
  EXPECT_EQ(uses(store, b), 50);
}

TEST_F(SelectionTest, RoundRobinTakesTurnsWithinOneMillisecond) {
  Store store = open();
  for (const char* label : {"a", "b", "c"}) key(store, label);
  by(store, Strategy::round_robin);
  std::vector<std::string> got;
  for (int i = 0; i < 7; ++i) got.push_back(first(store));

  EXPECT_THAT(got, ElementsAre("a", "b", "c", "a", "b", "c", "a"));
}

TEST_F(SelectionTest, FillFirstAndRandomWriteNothing) {
  Store store = open();
  const Uid a = key(store, "a");
  for (const Strategy strategy : {Strategy::fill_first, Strategy::random}) {
    by(store, strategy);
    const auto wal = std::filesystem::file_size(database().string() + "-wal");
    for (int i = 0; i < 3; ++i) EXPECT_EQ(first(store), "a");
    EXPECT_EQ(std::filesystem::file_size(database().string() + "-wal"), wal);
  }
  EXPECT_EQ(uses(store, a), 0);
}

TEST_F(SelectionTest, ACountThatCannotBeWrittenCostsNobodyTheirBearer) {
  Store store = open();
  key(store, "a");
  by(store, Strategy::least_used);
  Store looking = open(OpenMode::look);

  EXPECT_EQ(first(looking), "a");
}

TEST_F(SelectionTest, LowerPlacesComeFirstAndTiesKeepTheOrderOfTheirArrival) {
  Store store = open();
  key(store, "five", "manual", {{"default", 5}});
  key(store, "zero-1", "manual", {{"default", 0}});
  key(store, "zero-2", "manual", {{"default", 0}});
  key(store, "unplaced");

  EXPECT_THAT(labels(store), ElementsAre("zero-1", "zero-2", "five", "unplaced"));
}

TEST_F(SelectionTest, AnExhaustedCredentialIsSkippedUntilItsResetAndUsedFromThenOn) {
  Store store = open();
  const Uid a = key(store, "a");
  key(store, "b");
  ASSERT_TRUE(store.report(a, {429, now() + Seconds(90), "", "", "default"}));
  EXPECT_THAT(labels(store), ElementsAre("b"));
  advance(Seconds(90));
  EXPECT_THAT(labels(store), ElementsAre("a", "b"));

  ASSERT_TRUE(store.report(a, {429, now() - Seconds(5), "", "", "default"}));
  EXPECT_THAT(labels(store), ElementsAre("b")) << "a reset that is over says nothing";
}

TEST_F(SelectionTest, OfNothingButExhaustedCredentialsNoneIsChosen) {
  Store store = open();
  for (const char* label : {"a", "b"}) {
    ASSERT_TRUE(store.report(key(store, label), {429, {}, "", "", "default"}));
  }
  EXPECT_THAT(labels(store), IsEmpty());
  by(store, Strategy::least_used);
  EXPECT_THAT(labels(store), IsEmpty());
}

TEST_F(SelectionTest, TheOnlyLiveCredentialOfTheReportersPoolRestsAMinute) {
  Store store = open();
  const Uid shared = key(store, "shared", "manual", {{"default", {}}, {"atlas", {}}});
  const Uid other = key(store, "other");
  const auto rests = [&](const Uid& uid, const std::string& profile) {
    EXPECT_TRUE(store.reset(uid));
    EXPECT_TRUE(store.report(uid, {429, {}, "usage_limit_reached", "", profile}));
    return *store.find(uid)->health.cooldown_until - now();
  };

  EXPECT_EQ(rests(shared, "default"), Seconds(3600));
  EXPECT_EQ(rests(shared, "atlas"), Seconds(60));
  ASSERT_TRUE(store.report(other, {401, {}, "token_revoked", "", "default"}));
  EXPECT_EQ(store.find(other)->health.status, Status::dead);
  EXPECT_EQ(rests(shared, "default"), Seconds(60)) << "the other is dead";
}

TEST_F(SelectionTest, ARevokedKeyIsDeadUntilItIsReset) {
  Store store = open();
  const Uid a = key(store, "a");

  ASSERT_TRUE(store.report(a, {401, now() + Seconds(5), "token_revoked", "", "default"}));
  advance(std::chrono::hours(1000));
  EXPECT_THAT(labels(store), IsEmpty());

  ASSERT_TRUE(store.reset(a));
  EXPECT_THAT(labels(store), ElementsAre("a"));
}

TEST_F(SelectionTest, SuppressionHoldsInItsProfileOnly) {
  Store store = open();
  key(store, "a", "env:KEY", {{"default", {}}, {"atlas", {}}});
  Change change;
  change.states.push_back({"default", "nous", false, Strategy::fill_first, {"env:KEY"}, Secret()});
  ASSERT_TRUE(store.apply(change));

  EXPECT_THAT(labels(store), IsEmpty());
  EXPECT_THAT(labels(store, "atlas"), ElementsAre("a"));
}

TEST_F(SelectionTest, AStrategyIsOfOneProfileAndProvider) {
  Store store = open();
  const Uid a = key(store, "a", "manual", {{"default", {}}, {"atlas", {}}});
  by(store, Strategy::least_used);

  EXPECT_THAT(labels(store, "atlas"), ElementsAre("a"));
  EXPECT_EQ(uses(store, a), 0);
}

TEST_F(SelectionTest, AReportWritesNoTokenInClear) {
  Store store = open();
  const Uid a = key(store, "a");

  ASSERT_TRUE(store.report(
      a, {429, {}, "x", "Bearer sk-ant-oat01-abcdefghijklmnopqrstuvwxyz0123456789", "default"}));

  EXPECT_THAT(store.find(a)->health.error_message, testing::Not(testing::HasSubstr("abcdefgh")));
}

TEST_F(SelectionTest, ARefreshLiftsTheCooldownOfA401AndNoOther) {
  Store store = open();
  const Uid uid = add_login(store);
  for (const int status : {401, 429}) {
    ASSERT_TRUE(store.report(uid, {status, {}, "", "", "default"}));
    will(grants("refresh-" + std::to_string(status), "access-" + std::to_string(status)));
    ASSERT_TRUE(rotate(store, uid, {.force = true}));

    const Health health = store.find(uid)->health;
    EXPECT_EQ(health.status, status == 401 ? Status::ok : Status::exhausted);
    EXPECT_EQ(health.cooldown_until.has_value(), status != 401);
  }
}

TEST_F(SelectionTest, TheOwnerOfARejectedBearerComesFirstAlsoOnceItHasAnother) {
  Store store = open();
  key(store, "first");
  const Uid uid = add_login(store);
  const auto old = store.find(uid)->access_fingerprint;
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  const auto selection = store.select("default", "nous", old);

  ASSERT_EQ(selection->order.size(), 2u);
  EXPECT_EQ(selection->order.front()->credential.uid, uid);
}

TEST_F(SelectionTest, ABearerIsKnownByItsRotationsItsAgentKeysAndTheFilesThatShowIt) {
  Store store = open();
  const Uid uid = add_login(store);
  const auto first = store.find(uid)->access_fingerprint;
  const std::string shown = "sha256:00000000000000aa";
  ASSERT_TRUE(store.put_projection({"/a", "hermes", "default", now(), {{uid, "/p", shown}}}));
  AgentKey agent_key;
  agent_key.secret = Secret::copy_of("agent-key-1");
  {
    auto locked = LockedCredential::acquire(store, uid, {Milliseconds(0)});
    ASSERT_TRUE(
        locked->keep_agent_key(agent_key, locked->begin_attempt(AttemptKind::mint, "default")));
  }
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  for (const auto& bearer :
       {first, shown, fingerprint(agent_key.secret), store.find(uid)->access_fingerprint}) {
    EXPECT_EQ(*store.owner_of_bearer(bearer), uid) << bearer;
  }
  EXPECT_EQ(*store.owner_of_bearer("sha256:00000000000000ff"), std::nullopt);
  ASSERT_TRUE(store.remove(uid));
  EXPECT_EQ(*store.owner_of_bearer(first), std::nullopt);
}

}  // namespace
}  // namespace authdb::test
