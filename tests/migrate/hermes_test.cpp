// The reader of Hermes's files: what each era says, in the neutral form.
#include "migrate/formats/hermes.h"

#include <unistd.h>

#include "migrate/formats/format.h"
#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using testing::at;
using ::testing::ElementsAre;
using testing::extra_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsNull;
using testing::json;
using testing::row_at;
using ::testing::SizeIs;
using testing::text;

Document read_sample(const std::string& name) {
  return read_document(testing::sample(name), "default");
}

Document read_tree(const json& tree) {
  const testing::TempDir dir;
  return read_document(dir.write_json("auth.json", tree), "default");
}

TEST(HermesReader, EveryIntactSampleIsRecognised) {
  const std::vector<std::pair<std::string, std::string>> expected{
      {"01_root_old_v011.json", "hermes"},
      {"02_profile_atlas_cloned_old.json", "hermes"},
      {"03_profile_forge_forked_newer_old.json", "hermes"},
      {"04_root_new_jwt.json", "hermes"},
      {"06_legacy_systems.json", "hermes"},
      {"08_pool_only_odd_types.json", "hermes"},
      {"12_shared_nous_auth.json", "hermes-shared-nous"},
      {"13_anthropic_oauth_singleton.json", "hermes-anthropic"},
      {"14_qwen_oauth_creds.json", "qwen"}};
  for (const auto& [name, format] : expected) {
    const Document document = read_sample(name);
    EXPECT_FALSE(document.failure) << name;
    EXPECT_EQ(document.format, format) << name;
    EXPECT_THAT(document.sha256, SizeIs(64)) << name;
  }
}

TEST(HermesReader, AnOldPoolRowIsReadFieldByField) {
  const Document document = read_sample("02_profile_atlas_cloned_old.json");
  const Row* row = row_at(document, "credential_pool.nous[1]");

  ASSERT_TRUE(row);
  EXPECT_EQ(row->identity.provider, "nous");
  EXPECT_EQ(row->identity.label, "nous-oauth-2");
  EXPECT_EQ(row->identity.auth_type, AuthType::oauth);
  EXPECT_EQ(row->identity.source, "manual:device_code");
  EXPECT_EQ(row->identity.foreign_id, "d4e5f6");
  EXPECT_EQ(row->identity.client_id, "hermes-cli");
  EXPECT_EQ(row->identity.scope, "inference:mint_agent_key");
  EXPECT_EQ(row->identity.base_url, "https://inference-api.nousresearch.com/v1");
  EXPECT_EQ(text(row->grant.access_token), "nat_FAKE_atlas_manual");
  EXPECT_EQ(text(row->grant.refresh_token), "nrt_FAKE_atlas_manual_BBBB");
  EXPECT_EQ(row->grant.obtained_at, at("2026-04-15T10:47:00.010Z"));
  EXPECT_FALSE(row->grant.obtained_derived);
  EXPECT_EQ(row->grant.expires_at, at("2026-04-15T11:02:00Z"));
  EXPECT_EQ(row->grant.bearer_kind, BearerKind::agent_key);
  ASSERT_TRUE(row->agent_key);
  EXPECT_EQ(text(row->agent_key->secret), "sk-nous-FAKE-agentkey-atlas-02");
  EXPECT_EQ(row->agent_key->key_id, "ak_fake_92aa");
  EXPECT_EQ(row->agent_key->obtained_at, at("2026-04-15T10:47:01.010Z"));
  EXPECT_EQ(row->agent_key->expires_at, at("2026-04-16T11:02:00Z"));
  EXPECT_EQ(row->priority, 1);
  EXPECT_EQ(extra_of(row->extra), (json{{"expires_in", 900},
                                        {"agent_key_expires_in", 86400},
                                        {"tls", {{"insecure", false}, {"ca_bundle", nullptr}}}}));
}

TEST(HermesReader, ACaBundleIsTheCredentialsAndInsecureTlsIsNoticedInBothSpellings) {
  const auto row = [](const json& tls) {
    Document document =
        read_tree({{"providers", {{"nous", {{"access_token", "a"}, {"tls", tls}}}}}});
    return std::move(document.rows.at(0));
  };
  const Row bundle = row({{"insecure", false}, {"ca_bundle", "/etc/our-ca.pem"}});
  EXPECT_EQ(bundle.identity.ca_file, "/etc/our-ca.pem");
  EXPECT_FALSE(bundle.insecure_tls);
  EXPECT_EQ(extra_of(bundle.extra)["tls"]["ca_bundle"], "/etc/our-ca.pem") << "goes back out";

  EXPECT_TRUE(row({{"insecure", true}}).insecure_tls);
  EXPECT_TRUE(row({{"insecure", "true"}}).insecure_tls);
  EXPECT_FALSE(row({{"insecure", "false"}, {"ca_bundle", 7}}).insecure_tls);
  EXPECT_FALSE(row("odd").insecure_tls);
}

