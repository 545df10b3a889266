// What becomes of documents where nothing is stored yet: families, conflicts, references, places.
#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;
using namespace authdb::migrate::testing;

class PlanTest : public ::testing::Test {
 protected:
  // Where each file lies under a Hermes root; then plans the root.
  Plan plan_root(MigrateOptions options = {}) {
    if (options.paths.empty()) options.paths = {dir_.path()};
    const auto documents = read_sources(options);
    EXPECT_TRUE(documents) << (documents ? "" : documents.error().message);
    auto planned = plan(*documents, nullptr, options);
    EXPECT_TRUE(planned) << (planned ? "" : planned.error().message);
    for (const SourceReport& source : planned->sources) {
      if (source.failure) continue;
      EXPECT_EQ(source.rows, source.imported + source.merged + source.stale +
                                 static_cast<std::int64_t>(source.skipped.size()))
          << "every row has one fate: " << source.path;
    }
    return std::move(*planned);
  }
  void root_sample(const std::string& name) { dir_.copy_sample(name, "auth.json"); }
  void root(const json& tree) { dir_.write_json("auth.json", tree); }
  void profile(const std::string& who, const json& tree) {
    dir_.write_json(fs::path("profiles") / who / "auth.json", tree);
  }
  fs::path path_of(const std::string& who) { return dir_.path() / "profiles" / who / "auth.json"; }
  void three_samples() {
    root_sample("01_root_old_v011.json");
    dir_.copy_sample("02_profile_atlas_cloned_old.json", "profiles/atlas/auth.json");
    dir_.copy_sample("03_profile_forge_forked_newer_old.json", "profiles/forge/auth.json");
  }

  TempDir dir_;
};

const Decision* decision_of(const Plan& plan, const CredentialChange* change) {
  for (const Decision& decision : plan.decisions) {
    if (decision.change && &plan.change.credentials[*decision.change] == change) return &decision;
  }
  return nullptr;
}

// The samples of one incident ------------------------------------------------------------------

TEST_F(PlanTest, ThreeCopiesOfOneRowAreOneCredentialWithTheNewestPair) {
  three_samples();

  const Plan plan = plan_root();

  const auto* shared = giving(plan, "nrt_FAKE_shared_refresh_CCCC");
  ASSERT_TRUE(shared);
  EXPECT_FALSE(giving(plan, "nrt_FAKE_shared_refresh_AAAA"));
  EXPECT_TRUE(retires(*shared, "nrt_FAKE_shared_refresh_AAAA"));
  EXPECT_THAT(shared->retire, SizeIs(1));
  EXPECT_THAT(profiles_of(*shared), UnorderedElementsAre("default", "atlas", "forge"));
  EXPECT_EQ(shared->grant->obtained_at, at("2026-04-23T19:05:10Z"));
  EXPECT_FALSE(shared->grant->obtained_derived) << "the block of the same pair states it";
  EXPECT_FALSE(shared->hold.has_value());
}

TEST_F(PlanTest, TheReasonSaysWhosePairIsLiveAndByHowMuch) {
  three_samples();
  const Plan plan = plan_root();

  const Decision* decision = decision_of(plan, giving(plan, "nrt_FAKE_shared_refresh_CCCC"));

  ASSERT_TRUE(decision);
  EXPECT_EQ(decision->action, "added");
  EXPECT_THAT(decision->reason,
              HasSubstr("forge's pair is the newest: obtained 2026-04-23T19:05:10Z, 9 d after"));
  EXPECT_THAT(decision->sources, SizeIs(3));
  EXPECT_THAT(decision->profiles, ElementsAre("default", "atlas", "forge"));
}

TEST_F(PlanTest, WhatHappenedToAStaleCopyDoesNotMarkTheLivePair) {
  three_samples();
  const Plan plan = plan_root();

  const auto* shared = giving(plan, "nrt_FAKE_shared_refresh_CCCC");

  EXPECT_EQ(shared->health->status, Status::ok) << "atlas's copy was exhausted by reuse";
  EXPECT_EQ(shared->health->request_count, 4);
  EXPECT_EQ(shared->identity->label, "device_code") << "atlas's own name for it stays atlas's";
  EXPECT_EQ(shared->identity->foreign_id, "a1b2c3");
}

