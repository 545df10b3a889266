// Migration into a real store, looked at again after it was reopened.
#include <sys/stat.h>

#include "migrate/plan/store_snapshot.h"
#include "store/rotation.h"
#include "tests/migrate/support.h"
#include "tests/store/store_fixture.h"

namespace authdb::migrate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using namespace authdb::migrate::testing;

class ApplyTest : public test::StoreTest {
 protected:
  Plan migrate(Store& store, MigrateOptions options) {
    const auto documents = read_sources(options);
    EXPECT_TRUE(documents) << (documents ? "" : documents.error().message);
    auto applied = apply(store, *documents, options);
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    return applied ? std::move(*applied) : Plan();
  }
  Plan migrate(Store& store) { return migrate(store, from({home_.path()})); }
  Plan migrate_preferring(Store& store, const fs::path& path) {
    auto options = from({home_.path()});
    options.prefer = path;
    return migrate(store, options);
  }

  fs::path root(const json& tree) { return home_.write_json("auth.json", tree); }
  fs::path profile(const std::string& who, const json& tree) {
    return home_.write_json(fs::path("profiles") / who / "auth.json", tree);
  }
  void three_samples() {
    home_.copy_sample("01_root_old_v011.json", "auth.json");
    home_.copy_sample("02_profile_atlas_cloned_old.json", "profiles/atlas/auth.json");
    home_.copy_sample("03_profile_forge_forked_newer_old.json", "profiles/forge/auth.json");
  }

  // The one credential of nous, removed or not.
  static Credential only(Store& store) {
    const auto rows = store.list({"nous", "", true});
    EXPECT_THAT(*rows, SizeIs(1));
    return rows->empty() ? Credential() : rows->front();
  }
  static std::string refresh_of(Store& store, const Uid& uid) {
    return text(store.unseal(uid)->refresh_token);
  }
  static std::optional<Retirement> retirement(Store& store, const std::string& token) {
    const auto found = store.retired(hash(token));
    if (!found || !*found) return std::nullopt;
    return (*found)->reason;
  }
  void hold(Store& store, const Uid& uid, Hold hold) {
    Change change;
    auto& one = change.credentials.emplace_back();
    one.uid = uid;
    one.planned_against = store.find(uid)->generation;
    one.hold = hold;
    if (hold == Hold::handed_over) {
      ImportReceipt& note = change.receipts.emplace_back();
      note.path = fs::weakly_canonical(home_.path() / "auth.json").string();
      note.format = std::string(kHandedOver) + uid;
      note.profile = "default";
    }
    ASSERT_TRUE(store.apply(change));
  }
  void rotate_to(Store& store, const Uid& uid, const std::string& refresh) {
    RotateRequest request;
    request.force = true;
    will(test::grants(refresh, "at_of_" + refresh));
    const auto rotated = rotate(store, uid, request);
    ASSERT_TRUE(rotated) << rotated.error().message;
  }
  // What the store holds, as far as SQL shows it.
  static std::string everything(Store& store) {
    std::string out;
    for (const char* query :
         {"SELECT count(*) FROM credential", "SELECT count(*) FROM retired_token",
          "SELECT count(*) FROM attempt", "SELECT count(*) FROM profile_credential",
          "SELECT count(*) FROM import_receipt",
          "SELECT coalesce(sum(generation * credential), 0) FROM token_set",
          "SELECT group_concat(credential || coalesce(hold, '-')) FROM token_set",
          "SELECT group_concat(credential || status || request_count) FROM health"}) {
      const auto rows = store.query(query);
      EXPECT_TRUE(rows) << query << ": " << (rows ? "" : rows.error().message);
      if (!rows) continue;
      for (const auto& row : rows->rows) {
        if (const auto* text = std::get_if<std::string>(&row[0])) out += *text + "\n";
        if (const auto* number = std::get_if<std::int64_t>(&row[0])) {
          out += std::to_string(*number) + "\n";
        }
      }
    }
    return out;
  }

