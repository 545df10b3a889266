#include "store/sqlite/query.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <signal.h>
#include <sqlite3.h>
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
  // Why a query is refused; empty: it is not.
  std::string refusal_within(const sqlite::QueryLimits& limits, const std::string& sql) {
    SQLite::Database db(database().string(), SQLite::OPEN_READONLY);
    try {
      (void)sqlite::run_query(db, sql, limits);
    } catch (const BackendError& error) {
      EXPECT_EQ(error.error.code, Errc::usage);
      return error.error.message;
    }
    return {};
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

TEST_F(QueryTest, NoFunctionMakesAValueOfMoreThanAMebibyte) {
  for (const char* sql :
       {"SELECT zeroblob(1048577)", "SELECT length(hex(zeroblob(600000)))",
        "SELECT length(randomblob(2000000))",
        "SELECT length(replace(hex(zeroblob(500000)), '0', '00'))",
        "SELECT length(hex(zeroblob(500000)) || hex(zeroblob(500000)))",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 600) "
        "SELECT group_concat(hex(zeroblob(1000))) FROM n",
        "SELECT length(json_group_array(hex(zeroblob(300000)))) FROM (VALUES (1), (2))"}) {
    const auto rows = open(OpenMode::look).query(sql);
    ASSERT_FALSE(rows) << sql;
    EXPECT_EQ(rows.error().code, Errc::usage) << sql;
    EXPECT_THAT(rows.error().message, ::testing::HasSubstr("substr")) << sql;
  }
  EXPECT_EQ(refusal("SELECT hex(zeroblob(500000))"), Errc{});
  // This one says nothing, and makes none.
  const auto formatted =
      open(OpenMode::look).query("SELECT length(printf('%.*c', 2000000, 'x')) IS NULL");
  ASSERT_TRUE(formatted);
  EXPECT_EQ(formatted->rows.at(0).at(0), Cell(std::int64_t{1}));
}

// Its sealed fields are not read by a query, and may be longer than what a query may make.
TEST_F(QueryTest, ACredentialWithMuchThatIsSealedIsShown) {
  Change change;
  change.credentials.emplace_back();
  change.credentials[0].uid = uid_;
  change.credentials[0].identity = open().find(uid_)->identity;
  change.credentials[0].extra = Secret::copy_of("{\"x\":\"" + std::string(3 << 20, 'x') + "\"}");
  const auto changed = open(OpenMode::use).apply(change);
  ASSERT_TRUE(changed) << changed.error().message;

  for (const char* sql : {"SELECT * FROM freshness", "SELECT * FROM pool", "SELECT * FROM rotation",
                          "SELECT uid, label, removed_at, ca_file FROM credential"}) {
    const auto rows = open(OpenMode::look).query(sql);
    EXPECT_TRUE(rows) << sql << ": " << rows.error().message;
  }
}

TEST_F(QueryTest, AnAnswerLargerThanItsLimitIsRefusedBeforeItIsGathered) {
  constexpr const char* kEndless =
      "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) ";
  const sqlite::QueryLimits limits{.value = 1 << 14, .memory = 4 << 20};
  for (const char* sql :
       {"SELECT i, printf('%.*c', 10000, 'x') FROM n", "SELECT i FROM n ORDER BY i DESC",
        "SELECT DISTINCT i FROM n WHERE i % 2 = 0", "SELECT json_group_array(i) FROM n",
        "SELECT count(DISTINCT i) FROM n"}) {
    sqlite3_memory_highwater(1);
    EXPECT_THAT(refusal_within(limits, kEndless + std::string(sql)),
                ::testing::HasSubstr("4 MiB of memory"))
        << sql;
    EXPECT_LT(sqlite3_memory_highwater(0), 16 << 20) << sql;
  }
  EXPECT_EQ(refusal_within(limits, "SELECT * FROM freshness"), "");
}

TEST_F(QueryTest, ARowThatCannotFitIsRefusedBeforeItIsMade) {
  std::string sql = "SELECT length(coalesce(json_array(NULL";
  for (int i = 0; i < 100; ++i) sql += ", printf('%.*c', 10000, 'x')";
  sql += "), 1))";
  const sqlite::QueryLimits limits{.value = 1 << 14, .memory = 64 << 14};

  EXPECT_THAT(refusal_within(limits, sql), ::testing::HasSubstr("too large"));
}

TEST_F(QueryTest, AQueryThatTakesTooLongIsRefused) {
  EXPECT_THAT(refusal_within({.time = std::chrono::milliseconds(0)},
                             "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) "
                             "SELECT count(*) FROM n"),
              ::testing::HasSubstr("longer than"));
}

TEST_F(QueryTest, APatternThatTakesForeverIsRefused) {
  EXPECT_EQ(refusal("SELECT 'x' LIKE hex(zeroblob(1000))"), Errc::usage);
  EXPECT_EQ(refusal("SELECT 'x' GLOB hex(zeroblob(1000))"), Errc::usage);
}

TEST_F(QueryTest, AFunctionIsCalledOnlyIfItIsKnownToBeHarmless) {
  for (const char* sql :
       {"SELECT load_extension('x')", "SELECT fts3_tokenizer('simple')",
        "SELECT fts3_tokenizer('x', x'0000000000000000')", "SELECT fts5_source_id()",
        "SELECT sqlite_log(1, 'x')", "SELECT fts5(NULL)", "SELECT rtreecheck('x')"}) {
    EXPECT_THAT(refusal_within({}, sql), ::testing::HasSubstr("which a query may not")) << sql;
  }
}

TEST_F(QueryTest, TheFunctionsOfEverydayAreThere) {
  for (const char* sql :
       {"SELECT count(*), max(expires_in_s), group_concat(label), json_group_array(uid) FROM "
        "freshness",
        "SELECT strftime('%Y', at), date(at), julianday(at), unixepoch(at) FROM rotation",
        "SELECT row_number() OVER (ORDER BY label), lag(label) OVER (ORDER BY label) FROM "
        "freshness",
        "SELECT label LIKE '%a%', label GLOB '*a*', upper(label), substr(label, 1, 3) FROM "
        "freshness",
        "SELECT value, profiles ->> 0 FROM freshness, json_each(profiles)",
        "SELECT iif(1, 2, 3), coalesce(NULL, 1), nullif(1, 2), round(1.5), abs(-1), sqrt(4), "
        "typeof(1)",
        "SELECT quote(label), hex(label), instr(label, 'a'), trim(label), current_timestamp FROM "
        "freshness"}) {
    EXPECT_EQ(refusal_within({}, sql), "") << sql;
  }
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