TEST_F(PlanTest, TheAgentKeyComesFromTheLivePair) {
  three_samples();
  const Plan plan = plan_root();

  const auto& key = giving(plan, "nrt_FAKE_shared_refresh_CCCC")->agent_key;

  ASSERT_TRUE(key);
  EXPECT_EQ(text(key->secret), "sk-nous-FAKE-agentkey-forge-09");
  EXPECT_EQ(key->key_id, "ak_fake_b001") << "only the block knows it";
  EXPECT_EQ(key->expires_at, at("2026-04-24T19:05:11Z"));
  EXPECT_EQ(key->obtained_at, at("2026-04-23T19:05:11Z"));
}

TEST_F(PlanTest, OtherAccountsAndKeysStayIndependent) {
  three_samples();
  const Plan plan = plan_root();

  EXPECT_THAT(profiles_of(*giving(plan, "nrt_FAKE_atlas_manual_BBBB")), ElementsAre("atlas"));
  const auto* codex = giving(plan, "rt_FAKE_codex_root_1");
  ASSERT_TRUE(codex && giving(plan, "rt_FAKE_codex_work_1"));
  EXPECT_EQ(codex->health->status, Status::exhausted);
  EXPECT_EQ(codex->identity->label, "pat@example.test");
  EXPECT_TRUE(keyed(plan, "sk-or-v1-FAKE1111111111111111111111111111"));
  EXPECT_TRUE(keyed(plan, "sk-ant-api03-FAKE-FAKE"));
  EXPECT_TRUE(keyed(plan, "tgp_FAKE_key"));
  EXPECT_THAT(plan.conflicts, IsEmpty());
}

TEST_F(PlanTest, TheThreeSamplesAreCounted) {
  three_samples();
  const Plan plan = plan_root();

  EXPECT_EQ(plan.credentials, 10);
  EXPECT_EQ(plan.families, 6);
  EXPECT_EQ(plan.profiles, 3);
  const auto* root = source_of(plan, dir_.path() / "auth.json");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->rows, 11);
  EXPECT_EQ(root->imported, 8);
  EXPECT_EQ(root->merged, 1);
  EXPECT_EQ(root->stale, 2);
  const auto* forge = source_of(plan, path_of("forge"));
  EXPECT_EQ(forge->imported, 1);
  EXPECT_EQ(forge->merged, 1);
}

TEST_F(PlanTest, EveryFileThatKeepsACurrentRefreshTokenIsASecondSpender) {
  three_samples();
  const Plan plan = plan_root();

  std::vector<std::string> shared;
  for (const Warning& warning : plan.warnings) {
    EXPECT_EQ(warning.code, "second_spender");
    EXPECT_THAT(warning.message, ::testing::Not(HasSubstr("FAKE")));
    const auto print = fingerprint(token_hash("nrt_FAKE_shared_refresh_CCCC"));
    if (warning.message.find(print) != std::string::npos) shared.push_back(warning.message);
  }
  ASSERT_THAT(shared, SizeIs(1)) << "the others hold a spent one";
  EXPECT_THAT(shared[0], StartsWith(path_of("forge").string() + " still holds refresh tokens"));
  EXPECT_THAT(plan.warnings, SizeIs(3)) << "one for each file";
}

TEST_F(PlanTest, AFileIsWarnedOfOnceWithAllLoginsThatItShares) {
  root({{"credential_pool",
         {{"anthropic", json::array({grant_row("a", "r1")})},
          {"openai-codex", json::array({grant_row("b", "r2")})}}}});
  const Plan plan = plan_root();

  ASSERT_THAT(plan.warnings, SizeIs(1));
  EXPECT_EQ(
      plan.warnings[0].message,
      (dir_.path() / "auth.json").string() +
          " still holds refresh tokens that this store holds as well: anthropic a (" +
          fingerprint(token_hash("r1")) + "), openai-codex b (" + fingerprint(token_hash("r2")) +
          "). Let only authdb refresh them: `authdb migrate --cutover` takes them out of it.");
}

TEST_F(PlanTest, WithoutTheNewestCopyTheNextOneLives) {
  root_sample("01_root_old_v011.json");
  dir_.copy_sample("02_profile_atlas_cloned_old.json", "profiles/atlas/auth.json");

  const Plan plan = plan_root();

  const auto* shared = giving(plan, "nrt_FAKE_shared_refresh_AAAA");
  ASSERT_TRUE(shared);
  EXPECT_THAT(shared->retire, IsEmpty());
  EXPECT_EQ(shared->grant->obtained_at, at("2026-04-14T08:12:31.402Z"));
  EXPECT_FALSE(shared->grant->obtained_derived);
}

