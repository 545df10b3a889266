// How the ledger forgets: a step at a time, one credential's rows, by an index.
#include "store/sqlite/ledger.h"

#include <sqlite3.h>

#include "store/engine.h"
#include "store/timestamp.h"
#include "store_fixture.h"

namespace authdb::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Milliseconds kWait{5000};

class LedgerTest : public StoreTest {
 protected:
  // So many rows of a credential, older ones first; `age` is the oldest one's.
  void fill(Store& store, const Uid& uid, int rows, Milliseconds age) {
    const auto txn = store.engine().backend->begin_write(kWait);
    Attempt attempt = store.engine().new_attempt(AttemptKind::refresh, "default");
    const auto id = txn->load(uid)->row.id;
    for (int i = 0; i < rows; ++i) {
      attempt.started_at = now() - age + Milliseconds(i);
      txn->record(id, attempt);
    }
    txn->commit();
  }
  // As an older program left them: nobody has looked at what can go.
  void fill_unpruned(const Uid& uid, int rows, Milliseconds age) {
    const std::string sql =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
        std::to_string(rows) +
        ") INSERT INTO attempt (credential, kind, outcome, family, from_generation, pid, boot_id, "
        "host, process, started_at) SELECT c.id, 'refresh', 'not_sent', 1, 1, 1, 'b', 'h', 'p', " +
        std::to_string(to_millis(now() - age)) + " + i FROM n, credential c WHERE c.uid = '" + uid +
        "'";
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(database().c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  struct Cost {
    std::int64_t deleted = 0;
    std::int64_t scanned = 0;
    std::int64_t steps = 0;
  };
  // One step, of the first credential.
  Cost prune() {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(database().c_str(), &db), SQLITE_OK);
    sqlite3_stmt* prune = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db, sqlite::kPruneLedger, -1, &prune, nullptr), SQLITE_OK);
    sqlite3_bind_int64(prune, 1, 1);
    sqlite3_bind_int64(prune, 2, to_millis(now() - sqlite::kLedgerAge));
    sqlite3_bind_int64(prune, 3, sqlite::kLedgerRows);
    sqlite3_bind_int64(prune, 4, sqlite::kLedgerPruneStep);
    EXPECT_EQ(sqlite3_step(prune), SQLITE_DONE) << sqlite3_errmsg(db);
    const Cost cost{sqlite3_changes(db),
                    sqlite3_stmt_status(prune, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0),
                    sqlite3_stmt_status(prune, SQLITE_STMTSTATUS_VM_STEP, 0)};
    sqlite3_finalize(prune);
    sqlite3_close(db);
    return cost;
  }
  static std::int64_t rows_of(const Store& store, const Uid& uid) {
    const auto rows = store.query("SELECT count(*) FROM rotation WHERE uid = '" + uid + "'");
    return std::get<std::int64_t>(rows->rows.at(0).at(0));
  }
};

TEST_F(LedgerTest, ALongOneShrinksStepByStepToItsNewestThousand) {
  Store store = open();
  const Uid uid = add_login(store);
  fill_unpruned(uid, 3000, std::chrono::hours(1));

  std::int64_t before = rows_of(store, uid);
  for (int i = 0; i < 20; ++i) {
    fill(store, uid, 64, Milliseconds(0));
    const auto after = rows_of(store, uid);
    EXPECT_GE(after, before + 64 - 4 * sqlite::kLedgerPruneStep);
    before = after;
  }

  EXPECT_LT(before, sqlite::kLedgerRows + 256);
  EXPECT_GE(before, sqlite::kLedgerRows);
}

TEST_F(LedgerTest, WhatIsTooOldGoesAndWhatIsNotStays) {
  Store store = open();
  const Uid uid = add_login(store);
  fill_unpruned(uid, 500, sqlite::kLedgerAge + std::chrono::hours(1));

  fill(store, uid, 400, Milliseconds(0));

  EXPECT_EQ(rows_of(store, uid), 401);  // and the login's own
}

