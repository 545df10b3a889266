// What becomes of a login in the store.
#include "oauth/new_session.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bearer_fixture.h"

namespace authdb::oauth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string token_of(const std::string& account, const std::string& subject) {
  return fake_jwt(nlohmann::json{{"sub", subject},
                                 {"https://api.openai.com/auth", {{"chatgpt_account_id", account}}}}
                      .dump());
}

// As log_in() would yield it for the bearer of such a token.
NewSession session_of(const std::string& access, const std::string& account,
                      const std::string& subject, const std::string& refresh = "new-refresh") {
  NewSession session;
  session.identity.provider = "nous";
  session.identity.client_id = "hermes-cli";
  session.identity.scope = "inference:invoke";
  session.identity.source = "manual:device_code";
  session.identity.account = account.empty() ? subject : account;
  session.subject = subject;
  session.grant.access_token = Secret::copy_of(access);
  session.grant.refresh_token = Secret::copy_of(refresh);
  session.grant.obtained_at = kStart;
  session.grant.expires_at = kStart + Seconds{900};
  session.grant.session_ends_at = kStart + std::chrono::days{30};
  return session;
}

class Keeping : public BearerTest {
 protected:
  Result<KeptSession> keep(const NewSession& session, const std::string& label = {},
                           const std::string& profile = "default") {
    auto store = open();
    return keep_session(store, session, {profile, label});
  }
  Uid add_account(const std::string& label, const std::string& account,
                  const std::string& subject) {
    Seed seed = jwt_seed();
    seed.label = label;
    seed.access = token_of(account, subject);
    seed.refresh = "refresh-of-" + label;
    return add(seed);
  }
  std::filesystem::path journal(const Uid& uid) {
    return directory_ / "store" / "auth.db.d" / uid.substr(0, 2) / uid;
  }
  // Something else stands in its place.
  void block_journal(const Uid& uid) {
    const auto directory = std::filesystem::path(journal(uid)).parent_path();
    std::filesystem::remove_all(directory);
    std::ofstream(directory) << "in the way";
  }
  void damage_journal(const Uid& uid) {
    { const auto made = LockedCredential::acquire(open(), uid, {Milliseconds(0)}); }
    std::ofstream(journal(uid), std::ios::trunc) << "not a journal\n";
  }
  Credential row(const Uid& uid) { return open().find(uid).value(); }
  std::size_t count() { return open().list({}).value().size(); }
  void change(const Uid& uid, const std::function<void(CredentialChange&)>& how) {
    Change all;
    all.credentials.emplace_back();
    all.credentials[0].uid = uid;
    all.credentials[0].planned_against = row(uid).generation;
    how(all.credentials[0]);
    ASSERT_TRUE(open().apply(all));
  }
};

TEST_F(Keeping, TheFirstLoginIsANewCredentialOfTheProfile) {
  auto session = session_of("opaque", "", "");
  session.identity.label = "ada@example.org";
  const auto kept = keep(session, {}, "scout");

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_FALSE(kept->renewed);
  const Credential stored = row(kept->uid);
  EXPECT_EQ(stored.identity.label, "ada@example.org");
  EXPECT_EQ(stored.origin, Origin::login);
  EXPECT_EQ(stored.family, 1);
  EXPECT_EQ(stored.session_ends_at, kStart + std::chrono::days{30});
  EXPECT_EQ(open().pool("scout", "nous")->at(0).credential.uid, kept->uid);
  const auto ledger = open().query("SELECT kind, outcome, profile FROM rotation");
  EXPECT_EQ(std::get<std::string>(ledger->rows.at(0).at(0)), "login");
}