// References -----------------------------------------------------------------------------------

TEST_F(PlanTest, ARawEnvironmentKeyBecomesAReference) {
  root_sample("01_root_old_v011.json");
  const Plan plan = plan_root();

  EXPECT_FALSE(keyed(plan, "sk-or-v1-FAKE0000000000000000000000000000"));
  const auto it = std::find_if(plan.change.credentials.begin(), plan.change.credentials.end(),
                               [](const CredentialChange& change) {
                                 return change.identity->source == "env:OPENROUTER_API_KEY";
                               });
  ASSERT_NE(it, plan.change.credentials.end());
  EXPECT_TRUE(it->grant->access_token.empty());
  EXPECT_EQ(extra_of(*it->extra)["secret_fingerprint"],
            fingerprint(token_hash("sk-or-v1-FAKE0000000000000000000000000000")));
  EXPECT_EQ(it->grant->bearer_kind, BearerKind::api_key);
}

TEST_F(PlanTest, IncludeEnvKeepsTheKey) {
  root_sample("01_root_old_v011.json");
  MigrateOptions options;
  options.include_env = true;

  EXPECT_TRUE(keyed(plan_root(options), "sk-or-v1-FAKE0000000000000000000000000000"));
}

TEST_F(PlanTest, AReferenceAndTheKeyItRefersToAreOneCredential) {
  root(pool("openrouter", {key_row("a", "sk-one", "env:KEY"), key_row("b", "sk-one")}));

  const Plan plan = plan_root();

  ASSERT_THAT(plan.change.credentials, SizeIs(1));
  EXPECT_EQ(plan.change.credentials[0].identity->source, "manual");
  EXPECT_EQ(plan.credentials, 1);
}

TEST_F(PlanTest, TheNewestErasFileYieldsItsGrantsAndReferences) {
  root_sample("04_root_new_jwt.json");
  dir_.copy_sample("12_shared_nous_auth.json", "shared/nous_auth.json");
  dir_.copy_sample("13_anthropic_oauth_singleton.json", ".anthropic_oauth.json");

  const Plan plan = plan_root();

  const auto* nous = giving(plan, "nrt_FAKE_new_refresh_0042");
  ASSERT_TRUE(nous);
  EXPECT_EQ(nous->grant->bearer_kind, BearerKind::access_token);
  EXPECT_EQ(nous->identity->label, "main-portal");
  EXPECT_FALSE(nous->agent_key);
  EXPECT_EQ(giving(plan, "rt_FAKE_codex_dead")->health->status, Status::dead);
  const auto* claude = giving(plan, "sk-ant-ort01-FAKE-c");
  ASSERT_TRUE(claude);
  EXPECT_EQ(claude->identity->foreign_id, "cc3300");
  EXPECT_TRUE(giving(plan, "AQ_FAKE_spotify"));
  EXPECT_TRUE(giving(plan, "mm_FAKE_refresh"));
  EXPECT_EQ(plan.families, 7);
  EXPECT_EQ(plan.credentials, 14);
  EXPECT_THAT(plan.conflicts, IsEmpty());
}

// Families -------------------------------------------------------------------------------------

TEST_F(PlanTest, AnIdThatOccursTwiceInOneFileIsNoProof) {
  root_sample("08_pool_only_odd_types.json");

  const Plan plan = plan_root();

  EXPECT_TRUE(giving(plan, "rt_FAKE_noid"));
  // One access token, two refresh tokens: copies, and nothing tells which is newer.
  ASSERT_THAT(plan.conflicts, SizeIs(1));
  EXPECT_EQ(plan.conflicts[0].provider, "openai-codex");
}

TEST_F(PlanTest, DifferentTokensUnderOneIdInOneFileAreTwoCredentials) {
  root(pool("nous", {grant_row("dup", "r1"), grant_row("dup", "r2")}));
  profile("atlas", pool("nous", {grant_row("dup", "r3")}));

  const Plan plan = plan_root();

  EXPECT_EQ(plan.credentials, 3);
  EXPECT_THAT(plan.conflicts, IsEmpty());
}