TEST_F(LedgerTest, TheNewestRowStaysHoweverOldItIs) {
  Store store = open();
  const Uid uid = add_login(store);
  fill_unpruned(uid, 100, std::chrono::hours(1));
  advance(2 * sqlite::kLedgerAge);

  prune();

  EXPECT_EQ(rows_of(store, uid), 2) << "it, and the login's";
}

TEST_F(LedgerTest, TheLoginThatACredentialLivesFromStaysHoweverOldItIs) {
  Store store = open();
  const Uid uid = add_login(store);
  const auto made = format_iso(now());
  {
    const auto txn = store.engine().backend->begin_write(kWait);
    Attempt before = store.engine().new_attempt(AttemptKind::login, "default");
    before.family = 7;
    txn->record(txn->load(uid)->row.id, before);
    txn->commit();
  }
  fill_unpruned(uid, 100, std::chrono::hours(0));
  advance(2 * sqlite::kLedgerAge);

  prune();

  EXPECT_EQ(rows_of(store, uid), 2) << "it, and the newest";
  const auto rows = store.query("SELECT login_at, login_age_s FROM freshness");
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_THAT(std::get<std::string>(rows->rows.at(0).at(0)),
              testing::StartsWith(made.substr(0, 19)));
}

TEST_F(LedgerTest, CredentialsThatTakeTurnsAreAllPruned) {
  Store store = open();
  std::vector<Uid> all;
  for (int i = 0; i < 64; ++i) all.push_back(add_login(store, "n" + std::to_string(i)));
  for (const Uid& uid : all) fill_unpruned(uid, 20, sqlite::kLedgerAge + std::chrono::hours(1));

  const auto txn = store.engine().backend->begin_write(kWait);
  for (int turn = 0; turn < 40; ++turn) {
    for (const Uid& uid : all) {
      Attempt attempt = store.engine().new_attempt(AttemptKind::refresh, "default");
      attempt.started_at = now();
      txn->record(txn->load(uid)->row.id, attempt);
    }
  }
  txn->commit();

  int passed_over = 0;
  for (const Uid& uid : all) passed_over += rows_of(store, uid) > 45 ? 1 : 0;
  EXPECT_LT(passed_over, 50);
}

// What it costs does not depend on how much others have in the ledger, nor on how much this one
// has.
TEST_F(LedgerTest, PruningGoesByTheIndexAndLooksAtAFewRowsOfOneCredential) {
  Store store = open();
  const Uid uid = add_login(store);
  fill_unpruned(uid, 5000, std::chrono::hours(1));
  for (int i = 0; i < 10; ++i) {
    fill_unpruned(add_login(store, "other" + std::to_string(i)), 2000, std::chrono::hours(1));
  }

  const Cost cost = prune();

  EXPECT_EQ(cost.deleted, sqlite::kLedgerPruneStep - 1) << "the login's stays";
  EXPECT_LT(cost.scanned, sqlite::kLedgerPruneStep);  // of the few rows that the inner query found
  EXPECT_LT(cost.steps, 25'000);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(database().c_str(), &db), SQLITE_OK);
  sqlite3_stmt* prune = nullptr;
  const std::string explain = std::string("EXPLAIN QUERY PLAN ") + sqlite::kPruneLedger;
  ASSERT_EQ(sqlite3_prepare_v2(db, explain.c_str(), -1, &prune, nullptr), SQLITE_OK);
  std::string plan;
  while (sqlite3_step(prune) == SQLITE_ROW) {
    plan += reinterpret_cast<const char*>(sqlite3_column_text(prune, 3)) + std::string("\n");
  }
  sqlite3_finalize(prune);
  sqlite3_close(db);
  EXPECT_THAT(plan, Not(HasSubstr("SCAN attempt"))) << plan;
  EXPECT_THAT(plan, HasSubstr("INDEX attempt_by_credential (credential=?)"));
}

}  // namespace
}  // namespace authdb::test
