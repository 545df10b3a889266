// Minor schema steps: what an older program made is brought up by use and never by looking.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/backup.h"
#include "store/doctor.h"
#include "store/journal.h"
#include "store_fixture.h"

namespace authdb::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

namespace fs = std::filesystem;

constexpr int kNewest = 7;

class SchemaStepsTest : public StoreTest {
 protected:
  static fs::path frozen_at(int minor) {
    return fs::path(AUTHDB_TEST_DATA) / "stores" / ("minor-" + std::to_string(minor));
  }
  // A store as a program of that schema minor left it, with a key, a login and two profiles.
  void lay_out(int minor) {
    const fs::path frozen = frozen_at(minor);
    fs::create_directories(database().parent_path());
    fs::create_directories(dir_.path() / "config");
    fs::copy(frozen / "auth.db", database());
    fs::copy(frozen / "auth.db.d", database().string() + ".d", fs::copy_options::recursive);
    fs::copy(frozen / "seal.key", dir_.path() / "config" / "seal.key");
    for (const auto& directory : {dir_.path() / "config", database().parent_path()}) {
      fs::permissions(directory, fs::perms::owner_all);
      for (const auto& entry : fs::recursive_directory_iterator(directory)) {
        fs::permissions(entry, entry.is_directory()
                                   ? fs::perms::owner_all
                                   : fs::perms::owner_read | fs::perms::owner_write);
      }
    }
  }

  void sql(const std::string& statements) {
    ASSERT_EQ(::system(("sqlite3 " + database().string() + " \"" + statements + "\"").c_str()), 0);
  }
  static std::string minor(const Store& store) {
    const auto rows = store.query("SELECT value FROM meta WHERE key = 'schema_minor'");
    return rows ? std::to_string(std::get<std::int64_t>(rows->rows.at(0).at(0)))
                : rows.error().message;
  }
  static std::vector<std::string> schema(const Store& store) {
    const auto rows = store.query("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name");
    std::vector<std::string> out;
    for (const auto& row : rows->rows) out.push_back(std::get<std::string>(row.at(0)));
    return out;
  }
};

class OlderStoreTest : public SchemaStepsTest, public testing::WithParamInterface<int> {};

INSTANTIATE_TEST_SUITE_P(OfMinor, OlderStoreTest, testing::Range(0, kNewest));

TEST_P(OlderStoreTest, UseBringsItUpAndLosesNothing) {
  lay_out(GetParam());

  Store store = open(OpenMode::use);

  EXPECT_EQ(minor(store), std::to_string(kNewest));
  const auto login = store.list({"nous", "", false});
  ASSERT_EQ(login->size(), 1u);
  EXPECT_EQ(text(store.unseal(login->front().uid)->refresh_token), "refresh-frozen-1");
  EXPECT_THAT(*store.profiles(), ElementsAre("default", "atlas"));
  EXPECT_THAT(*store.projections(), IsEmpty());
}

TEST_P(OlderStoreTest, LookingLeavesItAsItIsAndWorks) {
  lay_out(GetParam());
  const std::string before = file_bytes(database());

  const Store store = open(OpenMode::look);

  EXPECT_EQ(minor(store), std::to_string(GetParam()));
  EXPECT_THAT(*store.projections(), IsEmpty());
  EXPECT_THAT(*store.projections_behind(), IsEmpty());
  EXPECT_EQ(store.list({})->size(), 2u);
  EXPECT_EQ(file_bytes(database()), before);
}

TEST_P(OlderStoreTest, LookingFindsNothingInWhatLaterStepsAdd) {
  lay_out(GetParam());

  const Store store = open(OpenMode::look);

  const auto pool = store.pool("default", "nous");
  ASSERT_TRUE(pool) << pool.error().message;
  ASSERT_EQ(pool->size(), 1u);
  EXPECT_EQ(pool->front().credential.identity.ca_file, "");
  EXPECT_EQ(store.find(pool->front().credential.uid)->uid, pool->front().credential.uid);
  EXPECT_EQ(*store.owner_of_bearer("sha256:0123456789abcdef"), std::nullopt);
  const auto renewals = store.query("SELECT credential, losses, rejected FROM renewal");
  ASSERT_TRUE(renewals) << renewals.error().message;
  EXPECT_THAT(renewals->rows, IsEmpty());
}

TEST_P(OlderStoreTest, WhoLooksSeesWhatIsWrittenOnceSomebodyHasBroughtItUp) {
  lay_out(GetParam());
  const Store looking = open(OpenMode::look);
  ASSERT_THAT(*looking.projections(), IsEmpty());

  Store store = open(OpenMode::use);
  const Uid uid = store.list({"nous", "", false})->front().uid;
  const auto shown = store.find(uid)->access_fingerprint;
  ASSERT_TRUE(store.put_projection({"/a", "hermes", "default", now(), {{uid, "/p", shown}}}));

  EXPECT_EQ(looking.projections()->size(), 1u);
  EXPECT_EQ(*looking.owner_of_bearer(shown), uid);
}