  TempDir home_;
};

TEST_F(ApplyTest, WhoListensHearsEachStepToItsEnd) {
  three_samples();
  Store store = open();
  std::vector<std::string> ends;
  std::size_t before = 0;
  auto options = from({home_.path()});
  options.progress = [&](std::string_view step, std::size_t done, std::size_t all) {
    EXPECT_EQ(done, before + 1) << step;
    before = done == all ? 0 : done;
    if (done == all) ends.push_back(std::string(step) + " " + std::to_string(all));
  };

  const Plan plan = migrate(store, options);

  EXPECT_THAT(
      ends,
      ElementsAre("files read 3", "credentials planned " + std::to_string(plan.decisions.size()),
                  "credentials written " + std::to_string(plan.change.credentials.size())));
}

TEST_F(ApplyTest, WhoListensHearsThatItIsPlannedAnewWhereTheStoreHasChanged) {
  Store store = open();
  root(pool("nous", {grant_row("a1b2c3", "rt-1", "2026-04-01T00:00:00Z")}));
  migrate(store);
  root(pool("nous", {grant_row("a1b2c3", "rt-2", "2026-04-02T00:00:00Z"), key_row("d4", "sk-1")}));
  std::vector<std::string> heard;
  auto options = from({home_.path()});
  options.progress = [&](std::string_view step, std::size_t done, std::size_t all) {
    heard.push_back(std::string(step) + " " + std::to_string(done) + "/" + std::to_string(all));
    if (heard.size() == 3) rotate_to(store, only(store).uid, "rt-of-a-gateway");
  };

  migrate(store, options);

  EXPECT_THAT(heard,
              ElementsAre("files read 1/1", "credentials planned 1/2", "credentials planned 2/2",
                          "credentials planned 1/2", "credentials planned 2/2",
                          "credentials written 1/2", "credentials written 2/2"));
}

TEST_F(ApplyTest, TheThreeSamplesAreOneSharedGrantAndTheOthersAfterReopening) {
  three_samples();
  {
    Store store = open();
    migrate(store);
  }
  Store store = open(OpenMode::use);

  const auto entries = store.pool("default", "nous");
  ASSERT_THAT(*entries, SizeIs(1));
  const Uid uid = (*entries)[0].credential.uid;
  const auto held = store.unseal(uid);
  ASSERT_TRUE(held);
  EXPECT_EQ(text(held->refresh_token), "nrt_FAKE_shared_refresh_CCCC");
  EXPECT_EQ(text(held->access_token), "nat_FAKE_forge_access_0009");
  EXPECT_EQ(text(held->agent_key), "sk-nous-FAKE-agentkey-forge-09");
  EXPECT_EQ(held->row.bearer_kind, BearerKind::agent_key);
  EXPECT_THAT(*store.profiles_of(uid), UnorderedElementsAre("default", "atlas", "forge"));
  EXPECT_EQ(retirement(store, "nrt_FAKE_shared_refresh_AAAA"), Retirement::presumed);
  EXPECT_THAT(*store.pool("atlas", "nous"), SizeIs(2));
  EXPECT_THAT(*store.pool("default", "openai-codex"), SizeIs(2));
  EXPECT_THAT(*store.list({}), SizeIs(10));
  EXPECT_THAT(*store.receipts(), SizeIs(3));
  EXPECT_TRUE(store.provider_state("default", "nous")->active);
  EXPECT_THAT(store.provider_state("default", "copilot")->suppressed_sources,
              ElementsAre("gh_cli", "env:GH_TOKEN"));
  EXPECT_EQ(extra_of(*store.unseal_extra(uid))["tls"]["insecure"], false);
}

