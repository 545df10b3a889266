#include <SQLiteCpp/SQLiteCpp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

class QueryTest : public StoreTest {
 protected:
  void SetUp() override {
    Store store = open();
    uid_ = add_login(store);
  }
  Errc refusal(const std::string& sql) {
    const auto rows = open(OpenMode::look).query(sql);
    return rows ? Errc{} : rows.error().code;
  }
  // Everything in the store's directory that looking must not change.
  std::map<std::string, std::string> contents() {
    std::map<std::string, std::string> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path() / "store")) {
      if (!entry.is_regular_file() || entry.path().extension() == ".db-shm" ||
          entry.path().extension() == ".db-wal") {
        continue;
      }
      all[entry.path().string()] = file_bytes(entry.path());
    }
    return all;
  }

  Uid uid_;
};

TEST_F(QueryTest, P7_EverySealedColumnIsRefusedByName) {
  for (const char* sql :
       {"SELECT extra FROM credential", "SELECT access_token FROM token_set",
        "SELECT refresh_token FROM token_set", "SELECT secret FROM agent_key",
        "SELECT extra FROM provider_state", "SELECT unknown FROM import_receipt"}) {
    EXPECT_EQ(refusal(sql), Errc::usage) << sql;
  }
}

TEST_F(QueryTest, P7_NoDetourReachesASealedColumn) {
  for (const char* sql :
       {"SELECT * FROM token_set", "SELECT t.* FROM freshness f, token_set t",
        "SELECT length(REFRESH_TOKEN) FROM main.Token_Set",
        "SELECT 1 FROM token_set WHERE refresh_token LIKE x'01'",
        "SELECT 1 FROM token_set ORDER BY access_token",
        "SELECT (SELECT refresh_token FROM token_set WHERE rowid = 1)",
        "WITH t(a,b,c,d,e) AS (SELECT * FROM token_set) SELECT a FROM t",
        "SELECT hex(r.refresh_token) FROM credential c JOIN token_set r ON r.rowid = c.rowid",
        "SELECT count(refresh_token) FROM token_set",
        "SELECT json_group_array(hex(secret)) FROM agent_key",
        "VALUES ((SELECT secret FROM agent_key))", "EXPLAIN SELECT refresh_token FROM token_set",
        "SELECT data FROM sqlite_dbpage",
        // What these merge, the authorizer is not asked about.
        "SELECT hex(access_token) FROM token_set a FULL JOIN token_set b USING (access_token)",
        "SELECT access_token FROM token_set FULL JOIN (SELECT 1 AS access_token) USING "
        "(access_token)",
        "SELECT 1 FROM token_set NATURAL FULL JOIN (SELECT 1 AS refresh_token)",
        "WITH freshness AS (SELECT secret FROM agent_key FULL JOIN (SELECT 1 AS secret) "
        "USING (secret)) SELECT * FROM freshness",
        "; SELECT secret FROM agent_key FULL JOIN (SELECT 1 AS secret) USING (secret)",
        "/* x */ SELECT secret FROM agent_key FULL JOIN (SELECT 1 AS secret) USING (secret)",
        "SELECT extra FROM provider_state FULL JOIN (SELECT 1 AS extra) USING (extra)",
        "SELECT extra FROM credential FULL JOIN (SELECT 1 AS extra) USING (extra)",
        "SELECT unknown FROM import_receipt FULL JOIN (SELECT 1 AS unknown) USING (unknown)"}) {
    EXPECT_EQ(refusal(sql), Errc::usage) << sql;
  }
}