TEST_F(Keeping, TheSameAccountStartsItsNextFamily) {
  const Uid uid = add_account("work", "acc", "ada");
  const auto kept = keep(session_of(token_of("acc", "ada"), "acc", "ada"));

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_TRUE(kept->renewed);
  EXPECT_EQ(kept->uid, uid);
  EXPECT_EQ(count(), 1U);
  EXPECT_EQ(row(uid).family, 2);
  EXPECT_EQ(row(uid).generation, 2);
  EXPECT_EQ(row(uid).identity.label, "work");
  EXPECT_EQ(row(uid).identity.source, "device_code");  // the tool that wrote it knows it by that
  const auto retired = open().retired(token_hash("refresh-of-work"));
  ASSERT_TRUE(*retired);
  EXPECT_EQ((*retired)->reason, Retirement::superseded);
}

TEST_F(Keeping, ARenewedLoginsTokensGoWhereTheyAreFromAndNotWhereTheOldOnesWent) {
  const Uid uid = add_account("work", "acc", "ada");
  change(uid, [&](CredentialChange& one) {
    one.identity = row(uid).identity;
    one.identity->client_id = "old-client";
    one.identity->portal_base_url = "https://old.example";
    one.identity->inference_base_url = "https://old.example/v1";
    one.identity->base_url = "https://old.example/v2";
    one.identity->ca_file = "/old.pem";
  });
  const auto session = session_of(token_of("acc", "ada"), "acc", "ada");

  ASSERT_EQ(keep(session)->uid, uid);
  const Identity identity = row(uid).identity;
  EXPECT_EQ(identity.client_id, session.identity.client_id);
  EXPECT_EQ(identity.portal_base_url, "");
  EXPECT_EQ(identity.inference_base_url, "");
  EXPECT_EQ(identity.base_url, "");
  EXPECT_EQ(identity.ca_file, "");
}

TEST_F(Keeping, AnotherAccountIsAnotherCredential) {
  const Uid uid = add_account("work", "acc", "ada");
  for (const auto& [account, subject] :
       std::map<std::string, std::string>{{"acc", "bob"}, {"other", "ada"}, {"third", "eve"}}) {
    const auto kept = keep(
        session_of(token_of(account, subject), account, subject, "refresh-" + account + subject));
    ASSERT_TRUE(kept) << kept.error().message;
    EXPECT_FALSE(kept->renewed) << account << subject;
    EXPECT_NE(kept->uid, uid);
  }
  EXPECT_EQ(row(uid).generation, 1);
  EXPECT_EQ(count(), 4U);
}

TEST_F(Keeping, AnUnknownAccountIsANewCredentialUnlessALabelNamesOne) {
  Seed seed = jwt_seed();
  seed.label = "work";
  const Uid uid = add(seed);
  const auto fresh = keep(session_of("opaque", "", "", "r1"));
  const auto named = keep(session_of("opaque-2", "", "", "r2"), "work");

  ASSERT_TRUE(fresh && named);
  EXPECT_FALSE(fresh->renewed);
  EXPECT_TRUE(named->renewed);
  EXPECT_EQ(named->uid, uid);
  EXPECT_EQ(count(), 2U);
}

TEST_F(Keeping, ALabelNeverHandsOneAccountsCredentialToAnother) {
  const Uid uid = add_account("work", "acc", "ada");
  const auto kept = keep(session_of(token_of("other", "bob"), "other", "bob"), "work");

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_NE(kept->uid, uid);
  EXPECT_EQ(row(uid).generation, 1);
  EXPECT_NE(row(kept->uid).identity.label, "work");
  EXPECT_THAT(kept->warning, HasSubstr("work"));
}

TEST_F(Keeping, AmongCredentialsOfOneAccountTheLabelledThenTheDeadIsRenewed) {
  const Uid first = add_account("first", "acc", "ada");
  const Uid second = add_account("second", "acc", "ada");
  change(second, [](CredentialChange& one) {
    one.health = Health{};
    one.health->status = Status::dead;
  });
  EXPECT_EQ(keep(session_of("a", "acc", "ada", "r1"), "first")->uid, first);
  EXPECT_EQ(keep(session_of(token_of("acc", "ada"), "acc", "ada", "r2"))->uid, second);
}