TEST_F(PlanTest, AnAmbiguousIdStillLinksTogetherWithItsLabel) {
  auto first = grant_row("dup", "r1", "2026-01-01T00:00:00Z");
  auto second = grant_row("dup", "r2", "2026-01-01T00:00:00Z");
  second["label"] = "second";
  root(pool("nous", {first, second}));
  auto clone = second;
  clone["refresh_token"] = "r3";
  clone["access_token"] = "a3";
  clone["obtained_at"] = "2026-02-01T00:00:00Z";
  profile("atlas", pool("nous", {clone}));

  const Plan plan = plan_root();

  EXPECT_EQ(plan.credentials, 2);
  ASSERT_TRUE(giving(plan, "r3"));
  EXPECT_TRUE(retires(*giving(plan, "r3"), "r2"));
}

TEST_F(PlanTest, CopiesAreLinkedTransitively) {
  auto renamed = grant_row("bbb", "r1");                          // r1 under another id ...
  auto rotated = grant_row("bbb", "r2", "2026-02-01T00:00:00Z");  // ... that was rotated
  root(pool("nous", {grant_row("aaa", "r1", "2026-01-01T00:00:00Z")}));
  profile("atlas", pool("nous", {renamed}));
  profile("forge", pool("nous", {rotated}));

  const Plan plan = plan_root();

  ASSERT_EQ(plan.credentials, 1);
  EXPECT_TRUE(retires(*giving(plan, "r2"), "r1"));
}

TEST_F(PlanTest, AnEqualAccountIsNoProof) {
  const std::string jwt =  // sub=user-fake-2
      json::parse(contents(
          sample("01_root_old_v011.json")))["credential_pool"]["openai-codex"][1]["access_token"];
  auto a = grant_row("aaa", "r1", "2026-01-01T00:00:00Z");
  auto b = grant_row("bbb", "r2", "2026-02-01T00:00:00Z");
  a["access_token"] = jwt;
  b["access_token"] = jwt.substr(0, jwt.rfind('.')) + ".another-signature";
  root(pool("openai-codex", {a, b}));

  EXPECT_EQ(plan_root().credentials, 2);
}

TEST_F(PlanTest, DifferentAccountsDisproveAnEqualId) {
  const json rows =
      json::parse(contents(sample("01_root_old_v011.json")))["credential_pool"]["openai-codex"];
  auto a = grant_row("same", "r1", "2026-01-01T00:00:00Z");
  auto b = grant_row("same", "r2", "2026-02-01T00:00:00Z");
  a["access_token"] = rows[0]["access_token"];
  b["access_token"] = rows[1]["access_token"];
  root(pool("openai-codex", {a}));
  profile("atlas", pool("openai-codex", {b}));

  EXPECT_EQ(plan_root().credentials, 2);
}

TEST_F(PlanTest, AnEqualIdAloneIsNoProof) {
  auto a = grant_row("same", "r1", "2026-01-01T00:00:00Z");
  auto b = grant_row("same", "r2", "2026-02-01T00:00:00Z");
  for (const char* fact : {"label", "source"}) a.erase(fact);
  for (const char* fact : {"label", "source"}) b.erase(fact);
  root(pool("nous", {a}));
  profile("atlas", pool("nous", {b}));

  const Plan plan = plan_root();

  EXPECT_EQ(plan.credentials, 2);
  EXPECT_FALSE(retires(*giving(plan, "r2"), "r1"));
}

TEST_F(PlanTest, AnEqualIdWithAnyOtherFactInCommonIsOne) {
  for (const char* fact : {"label", "source", "client_id", "portal_base_url"}) {
    SCOPED_TRACE(fact);
    auto a = grant_row("same", "r1", "2026-01-01T00:00:00Z");
    auto b = grant_row("same", "r2", "2026-02-01T00:00:00Z");
    a["label"] = "one";
    b["label"] = "two";
    a["source"] = "manual:one";
    b["source"] = "manual:two";
    a[fact] = b[fact] = "https://the-same.example";
    root(pool("nous", {a}));
    profile("atlas", pool("nous", {b}));

    EXPECT_EQ(plan_root().credentials, 1);
  }
}

TEST_F(PlanTest, AnotherIssuerOrClientDisprovesAnEqualId) {
  for (const char* fact : {"client_id", "portal_base_url"}) {
    SCOPED_TRACE(fact);
    auto a = grant_row("same", "r1", "2026-01-01T00:00:00Z");
    auto b = grant_row("same", "r2", "2026-02-01T00:00:00Z");
    a[fact] = "https://one.example";
    b[fact] = "https://another.example";
    root(pool("nous", {a}));
    profile("atlas", pool("nous", {b}));

    EXPECT_EQ(plan_root().credentials, 2);
  }
}