TEST(HermesReader, AMissingObtainedAtIsDerivedOrUnknownNeverOldest) {
  const Document atlas = read_sample("02_profile_atlas_cloned_old.json");

  const Row* block = row_at(atlas, "providers.nous");
  ASSERT_TRUE(block);
  EXPECT_EQ(block->grant.obtained_at, at("2026-04-14T08:12:31.402Z"));
  EXPECT_TRUE(block->grant.obtained_derived);

  const Row* clone = row_at(atlas, "credential_pool.nous[0]");
  ASSERT_TRUE(clone);
  EXPECT_FALSE(clone->grant.obtained_at);
}

TEST(HermesReader, CodexTokensOneLevelDownAreFound) {
  const Document document = read_sample("01_root_old_v011.json");
  const Row* block = row_at(document, "providers.openai-codex");

  ASSERT_TRUE(block);
  EXPECT_TRUE(block->singleton);
  EXPECT_EQ(text(block->grant.refresh_token), "rt_FAKE_codex_root_1");
  EXPECT_EQ(block->grant.obtained_at, at("2026-04-13T21:40:02.551Z"));
  EXPECT_EQ(block->grant.expires_at, at("2026-04-26T10:40:00Z")) << "the token's exp";
  EXPECT_EQ(block->identity.account, "acct_fake_1");
  EXPECT_EQ(extra_of(block->extra),
            (json{{"auth_mode", "chatgpt"},
                  {"tokens", {{"id_token", "idt.FAKE.codex"}, {"account_id", "acct_fake_1"}}}}));
}

TEST(HermesReader, HealthAndCooldownAreRead) {
  const Document document = read_sample("01_root_old_v011.json");
  const Row* row = row_at(document, "credential_pool.openai-codex[0]");

  ASSERT_TRUE(row);
  EXPECT_EQ(row->health.status, Status::exhausted);
  EXPECT_EQ(row->health.status_at, at_millis(1776121200250));
  EXPECT_EQ(row->health.error_code, 429);
  EXPECT_EQ(row->health.error_reason, "usage_limit_reached");
  EXPECT_EQ(row->health.error_message, "The usage limit has been reached");
  EXPECT_EQ(row->health.cooldown_until, at_millis(1776553200000));
}

TEST(HermesReader, WithoutAResetTimeTheNewestErasTimesApply) {
  const auto cooldown = [](json row, bool sole) {
    row.update({{"last_status", "exhausted"}, {"last_status_at", 1790000000}});
    json rows = json::array({std::move(row)});
    if (!sole) rows.push_back(testing::key_row("other", "sk-other"));
    const Document document = read_tree(testing::pool("openrouter", rows));
    return (*document.rows[0].health.cooldown_until - at_millis(1790000000000)) / Seconds{1};
  };
  json row = testing::key_row("a", "sk-a");
  EXPECT_EQ(cooldown(row, true), 60) << "the only one";
  EXPECT_EQ(cooldown(row, false), 3600);
  row["last_error_code"] = 401;
  EXPECT_EQ(cooldown(row, true), 300);
  row["last_error_code"] = 402;
  EXPECT_EQ(cooldown(row, true), 3600);
  row["last_error_code"] = 403;
  row["failure_reason"] = "billing";
  EXPECT_EQ(cooldown(row, true), 3600);
  row["failure_reason"] = "billing_unverified";
  EXPECT_EQ(cooldown(row, false), 60);
}

TEST(HermesReader, DeadStaysDead) {
  const Document document = read_sample("04_root_new_jwt.json");
  const Row* row = row_at(document, "credential_pool.openai-codex[1]");

  ASSERT_TRUE(row);
  EXPECT_EQ(row->health.status, Status::dead);
  EXPECT_EQ(row->health.error_reason, "token_invalidated");
  EXPECT_FALSE(row->health.cooldown_until);
}

