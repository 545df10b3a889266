// Files out: what goes back as it was, what is spelled anew, and what never leaves unasked.
#include "migrate/export.h"

#include <sys/stat.h>

#include <map>

#include "migrate/formats/format.h"
#include "store/rotation.h"
#include "tests/migrate/support.h"
#include "tests/store/store_fixture.h"

namespace authdb::migrate {
namespace {

using namespace authdb::migrate::testing;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<std::string> kHermesSamples{"01_root_old_v011.json",
                                              "02_profile_atlas_cloned_old.json",
                                              "03_profile_forge_forked_newer_old.json",
                                              "04_root_new_jwt.json",
                                              "06_legacy_systems.json",
                                              "08_pool_only_odd_types.json"};

// What docs/migration.md says of a file that comes back: everything else is as it was.
json normalised(const std::string& name) {
  json source = json::parse(contents(sample(name)));
  source["version"] = source.value("version", 1);
  source.erase("updated_at");
  if (!source.contains("providers") && !source.contains("credential_pool")) {
    source["providers"]["nous"] = source["systems"]["nous_portal"];
    source["systems"].erase("nous_portal");
    source["active_provider"] = "nous";
  }
  for (const char* key : {"providers", "credential_pool"}) {
    if (!source.contains(key)) source[key] = json::object();
  }
  for (json& rows : source["credential_pool"]) {
    for (json& row : rows) {
      if (!row.value("source", "").starts_with("env:") || !row.contains("access_token")) continue;
      row["secret_fingerprint"] =
          fingerprint(token_hash(row["access_token"].get_ref<std::string&>()));
      row.erase("access_token");
    }
  }
  // Rows 1 and 2 show one access token: two copies of one grant, which is one row now.
  if (name.starts_with("08_")) source["credential_pool"]["openai-codex"].erase(2);
  return source;
}

class ExportTest : public test::StoreTest {
 protected:
  Store new_store(const std::string& name) {
    auto made = options();
    made.path = dir_.path() / name / "auth.db";
    return *Store::open(made, OpenMode::create);
  }
  static Plan import(Store& store, const fs::path& file) {
    auto applied = apply(store, *read_sources(from({file})), {});
    EXPECT_TRUE(applied) << applied.error().message;
    return applied ? std::move(*applied) : Plan();
  }
  static json exported(const Store& store, std::string_view format, bool with_refresh = true,
                       const std::string& profile = "default") {
    const auto bytes = export_document(
        store, {.profile = profile, .format = format, .with_refresh_tokens = with_refresh});
    EXPECT_TRUE(bytes) << bytes.error().message;
    return bytes ? json::parse(bytes->reveal()) : json();
  }

