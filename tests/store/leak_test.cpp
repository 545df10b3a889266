// P7: every secret that ever went in, searched for in every byte the store left behind.
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

class LeakTest : public StoreTest {
 protected:
  const std::vector<std::string> secrets_ = {
      "SECRET-access-one",  "SECRET-refresh-one", "SECRET-access-two", "SECRET-refresh-two",
      "SECRET-access-new",  "SECRET-refresh-new", "SECRET-agent-key",  "SECRET-extra-field",
      "SECRET-state-extra", "SECRET-receipt",     "SECRET-api-key"};

  void expect_no_secret_in(const std::string& text, const std::string& where) {
    for (const std::string& secret : secrets_) {
      EXPECT_EQ(text.find(secret), std::string::npos) << secret << " is in " << where;
    }
  }
  int expect_no_secret_on_disk() {
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path())) {
      if (!entry.is_regular_file()) continue;
      expect_no_secret_in(file_bytes(entry.path()), entry.path().string());
      ++files;
    }
    return files;
  }
  StoreOptions logged() {
    StoreOptions made = options();
    made.log = [this](LogLevel, std::string_view text) {
      expect_no_secret_in(std::string(text), "the log");
    };
    return made;
  }

  // Everything a store can be told, with the log of it still open.
  Uid fill(Store& store) {
    CredentialChange oauth = login("a", "SECRET-access-one", "SECRET-refresh-one", now());
    oauth.agent_key.emplace();
    oauth.agent_key->secret = Secret::copy_of("SECRET-agent-key");
    oauth.extra = Secret::copy_of(R"({"x":"SECRET-extra-field"})");
    CredentialChange key = login("k", "SECRET-api-key", "", now());
    key.identity->auth_type = AuthType::api_key;
    Change change;
    change.credentials.push_back(std::move(oauth));
    change.credentials.push_back(std::move(key));
    change.states.push_back(
        {"default", "nous", true, Strategy::fill_first, {}, Secret::copy_of("SECRET-state-extra")});
    change.receipts.push_back(
        {"/auth.json", "00", "hermes", "default", 1, 1, Secret::copy_of("SECRET-receipt")});
    const auto applied = store.apply(change);
    EXPECT_TRUE(applied) << applied.error().message;
    return applied->uids.at(0);
  }
};

TEST_F(LeakTest, P7_NoFileOfTheStoreHoldsASecretInClear) {
  Store store = *Store::open(logged(), OpenMode::create);
  const Uid uid = fill(store);
  EXPECT_GE(expect_no_secret_on_disk(), 5);

  will(grants("SECRET-refresh-two", "SECRET-access-two"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));
  EXPECT_GE(expect_no_secret_on_disk(), 6);

  CredentialChange displaced = login("", "SECRET-access-new", "SECRET-refresh-new", now());
  displaced.identity.reset();
  displaced.uid = uid;
  displaced.planned_against = 2;
  Change change;
  change.credentials.push_back(std::move(displaced));
  ASSERT_TRUE(store.apply(change));
  EXPECT_GE(expect_no_secret_on_disk(), 6);

  ASSERT_TRUE(store.remove(uid));
  EXPECT_GE(expect_no_secret_on_disk(), 6);
}

TEST_F(LeakTest, P7_AnAnswerWaitingInItsJournalIsSealed) {
  Store store = *Store::open(logged(), OpenMode::create);
  const Uid uid = fill(store);
  StoreOptions impatient = logged();
  impatient.lock_wait = Milliseconds(20);
  Store blocked = *Store::open(impatient, OpenMode::use);
  std::optional<FileLock> gate;
  Reply reply = grants("SECRET-refresh-two", "SECRET-access-two");
  reply.meanwhile = [&] {
    gate = *FileLock::acquire(database().string() + ".d/gate", Milliseconds(0));
  };
  will(std::move(reply));

  const auto served = rotate(blocked, uid, {.force = true});

  ASSERT_TRUE(served) << served.error().message;
  expect_no_secret_in(served->warning, "the warning");
  EXPECT_GE(expect_no_secret_on_disk(), 6);
}

TEST_F(LeakTest, P7_NoErrorQuotesASecret) {
  Store store = *Store::open(logged(), OpenMode::create);
  const Uid uid = fill(store);
  std::vector<Error> errors;
  const auto note = [&](const auto& result) {
    ASSERT_FALSE(result);
    errors.push_back(result.error());
  };
  will({.before_send = true});
  note(rotate(store, uid, {.force = true}));
  will({.status = 429, .body = "slow down SECRET-refresh-one"});
  note(rotate(store, uid, {.force = true}));
  will({.silence = true});
  note(rotate(store, uid, {.force = true}));
  will({.status = 400, .body = R"({"error":"invalid_grant"})"});
  note(rotate(store, uid, {.force = true, .replay = true}));
  Change twice;
  twice.credentials.push_back(login("b", "SECRET-access-new", "SECRET-refresh-one", now()));
  note(store.apply(twice));
  note(store.query("SELECT 'SECRET-access-new' FROM nowhere; SELECT secret FROM agent_key"));

  for (const Error& error : errors) {
    if (error.message.find("nowhere") != std::string::npos) continue;  // their own words
    expect_no_secret_in(error.message + error.hint, "an error");
  }
}

TEST_F(LeakTest, P7_NoViewShowsASecret) {
  Store store = *Store::open(logged(), OpenMode::create);
  const Uid uid = fill(store);
  will(grants("SECRET-refresh-two", "SECRET-access-two"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  for (const char* view : {"freshness", "pool", "rotation", "family"}) {
    const auto rows = store.query(std::string("SELECT * FROM ") + view);
    ASSERT_TRUE(rows);
    for (const auto& row : rows->rows) {
      for (const Cell& cell : row) {
        if (const auto* shown = std::get_if<std::string>(&cell)) expect_no_secret_in(*shown, view);
      }
    }
  }
}

}  // namespace
}  // namespace authdb::test