TEST_F(PlanTest, OneIssuerIsOneInEverySpellingOfItsAddress) {
  auto a = grant_row("same", "r1", "2026-01-01T00:00:00Z");
  auto b = grant_row("same", "r2", "2026-02-01T00:00:00Z");
  a["portal_base_url"] = "https://Portal.Example/";
  b["portal_base_url"] = "http://portal.example";
  root(pool("nous", {a}));
  profile("atlas", pool("nous", {b}));

  EXPECT_EQ(plan_root().credentials, 1);
}

TEST_F(PlanTest, AnEqualIdOfAnotherProviderIsNoProof) {
  root(json{{"credential_pool",
             {{"nous", {grant_row("same", "r1")}}, {"xai-oauth", {grant_row("same", "r2")}}}}});

  EXPECT_EQ(plan_root().credentials, 2);
}

TEST_F(PlanTest, KeysAreOneByTheirSecretAndNeverByTheirId) {
  root(pool("openrouter", {key_row("same", "sk-one"), key_row("x", "sk-two")}));
  profile("atlas", pool("openrouter", {key_row("same", "sk-other"), key_row("y", "sk-two")}));

  const Plan plan = plan_root();

  EXPECT_EQ(plan.credentials, 3);
  EXPECT_EQ(plan.families, 0);
  EXPECT_THAT(profiles_of(*keyed(plan, "sk-two")), UnorderedElementsAre("default", "atlas"));
}

TEST_F(PlanTest, ABlockAndThePoolRowSeededFromItAreOneSlot) {
  auto row = grant_row("aaa", "r1", "2026-01-01T00:00:00Z");
  row["source"] = "device_code";
  root(json{{"providers",
             {{"nous",
               {{"access_token", "a2"},
                {"refresh_token", "r2"},
                {"obtained_at", "2026-02-01T00:00:00Z"}}}}},
            {"credential_pool", {{"nous", {row}}}}});

  const Plan plan = plan_root();

  ASSERT_EQ(plan.credentials, 1);
  const auto* live = giving(plan, "r2");
  ASSERT_TRUE(live);
  EXPECT_TRUE(retires(*live, "r1"));
  EXPECT_EQ(live->identity->foreign_id, "aaa") << "the row's id, by which it is known again";
}

TEST_F(PlanTest, OneRefreshTokenUnderTwoProvidersHasOneOwner) {
  root(json{{"credential_pool",
             {{"nous", {grant_row("a", "same")}}, {"nous-two", {grant_row("b", "same")}}}}});

  const Plan plan = plan_root();

  ASSERT_THAT(plan.change.credentials, SizeIs(1));
  EXPECT_THAT(plan.sources[0].skipped[0].reason, HasSubstr("nous already"));
}

// Conflicts ------------------------------------------------------------------------------------

TEST_F(PlanTest, WhatCannotBeDecidedIsHeldAndTheDecidingCommandIsNamed) {
  root(pool("nous", {grant_row("same", "r1")}));
  profile("atlas", pool("nous", {grant_row("same", "r2")}));

  const Plan plan = plan_root();

  ASSERT_THAT(plan.change.credentials, SizeIs(1));
  EXPECT_EQ(plan.change.credentials[0].hold, Hold::conflict);
  EXPECT_THAT(plan.change.credentials[0].retire, IsEmpty()) << "either may still be the live one";
  ASSERT_THAT(plan.conflicts, SizeIs(1));
  EXPECT_EQ(plan.conflicts[0].action, "conflict");
  EXPECT_THAT(plan.conflicts[0].reason,
              HasSubstr("`authdb migrate --prefer " + path_of("atlas").string() + "`"));
  EXPECT_THAT(profiles_of(plan.change.credentials[0]), UnorderedElementsAre("default", "atlas"));
}

TEST_F(PlanTest, EqualTimesCannotBeDecided) {
  root(pool("nous", {grant_row("same", "r1", "2026-01-01T00:00:00Z")}));
  profile("atlas", pool("nous", {grant_row("same", "r2", "2026-01-01T00:00:00Z")}));

  EXPECT_THAT(plan_root().conflicts, SizeIs(1));
}