TEST_F(ApplyTest, EverySampleTogetherIsAccepted) {
  home_.copy_sample("04_root_new_jwt.json", "auth.json");
  home_.copy_sample("12_shared_nous_auth.json", "shared/nous_auth.json");
  home_.copy_sample("13_anthropic_oauth_singleton.json", ".anthropic_oauth.json");
  home_.copy_sample("14_qwen_oauth_creds.json", "oauth_creds.json");
  home_.copy_sample("01_root_old_v011.json", "profiles/old/auth.json");
  home_.copy_sample("02_profile_atlas_cloned_old.json", "profiles/atlas/auth.json");
  home_.copy_sample("03_profile_forge_forked_newer_old.json", "profiles/forge/auth.json");
  home_.copy_sample("06_legacy_systems.json", "profiles/legacy/auth.json");
  home_.copy_sample("08_pool_only_odd_types.json", "profiles/odd/auth.json");
  home_.copy_sample("10_malformed_truncated.json", "profiles/broken/auth.json");
  Store store = open();

  const Plan plan = migrate(store);

  EXPECT_EQ(static_cast<std::int64_t>(store.list({})->size()), plan.credentials);
  const std::string before = everything(store);
  EXPECT_THAT(migrate(store).change.credentials, IsEmpty());
  EXPECT_EQ(everything(store), before);
}

TEST_F(ApplyTest, DecisionsLearnTheirUids) {
  root(pool("nous", {grant_row("a", "r1")}));
  Store store = open();

  const Plan plan = migrate(store);

  ASSERT_THAT(plan.decisions, SizeIs(1));
  EXPECT_EQ(plan.decisions[0].uid, only(store).uid);
}

TEST_F(ApplyTest, TheSameBytesTwiceChangeNothing) {
  three_samples();
  Store store = open();
  migrate(store);
  const std::string before = everything(store);

  const Plan again = migrate(store);

  EXPECT_THAT(again.change.credentials, IsEmpty());
  EXPECT_THAT(again.change.receipts, IsEmpty());
  EXPECT_THAT(again.change.states, IsEmpty());
  EXPECT_THAT(again.change.profiles, IsEmpty());
  for (const Decision& decision : again.decisions) EXPECT_EQ(decision.action, "unchanged");
  for (const SourceReport& source : again.sources) EXPECT_EQ(source.imported, 0);
  EXPECT_EQ(everything(store), before);
  EXPECT_THAT(again.warnings, SizeIs(5)) << "the files still hold the tokens, and older ones";
}

TEST_F(ApplyTest, OneAtATimeComesToTheSameAsAllTogether) {
  three_samples();
  const std::vector<fs::path> files{home_.path() / "auth.json",
                                    home_.path() / "profiles/atlas/auth.json",
                                    home_.path() / "profiles/forge/auth.json"};
  for (const auto& order : {std::vector{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}}) {
    const auto path =
        home_.path() / ("store" + std::to_string(order[0]) + std::to_string(order[1])) / "auth.db";
    auto made = options();
    made.path = path;
    Store store = *Store::open(made, OpenMode::create);
    for (const int i : order) migrate(store, from({files[static_cast<std::size_t>(i)]}));

    EXPECT_THAT(*store.list({}), SizeIs(10));
    const Uid uid = (*store.pool("default", "nous"))[0].credential.uid;
    EXPECT_EQ(refresh_of(store, uid), "nrt_FAKE_shared_refresh_CCCC");
    EXPECT_THAT(*store.profiles_of(uid), UnorderedElementsAre("default", "atlas", "forge"));
    EXPECT_TRUE(retirement(store, "nrt_FAKE_shared_refresh_AAAA"));
  }
}

