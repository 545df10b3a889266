// The views as the stock sqlite3 shell sees them, and as an injected clock moves them.
#include "store/pool.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

class ViewsTest : public StoreTest {
 protected:
  // Lines of the stock shell's answer.
  std::vector<std::string> shell(const std::string& arguments) {
    const auto out = dir_.path() / "out";
    const std::string command =
        "sqlite3 -readonly " + arguments + " > '" + out.string() + "' 2>&1 < /dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0) << file_bytes(out);
    std::vector<std::string> lines;
    std::ifstream in(out);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  std::string header(const std::string& view) {
    const auto lines =
        shell("-header -csv '" + database().string() + "' 'SELECT * FROM " + view + "'");
    return lines.size() > 1 ? lines.front() : "no rows";
  }
  Cell cell(const Store& store, const std::string& sql) {
    const auto rows = store.query(sql);
    EXPECT_TRUE(rows) << rows.error().message;
    return rows && !rows->rows.empty() ? rows->rows[0][0] : Cell{"no row"};
  }
  std::string state(const Store& store) {
    return std::get<std::string>(cell(store, "SELECT state FROM freshness"));
  }
};

TEST_F(ViewsTest, TheStockShellReadsEveryViewWithItsFrozenColumns) {
  Store store = open();
  const Uid uid = add_login(store);
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  EXPECT_EQ(
      header("freshness"),
      "uid,provider,label,profiles,auth_type,source,account,bearer_kind,family,generation,"
      "obtained_at,expires_at,age_s,expires_in_s,state,refreshable,needs_login,hold,status,"
      "cooldown_s,agent_key_obtained_at,agent_key_expires_at,agent_key_age_s,"
      "agent_key_expires_in_s,agent_key_state,last_attempt_at,last_outcome,session_ends_at,"
      "losses,lost_at,lost_pid,lost_process,failures,failing_since,rejected,login_at,login_age_s");
  EXPECT_EQ(header("pool"), "profile,provider,position,uid,label,selectable,why_not");
  EXPECT_EQ(header("rotation"),
            "at,provider,label,uid,profile,kind,family,from_generation,to_generation,outcome,"
            "http_status,error_code,pid,process,latency_ms,fingerprint");
  EXPECT_EQ(header("family"), "uid,family,generation,state,since");
}

TEST_F(ViewsTest, TheInjectedClockMovesTheStateFromFreshToExpired) {
  Store store = open();
  add_login(store);

  EXPECT_EQ(state(store), "fresh");
  advance(Seconds(779) + Milliseconds(999));
  EXPECT_EQ(state(store), "fresh");
  advance(Milliseconds(1));
  EXPECT_EQ(state(store), "expiring");
  advance(Seconds(119) + Milliseconds(999));
  EXPECT_EQ(state(store), "expiring");
  advance(Milliseconds(1));
  EXPECT_EQ(state(store), "expired");
}

TEST_F(ViewsTest, AgesAreExactToTheMillisecondWhereverTheClockStands) {
  Store store = open();
  CredentialChange change = login("a", "access", "refresh", now());
  change.grant->expires_at = now() + std::chrono::hours(24);
  add(store, std::move(change));
  for (int i = 0; i < 400; ++i) {
    const auto since = to_millis(now()) - to_millis(kNoon);
    ASSERT_EQ(cell(store, "SELECT age_s FROM freshness"), Cell{since / 1000}) << since;
    ASSERT_EQ(cell(store, "SELECT expires_in_s FROM freshness"), Cell{(86'400'000 - since) / 1000})
        << since;
    advance(Milliseconds(333));
  }
}

TEST_F(ViewsTest, TimesAreIsoTextWithMilliseconds) {
  now_->store(1'790'000'059'999);
  Store store = open();
  add_login(store);

  EXPECT_EQ(cell(store, "SELECT obtained_at FROM freshness"), Cell{"2026-09-21T14:14:19.999Z"});
}

TEST_F(ViewsTest, P8_WhatAClockAheadHasObtainedIsOfUnknownAgeUntilThatMomentHasCome) {
  Store store = open();
  CredentialChange change = login("a", "access", "refresh", now() + Seconds(7200));
  change.grant->expires_at = now() + Seconds(10'800);
  change.agent_key.emplace();
  change.agent_key->secret = Secret::copy_of("key");
  change.agent_key->obtained_at = now() + Seconds(7200);
  change.agent_key->expires_at = now() + Seconds(10'800);
  add(store, std::move(change));

  const char* all =
      "SELECT state, agent_key_state, age_s, expires_in_s, agent_key_age_s, agent_key_expires_in_s "
      "FROM freshness";
  const Cell null = std::monostate{};
  EXPECT_EQ(store.query(all)->rows.at(0),
            (std::vector<Cell>{"unknown", "unknown", null, null, null, null}));
  advance(Seconds(7140) - Milliseconds(1));
  EXPECT_EQ(state(store), "unknown");
  advance(Milliseconds(1));  // two clocks may differ by a minute
  EXPECT_EQ(store.query(all)->rows.at(0),
            (std::vector<Cell>{"fresh", "fresh", std::int64_t{-60}, std::int64_t{3660},
                               std::int64_t{-60}, std::int64_t{3660}}));
}

TEST_F(ViewsTest, AMissingTimeIsNullNeverOldest) {
  Store store = open();
  CredentialChange change = login("a", "access", "refresh", now());
  change.grant->obtained_at.reset();
  change.grant->expires_at.reset();
  add(store, std::move(change));

  for (const char* column : {"obtained_at", "expires_at", "age_s", "expires_in_s", "cooldown_s",
                             "agent_key_state", "agent_key_age_s", "session_ends_at"}) {
    EXPECT_EQ(cell(store, std::string("SELECT ") + column + " FROM freshness"),
              Cell{std::monostate{}})
        << column;
  }
  EXPECT_EQ(state(store), "unknown");
}

TEST_F(ViewsTest, AnApiKeyHasNoExpiry) {
  Store store = open();
  CredentialChange change = login("a", "sk-1", "", now());
  change.identity->auth_type = AuthType::api_key;
  change.grant->expires_at.reset();
  add(store, std::move(change));

  EXPECT_EQ(state(store), "no_expiry");
  EXPECT_EQ(cell(store, "SELECT refreshable FROM freshness"), Cell{std::int64_t{0}});
  EXPECT_EQ(cell(store, "SELECT needs_login FROM freshness"), Cell{std::int64_t{0}});
}

TEST_F(ViewsTest, AnExpiredTokenWithoutARefreshTokenNeedsALogin) {
  Store store = open();
  add(store, login("a", "access", "", now()));

  EXPECT_EQ(cell(store, "SELECT needs_login FROM freshness"), Cell{std::int64_t{0}});
  advance(Seconds(900));
  EXPECT_EQ(cell(store, "SELECT needs_login FROM freshness"), Cell{std::int64_t{1}});
}

TEST_F(ViewsTest, ProfilesAreAJsonArray) {
  Store store = open();
  const Uid uid = add_login(store);
  ASSERT_TRUE(store.add_profile("a\"tlas"));
  ASSERT_TRUE(store.bind("a\"tlas", uid));

  EXPECT_EQ(cell(store, "SELECT profiles FROM freshness"), Cell{R"(["a\"tlas","default"])"});
}

TEST_F(ViewsTest, ThePoolViewAgreesWithTheSelectionInEveryCombination) {
  Store store = open();
  int made = 0;
  Change change;
  for (const Hold hold : {Hold::none, Hold::conflict, Hold::uncertain, Hold::handed_over}) {
    for (const Status status : {Status::ok, Status::exhausted, Status::dead}) {
      for (const int cooldown : {-1, 0, 1, 2}) {  // none, ending now, running, long over
        for (const bool suppressed : {false, true}) {
          const std::string name = std::to_string(made++);
          CredentialChange one = login(name, "access-" + name, "refresh-" + name, now());
          one.identity->source = suppressed ? "env:X" : "manual";
          one.hold = hold;
          one.health.emplace();
          one.health->status = status;
          if (cooldown == 0) one.health->cooldown_until = now();
          if (cooldown == 1) one.health->cooldown_until = now() + Milliseconds(1);
          if (cooldown == 2) one.health->cooldown_until = now() - Seconds(1);
          change.credentials.push_back(std::move(one));
        }
      }
    }
  }
  change.states.push_back({"default", "nous", false, Strategy::fill_first, {"env:X"}, Secret()});
  ASSERT_TRUE(store.apply(change));

  const auto entries = store.pool("default", "nous");
  const auto rows = store.query(
      "SELECT position, uid, selectable, coalesce(why_not, '') FROM pool ORDER BY position");

  ASSERT_EQ(entries->size(), 96u);
  ASSERT_EQ(rows->rows.size(), entries->size());
  for (std::size_t i = 0; i < entries->size(); ++i) {
    const PoolEntry& entry = (*entries)[i];
    const std::string why(why_not(entry, now()));
    EXPECT_EQ(rows->rows[i], (std::vector<Cell>{entry.position, entry.credential.uid,
                                                std::int64_t{why.empty() ? 1 : 0}, why}));
  }
}

TEST_F(ViewsTest, RemovedCredentialsAreInTheHistoryOnly) {
  Store store = open();
  ASSERT_TRUE(store.remove(add_login(store)));

  EXPECT_TRUE(store.query("SELECT * FROM freshness")->rows.empty());
  EXPECT_TRUE(store.query("SELECT * FROM pool")->rows.empty());
  EXPECT_EQ(store.query("SELECT * FROM rotation")->rows.size(), 1u);
  EXPECT_EQ(cell(store, "SELECT state FROM family"), Cell{"removed"});
}

TEST_F(ViewsTest, TheFamilyViewIsTheLineOfDescent) {
  Store store = open();
  const Uid uid = add_login(store);
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(rotate(store, uid, {.force = true}));

  const auto rows = store.query("SELECT generation, state FROM family ORDER BY generation");

  ASSERT_EQ(rows->rows.size(), 2u);
  EXPECT_EQ(rows->rows[0], (std::vector<Cell>{std::int64_t{1}, "spent"}));
  EXPECT_EQ(rows->rows[1], (std::vector<Cell>{std::int64_t{2}, "current"}));
}

TEST_F(ViewsTest, TheSummaryCountsWhatFreshnessSays) {
  Store store = open();
  const auto with = [&](const std::string& name, std::optional<Seconds> ends, auto change) {
    CredentialChange one = login(name, "access-" + name, "refresh-" + name, now() - Seconds(600));
    one.grant->expires_at.reset();
    if (ends) one.grant->expires_at = now() + *ends;
    change(one);
    return add(store, std::move(one));
  };
  const auto as_it_is = [](CredentialChange&) {};
  with("fresh", Seconds(3600), as_it_is);
  with("due", Seconds(60), as_it_is);
  with("expired", Seconds(-60), as_it_is);
  with("unknown", std::nullopt, as_it_is);
  with("ahead", Seconds(-3600), as_it_is);  // obtained after its end: the clocks differ
  with("clock", Seconds(9000), [&](auto& one) { one.grant->obtained_at = now() + Seconds(4000); });
  with("other", Seconds(3600), [](auto& one) { one.identity->provider = "xai-oauth"; });
  with("key", std::nullopt, [](auto& one) {
    one.identity->auth_type = AuthType::api_key;
    one.grant->refresh_token = Secret();
  });
  with("ending-key", Seconds(60), [](auto& one) {
    one.identity->auth_type = AuthType::api_key;
    one.grant->refresh_token = Secret();
  });
  ASSERT_TRUE(store.remove(with("removed", Seconds(3600), as_it_is)));

  for (const Seconds later : {Seconds(0), Seconds(3540), Seconds(7200)}) {
    advance(later);
    const auto view = store.query(
        "SELECT provider, state, count(*) FROM freshness GROUP BY provider, state ORDER BY 1, 2");
    const auto summary = store.query("SELECT * FROM freshness_summary ORDER BY 1, 2");
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(summary->rows, view->rows) << later.count();
    EXPECT_GE(summary->rows.size(), 3u);
  }
}

TEST_F(ViewsTest, WhatIsDueIsFoundByItsIndexThoughNothingRemovedIsAskedFor) {
  Store store = open();
  add_login(store);

  const auto plan = store.query(
      "EXPLAIN QUERY PLAN SELECT c.uid FROM token_set t JOIN credential c ON c.id = t.credential "
      "WHERE t.refresh_at <= 0 AND c.removed_at IS NULL ORDER BY t.refresh_at LIMIT 10");

  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(std::get<std::string>(plan->rows.at(0).back()),
              testing::HasSubstr("INDEX token_set_due"));
}

TEST_F(ViewsTest, WhatAClockAheadHasObtainedIsCountedByItsIndex) {
  Store store = open();
  add_login(store);

  const auto plan = store.query("EXPLAIN QUERY PLAN SELECT * FROM freshness_summary");

  ASSERT_TRUE(plan) << plan.error().message;
  std::string steps;
  for (const auto& row : plan->rows) steps += std::get<std::string>(row.back()) + "\n";
  EXPECT_THAT(steps, testing::HasSubstr("INDEX token_set_obtained"));
}

TEST_F(ViewsTest, OneProfilesPoolIsFoundByTheProfile) {
  Store store = open();
  add_login(store);

  const auto plan = store.query(
      "EXPLAIN QUERY PLAN SELECT uid FROM pool WHERE profile = 'default' AND provider = 'nous'");

  ASSERT_TRUE(plan) << plan.error().message;
  std::string steps;
  for (const auto& row : plan->rows) steps += std::get<std::string>(row.back()) + "\n";
  EXPECT_THAT(steps, testing::HasSubstr("SEARCH c USING INTEGER PRIMARY KEY"));
}

}  // namespace
}  // namespace authdb::test
