#include "store/change.h"

#include <thread>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

class ChangeTest : public StoreTest {
 protected:
  // `uid` gets another grant.
  CredentialChange grant_for(const Uid& uid, const std::string& name, std::int64_t seen = 1) {
    CredentialChange change = login("", "access-" + name, "refresh-" + name, now());
    change.identity.reset();
    change.bindings.clear();
    change.uid = uid;
    change.planned_against = seen;
    return change;
  }
  static Change of(CredentialChange one) {
    Change all;
    all.credentials.push_back(std::move(one));
    return all;
  }
  static CredentialChange restoring(const Uid& uid) {
    CredentialChange change;
    change.uid = uid;
    change.planned_against = 1;
    change.restore = true;
    return change;
  }
};

TEST_F(ChangeTest, IsAppliedWholeOrNotAtAll) {
  Store store = open();
  const Uid uid = add_login(store, "a");
  Change change;
  change.profiles = {"atlas"};
  change.credentials.push_back(grant_for(uid, "new"));
  change.credentials.push_back(login("b", "access-b", "refresh-b", now()));
  change.credentials.push_back(login("c", "access-c", "refresh-b", now()));  // twice the same token

  const auto refused = store.apply(change);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_EQ(store.list({.include_removed = true})->size(), 1u);
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
  EXPECT_THAT(*store.profiles(), ::testing::ElementsAre("default"));
}

TEST_F(ChangeTest, AStalePlanWritesNothing) {
  Store store = open();
  const Uid uid = add_login(store);
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));
  Change change = of(grant_for(uid, "stale", 1));
  change.profiles = {"atlas"};

  const auto applied = store.apply(change);

  ASSERT_TRUE(applied);
  EXPECT_TRUE(applied->stale_plan);
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-2");
  EXPECT_THAT(*store.profiles(), ::testing::ElementsAre("default"));
}

TEST_F(ChangeTest, ADisplacedTokenIsRetiredAndTheGenerationGrows) {
  Store store = open();
  const Uid uid = add_login(store);

  ASSERT_TRUE(store.apply(of(grant_for(uid, "newer"))));

  const auto row = store.find(uid);
  EXPECT_EQ(row->generation, 2);
  EXPECT_EQ(row->family, 1);
  EXPECT_EQ((*store.retired(hash("refresh-a-1")))->reason, Retirement::superseded);
}

CredentialChange with_agent_key(CredentialChange made) {
  made.agent_key.emplace();
  made.agent_key->secret = Secret::copy_of("agent-1");
  return made;
}

TEST_F(ChangeTest, ANewerCopyOfThePairKeepsTheAgentKeyAndAnotherPairDropsIt) {
  Store store = open();
  const Uid uid = add(store, with_agent_key(login("a", "access-a-1", "refresh-a-1", now())));
  CredentialChange same = grant_for(uid, "newer");
  same.grant->refresh_token = Secret();

  ASSERT_TRUE(store.apply(of(std::move(same))));
  EXPECT_TRUE(store.find(uid)->has_agent_key);

  CredentialChange another = grant_for(uid, "another");
  another.planned_against = store.find(uid)->generation;
  ASSERT_TRUE(store.apply(of(std::move(another))));
  EXPECT_FALSE(store.find(uid)->has_agent_key) << "it may be another account's";
}

TEST_F(ChangeTest, ANewLoginIsANewFamilyAndDropsTheOldAgentKey) {
  Store store = open();
  const Uid uid = add(store, with_agent_key(login("a", "access-a-1", "refresh-a-1", now())));
  ASSERT_TRUE(store.find(uid)->has_agent_key);
  CredentialChange again = grant_for(uid, "again");
  again.new_family = true;

  ASSERT_TRUE(store.apply(of(std::move(again))));

  EXPECT_EQ(store.find(uid)->family, 2);
  EXPECT_EQ(store.find(uid)->generation, 2);
  EXPECT_FALSE(store.find(uid)->has_agent_key);
}