TEST_F(ApplyTest, SourcesAreNotTouched) {
  three_samples();
  const auto state = [&] {
    std::string out;
    for (const auto& entry : fs::recursive_directory_iterator(home_.path())) {
      struct stat s {};
      ::lstat(entry.path().c_str(), &s);
      out += entry.path().string() + " " + std::to_string(s.st_mtim.tv_nsec) + " " +
             std::to_string(s.st_ctim.tv_nsec) + " " + std::to_string(s.st_ino) + "\n";
      if (entry.is_regular_file()) out += contents(entry.path());
    }
    return out;
  };
  const std::string before = state();
  Store store = open();

  migrate(store);
  migrate_preferring(store, home_.path() / "auth.json");

  EXPECT_EQ(state(), before);
}

TEST_F(ApplyTest, ADryRunChangesNothing) {
  three_samples();
  Store store = open();
  const auto documents = read_sources(from({home_.path()}));

  const auto planned = plan(*documents, &store, from({home_.path()}));

  ASSERT_TRUE(planned);
  EXPECT_THAT(planned->change.credentials, SizeIs(10));
  EXPECT_THAT(*store.list({}), IsEmpty());
}

// The ratchet (P2) -----------------------------------------------------------------------------

TEST_F(ApplyTest, ATokenThatThisStoreSpentNeverBecomesCurrentAgain) {
  const auto file = root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  const Uid uid = only(store).uid;
  rotate_to(store, uid, "r2");

  auto touched = pool("nous", {grant_row("a", "r1", "2026-12-31T00:00:00Z")});
  root(touched);
  const Plan plan = migrate_preferring(store, file);

  EXPECT_EQ(refresh_of(store, uid), "r2");
  EXPECT_EQ(plan.sources[0].stale, 1);
  ASSERT_THAT(plan.warnings, SizeIs(1)) << "its tool would end the session with it";
  EXPECT_EQ(plan.warnings[0].code, "second_spender");
  EXPECT_EQ(retirement(store, "r1"), Retirement::spent);
}