  TempDir files_;
};

TEST_F(ExportTest, EverySampleOfHermesComesBackAsItWas) {
  for (const auto& name : kHermesSamples) {
    SCOPED_TRACE(name);
    Store store = new_store(name);
    import(store, files_.copy_sample(name, fs::path(name) / "auth.json"));

    json back = exported(store, "hermes");

    EXPECT_EQ(back["updated_at"], format_iso(store.now()));
    back.erase("updated_at");
    const json expected = normalised(name);
    EXPECT_EQ(back, expected) << json::diff(expected, back).dump(1);
  }
}

TEST_F(ExportTest, TheSideFilesAndOtherToolsFilesComeBackAsTheyWere) {
  const json codex{{"OPENAI_API_KEY", nullptr},
                   {"auth_mode", "chatgpt"},
                   {"tokens",
                    {{"id_token", "idt"},
                     {"access_token", "codex-at"},
                     {"refresh_token", "codex-rt"},
                     {"account_id", "acct"}}},
                   {"last_refresh", "2026-09-20T09:00:00.123456789Z"},
                   {"novel", 1}};
  const json claude{{"claudeAiOauth",
                     {{"accessToken", "sk-ant-oat01-x"},
                      {"refreshToken", "sk-ant-ort01-x"},
                      {"expiresAt", 1790028800000},
                      {"scopes", {"user:inference", "user:profile"}},
                      {"subscriptionType", "max"}}},
                    {"mcpOAuth", {{"server", {{"accessToken", "m"}}}}}};
  const json opencode{
      {"anthropic",
       {{"type", "oauth"}, {"access", "oc-at"}, {"refresh", "oc-rt"}, {"expires", 1790028800000}}},
      {"openai",
       {{"type", "oauth"},
        {"access", "oai-at"},
        {"refresh", "oai-rt"},
        {"expires", 1790028800001},
        {"accountId", "acct"}}},
      {"openrouter", {{"type", "api"}, {"key", "sk-or-1"}, {"metadata", {{"a", "b"}}}}},
      {"https://x.example", {{"type", "wellknown"}, {"key", "X_TOKEN"}, {"token", "wk-1"}}}};
  const std::vector<std::tuple<std::string_view, json, fs::path>> cases{
      {"codex", codex, "auth.json"},
      {"codex", {{"OPENAI_API_KEY", "sk-proj-1"}}, "auth.json"},
      {"claude", claude, ".credentials.json"},
      {"opencode", opencode, "auth.json"},
      {"qwen", json::parse(contents(sample("14_qwen_oauth_creds.json"))), "oauth_creds.json"},
      {"hermes-anthropic", json::parse(contents(sample("13_anthropic_oauth_singleton.json"))),
       ".anthropic_oauth.json"},
      {"hermes-shared-nous", json::parse(contents(sample("12_shared_nous_auth.json"))),
       "shared/nous_auth.json"}};
  int n = 0;
  for (const auto& [format, source, file] : cases) {
    SCOPED_TRACE(format);
    const std::string name = std::to_string(n++);
    Store store = new_store(name);
    import(store, files_.write_json(fs::path(name) / file, source));

    const json back = exported(store, format);

    EXPECT_EQ(back, source) << json::diff(source, back).dump(1);
  }
}

TEST_F(ExportTest, AProjectionHasNoRefreshTokenAnywhereAndItsToolStillAcceptsIt) {
  for (const auto& name : kHermesSamples) {
    SCOPED_TRACE(name);
    Store store = new_store(name);
    const std::string whole = contents(files_.copy_sample(name, fs::path(name) / "auth.json"));
    import(store, files_.path() / name / "auth.json");

    const json projection = exported(store, "hermes", false);

    const auto rows = store.list({});
    for (const auto& row : *rows) {
      const std::string refresh = text(store.unseal(row.uid)->refresh_token);
      EXPECT_THAT(projection.dump(), Not(HasSubstr(refresh.empty() ? "no such" : refresh)));
    }
    for (const auto& [provider, block] : projection["providers"].items()) {
      if (provider != "openai-codex" && provider != "xai-oauth") continue;
      // Hermes reads a block without it as damaged.
      EXPECT_EQ(block["tokens"]["refresh_token"], "held-by-authdb");
    }
  }
}

TEST_F(ExportTest, AProjectionThatIsImportedAgainMovesNoToken) {
  for (const auto& name : kHermesSamples) {
    SCOPED_TRACE(name);
    Store store = new_store(name);
    const auto file = files_.copy_sample(name, fs::path(name) / "auth.json");
    import(store, file);
    files_.write(file, exported(store, "hermes", false).dump());

    const Plan again = import(store, file);

    EXPECT_TRUE(again.conflicts.empty());
    for (const auto& change : again.change.credentials) {
      EXPECT_FALSE(change.uid.empty()) << "a projection brings nothing new";
      EXPECT_FALSE(change.grant);
      EXPECT_FALSE(change.hold);
    }
  }
}

TEST_F(ExportTest, WhatIsExportedWithEverythingChangesNothingWhenItIsImportedAgain) {
  for (const auto& name : kHermesSamples) {
    SCOPED_TRACE(name);
    Store store = new_store(name);
    const auto file = files_.copy_sample(name, fs::path(name) / "auth.json");
    import(store, file);
    files_.write(file, exported(store, "hermes").dump());

    const Plan again = import(store, file);

    for (const auto& change : again.change.credentials) {
      EXPECT_FALSE(change.grant || change.hold || change.health || change.agent_key);
      EXPECT_TRUE(!change.extra || json::parse(contents(sample(name))) != normalised(name))
          << "only a place that is spelled anew is news";
    }
  }
}

TEST_F(ExportTest, ARotatedGrantIsSpelledAnewAndEverythingElseOfItsPlacesStays) {
  Store store = new_store("rotated");
  import(store, files_.copy_sample("04_root_new_jwt.json", "auth.json"));
  advance(at("2026-10-01T00:00:00Z") - now());
  const json before = exported(store, "hermes");
  const auto nous = store.list({.provider = "nous"});
  Change change;
  CredentialChange one;
  one.uid = nous->front().uid;
  one.planned_against = nous->front().generation;
  one.origin = Origin::rotation;
  one.grant.emplace();
  one.grant->access_token = Secret::copy_of("at_next");
  one.grant->refresh_token = Secret::copy_of("rt_next");
  one.grant->obtained_at = at("2026-10-01T00:00:00Z");
  one.grant->expires_at = at("2026-10-01T01:00:00Z");
  change.credentials.push_back(std::move(one));
  ASSERT_TRUE(store.apply(change));

  const json after = exported(store, "hermes");

  json expected = before["providers"]["nous"];
  expected.update({{"access_token", "at_next"},
                   {"refresh_token", "rt_next"},
                   {"agent_key", "at_next"},
                   {"obtained_at", "2026-10-01T00:00:00+00:00"},
                   {"expires_at", "2026-10-01T01:00:00+00:00"},
                   {"agent_key_obtained_at", "2026-10-01T00:00:00+00:00"},
                   {"agent_key_expires_at", "2026-10-01T01:00:00+00:00"}});
  EXPECT_EQ(after["providers"]["nous"], expected);
  EXPECT_EQ(after["credential_pool"]["nous"][0]["refresh_token"], "rt_next");
  EXPECT_EQ(after["credential_pool"]["openrouter"], before["credential_pool"]["openrouter"]);
}

TEST_F(ExportTest, APlaceThatLostGetsTheLivePairWithItsAddresses) {
  const auto row = [](const char* refresh, const char* obtained, const std::string& host) {
    json out = grant_row("same", refresh, obtained);
    out["portal_base_url"] = "https://portal.example/" + host;
    out["inference_base_url"] = "https://inference.example/" + host;
    out["base_url"] = "https://base.example/" + host;
    out["tls"] = {{"ca_bundle", "/" + host}};
    return out;
  };
  Store store = new_store("s");
  const json lost = pool("nous", {row("r1", "2026-01-01T00:00:00Z", "lost")});
  const json live = pool("nous", {row("r2", "2026-02-01T00:00:00Z", "live")});
  files_.write_json("auth.json", lost);
  files_.write_json("profiles/atlas/auth.json", live);
  import(store, files_.path());

  const json back = exported(store, "hermes")["credential_pool"]["nous"][0];

  EXPECT_EQ(back["refresh_token"], "r2");
  EXPECT_THAT(back.dump(), Not(HasSubstr("lost")));
}

TEST_F(ExportTest, ACooldownThatEndedIsNotWrittenAgain) {
  Store store = new_store("health");
  import(store, files_.copy_sample("01_root_old_v011.json", "auth.json"));
  const auto codex = store.pool("default", "openai-codex");
  ASSERT_TRUE(store.reset(codex->front().credential.uid));

  const json row = exported(store, "hermes")["credential_pool"]["openai-codex"][0];

  EXPECT_NE(row["last_status"], "exhausted");
  EXPECT_TRUE(row["last_error_code"].is_null());
  EXPECT_TRUE(row["last_error_reset_at"].is_null());
  EXPECT_EQ(row["last_refresh"], "2026-04-13T21:40:02.551000Z");
}

TEST_F(ExportTest, AnotherOrderOfThePoolRenumbersItsPriorities) {
  Store store = new_store("order");
  import(store, files_.copy_sample("01_root_old_v011.json", "auth.json"));
  const auto pool = store.pool("default", "openrouter");
  ASSERT_TRUE(store.set_place("default", pool->back().credential.uid, 1));

  const json rows = exported(store, "hermes")["credential_pool"]["openrouter"];

  EXPECT_EQ(rows[0]["id"], "9b8c7d");
  EXPECT_EQ(rows[0]["priority"], 0);
  EXPECT_EQ(rows[1]["id"], "0e1f2a");
  EXPECT_EQ(rows[1]["priority"], 1);
}

TEST_F(ExportTest, ACredentialThatHermesNeverHadGetsTheBlockWithoutWhichItsRowWouldBeDropped) {
  Store store = new_store("fresh");
  Change change;
  for (const auto* account : {"one", "two"}) {
    CredentialChange& made = change.credentials.emplace_back();
    made.identity = Identity{.provider = "nous", .label = account, .source = "login"};
    made.identity->scope = "inference:invoke";
    made.grant.emplace();
    made.grant->access_token = Secret::copy_of(std::string("at_") + account);
    made.grant->refresh_token = Secret::copy_of(std::string("rt_") + account);
    made.grant->expires_at = at("2026-10-01T01:00:00Z");
    made.bindings.push_back({"default", {}});
  }
  ASSERT_TRUE(store.apply(change));

  const json root = exported(store, "hermes");
  const json& rows = root["credential_pool"]["nous"];

  EXPECT_EQ(root["providers"]["nous"]["refresh_token"], "rt_one");
  EXPECT_EQ(rows[0]["source"], "device_code");
  EXPECT_EQ(rows[0]["refresh_token"], "rt_one");
  EXPECT_EQ(rows[1]["source"], "manual:device_code");
  EXPECT_EQ(rows[1]["expires_at"], "2026-10-01T01:00:00+00:00");
  EXPECT_EQ(rows[0]["id"].get<std::string>().size(), 6U);
  const auto document = read_document(files_.write_json("again.json", root), "default");
  EXPECT_EQ(document.rows.size(), 3U);
  EXPECT_TRUE(document.bad_rows.empty());
}

TEST_F(ExportTest, AProfileGetsOnlyWhatItIsBoundTo) {
  files_.copy_sample("01_root_old_v011.json", "auth.json");
  files_.copy_sample("02_profile_atlas_cloned_old.json", "profiles/atlas/auth.json");
  files_.copy_sample("03_profile_forge_forked_newer_old.json", "profiles/forge/auth.json");
  Store store = new_store("profiles");
  import(store, files_.path());

  const json atlas = exported(store, "hermes", true, "atlas");

  EXPECT_FALSE(atlas["credential_pool"].contains("openrouter"));
  EXPECT_EQ(atlas["providers"]["nous"]["label"], "atlas-portal") << "each place keeps its own name";
  EXPECT_EQ(atlas["providers"]["nous"]["refresh_token"], "nrt_FAKE_shared_refresh_CCCC");
  EXPECT_TRUE(atlas["credential_pool"]["nous"][0]["last_status"].is_null())
      << "the verdict was about the copy's own token";
  EXPECT_EQ(atlas["credential_pool"]["nous"][1]["refresh_token"], "nrt_FAKE_atlas_manual_BBBB");
}

TEST_F(ExportTest, WhatTheProfileDoesNotHaveIsNotFound) {
  Store store = new_store("empty");
  import(store, files_.copy_sample("14_qwen_oauth_creds.json", "oauth_creds.json"));

  EXPECT_EQ(export_document(store, {.profile = "nobody"}).error().code, Errc::not_found);
  EXPECT_EQ(export_document(store, {.profile = "default", .format = "claude"}).error().code,
            Errc::not_found);
}

TEST_F(ExportTest, AGrantThatSomebodyIsRefreshingIsWaitedForAndThenBusy) {
  Store store = new_store("busy");
  import(store, files_.copy_sample("14_qwen_oauth_creds.json", "oauth_creds.json"));
  const auto uid = store.list({})->front().uid;
  const auto held = LockedCredential::acquire(store, uid, {Milliseconds{0}});
  ASSERT_TRUE(held);

  const auto refused = export_document(store, {.profile = "default",
                                               .format = "qwen",
                                               .with_refresh_tokens = true,
                                               .lock_wait = Milliseconds{1}});

  EXPECT_EQ(refused.error().code, Errc::busy);
  EXPECT_TRUE(export_document(store, {.profile = "default", .format = "qwen"}))
      << "a projection waits for nobody";
}

}  // namespace
}  // namespace authdb::migrate