// The longest statement that SQLite takes cannot be explained, which makes it longer.
TEST_F(QueryTest, P7_AQueryThatIsTooLongToBeLookedAtIsRefused) {
  std::string sql =
      "SELECT hex(access_token) FROM token_set FULL JOIN (SELECT 1 AS access_token) USING "
      "(access_token)";
  sql += " --" + std::string(999'995 - sql.size(), 'x');

  EXPECT_EQ(refusal(sql), Errc::usage);
}

TEST_F(QueryTest, NoIndexHoldsASealedColumn) {
  // Or the instructions that read it would have to be looked for there, too.
  SQLite::Database db(database().string(), SQLite::OPEN_READONLY);
  SQLite::Statement columns(
      db,
      "SELECT count(*) FROM sqlite_schema s JOIN pragma_index_info(s.name) i "
      "WHERE s.type = 'index' AND i.name IN ('access_token', 'refresh_token', "
      "'secret', 'extra', 'unknown')");
  ASSERT_TRUE(columns.executeStep());
  EXPECT_EQ(columns.getColumn(0).getInt(), 0);
}

TEST_F(QueryTest, AValueThatIsTooLargeIsRefusedAndTheStoreStaysUsable) {
  EXPECT_EQ(refusal("SELECT zeroblob(1000000000)"), Errc::usage);
  EXPECT_TRUE(open(OpenMode::look).query("SELECT count(*) FROM freshness"));
}

TEST_F(QueryTest, WhateverDoesMoreThanReadIsRefused) {
  for (const char* sql : {"INSERT INTO profile (name, created_at) VALUES ('x', 0)",
                          "UPDATE health SET status = 'ok'",
                          "DELETE FROM attempt",
                          "DROP TABLE attempt",
                          "CREATE TABLE x (y)",
                          "CREATE TEMP TABLE x (y)",
                          "CREATE TEMP VIEW v AS SELECT 1",
                          "ATTACH ':memory:' AS other",
                          "DETACH main",
                          "PRAGMA journal_mode = DELETE",
                          "PRAGMA user_version",
                          "SELECT * FROM pragma_user_version",
                          "BEGIN",
                          "COMMIT",
                          "SAVEPOINT s",
                          "VACUUM",
                          "VACUUM INTO '/tmp/never'",
                          "REINDEX",
                          "ANALYZE",
                          "SELECT load_extension('x')",
                          "INSERT INTO attempt SELECT * FROM attempt RETURNING 1"}) {
    EXPECT_EQ(refusal(sql), Errc::usage) << sql;
  }
}

TEST_F(QueryTest, MoreThanOneStatementIsRefusedWhateverTheSecondIs) {
  for (const char* sql :
       {"SELECT 1; SELECT 2", "SELECT 1; DROP TABLE attempt", "SELECT 1; nonsense",
        "SELECT 1;; SELECT 2", "SELECT 1; -- and\n SELECT 2",
        "SELECT 1; SELECT secret FROM agent_key"}) {
    EXPECT_EQ(refusal(sql), Errc::usage) << sql;
  }
}

TEST_F(QueryTest, ATrailingSemicolonOrCommentIsNoSecondStatement) {
  for (const char* sql : {"SELECT 1;", "SELECT 1 ; ;\n", "SELECT 1; -- done", "SELECT 1 /* x */",
                          "-- first\nSELECT 1", ";SELECT 1"}) {
    EXPECT_EQ(refusal(sql), Errc{}) << sql;
  }
}

TEST_F(QueryTest, NoStatementAtAllIsAUsageError) {
  for (const char* sql :
       {"", "   ", "-- nothing", ";", "nonsense", "SELECT", "SELECT nope FROM freshness"}) {
    EXPECT_EQ(refusal(sql), Errc::usage) << sql;
  }
}

TEST_F(QueryTest, ARefusedQueryLeavesTheStoreUsable) {
  Store store = open(OpenMode::use);

  EXPECT_FALSE(store.query("SELECT secret FROM agent_key"));
  EXPECT_FALSE(store.query("DROP TABLE attempt"));

  EXPECT_TRUE(store.unseal(uid_));
  EXPECT_TRUE(store.add_profile("after"));
}

TEST_F(QueryTest, CellsKeepTheirTypes) {
  const auto rows = open(OpenMode::look).query("SELECT 1, 1.5, NULL, 'text', '' AS empty");

  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->columns.back(), "empty");
  EXPECT_EQ(rows->rows.at(0), (std::vector<Cell>{std::int64_t{1}, 1.5, std::monostate{},
                                                 std::string("text"), std::string()}));
}