TEST(HermesReader, AJwtWithTheInvokeScopeIsTheBearerItself) {
  const Document document = read_sample("04_root_new_jwt.json");
  const Row* row = row_at(document, "credential_pool.nous[0]");

  ASSERT_TRUE(row);
  EXPECT_EQ(row->grant.bearer_kind, BearerKind::access_token);
  EXPECT_FALSE(row->agent_key) << "a mirror of the access token is no agent key";
  EXPECT_EQ(extra_of(row->original)["agent_key"], extra_of(row->original)["access_token"]);
}

TEST(HermesReader, TheScopeMayStandInTheTokenAlone) {
  json block = json::parse(testing::contents(testing::sample("12_shared_nous_auth.json")));
  block.erase("scope");
  const Document by_claim = read_tree({{"providers", {{"nous", block}}}});
  ASSERT_THAT(by_claim.rows, SizeIs(1));
  EXPECT_EQ(by_claim.rows[0].grant.bearer_kind, BearerKind::access_token);

  block["access_token"] = "opaque";
  block["scope"] = "inference:invoke";
  const Document opaque = read_tree({{"providers", {{"nous", block}}}});
  EXPECT_EQ(opaque.rows[0].grant.bearer_kind, BearerKind::agent_key) << "no JWT, no bearer";
}

TEST(HermesReader, EveryProvidersBlockOfTheNewestEraYieldsItsGrant) {
  const Document document = read_sample("04_root_new_jwt.json");

  EXPECT_THAT(document.bad_rows, IsEmpty());
  for (const char* provider : {"nous", "openai-codex", "xai-oauth", "minimax-oauth", "spotify"}) {
    const Row* row = row_at(document, std::string("providers.") + provider);
    ASSERT_TRUE(row) << provider;
    EXPECT_EQ(row->identity.auth_type, AuthType::oauth) << provider;
    EXPECT_FALSE(row->grant.refresh_token.empty()) << provider;
    EXPECT_TRUE(row->grant.obtained_at) << provider;
    EXPECT_TRUE(row->grant.expires_at) << provider;
  }
  EXPECT_THAT(row_at(document, "providers.qwen-oauth"), IsNull()) << "it holds no token";
  const Row* spotify = row_at(document, "providers.spotify");
  EXPECT_EQ(extra_of(spotify->extra)["redirect_uri"], "http://127.0.0.1:43827/spotify/callback");
}

TEST(HermesReader, BorrowedRowsCarryAFingerprintAndNoSecret) {
  const Document document = read_sample("04_root_new_jwt.json");
  const Row* row = row_at(document, "credential_pool.openrouter[0]");

  ASSERT_TRUE(row);
  EXPECT_TRUE(row->grant.access_token.empty());
  EXPECT_EQ(row->secret_fingerprint, "sha256:12ab34cd56ef7890");
  EXPECT_EQ(row->identity.source, "env:OPENROUTER_API_KEY");
  EXPECT_EQ(extra_of(row->extra)["secret_source"], "bitwarden");
}

TEST(HermesReader, ThirdPartyRowsWithoutIdAreRead) {
  const Document document = read_sample("04_root_new_jwt.json");
  const Row* photon = row_at(document, "credential_pool.photon[0]");
  const Row* project = row_at(document, "credential_pool.photon_project[0]");

  ASSERT_TRUE(photon && project);
  EXPECT_EQ(photon->identity.auth_type, AuthType::api_key);
  EXPECT_EQ(text(photon->grant.access_token), "ph_FAKE_dashboard_token");
  EXPECT_EQ(photon->grant.obtained_at, at_millis(1789000000000));
  EXPECT_EQ(text(project->grant.access_token), "ph_FAKE_secret");
  EXPECT_TRUE(extra_of(project->original).contains("project_secret"));
}

TEST(HermesReader, BothShapesOfSuppressionAreRead) {
  const auto suppressed = [](const json& sources) {
    const Document document =
        read_tree({{"providers", json::object()}, {"suppressed_sources", {{"copilot", sources}}}});
    return document.states.empty() ? std::vector<std::string>()
                                   : document.states[0].suppressed_sources;
  };

  EXPECT_THAT(suppressed({"gh_cli", "env:GH_TOKEN"}), ElementsAre("gh_cli", "env:GH_TOKEN"));
  EXPECT_THAT(suppressed({{"gh_cli", 1}, {"env:GH_TOKEN", json::object()}}),
              ElementsAre("env:GH_TOKEN", "gh_cli"));
}