TEST_F(PlanTest, ThePreferredSourceWinsAgainstEveryTimestamp) {
  root(pool("nous", {grant_row("same", "r1", "2026-01-01T00:00:00Z")}));
  profile("atlas", pool("nous", {grant_row("same", "r2", "2026-02-01T00:00:00Z")}));
  MigrateOptions options;
  options.prefer = dir_.path() / "auth.json";

  const Plan plan = plan_root(options);

  const auto* preferred = giving(plan, "r1");
  ASSERT_TRUE(preferred);
  EXPECT_TRUE(retires(*preferred, "r2"));
  EXPECT_THAT(plan.conflicts, IsEmpty());
}

TEST_F(PlanTest, APreferredPathThatIsNoSourceIsAMistake) {
  root(pool("nous", {grant_row("same", "r1")}));
  MigrateOptions options;
  const auto documents = read_sources(from({dir_.path()}));
  options.prefer = "/somewhere/else.json";

  const auto planned = plan(*documents, nullptr, options);

  ASSERT_FALSE(planned);
  EXPECT_EQ(planned.error().code, Errc::usage);
}

TEST_F(PlanTest, ACopyThatLostItsRefreshTokenIsNoRival) {
  auto stripped = grant_row("same", "r1", "2026-02-01T00:00:00Z");
  stripped["refresh_token"] = nullptr;
  stripped["access_token"] = "newer";
  root(pool("nous", {grant_row("same", "r1", "2026-01-01T00:00:00Z")}));
  profile("atlas", pool("nous", {stripped}));

  const Plan plan = plan_root();

  ASSERT_THAT(plan.change.credentials, SizeIs(1));
  EXPECT_TRUE(giving(plan, "r1"));
}

// Places, states, receipts ---------------------------------------------------------------------

TEST_F(PlanTest, PlacesFollowThePriorities) {
  auto a = key_row("a", "sk-a");
  auto b = key_row("b", "sk-b");
  auto c = key_row("c", "sk-c");
  a["priority"] = 2;
  b["priority"] = "1";  // c has none: it is the last
  root(pool("openrouter", {a, b, c}));

  const Plan plan = plan_root();

  EXPECT_EQ(keyed(plan, "sk-b")->bindings[0].position, 1);
  EXPECT_EQ(keyed(plan, "sk-a")->bindings[0].position, 2);
  EXPECT_EQ(keyed(plan, "sk-c")->bindings[0].position, 3);
}

TEST_F(PlanTest, ProviderStatesBelongToTheirProfile) {
  three_samples();
  const Plan plan = plan_root();

  std::vector<std::string> states;
  for (const ProviderState& state : plan.change.states) {
    std::string text = state.profile + " " + state.provider + (state.active ? " active" : "");
    for (const auto& source : state.suppressed_sources) text += " -" + source;
    states.push_back(text);
  }
  EXPECT_THAT(states,
              UnorderedElementsAre("default nous active", "atlas nous active", "forge nous active",
                                   "default copilot -gh_cli -env:GH_TOKEN", "default qwen-oauth"));
  EXPECT_THAT(plan.change.profiles, ElementsAre("default", "atlas", "forge"));
}

TEST_F(PlanTest, EverySourceGetsAReceiptWithWhatBelongsToNoRow) {
  root_sample("06_legacy_systems.json");

  const Plan plan = plan_root();

  ASSERT_THAT(plan.change.receipts, SizeIs(1));
  const ImportReceipt& receipt = plan.change.receipts[0];
  EXPECT_EQ(receipt.path, (dir_.path() / "auth.json").string());
  EXPECT_EQ(receipt.format, "hermes");
  EXPECT_EQ(receipt.rows, 2);
  EXPECT_EQ(receipt.imported, 1);
  EXPECT_THAT(receipt.unknown.reveal(), HasSubstr("other_system"));
}

TEST_F(PlanTest, AMalformedSourceFailsAloneAndLeavesNoReceipt) {
  root_sample("10_malformed_truncated.json");
  profile("atlas", pool("nous", {grant_row("a", "r1")}));

  const Plan plan = plan_root();

  ASSERT_TRUE(plan.sources[0].failure);
  EXPECT_THAT(plan.sources[0].failure->message, HasSubstr("line 40, column 6"));
  EXPECT_TRUE(giving(plan, "r1"));
  EXPECT_THAT(plan.change.receipts, SizeIs(1));
  EXPECT_THAT(plan.change.profiles, ElementsAre("atlas"));
}