TEST_F(QueryTest, P6_LookingChangesNoByteOfDatabaseOrJournal) {
  {
    Store store = open(OpenMode::use);
    will(grants("refresh-a-2", "access-a-2"));
    ASSERT_TRUE(rotate(store, uid_, {.force = true}));
  }
  const auto before = contents();
  {
    const Store store = open(OpenMode::look);
    EXPECT_TRUE(store.list({.include_removed = true}));
    EXPECT_TRUE(store.find(uid_));
    EXPECT_TRUE(store.pool("default", "nous"));
    EXPECT_TRUE(store.profiles());
    EXPECT_TRUE(store.profiles_of(uid_));
    EXPECT_TRUE(store.providers());
    EXPECT_TRUE(store.provider_state("default", "nous"));
    EXPECT_TRUE(store.retired(hash("refresh-a-1")));
    EXPECT_TRUE(store.receipts());
    EXPECT_TRUE(store.unseal(uid_));
    EXPECT_TRUE(store.unseal_extra(uid_));
    for (const char* view : {"freshness", "pool", "rotation", "family"}) {
      EXPECT_TRUE(store.query(std::string("SELECT * FROM ") + view)) << view;
    }
  }

  EXPECT_EQ(contents(), before);
  EXPECT_EQ(sent().size(), 1u);
}

// The log of a writer that was killed is read, and neither checkpointed nor cut.
TEST_F(QueryTest, P6_LookingDoesNotCheckpointTheLogOfAnother) {
  Store writer = open(OpenMode::use);
  ASSERT_TRUE(writer.add_profile("in the log"));
  const auto before = contents();
  const std::string log = file_bytes(database().string() + "-wal");
  {
    const Store store = open(OpenMode::look);
    EXPECT_THAT(*store.profiles(), ::testing::Contains("in the log"));
  }

  EXPECT_EQ(contents(), before);
  EXPECT_EQ(file_bytes(database().string() + "-wal"), log);
}

// A token that is fresh is read from a store opened for use: the last one to close must not
// checkpoint either, if it wrote nothing.
TEST_F(QueryTest, P6_ReadingAFreshTokenLeavesTheLogOfAKilledWriterAsItIs) {
  const pid_t child = ::fork();
  if (child == 0) {
    Store writer = open(OpenMode::use);
    (void)writer.add_profile("in the log");
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  const std::string log = file_bytes(database().string() + "-wal");
  const auto before = contents();
  ASSERT_FALSE(log.empty());
  {
    const Store store = open(OpenMode::use);
    EXPECT_TRUE(rotate(store, uid_, {}));
    EXPECT_THAT(*store.profiles(), ::testing::Contains("in the log"));
  }

  EXPECT_EQ(contents(), before);
  EXPECT_EQ(file_bytes(database().string() + "-wal"), log);
}

TEST_F(QueryTest, P6_AStoreOpenedToLookRefusesEveryChangeAndSendsNothing) {
  const auto before = contents();
  Store store = open(OpenMode::look);
  advance(Seconds(901));
  Change change;
  change.profiles.push_back("new");

  EXPECT_EQ(rotate(store, uid_, {}).error().code, Errc::usage);
  EXPECT_EQ(store.apply(change).error().code, Errc::usage);
  EXPECT_EQ(store.remove(uid_).error().code, Errc::usage);
  EXPECT_EQ(store.report(uid_, {429, {}, {}, {}}).error().code, Errc::usage);
  EXPECT_EQ(store.touch(uid_).error().code, Errc::usage);

  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(contents(), before);
}

}  // namespace
}  // namespace authdb::test