TEST_F(ApplyTest, AStaleCopyThatComesLaterIsRetiredAndStaysSo) {
  root(pool("nous", {grant_row("a", "r2", "2026-09-02T00:00:00Z")}));
  Store store = open();
  migrate(store);

  profile("atlas", pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  const Plan first = migrate(store);
  const Plan second = migrate(store);

  const Credential row = only(store);
  EXPECT_EQ(refresh_of(store, row.uid), "r2");
  EXPECT_EQ(row.generation, 1);
  EXPECT_EQ(retirement(store, "r1"), Retirement::presumed);
  EXPECT_THAT(*store.profiles_of(row.uid), UnorderedElementsAre("default", "atlas"));
  EXPECT_EQ(first.decisions[0].action, "bound");
  EXPECT_THAT(second.change.credentials, IsEmpty());
}

TEST_F(ApplyTest, OnlyPreferLiftsAPresumedRetirement) {
  root(pool("nous", {grant_row("a", "r2", "2026-09-02T00:00:00Z")}));
  const auto atlas = profile("atlas", pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  const Uid uid = only(store).uid;
  ASSERT_EQ(retirement(store, "r1"), Retirement::presumed);

  migrate(store, from({atlas}));
  EXPECT_EQ(refresh_of(store, uid), "r2");

  migrate_preferring(store, atlas);
  EXPECT_EQ(refresh_of(store, uid), "r1");
  EXPECT_FALSE(retirement(store, "r1"));
  EXPECT_EQ(retirement(store, "r2"), Retirement::superseded);
}

TEST_F(ApplyTest, ANewerPairOfAnImportedGrantIsAdopted) {
  root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);

  auto row = grant_row("a", "r2", "2026-09-02T00:00:00Z");
  row["last_status"] = "dead";
  row["novel"] = 1;
  root(pool("nous", {row}));
  const Plan plan = migrate(store);

  const Credential adopted = only(store);
  EXPECT_EQ(refresh_of(store, adopted.uid), "r2");
  EXPECT_EQ(adopted.generation, 2);
  EXPECT_EQ(adopted.family, 1);
  EXPECT_EQ(adopted.health.status, Status::dead);
  EXPECT_EQ(retirement(store, "r1"), Retirement::superseded);
  EXPECT_EQ(extra_of(*store.unseal_extra(adopted.uid))["novel"], 1);
  EXPECT_EQ(plan.decisions[0].action, "adopted");
  EXPECT_EQ(plan.sources[0].imported, 1);
}

// The tokens of one file, where they go and how.
json with_ways(json row, const std::string& whose) {
  row.update({{"client_id", "one-client"},
              {"scope", "scope-of-" + whose},
              {"base_url", "https://base.example/" + whose},
              {"portal_base_url", "https://portal.example/" + whose},
              {"inference_base_url", "https://inference.example/" + whose},
              {"tls", {{"ca_bundle", "/ca-of-" + whose}}}});
  return row;
}
std::string ways_of(const Identity& id) {
  return id.client_id + " " + id.scope + " " + id.base_url + " " + id.portal_base_url + " " +
         id.inference_base_url + " " + id.ca_file;
}

TEST_F(ApplyTest, AnAdoptedPairGoesWhereItsOwnFileSays) {
  auto store = open();
  root(pool("nous", {with_ways(grant_row("same", "r1", "2026-01-01T00:00:00Z"), "old")}));
  migrate(store);
  root(pool("nous", {with_ways(grant_row("same", "r2", "2026-02-01T00:00:00Z"), "new")}));
  migrate(store);

  ASSERT_EQ(refresh_of(store, only(store).uid), "r2");
  EXPECT_EQ(ways_of(only(store).identity),
            "one-client scope-of-new https://base.example/new https://portal.example/new "
            "https://inference.example/new /ca-of-new");

  root(pool("nous", {grant_row("same", "r3", "2026-03-01T00:00:00Z")}));
  migrate(store);

  ASSERT_EQ(refresh_of(store, only(store).uid), "r3");
  EXPECT_EQ(ways_of(only(store).identity), "     ") << "what is not said is the provider's";
  EXPECT_FALSE(extra_of(*store.unseal_extra(only(store).uid)).contains("tls"));
}

TEST_F(ApplyTest, AFileThatHasTheStoresTokenDoesNotSayWhereItGoes) {
  auto store = open();
  root(pool("nous", {with_ways(grant_row("same", "r1", "2026-01-01T00:00:00Z"), "old")}));
  migrate(store);
  const std::string before = ways_of(only(store).identity);

  auto newer = with_ways(grant_row("same", "r1", "2026-02-01T00:00:00Z"), "new");
  newer["access_token"] = "newer-access-token";
  root(pool("nous", {newer}));
  migrate(store);

  EXPECT_EQ(text(store.unseal(only(store).uid)->access_token), "newer-access-token");
  EXPECT_EQ(ways_of(only(store).identity), before);
}

TEST_F(ApplyTest, AnIdAndALabelOfAnotherIssuerChangeNothingOfACredential) {
  auto store = open();
  auto row = grant_row("same", "r1", "2026-01-01T00:00:00Z");
  row["portal_base_url"] = "https://portal.example";
  root(pool("nous", {row}));
  migrate(store);
  const Credential before = only(store);

  auto other = grant_row("same", "r2", "2026-02-01T00:00:00Z");
  other["portal_base_url"] = "https://another.example";
  root(pool("nous", {other}));
  migrate(store);

  EXPECT_EQ(refresh_of(store, before.uid), "r1");
  EXPECT_EQ(store.find(before.uid)->identity.portal_base_url, "https://portal.example");
  EXPECT_THAT(*store.list({"nous", "", true}), SizeIs(2));
}

TEST_F(ApplyTest, AnEqualIdAloneNamesNoCredentialOfTheStore) {
  auto store = open();
  root(pool("nous", {grant_row("same", "r1", "2026-01-01T00:00:00Z")}));
  migrate(store);
  const Uid uid = only(store).uid;

  auto stranger = grant_row("same", "r2", "2026-02-01T00:00:00Z");
  stranger["label"] = "stranger";
  stranger.erase("source");
  root(pool("nous", {stranger}));
  migrate(store);

  EXPECT_EQ(refresh_of(store, uid), "r1");
}

TEST_F(ApplyTest, WithoutAnIdAPlaceOfAnotherIssuerIsAnother) {
  auto store = open();
  const auto block = [](const char* token, const char* obtained, const char* portal) {
    return json{{"providers",
                 {{"nous",
                   {{"access_token", std::string("at_of_") + token},
                    {"refresh_token", token},
                    {"obtained_at", obtained},
                    {"portal_base_url", portal}}}}}};
  };
  root(block("r1", "2026-01-01T00:00:00Z", "https://portal.example"));
  migrate(store);
  const Uid uid = only(store).uid;
  root(block("r2", "2026-02-01T00:00:00Z", "https://another.example"));
  migrate(store);

  EXPECT_EQ(refresh_of(store, uid), "r1");
}

TEST_F(ApplyTest, WhatThisStoreRotatedIsNotDisplacedOnTimestampsAlone) {
  const auto file = root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  const Uid uid = only(store).uid;
  rotate_to(store, uid, "r2");

  root(pool("nous", {grant_row("a", "foreign", "2027-01-01T00:00:00Z")}));
  const Plan plan = migrate(store);

  EXPECT_EQ(refresh_of(store, uid), "r2");
  EXPECT_FALSE(retirement(store, "foreign")) << "nobody knows which of them lives";
  EXPECT_EQ(plan.decisions[0].action, "skipped");
  EXPECT_THAT(plan.decisions[0].reason, HasSubstr("`authdb migrate --prefer"));
  ASSERT_THAT(plan.sources[0].skipped, SizeIs(1));

  migrate_preferring(store, file);
  EXPECT_EQ(refresh_of(store, uid), "foreign");
  EXPECT_EQ(retirement(store, "r2"), Retirement::superseded);
}

TEST_F(ApplyTest, AnOlderCopyOfWhatThisStoreRotatedIsRetired) {
  root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  rotate_to(store, only(store).uid, "r2");

  profile("atlas", pool("nous", {grant_row("a", "r0", "2026-08-01T00:00:00Z")}));
  migrate(store);

  EXPECT_EQ(retirement(store, "r0"), Retirement::presumed);
}

TEST_F(ApplyTest, AGrantWithoutIdThatItsToolRotatedIsKnownByItsPlace) {
  const auto block = [](const char* refresh, const char* at) {
    return json{{"providers",
                 {{"nous",
                   {{"access_token", "at_of_" + std::string(refresh)},
                    {"refresh_token", refresh},
                    {"obtained_at", at}}}}}};
  };
  root(block("r1", "2026-01-01T00:00:00Z"));
  Store store = open();
  migrate(store);

  root(block("r2", "2026-01-02T00:00:00Z"));
  migrate(store);

  EXPECT_EQ(refresh_of(store, only(store).uid), "r2");
  EXPECT_EQ(retirement(store, "r1"), Retirement::superseded);
}

TEST_F(ApplyTest, APlanThatWasOvertakenWritesNothing) {
  root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  const Uid uid = only(store).uid;
  root(pool("nous", {grant_row("a", "r2", "2026-09-02T00:00:00Z")}));
  const auto documents = read_sources(from({home_.path()}));
  const auto planned = plan(*documents, &store, {});
  ASSERT_TRUE(planned);

  rotate_to(store, uid, "ours");
  const auto applied = store.apply(planned->change);

  ASSERT_TRUE(applied);
  EXPECT_TRUE(applied->stale_plan);
  EXPECT_EQ(refresh_of(store, uid), "ours");
  EXPECT_THAT(*store.receipts(), SizeIs(1));
}

// Conflicts, hand-over, removal ----------------------------------------------------------------

TEST_F(ApplyTest, AConflictIsHeldUntilSomebodyDecides) {
  root(pool("nous", {grant_row("a", "r1")}));
  const auto atlas = profile("atlas", pool("nous", {grant_row("a", "r2")}));
  Store store = open();

  EXPECT_THAT(migrate(store).conflicts, SizeIs(1));
  EXPECT_EQ(only(store).hold, Hold::conflict);
  const Plan again = migrate(store);
  EXPECT_THAT(again.conflicts, SizeIs(1));
  EXPECT_THAT(again.change.credentials, IsEmpty());

  migrate_preferring(store, atlas);
  EXPECT_EQ(only(store).hold, Hold::none);
  EXPECT_EQ(refresh_of(store, only(store).uid), "r2");
  EXPECT_THAT(migrate(store).conflicts, IsEmpty());
}

TEST_F(ApplyTest, ThePairThatIsHeldAlreadyMayBeThePreferredOne) {
  const auto file = root(pool("nous", {grant_row("a", "r1")}));
  profile("atlas", pool("nous", {grant_row("a", "r2")}));
  Store store = open();
  migrate(store);

  migrate_preferring(store, file);

  EXPECT_EQ(only(store).hold, Hold::none);
  EXPECT_EQ(refresh_of(store, only(store).uid), "r1");
  EXPECT_EQ(retirement(store, "r2"), Retirement::presumed);
  EXPECT_THAT(migrate(store).change.credentials, IsEmpty());
}

TEST_F(ApplyTest, AnUndecidableNewcomerHoldsAnImportedGrant) {
  root(pool("nous", {grant_row("a", "r1")}));
  Store store = open();
  migrate(store);

  profile("atlas", pool("nous", {grant_row("a", "r2")}));
  migrate(store);

  EXPECT_EQ(only(store).hold, Hold::conflict);
  EXPECT_EQ(refresh_of(store, only(store).uid), "r1");
}

TEST_F(ApplyTest, AfterAHandOverTheToolsSuccessorIsTakenBack) {
  root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  const Uid uid = only(store).uid;
  rotate_to(store, uid, "r2");
  hold(store, uid, Hold::handed_over);

  root(pool("nous", {grant_row("a", "r3", "2027-01-01T00:00:00Z")}));
  const Plan plan = migrate(store);

  EXPECT_EQ(plan.decisions[0].action, "adopted");
  EXPECT_EQ(refresh_of(store, uid), "r3");
  EXPECT_EQ(only(store).hold, Hold::none);
  EXPECT_EQ(retirement(store, "r2"), Retirement::superseded);
}

TEST_F(ApplyTest, AfterAHandOverTheUnusedPairIsTakenBackFromTheFileItWasWrittenTo) {
  root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  const Uid uid = only(store).uid;
  hold(store, uid, Hold::handed_over);

  const Plan same = migrate(store);
  EXPECT_EQ(only(store).hold, Hold::handed_over) << "nothing was handed to this file";
  EXPECT_THAT(same.warnings, IsEmpty()) << "it is the only spender";

  auto written = grant_row("a", "r1", "2026-09-01T00:00:00Z");
  written["label"] = "handed over";
  root(pool("nous", {written}));
  migrate(store);
  EXPECT_EQ(only(store).hold, Hold::none);
}

TEST_F(ApplyTest, WhatWasRemovedStaysRemoved) {
  const json in_variable{{"id", "e"},
                         {"auth_type", "api_key"},
                         {"source", "env:OPENROUTER_API_KEY"},
                         {"secret_fingerprint", "sha256:0123456789abcdef"}};
  root(json{{"credential_pool",
             {{"nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}},
              {"openrouter", {key_row("k", "sk-one"), in_variable}}}}});
  Store store = open();
  for (const Decision& decision : migrate(store).decisions) {
    ASSERT_TRUE(store.remove(decision.uid));
  }

  const Plan plan = migrate(store);

  EXPECT_THAT(*store.list({}), IsEmpty());
  EXPECT_THAT(plan.change.credentials, IsEmpty());
  ASSERT_THAT(plan.sources[0].skipped, SizeIs(3));
  EXPECT_THAT(plan.sources[0].skipped[0].reason,
              HasSubstr("removed from this store on 2026-09-21T14:13:20Z"));
  EXPECT_THAT(plan.warnings, IsEmpty());
}

TEST_F(ApplyTest, ARotatedCopyOfWhatWasRemovedStaysRemovedToo) {
  root(pool("nous", {grant_row("a", "r1", "2026-09-01T00:00:00Z")}));
  Store store = open();
  migrate(store);
  ASSERT_TRUE(store.remove(only(store).uid));

  const auto file = root(pool("nous", {grant_row("a", "r2", "2026-09-02T00:00:00Z")}));
  migrate(store);
  EXPECT_THAT(*store.list({}), IsEmpty());

  migrate_preferring(store, file);
  ASSERT_THAT(*store.list({}), SizeIs(1));
  EXPECT_EQ(refresh_of(store, only(store).uid), "r2");
  EXPECT_THAT(*store.profiles_of(only(store).uid), ElementsAre("default"));
}

// What people chose in the store ---------------------------------------------------------------

TEST_F(ApplyTest, AnUnboundCredentialIsNotBoundAgainByTheSameBytes) {
  root(pool("nous", {grant_row("a", "r1")}));
  Store store = open();
  migrate(store);
  ASSERT_TRUE(store.unbind("default", only(store).uid));

  EXPECT_THAT(migrate(store).change.credentials, IsEmpty());
  EXPECT_THAT(*store.profiles_of(only(store).uid), IsEmpty());
}

TEST_F(ApplyTest, ChoicesOfTheStoresUserSurviveANewFile) {
  auto tree = pool("nous", {grant_row("a", "r1")});
  tree["active_provider"] = "nous";
  root(tree);
  Store store = open();
  migrate(store);
  ASSERT_TRUE(store.set_strategy("default", "nous", Strategy::least_used));

  tree["active_provider"] = "openrouter";
  tree["suppressed_sources"] = {{"nous", {"device_code"}}};
  tree["credential_pool"]["nous"][0]["label"] = "renamed elsewhere";
  root(tree);
  migrate(store);

  const auto state = store.provider_state("default", "nous");
  EXPECT_EQ(state->strategy, Strategy::least_used);
  EXPECT_TRUE(state->active);
  EXPECT_THAT(state->suppressed_sources, ElementsAre("device_code"));
  EXPECT_FALSE(store.provider_state("default", "openrouter")->active);
  EXPECT_EQ(only(store).identity.label, "a");
}

TEST_F(ApplyTest, NewcomersGoBehindThoseThatAreInThePool) {
  root(pool("nous", {grant_row("a", "r1")}));
  Store store = open();
  migrate(store);

  root(pool("nous", {grant_row("b", "r2"), grant_row("a", "r1")}));
  migrate(store);

  const auto entries = store.pool("default", "nous");
  ASSERT_THAT(*entries, SizeIs(2));
  EXPECT_EQ((*entries)[0].credential.identity.label, "a");
}

TEST_F(ApplyTest, AReferenceIsRecognisedAgainAndCompletedByIncludeEnv) {
  root(pool("openrouter", {key_row("k", "sk-one", "env:KEY")}));
  Store store = open();
  migrate(store);
  const Uid uid = (*store.list({}))[0].uid;
  EXPECT_TRUE((*store.list({}))[0].access_fingerprint.empty());

  auto options = from({home_.path()});
  options.include_env = true;
  migrate(store, options);

  ASSERT_THAT(*store.list({}), SizeIs(1));
  EXPECT_EQ(text(store.unseal(uid)->access_token), "sk-one");
}

}  // namespace
}  // namespace authdb::migrate