// What decides where tokens go, or how.
json with_ways(json row) {
  row.update({{"client_id", "their-client"},
              {"scope", "inference:invoke"},
              {"token_type", "Odd"},
              {"base_url", "https://their-base.example"},
              {"portal_base_url", "https://their-portal.example"},
              {"inference_base_url", "https://their-inference.example"},
              {"tls", {{"ca_bundle", "/their/ca.pem"}}},
              {"discovery", {{"token_endpoint", "https://their-endpoint.example"}}}});
  return row;
}

// All of them, one after another: the one that was forgotten is named.
std::string ways_of(const CredentialChange& change) {
  const Identity& id = *change.identity;
  const json extra = extra_of(*change.extra);
  return id.client_id + id.scope + id.token_type + id.base_url + id.portal_base_url +
         id.inference_base_url + id.ca_file + change.grant->scope + change.grant->token_type +
         change.grant->inference_base_url + extra.value("tls", json("")).dump() +
         extra.value("discovery", json("")).dump();
}
constexpr const char* kNoWays = "\"\"\"\"";

TEST_F(PlanTest, ACopyThatLostSaysNothingOfWhereTheLivePairGoes) {
  root(pool("nous", {with_ways(grant_row("same", "r1", "2026-01-01T00:00:00Z"))}));
  profile("atlas", pool("nous", {grant_row("same", "r2", "2026-02-01T00:00:00Z")}));

  const Plan plan = plan_root();

  ASSERT_EQ(plan.credentials, 1);
  ASSERT_TRUE(giving(plan, "r2"));
  EXPECT_EQ(ways_of(*giving(plan, "r2")), kNoWays);
}

TEST_F(PlanTest, NorDoesAnotherRowOfItsOwnFileThatHasTheSameAccessToken) {
  auto old = with_ways(grant_row("one", "r1", "2026-01-01T00:00:00Z"));
  auto live = grant_row("two", "r2", "2026-02-01T00:00:00Z");
  auto bare = with_ways(grant_row("three", "r3"));  // holds no refresh token
  for (json* row : {&old, &live, &bare}) (*row)["access_token"] = "one-access-token";
  bare.erase("refresh_token");
  root(pool("nous", {old, live, bare}));

  const Plan plan = plan_root();

  ASSERT_EQ(plan.credentials, 1);
  ASSERT_TRUE(giving(plan, "r2"));
  EXPECT_EQ(ways_of(*giving(plan, "r2")), kNoWays);
}

TEST_F(PlanTest, NorDoesAReferenceThatStatesItsFingerprint) {
  auto reference = with_ways(key_row("ref", "", "env:NOUS"));
  reference["auth_type"] = "oauth";
  reference["secret_fingerprint"] = fingerprint(token_hash("at_of_r1"));
  root(pool("nous", {reference, grant_row("live", "r1")}));

  const Plan plan = plan_root();

  ASSERT_EQ(plan.credentials, 1);
  EXPECT_EQ(ways_of(*giving(plan, "r1")), kNoWays);
}

TEST_F(PlanTest, NorDoesAnotherAgentKeyWithoutTokens) {
  const auto key_only = [](const char* key, json row) {
    row.erase("access_token");
    row.erase("refresh_token");
    row["agent_key"] = key;
    return row;
  };
  root(pool("nous", {key_only("k1", grant_row("same", "")), grant_row("x", "r1")}));
  profile("atlas", pool("nous", {key_only("k2", with_ways(grant_row("same", "")))}));

  const Plan plan = plan_root();

  ASSERT_EQ(plan.credentials, 2);
  for (const auto& change : plan.change.credentials) EXPECT_EQ(ways_of(change), kNoWays);
}

TEST_F(PlanTest, CopiesThatHoldTheLivePairCompleteEachOther) {
  auto row = grant_row("aaa", "r1");
  row["source"] = "device_code";
  json block = with_ways(row);
  for (const char* key : {"id", "source", "label"}) block.erase(key);
  root(json{{"providers", {{"nous", block}}}, {"credential_pool", {{"nous", {row}}}}});

  const Plan plan = plan_root();
  const auto* live = giving(plan, "r1");

  ASSERT_TRUE(live);
  EXPECT_EQ(live->identity->portal_base_url, "https://their-portal.example");
  EXPECT_EQ(live->identity->client_id, "their-client");
  EXPECT_EQ(live->identity->ca_file, "/their/ca.pem");
  EXPECT_EQ(live->identity->label, "aaa");
}