TEST_F(ChangeTest, ANewGrantLiftsTheVerdictOnTheOldOne) {
  Store store = open();
  const Uid uid = add_login(store);
  will({.status = 400, .body = R"({"error":"invalid_grant"})"});
  ASSERT_FALSE(rotate(store, uid, {.force = true}));
  ASSERT_EQ(store.find(uid)->health.status, Status::dead);
  CredentialChange again = grant_for(uid, "again");
  again.new_family = true;

  ASSERT_TRUE(store.apply(of(std::move(again))));

  EXPECT_EQ(store.find(uid)->health.status, Status::ok);
}

TEST_F(ChangeTest, APardonLiftsWhatWasPresumedAndNothingElse) {
  Store store = open();
  const Uid uid = add_login(store);
  CredentialChange change = grant_for(uid, "b");
  change.displaced = Retirement::presumed;
  ASSERT_TRUE(store.apply(of(std::move(change))));
  CredentialChange back = grant_for(uid, "a-1", 2);
  back.pardon = {hash("refresh-a-1")};
  ASSERT_TRUE(store.apply(of(std::move(back))));
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
  EXPECT_EQ((*store.retired(hash("refresh-b")))->reason, Retirement::superseded);

  CredentialChange spent = grant_for(uid, "b", 3);
  spent.pardon = {hash("refresh-b")};

  EXPECT_EQ(store.apply(of(std::move(spent))).error().code, Errc::refused);
  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-a-1");
}

TEST_F(ChangeTest, APardonedTokenIsSentThoughTheJournalHadItAmongTheSpent) {
  Store store = open();
  const Uid uid = add_login(store);
  CredentialChange change = grant_for(uid, "b");
  change.displaced = Retirement::presumed;
  ASSERT_TRUE(store.apply(of(std::move(change))));
  CredentialChange back = grant_for(uid, "a-1", 2);
  back.pardon = {hash("refresh-a-1")};
  ASSERT_TRUE(store.apply(of(std::move(back))));
  will(grants("refresh-a-2", "access-a-2"));

  EXPECT_TRUE(rotate(store, uid, {.force = true}));
}

TEST_F(ChangeTest, ProofReplacesAGuessAndNothingReplacesProof) {
  Store store = open();
  const Uid uid = add_login(store);
  const auto retire = [&](Retirement reason) {
    CredentialChange change;
    change.uid = uid;
    change.retire = {{hash("loser"), reason}};
    EXPECT_TRUE(store.apply(of(std::move(change))));
    return (*store.retired(hash("loser")))->reason;
  };

  EXPECT_EQ(retire(Retirement::presumed), Retirement::presumed);
  EXPECT_EQ(retire(Retirement::spent), Retirement::spent);
  EXPECT_EQ(retire(Retirement::presumed), Retirement::spent);
}

TEST_F(ChangeTest, P2_ACurrentTokenCannotBeRetiredThroughAnotherCredential) {
  Store store = open();
  const Uid a = add_login(store, "a");
  const Uid b = add_login(store, "b");
  CredentialChange change;
  change.uid = b;
  change.retire = {{hash("refresh-a-1"), Retirement::spent}};

  EXPECT_EQ(store.apply(of(std::move(change))).error().code, Errc::refused);
  EXPECT_EQ(text(store.unseal(a)->refresh_token), "refresh-a-1");
}

TEST_F(ChangeTest, TheSameImportOfTwoProcessesIsAStalePlanForTheSecond) {
  Store store = open();
  const auto import = [&] {
    CredentialChange change = login("a", "access-a-1", "refresh-a-1", now());
    change.kind = AttemptKind::import;
    change.origin = Origin::import;
    return of(std::move(change));
  };
  const auto first = store.apply(import());
  ASSERT_TRUE(first && !first->stale_plan);

  const auto second = store.apply(import());

  ASSERT_TRUE(second) << second.error().message;
  EXPECT_TRUE(second->stale_plan);
  EXPECT_EQ(store.list({})->size(), 1u);
}

TEST_F(ChangeTest, ARemovedCredentialIsNotChangedByAPlanMadeBefore) {
  Store store = open();
  const Uid uid = add_login(store);
  ASSERT_TRUE(store.remove(uid));

  const auto applied = store.apply(of(grant_for(uid, "late")));

  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_TRUE(applied->stale_plan);
  EXPECT_EQ(store.list({.include_removed = true})->at(0).refresh_hash, std::nullopt);
}