TEST_F(Keeping, DeadHoldAndCooldownAreLifted) {
  const Uid uid = add_account("work", "acc", "ada");
  change(uid, [](CredentialChange& one) {
    one.hold = Hold::uncertain;
    one.health = Health{};
    one.health->status = Status::dead;
    one.health->cooldown_until = kStart + Seconds{3600};
    one.health->error_reason = "invalid_grant";
    one.health->request_count = 7;
  });
  ASSERT_TRUE(keep(session_of(token_of("acc", "ada"), "acc", "ada")));

  EXPECT_EQ(row(uid).hold, Hold::none);
  EXPECT_EQ(row(uid).health.status, Status::ok);
  EXPECT_FALSE(row(uid).health.cooldown_until);
  EXPECT_THAT(row(uid).health.error_reason, IsEmpty());
  EXPECT_EQ(row(uid).health.request_count, 7);
}

TEST_F(Keeping, AnAgentKeyOfTheOldSessionGoesWithIt) {
  Seed seed;
  seed.agent_key = "sk-old";
  seed.key_expires_in = Seconds{3600};
  seed.label = "work";
  const Uid uid = add(seed);
  ASSERT_TRUE(keep(session_of("opaque", "", ""), "work"));

  EXPECT_FALSE(row(uid).has_agent_key);
}

TEST_F(Keeping, WhoeverLogsInNoLongerShunsThatSource) {
  Change shun;
  shun.profiles = {"default"};
  shun.states.emplace_back();
  shun.states[0].profile = "default";
  shun.states[0].provider = "nous";
  shun.states[0].suppressed_sources = {"manual:device_code", "manual"};
  ASSERT_TRUE(open().apply(shun));
  ASSERT_TRUE(keep(session_of("opaque", "", "")));

  EXPECT_FALSE(open().pool("default", "nous")->at(0).suppressed);
  EXPECT_EQ(open().provider_state("default", "nous")->suppressed_sources,
            std::vector<std::string>{"manual"});
}

TEST_F(Keeping, TheIdTokenTravelsWithItsGrant) {
  auto session = session_of("opaque", "", "", "r1");
  session.id_token = Secret::copy_of("id-1");
  const Uid uid = keep(session, "work")->uid;
  EXPECT_THAT(text(open().unseal_extra(uid).value()), HasSubstr("id-1"));

  ASSERT_TRUE(keep(session_of("opaque", "", "", "r2"), "work"));
  EXPECT_THAT(text(open().unseal_extra(uid).value()), testing::Not(HasSubstr("id-1")));
}

TEST_F(Keeping, ANewLabelIsNeverSomebodyElses) {
  add_account("nous-oauth-2", "acc", "ada");
  auto session = session_of("opaque", "", "");
  const auto kept = keep(session);

  ASSERT_TRUE(kept);
  EXPECT_EQ(row(kept->uid).identity.label, "nous-oauth-3");
}

TEST_F(Keeping, ARotationThatComesInBetweenIsDisplacedAllTheSame) {
  const Uid uid = add_account("work", "acc", "ada");
  auto holder = LockedCredential::acquire(open(), uid, {Seconds{1}});
  ASSERT_TRUE(holder);
  Result<KeptSession> kept = fail(Errc::unexpected, "");
  std::thread login([&] { kept = keep(session_of(token_of("acc", "ada"), "acc", "ada")); });
  // The plan is made against generation 1; by the time the lock is free, it is 2.
  answer(200, R"({"access_token":")" + token_of("acc", "ada") +
                  R"(","refresh_token":"rotated","expires_in":900})");
  RotateRequest request;
  request.force = true;
  EXPECT_TRUE(holder->rotate(request));
  { const auto released = *std::move(holder); }
  login.join();

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(row(uid).family, 2);
  EXPECT_EQ(row(uid).generation, 3);
  EXPECT_EQ(row(uid).refresh_hash, token_hash("new-refresh"));
  EXPECT_TRUE(*open().retired(token_hash("rotated")));
}