TEST_F(PlanTest, UnknownFieldsOfACopyStayWithItsPlace) {
  auto old = grant_row("same", "r1", "2026-01-01T00:00:00Z");
  auto live = grant_row("same", "r2", "2026-02-01T00:00:00Z");
  old["team"] = "red";
  old["note"] = "only here";
  old["failure_reason"] = "billing";
  live["team"] = "blue";
  root(pool("nous", {old}));
  profile("atlas", pool("nous", {live}));

  const Plan plan = plan_root();
  const json extra = extra_of(*giving(plan, "r2")->extra);

  EXPECT_EQ(extra["team"], "blue");
  EXPECT_FALSE(extra.contains("note")) << "what it means, and for which pair, nobody knows";
  EXPECT_FALSE(extra.contains("failure_reason")) << "that is the copy's own trouble";
  const json& copy = extra["imprints"][1];
  EXPECT_EQ(copy["profile"], "default");
  EXPECT_EQ(copy["as"]["team"], "red");
  EXPECT_EQ(copy["as"]["note"], "only here");
  EXPECT_EQ(copy["as"]["failure_reason"], "billing");
  EXPECT_EQ(copy["as"]["refresh_token"], fingerprint(token_hash("r1"))) << "never the token";
}

TEST_F(PlanTest, ATimeInTheFutureIsNoEvidence) {
  root(pool("nous", {grant_row("same", "r1", "2099-01-01T00:00:00Z")}));
  profile("atlas", pool("nous", {grant_row("same", "r2", "2026-02-01T00:00:00Z")}));
  auto options = from({dir_.path()});
  options.now = at("2026-03-01T00:00:00Z");

  const auto undecided = plan(*read_sources(options), nullptr, options);
  ASSERT_EQ(undecided->conflicts.size(), 1U);

  options.now = at("2098-12-31T12:00:00Z");  // a clock that is half a day behind
  const auto decided = plan(*read_sources(options), nullptr, options);
  EXPECT_TRUE(decided->conflicts.empty());
  EXPECT_TRUE(giving(*decided, "r1"));
}

TEST_F(PlanTest, ATokenThatItsToolSaysItHasSpentIsNeverTheLiveOne) {
  const json spent{{"accessToken", "a1"}, {"refreshToken", "r1"}, {"expiresAt", 1790028800000}};
  dir_.write_json(".anthropic_oauth.json", spent);
  dir_.write_json(".anthropic_oauth.json.hermes-spent-rotations.json",
                  {{"version", 1}, {"fingerprints", {fingerprint(token_hash("r1")).substr(7)}}});
  auto live = grant_row("an1", "r2");
  live["source"] = "hermes_pkce";
  root(pool("anthropic", {live}));

  const Plan plan = plan_root();

  EXPECT_TRUE(plan.conflicts.empty());
  ASSERT_TRUE(giving(plan, "r2"));
  EXPECT_TRUE(retires(*giving(plan, "r2"), "r1"));
}

TEST_F(PlanTest, ASpentTokenWithoutASuccessorIsNotImported) {
  dir_.write_json(".anthropic_oauth.json", {{"accessToken", "a1"}, {"refreshToken", "r1"}});
  dir_.write_json(".anthropic_oauth.json.hermes-spent-rotations.json",
                  {{"version", 1}, {"fingerprints", {fingerprint(token_hash("r1"))}}});

  const Plan plan = plan_root();

  EXPECT_TRUE(plan.change.credentials.empty());
  EXPECT_EQ(plan.decisions[0].reason, "its refresh token is spent");
}

TEST_F(PlanTest, ADamagedListOfSpentTokensFailsItsFile) {
  dir_.write_json(".anthropic_oauth.json", {{"accessToken", "a1"}, {"refreshToken", "r1"}});
  dir_.write(".anthropic_oauth.json.hermes-spent-rotations.json", "{");

  const Plan plan = plan_root();

  ASSERT_TRUE(plan.sources[0].failure);
  EXPECT_THAT(plan.sources[0].failure->message, HasSubstr("hermes-spent-rotations.json"));
  EXPECT_TRUE(plan.change.credentials.empty());
}

}  // namespace
}  // namespace authdb::migrate