TEST_P(OlderStoreTest, WhereItCannotBeBroughtUpTokensAreReadAndTheNextWriteTriesAgain) {
  lay_out(GetParam());
  struct Way {
    const char* put;
    const char* clear;
  };
  const Way way =
      GetParam() == 6 ? Way{"CREATE TABLE attempt_login (in_the_way)", "DROP TABLE attempt_login"}
      : GetParam() == 5
          ? Way{"CREATE TABLE token_set_obtained (in_the_way)", "DROP TABLE token_set_obtained"}
      : GetParam() == 4 ? Way{"ALTER TABLE renewal ADD COLUMN refused INT",
                              "ALTER TABLE renewal DROP COLUMN refused"}
                        : Way{"CREATE TABLE renewal (in_the_way)", "DROP TABLE renewal"};
  sql(way.put);

  Store store = open(OpenMode::use);

  const auto login = store.list({"nous", "", false});
  ASSERT_TRUE(login) << login.error().message;
  EXPECT_EQ(text(store.unseal(login->front().uid)->refresh_token), "refresh-frozen-1");
  EXPECT_FALSE(store.add_profile("later"));
  sql(way.clear);
  EXPECT_TRUE(store.add_profile("later"));
  EXPECT_EQ(minor(store), std::to_string(kNewest));
}

TEST_P(OlderStoreTest, ABackupOfItIsRestored) {
  lay_out(GetParam());
  Uid uid;
  {
    Store store = open(OpenMode::use);
    uid = store.list({"nous", "", false})->front().uid;
    ASSERT_TRUE(store.remove(uid));
  }

  fs::copy(frozen_at(GetParam()) / "auth.db", dir_.path() / "backup.db");
  const auto restored = restore(options(), dir_.path() / "backup.db");

  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(restored->back, 1);
  EXPECT_EQ(open().find(uid)->uid, uid);
}

TEST_P(OlderStoreTest, BroughtUpItIsTheSameAsANewOne) {
  lay_out(GetParam());
  const auto brought_up = schema(open(OpenMode::use));
  fs::remove_all(database().parent_path());

  EXPECT_EQ(schema(open(OpenMode::create)), brought_up);
}

TEST_P(OlderStoreTest, NothingOfItsSchemaIsStrange) {
  lay_out(GetParam());

  for (const Finding& finding : examine(options())) {
    EXPECT_NE(finding.code, "schema") << finding.message;
  }
}

TEST_P(OlderStoreTest, ManyThatOpenItAtOnceBringItUpOnce) {
  lay_out(GetParam());
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto store = Store::open(options(), OpenMode::use);
      ::_exit(store && minor(*store) == std::to_string(kNewest) ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(SchemaStepsTest, TheRecordOfAJournalOfThenIsRead) {
  lay_out(4);
  Store store = open(OpenMode::use);
  const Credential row = store.list({"nous", "", false})->front();
  const std::string id = file_bytes(database().string() + ".d/store").substr(0, 26);

  const auto journal = Journal::look({database().string() + ".d", id, row.uid});

  ASSERT_TRUE(journal) << journal.error().message;
  EXPECT_EQ(journal->state().revision, kFirstRevision);
  EXPECT_EQ(journal->state().hash, row.refresh_hash);
  EXPECT_EQ(journal->state().renewal.rejected, "");
  will(grants("refresh-a-2", "access-a-2"));
  const auto rotated = rotate(store, row.uid, {.force = true});
  EXPECT_TRUE(rotated) << rotated.error().message;
}

TEST_F(SchemaStepsTest, AStoreOfALaterMinorVersionIsUsedAsItIs) {
  { Store store = open(); }
  sql("UPDATE meta SET value = 99 WHERE key = 'schema_minor'; CREATE TABLE of_tomorrow (x)");

  Store store = open(OpenMode::use);

  EXPECT_EQ(minor(store), "99");
  const auto findings = examine(options());
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].code, "schema_newer");
  const Uid uid = add_login(store);
  will(grants("refresh-a-2", "access-a-2"));
  EXPECT_TRUE(rotate(store, uid, {.force = true}));
}

TEST_F(SchemaStepsTest, AProjectionIsBehindFromARotationUntilItIsWritten) {
  Store store = open();
  const Uid uid = add_login(store);
  Projection projection{"/home/ada/.hermes/auth.json", "hermes", "default", now(), {}};
  projection.tokens = {{uid, "/providers/nous", store.find(uid)->access_fingerprint}};
  ASSERT_TRUE(store.put_projection(projection));
  EXPECT_THAT(*store.projections_behind(), IsEmpty());

  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));
  EXPECT_THAT(*store.projections_behind(), ElementsAre(projection.path));

  projection.tokens = {{uid, "/providers/nous", store.find(uid)->access_fingerprint}};
  ASSERT_TRUE(store.put_projection(projection));
  EXPECT_THAT(*store.projections_behind(), IsEmpty());
  ASSERT_EQ(store.projections()->size(), 1u);
  EXPECT_EQ(store.projections()->front().tokens, projection.tokens);

  ASSERT_TRUE(store.drop_projection(projection.path));
  EXPECT_THAT(*store.projections(), IsEmpty());
}

}  // namespace
}  // namespace authdb::test