TEST_F(Keeping, AStoreThatCannotBeWrittenIsSaidBeforeTheLogin) {
  { auto made = open(); }
  auto looking = Store::open(options(), OpenMode::look);
  ASSERT_TRUE(looking);

  EXPECT_FALSE(check_keepable(*looking, "nous", ""));
  const auto kept = keep_session(*looking, session_of("opaque", "", "ada"), {});
  ASSERT_FALSE(kept);
  EXPECT_THAT(kept.error().message, HasSubstr("could not be stored"));
}

TEST_F(Keeping, AStoreWithoutItsKeyIsSaidBeforeTheLogin) {
  add_account("work", "acc", "ada");
  std::filesystem::remove(options().key_file);
  auto store = *Store::open(options(), OpenMode::use);

  EXPECT_EQ(check_keepable(store, "nous", "").error().code, Errc::refused);
}

TEST_F(Keeping, ALoginRenewsACredentialWhoseJournalIsDamaged) {
  const Uid old = add_account("work", "acc", "ada");
  damage_journal(old);

  const auto kept = keep(session_of(token_of("acc", "ada"), "acc", "ada"));

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(kept->uid, old);
  EXPECT_EQ(row(old).refresh_hash, token_hash("new-refresh"));
}

TEST_F(Keeping, ALoginIsKeptAsANewCredentialWhereTheJournalOfTheOldOneCannotBeOpened) {
  const Uid old = add_account("work", "acc", "ada");
  block_journal(old);

  const auto kept = keep(session_of(token_of("acc", "ada"), "acc", "ada"), "work", "scout");

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_NE(kept->uid, old);
  EXPECT_FALSE(kept->renewed);
  EXPECT_THAT(kept->warning, HasSubstr(old));
  EXPECT_EQ(open().pool("scout", "nous")->at(0).credential.uid, kept->uid);
  EXPECT_NE(row(kept->uid).identity.label, "work");
  EXPECT_EQ(row(kept->uid).refresh_hash, token_hash("new-refresh"));
  EXPECT_EQ(row(old).refresh_hash, token_hash("refresh-of-work"));
}

TEST_F(Keeping, ALoginWhoseTokenIsCurrentInACredentialThatCannotBeRenewedIsKeptWithoutIt) {
  const Uid old = add_account("work", "acc", "ada");
  block_journal(old);

  const auto kept =
      keep(session_of(token_of("acc", "ada"), "acc", "ada", "refresh-of-work"), "work");

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_NE(kept->uid, old);
  EXPECT_EQ(row(kept->uid).refresh_hash, std::nullopt);
  EXPECT_THAT(kept->warning, HasSubstr("refresh token"));
}

// One that does not rotate may have one token for a user and a client.
TEST_F(Keeping, AServerThatGivesTheSameTokenAfterALogoutGivesOneThatIsRenewed) {
  const auto first = keep(session_of(token_of("acc", "ada"), "acc", "ada", "the-only-token"));
  ASSERT_TRUE(open().remove(first->uid));

  const auto kept = keep(session_of(token_of("acc", "ada"), "acc", "ada", "the-only-token"));

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_THAT(kept->warning, IsEmpty());
  EXPECT_EQ(kept->uid, first->uid);
  EXPECT_TRUE(kept->renewed);
  EXPECT_EQ(count(), 1U);
  EXPECT_EQ(row(kept->uid).refresh_hash, token_hash("the-only-token"));
  EXPECT_FALSE(*open().retired(token_hash("the-only-token")));
  EXPECT_EQ(open().pool("default", "nous")->at(0).credential.uid, kept->uid);
  EXPECT_TRUE(LockedCredential::acquire(open(), kept->uid, {Milliseconds(0)}));
}