TEST(HermesReader, TheShapeBeforeProvidersIsReadAndLosesNothing) {
  const Document document = read_sample("06_legacy_systems.json");

  ASSERT_THAT(document.rows, SizeIs(1));
  EXPECT_EQ(document.rows[0].where, "systems.nous_portal");
  EXPECT_EQ(document.rows[0].identity.portal_base_url, "https://portal.nousresearch.com")
      << "the old host is dead";
  EXPECT_EQ(text(document.rows[0].grant.refresh_token), "nrt_FAKE_legacy");
  ASSERT_THAT(document.bad_rows, SizeIs(1));
  EXPECT_EQ(document.bad_rows[0].where, "systems.other_system");
  EXPECT_EQ(extra_of(document.unknown)["not_imported"]["systems.other_system"]["token"], "FAKE");
  ASSERT_THAT(document.states, SizeIs(1));
  EXPECT_TRUE(document.states[0].active);
}

TEST(HermesReader, OddTypesOfOldFilesAreUnderstood) {
  const Document document = read_sample("08_pool_only_odd_types.json");

  const Row* dated = row_at(document, "credential_pool.openai-codex[1]");
  ASSERT_TRUE(dated);
  EXPECT_EQ(dated->health.status_at, at("2026-05-26T10:00:00Z"));
  EXPECT_EQ(dated->health.error_code, 429);
  EXPECT_EQ(dated->health.cooldown_until, at_millis(1779800000000));

  const Row* mislabelled = row_at(document, "credential_pool.anthropic[0]");
  ASSERT_TRUE(mislabelled);
  EXPECT_EQ(mislabelled->identity.auth_type, AuthType::oauth);
  EXPECT_EQ(mislabelled->grant.expires_at, at_millis(1779800000000));

  const Row* key = row_at(document, "credential_pool.nous[0]");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->grant.bearer_kind, BearerKind::api_key);

  const Row* naive = row_at(document, "credential_pool.nous[1]");
  ASSERT_TRUE(naive);
  EXPECT_EQ(naive->grant.expires_at, at("2026-05-01T12:00:00Z"));
  EXPECT_TRUE(naive->expires_derived);
  EXPECT_EQ(extra_of(naive->extra)["expires_at"], "2026-05-01T12:00:00") << "as it was written";
  EXPECT_EQ(naive->grant.obtained_at, at_millis(1777636800000));

  ASSERT_THAT(document.bad_rows, SizeIs(1));
  EXPECT_EQ(document.bad_rows[0].where, "credential_pool.openai-codex[3]");
  EXPECT_EQ(document.bad_rows[0].reason, "it holds no token");
}

TEST(HermesReader, BadRowsAreNamedByIndexAndFieldAndTheOthersImport) {
  const Document document = read_document(testing::nasty("wrong_types.json"), "default");

  EXPECT_FALSE(document.failure);
  std::vector<std::string> bad;
  for (const BadRow& row : document.bad_rows) {
    bad.push_back(row.where + ": " + (row.field.empty() ? "" : row.field + " ") + row.reason);
  }
  EXPECT_THAT(bad,
              ::testing::UnorderedElementsAre(
                  "credential_pool.: it has no provider",
                  "credential_pool.nous[1]: is a string, not an object",
                  "credential_pool.nous[2]: id is a number, not text",
                  "credential_pool.nous[3]: access_token is an array, not text",
                  "credential_pool.nous[4]: refresh_token is an object, not text",
                  "credential_pool.nous[5]: it holds no token",
                  "credential_pool.openrouter: is an object, not an array",
                  "providers.nous: is a string, not an object",
                  "providers.spotify: access_token is a number, not text",
                  "providers.xai-oauth: Hermes gave its tokens up (invalid_grant): log in again",
                  "suppressed_sources.anthropic[1]: is a number, not text",
                  "suppressed_sources.nous: is a string, not an array",
                  "active_provider: is a number, not text"));
  EXPECT_THAT(document.rows, SizeIs(2));
}

TEST(HermesReader, WhatIsNotImportedIsKeptWithTheReceipt) {
  const Document document = read_document(testing::nasty("wrong_types.json"), "default");
  const json unknown = extra_of(document.unknown);

  EXPECT_EQ(unknown["version"], 2);
  EXPECT_EQ(unknown["novel_top"]["a"], 1);
  EXPECT_EQ(unknown["not_imported"]["credential_pool.nous[3]"]["refresh_token"],
            "nrt_FAKE_bad_access");
}

