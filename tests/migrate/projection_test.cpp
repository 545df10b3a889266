// Files that are kept supplied, where they or the store are older than they were.
#include "store/doctor.h"
#include "tests/migrate/cutover_fixture.h"

namespace authdb::migrate {
namespace {

class ProjectionTest : public CutoverTest {
 protected:
  void SetUp() override {
    root(nous_home("rt-1"));
    Store store = open();
    cut(store);
    refresh_and_project(store);
  }
  void refresh_and_project(Store& store) {
    refresh(store, nous(store).uid);
    ASSERT_TRUE(project_all(store, kWait));
  }
  static std::string bearer(const Store& store) {
    return text(store.unseal(nous(store).uid)->access_token);
  }
  std::string shown() const { return tree()["providers"]["nous"]["access_token"]; }
  static std::vector<std::string> behind(const Store& store) {
    const auto found = projections_left_behind(store);
    EXPECT_TRUE(found);
    return found ? *found : std::vector<std::string>();
  }
  static CutOverOptions only(const fs::path& path) { return {from({path}), false, kWait}; }
  // Claude Code's file with a login of its own.
  fs::path cut_over_claude(Store& store) {
    const json grant{{"accessToken", "sk-ant-oat-1"},
                     {"refreshToken", "rt-claude"},
                     {"expiresAt", to_millis(now() + Seconds(3600))}};
    const auto path = home_.write_json("claude/.credentials.json", {{"claudeAiOauth", grant}});
    EXPECT_TRUE(migrate::cut_over(store, only(path)));
    return path;
  }
  void put_there(const fs::path& claude, const char* key, const std::string& token) {
    json changed = tree(claude);
    changed["claudeAiOauth"][key] = token;
    home_.write_json(claude.lexically_relative(home_.path()).string(), changed);
  }
  void drop_database() {
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database().string() + suffix);
  }
};

TEST_F(ProjectionTest, AnEarlierFilePutBackIsNamedAndSuppliedAgain) {
  Store store = open(OpenMode::use);
  const std::string earlier = contents(file());
  refresh_and_project(store);
  refresh_and_project(store);
  home_.write("auth.json", earlier);
  EXPECT_THAT(behind(store), IsEmpty()) << "somebody may be about to write it";
  advance(Seconds(120));

  EXPECT_THAT(behind(store), ElementsAre(HasSubstr("not up to date")));

  const auto done = project_all(store, kWait);
  ASSERT_TRUE(done);
  EXPECT_EQ(shown(), bearer(store));
  EXPECT_EQ(tree()["credential_pool"]["nous"][0]["access_token"], bearer(store));
  EXPECT_THAT(behind(store), IsEmpty());
}

TEST_F(ProjectionTest, AFileThatIsNewerThanTheDatabaseIsSuppliedOn) {
  const std::string older = test::file_bytes(database());
  {
    Store store = open(OpenMode::use);
    refresh_and_project(store);
  }
  drop_database();
  std::ofstream(database(), std::ios::binary) << older;
  ::chmod(database().c_str(), 0600);
  Store store = open(OpenMode::use);

  refresh_and_project(store);

  EXPECT_EQ(shown(), bearer(store));
}

TEST_F(ProjectionTest, ABearerThatNobodyKnowsIsNamedAndACutOverReplacesIt) {
  Store store = open(OpenMode::use);
  const fs::path claude = cut_over_claude(store);
  put_there(claude, "accessToken", "nobody-knows-this-one");
  const auto says = AllOf(HasSubstr("/claudeAiOauth"), HasSubstr("authdb migrate --cutover"));

  EXPECT_THAT(behind(store), ElementsAre(says));
  ASSERT_TRUE(project_all(store, kWait));
  EXPECT_EQ(tree(claude)["claudeAiOauth"]["accessToken"], "nobody-knows-this-one")
      << "it may be somebody's";
  EXPECT_THAT(behind(store), ElementsAre(says)) << "still";

  const auto again = migrate::cut_over(store, only(claude));
  ASSERT_TRUE(again);
  EXPECT_EQ(tree(claude)["claudeAiOauth"]["accessToken"], "sk-ant-oat-1");
  ASSERT_THAT(again->files, SizeIs(1));
  EXPECT_THAT(contents(again->files[0].kept), HasSubstr("nobody-knows-this-one"));
  EXPECT_THAT(behind(store), IsEmpty());
}

TEST_F(ProjectionTest, ABearerOfAnotherProviderIsNotTakenForThePlacesOwn) {
  Store store = open(OpenMode::use);
  const fs::path claude = cut_over_claude(store);
  const auto has = [&] { return tree(claude)["claudeAiOauth"]["accessToken"]; };

  put_there(claude, "accessToken", bearer(store));
  ASSERT_TRUE(project_all(store, kWait));
  EXPECT_FALSE(hand_over(store, claude, kWait)) << "somebody else's pair, to this tool";
  ASSERT_TRUE(migrate::cut_over(store, only(claude)));
  EXPECT_EQ(has(), "sk-ant-oat-1");

  put_there(claude, "refreshToken", "rt-1");
  ASSERT_TRUE(migrate::cut_over(store, only(claude)));
  EXPECT_EQ(has(), "sk-ant-oat-1");
}

TEST_F(ProjectionTest, ThePlaceOfALoginThatIsRemovedKeepsNobodyElsesBack) {
  Store store = open(OpenMode::use);
  json both = tree();
  both["credential_pool"]["anthropic"] =
      json::array({{{"id", "b7c8d9"},
                    {"label", "gone"},
                    {"auth_type", "oauth"},
                    {"source", "hermes_pkce"},
                    {"access_token", "sk-ant-oat-9"},
                    {"refresh_token", "rt-9"},
                    {"expires_at_ms", to_millis(now() + Seconds(3600))}}});
  root(both);
  cut(store);
  const auto gone = store.list({"anthropic", "", false});
  ASSERT_EQ(gone->size(), 1u);
  ASSERT_TRUE(store.remove(gone->at(0).uid));
  json changed = tree();
  changed["credential_pool"]["anthropic"][0]["access_token"] = "nobody-knows-this-one";
  root(changed);

  refresh(store, nous(store).uid);
  const auto done = project_all(store, kWait);

  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ((*done)[0].warning, "");
  EXPECT_EQ(shown(), bearer(store));
}

// The variable of a reference and a key that stands there are two keys, of one provider.
TEST_F(ProjectionTest, CuttingOverAgainLeavesWhatIsNoGrantAsItIs) {
  json reference = key_row("e5f6a7", "");
  reference["source"] = "env:OPENROUTER_API_KEY";
  reference["secret_fingerprint"] = "sha256:0123456789abcdef";
  reference.erase("access_token");
  json both = tree();
  both["credential_pool"]["openrouter"] = {reference, key_row("f6a7b8", "sk-manual")};
  root(both);
  Store store = open(OpenMode::use);

  for (int time = 0; time < 3; ++time) {
    cut(store);
    EXPECT_EQ(tree()["credential_pool"]["openrouter"], both["credential_pool"]["openrouter"])
        << time;
  }
}

// Nothing but its access token tells whose it is, and that one is not the last.
TEST_F(ProjectionTest, AForgottenFileIsNoNewLogin) {
  fs::path claude;
  {
    Store store = open(OpenMode::use);
    claude = cut_over_claude(store);
  }
  drop_database();
  (void)repair(options());
  Store store = open(OpenMode::use);
  refresh(store, store.list({"anthropic", "", false})->at(0).uid);
  const auto documents = read_sources(from({claude}));

  ASSERT_TRUE(apply(store, *documents, from({claude})));

  EXPECT_THAT(*store.list({"anthropic", "", false}), SizeIs(1));
  EXPECT_THAT(*store.list({"anthropic", "default", false}), SizeIs(1))
      << "its profile has it again";
}

// The file has no refresh token any more, and no backup is as new as it.
TEST_F(ProjectionTest, P5_WhatWasCutOverOutlivesItsDatabase) {
  cut_over_anew();
  drop_database();

  const auto findings = repair(options());

  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].code, "database_lost") << findings[0].message;
  Store store = open(OpenMode::use);
  EXPECT_EQ(refresh_token(store), "rt-1");
  EXPECT_EQ(nous(store).hold, Hold::none);
}

TEST_F(ProjectionTest, P5_AFileKeepsItsRefreshTokenWhereTheJournalCannotBeWritten) {
  fs::remove_all(database().parent_path());
  root(nous_home("rt-1"));
  Store store = open();
  migrate(store);
  const Uid uid = nous(store).uid;
  const fs::path folder = fs::path(database().string() + ".d") / uid.substr(0, 2);
  fs::remove_all(folder);
  std::ofstream(folder) << "no directory";

  const auto done = migrate::cut_over(store, options_for());

  EXPECT_FALSE(done);
  EXPECT_EQ(tree()["providers"]["nous"]["refresh_token"], "rt-1");
}

}  // namespace
}  // namespace authdb::migrate