TEST_F(Keeping, ALoginThatCameBackStaysWhereAnOlderDatabaseIsPutBack) {
  const auto first = keep(session_of(token_of("acc", "ada"), "acc", "ada", "the-only-token"));
  ASSERT_TRUE(open().remove(first->uid));
  // The journals are in a directory of their own, and stay.
  const auto database = directory_ / "store" / "auth.db";
  ASSERT_FALSE(std::filesystem::exists(database.string() + "-wal")) << "all is in auth.db";
  std::filesystem::copy_file(database, directory_ / "older.db");
  ASSERT_TRUE(keep(session_of(token_of("acc", "ada"), "acc", "ada", "the-only-token")));
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(database.string() + suffix);
  std::filesystem::rename(directory_ / "older.db", database);
  ASSERT_FALSE(open().find(first->uid)) << "it is removed there";

  const auto locked =
      LockedCredential::acquire(open(), first->uid, {.wait = Milliseconds(0), .removed_too = true});
  ASSERT_TRUE(locked) << locked.error().message;
  EXPECT_FALSE(locked->held().row.removed_at);
  EXPECT_EQ(text(locked->held().refresh_token), "the-only-token");
}

TEST_F(Keeping, ALoginWhoseTokenIsAnotherProvidersIsKeptWithoutItAndSaysWhose) {
  const Uid other = keep(session_of("access-1", "acc", "ada", "the-only-token"))->uid;
  NewSession session = session_of("access-2", "acc", "ada", "the-only-token");
  session.identity.provider = "nous-work";

  const auto kept = keep(session);

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_NE(kept->uid, other);
  EXPECT_EQ(row(kept->uid).refresh_hash, std::nullopt);
  EXPECT_THAT(kept->warning, HasSubstr(other));
  EXPECT_EQ(row(other).refresh_hash, token_hash("the-only-token"));
}

TEST_F(Keeping, ALoginIsKeptAsANewCredentialWhereTheOldOneIsNotLetGoOfInTime) {
  const Uid old = add_account("work", "acc", "ada");
  const auto held = LockedCredential::acquire(open(), old, {Milliseconds(0)});
  ASSERT_TRUE(held);
  StoreOptions hasty = options();
  hasty.lock_wait = Milliseconds(20);
  auto store = *Store::open(hasty, OpenMode::use);

  EXPECT_THAT(*check_keepable(store, "nous", ""), IsEmpty());
  const auto kept = keep_session(store, session_of(token_of("acc", "ada"), "acc", "ada"), {});

  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_NE(kept->uid, old);
  EXPECT_THAT(kept->warning, HasSubstr(old));
}

TEST_F(Keeping, WhatCannotBeRenewedIsSaidBeforeTheLogin) {
  const Uid damaged = add_account("work", "acc", "ada");
  add_account("home", "acc", "bob");
  damage_journal(damaged);
  const auto before = std::filesystem::file_size(journal(damaged));
  auto store = open();

  EXPECT_THAT(*check_keepable(store, "nous", ""), ElementsAre(HasSubstr(damaged)));
  EXPECT_THAT(*check_keepable(store, "nous", "work"), ElementsAre(HasSubstr(damaged)));
  EXPECT_THAT(*check_keepable(store, "nous", "home"), IsEmpty());
  EXPECT_THAT(*check_keepable(store, "nous", "another"), ElementsAre(HasSubstr(damaged)));
  EXPECT_EQ(std::filesystem::file_size(journal(damaged)), before) << "it is left as it is";
}

TEST_F(Keeping, ALabelThatSaysTooLittleIsSaidBeforeTheLogin) {
  add_account("twin", "acc", "ada");
  add_account("other", "acc", "bob");
  auto store = open();
  EXPECT_TRUE(check_keepable(store, "nous", "twin"));
  change(open().list({}).value().at(1).uid, [](CredentialChange& one) {
    one.identity.emplace();
    one.identity->provider = "nous";
    one.identity->label = "twin";
  });

  EXPECT_EQ(check_keepable(store, "nous", "twin").error().code, Errc::usage);
  EXPECT_TRUE(check_keepable(store, "nous", ""));
}

}  // namespace
}  // namespace authdb::oauth