TEST(HermesReader, FieldsThatAreNotUnderstoodAreUnknownAndKept) {
  const Document document = read_document(testing::nasty("wrong_types.json"), "default");
  const Row* row = row_at(document, "credential_pool.nous[6]");

  ASSERT_TRUE(row);
  EXPECT_EQ(row->identity.auth_type, AuthType::oauth) << "it has a refresh token";
  EXPECT_FALSE(row->priority);
  EXPECT_FALSE(row->grant.expires_at);
  EXPECT_FALSE(row->grant.obtained_at);
  EXPECT_EQ(row->health.status, Status::ok);
  EXPECT_EQ(row->health.request_count, 0);
  const json extra = extra_of(row->extra);
  EXPECT_EQ(extra["auth_type"], "certificate");
  EXPECT_EQ(extra["priority"], "high");
  EXPECT_EQ(extra["expires_at"], true);
  EXPECT_EQ(extra["obtained_at"], "last tuesday");
  EXPECT_EQ(extra["last_status"], "sleepy");
  EXPECT_EQ(extra["novel"], (json{{"deep", {1}}}));
}

TEST(HermesReader, AByteOrderMarkIsTolerated) {
  const testing::TempDir dir;
  const auto path = dir.write(
      "auth.json", "\xEF\xBB\xBF" + testing::pool("nous", {testing::grant_row("a", "r")}).dump());

  EXPECT_THAT(read_document(path, "default").rows, SizeIs(1));
}

TEST(HermesReader, AGuestKeepsItsOneSecretAmongTheForeignFields) {
  const Document document = read_tree(
      {{"providers",
        {{"nous",
          {{"auth_method", "anonymous"}, {"anon_token", "anon_FAKE"}, {"user_id", "u1"}}}}}});

  ASSERT_THAT(document.rows, SizeIs(1));
  EXPECT_EQ(extra_of(document.rows[0].extra)["anon_token"], "anon_FAKE");
  EXPECT_EQ(document.rows[0].identity.account, "u1");
  EXPECT_EQ(document.rows[0].secret_fingerprint, fingerprint(token_hash("anon_FAKE")));
}

TEST(HermesReader, AnErrorMessageLosesWhatMayBeAToken) {
  json row = testing::grant_row("a", "r");
  row["last_error_message"] = "bad token nrt_FAKE_shared_refresh_AAAA, try again";
  const Document document = read_tree(testing::pool("nous", {row}));

  EXPECT_EQ(document.rows[0].health.error_message, "bad token [redacted], try again");
}

TEST(HermesReader, SideFilesAreOneBlockOfTheirProvider) {
  const Document claude = read_sample("13_anthropic_oauth_singleton.json");
  ASSERT_THAT(claude.rows, SizeIs(1));
  EXPECT_EQ(claude.rows[0].identity.provider, "anthropic");
  EXPECT_EQ(claude.rows[0].identity.source, "hermes_pkce");
  EXPECT_EQ(text(claude.rows[0].grant.refresh_token), "sk-ant-ort01-FAKE-c");
  EXPECT_EQ(claude.rows[0].grant.expires_at, at_millis(1790028800000));

  const Document shared = read_sample("12_shared_nous_auth.json");
  ASSERT_THAT(shared.rows, SizeIs(1));
  EXPECT_EQ(shared.rows[0].identity.provider, "nous");
  EXPECT_EQ(shared.rows[0].grant.bearer_kind, BearerKind::access_token);
  EXPECT_EQ(extra_of(shared.unknown)["_schema"], 1);
}

TEST(Readers, WhatNobodyKnowsIsRefusedWithTheShapesThatAre) {
  for (const json& tree : {json{{"hello", "world"}}, json::array({1}), json("text"), json(1)}) {
    const Document document = read_tree(tree);
    ASSERT_TRUE(document.failure);
    EXPECT_EQ(document.failure->code, Errc::refused);
    EXPECT_THAT(document.failure->hint, HasSubstr("credential_pool"));
    EXPECT_THAT(document.rows, IsEmpty());
  }
}

TEST(Readers, AMalformedFileYieldsNothingButItsFailure) {
  const Document document = read_sample("10_malformed_truncated.json");

  ASSERT_TRUE(document.failure);
  EXPECT_THAT(document.failure->message, HasSubstr("line 40, column 6"));
  EXPECT_THAT(document.rows, IsEmpty());
}

}  // namespace
}  // namespace authdb::migrate