TEST_F(ChangeTest, ARestoredCredentialHasItsTokenBackAndCanBeRefreshed) {
  Store store = open();
  const Uid uid = add_login(store);
  ASSERT_TRUE(store.remove(uid));

  const auto restored = store.apply(of(restoring(uid)));

  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(store.find(uid)->refresh_hash, hash("refresh-a-1"));
  EXPECT_FALSE(*store.retired(hash("refresh-a-1")));
  will(grants("refresh-a-2", "access-a-2"));
  EXPECT_TRUE(rotate(store, uid, {.force = true}));
}

TEST_F(ChangeTest, P2_ARestoredCredentialDoesNotTakeASpentTokenBack) {
  Store store = open();
  const Uid uid = add_login(store);
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));
  ASSERT_TRUE(store.remove(uid));
  CredentialChange change = grant_for(uid, "a-1", 2);
  change.restore = true;

  EXPECT_EQ(store.apply(of(std::move(change))).error().code, Errc::refused);
  EXPECT_EQ(store.find(uid).error().code, Errc::not_found);
  EXPECT_EQ((*store.retired(hash("refresh-a-2")))->reason, Retirement::removed);
}

TEST_F(ChangeTest, ARestoreWithAnotherGrantRetiresTheOneThatWasRemoved) {
  Store store = open();
  const Uid uid = add_login(store);
  ASSERT_TRUE(store.remove(uid));
  CredentialChange change = grant_for(uid, "newer");
  change.restore = true;

  ASSERT_TRUE(store.apply(of(std::move(change))));

  EXPECT_EQ(text(store.unseal(uid)->refresh_token), "refresh-newer");
  EXPECT_EQ((*store.retired(hash("refresh-a-1")))->reason, Retirement::superseded);
}

TEST_F(ChangeTest, AWipedCredentialCannotBeRestored) {
  Store store = open();
  const Uid uid = add_login(store, "a");
  const Uid other = add_login(store, "b");
  ASSERT_TRUE(store.remove(uid));
  advance(std::chrono::hours(25));
  ASSERT_TRUE(store.remove(other));

  const auto refused = store.apply(of(restoring(uid)));

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_found);
}

TEST_F(ChangeTest, AnUnknownUidIsNotFoundAndLeavesNoJournal) {
  Store store = open();

  EXPECT_EQ(store.apply(of(grant_for("zzzzzzzzzzzz", "x"))).error().code, Errc::not_found);
  EXPECT_FALSE(std::filesystem::exists(journal("zzzzzzzzzzzz")));
}

TEST_F(ChangeTest, ANewCredentialNeedsIdentityAndGrant) {
  Store store = open();
  CredentialChange no_grant = login("a", "x", "y", now());
  no_grant.grant.reset();
  CredentialChange no_identity = login("a", "x", "y", now());
  no_identity.identity.reset();

  EXPECT_EQ(store.apply(of(std::move(no_grant))).error().code, Errc::usage);
  EXPECT_EQ(store.apply(of(std::move(no_identity))).error().code, Errc::usage);
}

TEST_F(ChangeTest, ForeignFieldsAreSealedAndComeBack) {
  Store store = open();
  CredentialChange change = login("a", "access-a-1", "refresh-a-1", now());
  change.extra = Secret::copy_of(R"({"tls":{"insecure":false}})");
  const Uid uid = add(store, std::move(change));

  EXPECT_EQ(text(*store.unseal_extra(uid)), R"({"tls":{"insecure":false}})");
}

TEST_F(ChangeTest, OppositeChangesOfTheSameCredentialsDoNotDeadlock) {
  Store store = open();
  const Uid a = add_login(store, "a");
  const Uid b = add_login(store, "b");
  std::atomic<int> failures{0};
  const auto hammer = [&](const Uid& first, const Uid& second) {
    for (int i = 0; i < 25; ++i) {
      Change change;
      for (const Uid& uid : {first, second}) {
        CredentialChange one;
        one.uid = uid;
        one.planned_against = 1;
        one.hold = i % 2 == 0 ? Hold::conflict : Hold::none;
        change.credentials.push_back(std::move(one));
      }
      const auto applied = store.apply(change);
      if (!applied || applied->stale_plan) ++failures;
    }
  };
  std::thread forth(hammer, a, b);
  std::thread back(hammer, b, a);
  forth.join();
  back.join();

  EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace authdb::test
