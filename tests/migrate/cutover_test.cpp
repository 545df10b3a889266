// From the files of a tool to projections, and back again.
#include "migrate/cutover.h"

#include <sodium.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <thread>

#include "migrate/export.h"
#include "migrate/hand_over.h"
#include "migrate/projection.h"
#include "migrate/tool_lock.h"
#include "store/draft.h"
#include "store/rotation.h"
#include "tests/migrate/hermes_rules.h"
#include "tests/migrate/killed.h"
#include "tests/migrate/support.h"
#include "tests/store/store_fixture.h"

namespace authdb::migrate {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using namespace authdb::migrate::testing;

constexpr Milliseconds kWait{5000};

std::string base64url(const std::string& text) {
  std::string out(sodium_base64_encoded_len(text.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                  '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(text.data()),
                    text.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  out.resize(out.size() - 1);
  return out;
}

std::string jwt(Instant ends, const std::string& id) {
  const json claims{{"exp", to_millis(ends) / 1000}, {"scope", "inference:invoke"}, {"jti", id}};
  return base64url(R"({"alg":"none"})") + "." + base64url(claims.dump()) + ".c2ln";
}

template <typename T>
std::optional<Errc> error_of(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error().code;
}

class CutoverTest : public test::StoreTest {
 protected:
  // A provider's block and the pool row that Hermes seeds from it.
  json nous_home(const std::string& refresh, Era era = Era::e3) const {
    const Instant ends = now() + Seconds(3600);
    json block{{"portal_base_url", "https://portal.nousresearch.com"},
               {"client_id", "hermes-cli"},
               {"scope", era == Era::e3 ? "inference:invoke" : "inference:mint_agent_key"},
               {"access_token", era == Era::e3 ? jwt(ends, refresh) : "opaque-" + refresh},
               {"refresh_token", refresh},
               {"obtained_at", format_iso(now())},
               {"expires_at", format_iso(ends)},
               {"expires_in", 3600},
               {"of_tomorrow", {{"kept", true}}}};
    if (era == Era::e3) {
      block["agent_key"] = block["access_token"];
      block["agent_key_expires_at"] = block["expires_at"];
    }
    json row = block;
    row["id"] = "a1b2c3";
    row["label"] = "ada@example.org";
    row["auth_type"] = "oauth";
    row["source"] = "device_code";
    row["priority"] = 0;
    row["last_status"] = nullptr;
    json tree = pool("nous", {row, key_row("d4e5f6", "sk-static-key")});
    tree["providers"]["nous"] = block;
    tree["active_provider"] = "nous";
    return tree;
  }
  fs::path root(const json& tree) { return home_.write_json("auth.json", tree); }
  fs::path file() const { return home_.path() / "auth.json"; }
  static json tree(const fs::path& path) { return json::parse(contents(path)); }
  json tree() const { return tree(file()); }

  CutOverOptions options_for(bool running = false) const {
    return {from({home_.path()}), running, kWait};
  }
  CutOver cut(Store& store) {
    auto done = cut_over(store, options_for());
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    return done ? std::move(*done) : CutOver();
  }
  // A store and a file as after a cut-over, whatever was there.
  void cut_over_anew() {
    fs::remove_all(database().parent_path());
    root(nous_home("rt-1"));
    Store made = open();
    cut(made);
  }
  Plan migrate(Store& store) {
    const auto documents = read_sources(from({home_.path()}));
    auto applied = apply(store, *documents, from({home_.path()}));
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    return applied ? std::move(*applied) : Plan();
  }
  static Credential nous(const Store& store) {
    const auto rows = store.list({"nous", "", false});
    for (const auto& row : *rows) {
      if (row.identity.auth_type == AuthType::oauth) return row;
    }
    return {};
  }
  static std::string refresh_token(const Store& store) {
    return text(store.unseal(nous(store).uid)->refresh_token);
  }
  void refresh(Store& store, const Uid& uid, Seconds life = Seconds(3600)) {
    const std::string n = std::to_string(++refreshed_);
    will(test::grants("successor-" + n, jwt(now() + life, n), static_cast<int>(life.count())));
    const auto rotated = rotate(store, uid, {.force = true});
    ASSERT_TRUE(rotated) << rotated.error().message;
  }
  // What `keep-fresh --project` does in one round.
  void keep_fresh(Store& store) {
    const auto due = projections_due(store);
    ASSERT_TRUE(due);
    for (const auto& [at, uid] : *due) {
      if (at <= now()) refresh(store, uid);
    }
    const auto done = project(store, kWait);
    ASSERT_TRUE(done) << done.error().message;
    for (const auto& one : *done) EXPECT_EQ(one.warning, "");
  }
  std::vector<fs::path> kept() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(home_.path())) {
      const auto name = entry.path().filename().string();
      if (name.find(".migrated-") != std::string::npos) found.push_back(entry.path());
    }
    return found;
  }

  // In another process, which cannot give the file its name.
  void hand_over_without_rename() {
    traced(
        [&] {
          Store store = open(OpenMode::use);
          (void)hand_over(store, file(), kWait);
        },
        [](std::uint64_t call) {
          const bool renames = call == SYS_renameat || call == SYS_renameat2;
          return renames ? Fate::fails : Fate::happens;
        });
  }

  // As a tool saves its file: by a rename, or into the file that is there.
  void tool_writes(const std::string& text, bool in_place = false) {
    if (in_place) {
      home_.write("auth.json", text);
    } else {
      fs::rename(home_.write("of the tool", text), file());
    }
  }
  // The state as after a cut-over and a refresh that the file does not show yet.
  void leave_behind() {
    cut_over_anew();
    Store store = open(OpenMode::use);
    refresh(store, nous(store).uid);
  }
  std::string tools_own_login() {
    json login = nous_home("rt-of-the-tool");
    login["providers"]["nous"]["obtained_at"] = format_iso(now() + Seconds(60));
    login["credential_pool"]["nous"][0]["obtained_at"] = format_iso(now() + Seconds(60));
    return login.dump(2);
  }
  // Runs `body` in a process of its own again and again, each time after `prepare`; before its
  // n-th call that changes a file the tool saves its login. `look` says what must be true then.
  int sweep_a_tools_write(const std::function<void()>& prepare, const std::function<void()>& body,
                          const std::function<void(const std::string& where)>& look) {
    int points = 0;
    for (const bool in_place : {false, true}) {
      for (int n = 0;; ++n) {
        prepare();
        const std::string login = tools_own_login();
        int left = n;
        traced(body, [&](std::uint64_t) {
          if (left-- == 0) tool_writes(login, in_place);
          return Fate::happens;
        });
        if (left >= 0) break;
        look((in_place ? "in place, " : "renamed, ") + std::to_string(n));
        ++points;
      }
    }
    return points;
  }
  std::vector<fs::path> displaced() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(home_.path())) {
      if (entry.path().filename().string().starts_with("auth.json.displaced-")) {
        found.push_back(entry.path());
      }
    }
    return found;
  }

  TempDir home_;
  int refreshed_ = 0;
};

TEST_F(CutoverTest, TakesTheRefreshTokensOutAndKeepsTheFileAsItWas) {
  const std::string before = contents(root(nous_home("rt-1")));
  fs::permissions(file(), fs::perms(0640));
  Store store = open();

  const CutOver done = cut(store);

  ASSERT_THAT(done.files, SizeIs(1));
  EXPECT_THAT(done.files[0].left_alone, IsEmpty());
  EXPECT_EQ(contents(done.files[0].kept), before);
  EXPECT_EQ(fs::status(done.files[0].kept).permissions(), fs::perms(0600));
  EXPECT_EQ(fs::status(file()).permissions(), fs::perms(0600));
  EXPECT_THAT(done.files[0].warning, HasSubstr("could be read by others"));
  EXPECT_THAT(contents(file()), Not(HasSubstr("rt-1")));
  EXPECT_EQ(refresh_token(store), "rt-1");
  const json after = tree();
  for (const json& place : {after["providers"]["nous"], after["credential_pool"]["nous"][0]}) {
    EXPECT_EQ(place["access_token"], json::parse(before)["providers"]["nous"]["access_token"]);
    EXPECT_EQ(place["refresh_token"], nullptr);
    EXPECT_EQ(place["of_tomorrow"]["kept"], true);
  }
  EXPECT_EQ(after["credential_pool"]["nous"][1]["access_token"], "sk-static-key");
  EXPECT_THAT(*store.projections(), SizeIs(1));
}

TEST_F(CutoverTest, AgainItChangesNothing) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  const std::string once = contents(file());

  const CutOver again = cut(store);

  EXPECT_THAT(again.files, IsEmpty());
  EXPECT_EQ(contents(file()), once);
  EXPECT_THAT(kept(), SizeIs(1));
  EXPECT_EQ(nous(store).generation, 1);
}

TEST_F(CutoverTest, ALinkStaysALinkAndBothLocksAreTaken) {
  fs::create_directories(home_.path() / "elsewhere");
  const auto real = home_.write_json("elsewhere/tokens.json", nous_home("rt-1"));
  fs::create_symlink(real, file());
  Store store = open();

  cut(store);

  EXPECT_TRUE(fs::is_symlink(file()));
  EXPECT_THAT(contents(real), Not(HasSubstr("rt-1")));
  EXPECT_THAT(
      lock_files_of({file(), "hermes"}),
      ElementsAre(home_.path() / "auth.lock", fs::canonical(real).replace_extension(".lock")));
}

TEST_F(CutoverTest, WaitsForTheToolsOwnLockAndChangesNothingWithoutIt) {
  const std::string before = contents(root(nous_home("rt-1")));
  const Fd held(::open((home_.path() / "auth.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
  Store store = open();
  CutOverOptions options = options_for(/*running=*/true);
  options.wait = Milliseconds(20);

  const auto done = cut_over(store, options);

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::busy);
  EXPECT_THAT(done.error().message, HasSubstr("auth.lock"));
  EXPECT_EQ(contents(file()), before);
  EXPECT_THAT(*store.list({}), IsEmpty());
}

TEST_F(CutoverTest, IsRefusedWhileAProgramHasFilesOpenThere) {
  const std::string before = contents(root(nous_home("rt-1")));
  home_.write("logs/gateway.log", "");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t gateway = ::fork();
  if (gateway == 0) {
    (void)::open((home_.path() / "logs/gateway.log").c_str(), O_RDONLY);
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  Store store = open();

  const auto refused = cut_over(store, options_for());
  const std::string after_refusal = contents(file());
  const auto done = cut_over(store, options_for(/*running=*/true));
  ::kill(gateway, SIGKILL);
  ::waitpid(gateway, nullptr, 0);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_THAT(refused.error().message,
              AllOf(HasSubstr(std::to_string(gateway)), HasSubstr("gateway.log")));
  EXPECT_EQ(after_refusal, before);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_THAT(done->running, SizeIs(1));
  EXPECT_EQ(done->running[0].pid, gateway);
  EXPECT_THAT(contents(file()), Not(HasSubstr("rt-1")));
}

TEST_F(CutoverTest, AFileThatChangesAfterTheImportIsReadAgainAndNotLost) {
  root(nous_home("rt-1"));
  auto made = options();
  bool armed = false;
  // Whoever takes no lock may rotate while we import: each reading of the clock is a moment of it.
  made.clock = [this, &armed] {
    if (std::exchange(armed, false)) {
      advance(Seconds(60));
      root(nous_home("rt-2"));
    }
    return now();
  };
  Store store = *Store::open(made, OpenMode::create);

  armed = true;
  cut(store);

  ASSERT_FALSE(armed);
  EXPECT_THAT(contents(file()), Not(HasSubstr("rt-")));
  EXPECT_EQ(refresh_token(store), "rt-2");
}

TEST_F(CutoverTest, WhatTheStoreDidNotTakeStaysWhereItIs) {
  json home = nous_home("rt-1");
  home["credential_pool"]["nous"][0].erase("last_status");
  json conflicting = grant_row("c0ffee", "rt-x");
  json rival = grant_row("c0ffee", "rt-y");
  root(pool("openai-codex", {conflicting}));
  home_.write_json("profiles/atlas/auth.json", pool("openai-codex", {rival}));
  Store store = open();

  const CutOver done = cut(store);

  ASSERT_THAT(done.plan.conflicts, SizeIs(1));
  EXPECT_THAT(contents(file()) + contents(home_.path() / "profiles/atlas/auth.json"),
              AllOf(HasSubstr("rt-x"), HasSubstr("rt-y")));
  ASSERT_FALSE(done.files.empty());
  for (const auto& one : done.files) EXPECT_THAT(one.left_alone, Not(IsEmpty()));
}

TEST_F(CutoverTest, AllThatShareAGrantGetItsOneLivingAccessToken) {
  home_.copy_sample("01_root_old_v011.json", "auth.json");
  home_.copy_sample("02_profile_atlas_cloned_old.json", "profiles/atlas/auth.json");
  home_.copy_sample("03_profile_forge_forked_newer_old.json", "profiles/forge/auth.json");
  Store store = open();

  cut(store);

  const auto at_id = [&](const fs::path& path) {
    const json home = tree(home_.path() / path);
    for (const json& row : home["credential_pool"]["nous"]) {
      if (row.value("id", "") == "a1b2c3") return row["access_token"].get<std::string>();
    }
    return std::string();
  };
  EXPECT_EQ(at_id("auth.json"), at_id("profiles/forge/auth.json"));
  EXPECT_EQ(at_id("profiles/atlas/auth.json"), at_id("profiles/forge/auth.json"));
  EXPECT_NE(at_id("auth.json"), "");
}

// ---- Living with it
// ------------------------------------------------------------------------------

TEST_F(CutoverTest, AFileThatLostGetsTheLivePairsAddressesWithItsToken) {
  json lost = nous_home("rt-1");
  lost["providers"]["nous"]["inference_base_url"] = "https://lost.example";
  json live = nous_home("rt-2");
  for (json* place : {&live["providers"]["nous"], &live["credential_pool"]["nous"][0]}) {
    (*place)["obtained_at"] = format_iso(now() + Seconds(60));
    (*place)["inference_base_url"] = "https://live.example";
  }
  root(lost);
  home_.write_json("profiles/atlas/auth.json", live);
  Store store = open();
  cut(store);

  const json block = tree()["providers"]["nous"];
  EXPECT_EQ(block["access_token"], live["providers"]["nous"]["access_token"]);
  EXPECT_EQ(block["inference_base_url"], "https://live.example");
}

TEST_F(CutoverTest, AnUnmodifiedHermesNeverWantsToRefreshWhileTheFilesAreKeptFresh) {
  for (const Era era : {Era::e1, Era::e3}) {
    root(nous_home("rt-" + std::to_string(static_cast<int>(era)), era));
    Store store = open();
    cut(store);
    for (int minute = 0; minute < 6 * 60; ++minute) {
      keep_fresh(store);
      const json seen = tree();
      for (const json& place : {seen["providers"]["nous"], seen["credential_pool"]["nous"][0]}) {
        const std::string would = nous_would(place, era, now());
        ASSERT_TRUE(would.empty() || would == "mint with the access token") << minute << would;
        ASSERT_FALSE(would_prune(place, now()));
      }
      advance(Seconds(60));
    }
    EXPECT_GE(refreshed_, 5);
    fs::remove_all(database().parent_path());
  }
}

TEST_F(CutoverTest, WithoutKeepingFreshHermesWouldGiveTheLoginUp) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);

  advance(Seconds(3600));

  EXPECT_THAT(nous_would(tree()["providers"]["nous"], Era::e3, now()), HasSubstr("quarantine"));
}

TEST_F(CutoverTest, CodexAndClaudeAndTheAnthropicFileAreKeptFreshToo) {
  const Instant ends = now() + Seconds(3600);
  const auto codex = home_.write_json("codex/auth.json", {{"OPENAI_API_KEY", nullptr},
                                                          {"tokens",
                                                           {{"access_token", jwt(ends, "codex")},
                                                            {"refresh_token", "rt-codex"},
                                                            {"id_token", "x.y.z"},
                                                            {"account_id", "acct"}}},
                                                          {"last_refresh", format_iso(now())}});
  const json claude_grant{{"accessToken", "sk-ant-oat-1"},
                          {"refreshToken", "rt-claude"},
                          {"expiresAt", to_millis(ends)},
                          {"scopes", {"user:inference"}}};
  const auto claude =
      home_.write_json("claude/.credentials.json", {{"claudeAiOauth", claude_grant}});
  const auto own =
      home_.write_json("hermes/.anthropic_oauth.json", {{"accessToken", "sk-ant-oat-2"},
                                                        {"refreshToken", "rt-own"},
                                                        {"expiresAt", to_millis(ends)}});
  Store store = open();
  const auto done = cut_over(store, {from({codex, claude, own}), false, kWait});
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_THAT(done->files, SizeIs(3));

  for (int minute = 0; minute < 3 * 60; ++minute) {
    keep_fresh(store);
    ASSERT_EQ(codex_would(tree(codex)["tokens"], now()), "");
    ASSERT_EQ(anthropic_would(tree(claude)["claudeAiOauth"], "expiresAt", "refreshToken", now()),
              "");
    ASSERT_EQ(anthropic_would(tree(own), "expiresAt", "refreshToken", now()), "");
    advance(Seconds(60));
  }

  for (const auto& path : {codex, claude, own}) EXPECT_THAT(contents(path), Not(HasSubstr("rt-")));
  EXPECT_EQ(tree(codex)["tokens"]["account_id"], "acct");
}

TEST_F(CutoverTest, LeadsByTwiceTheToolsSkewAndAMinute) {
  for (const char* provider : {"nous", "openai-codex", "anthropic", "qwen-oauth", "spotify"}) {
    EXPECT_GE(projection_lead("hermes", provider), Seconds(2 * 120 + 60)) << provider;
  }
  EXPECT_GE(projection_lead("hermes", "xai-oauth"), Seconds(2 * 3600 + 60));
  EXPECT_GE(projection_lead("hermes", "minimax-oauth"), Seconds(2 * 60 + 60));
}

TEST_F(CutoverTest, WhatTheToolWritesBesideTheTokensStays) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  json changed = tree();
  changed["credential_pool"]["nous"][0]["last_status"] = "exhausted";
  changed["credential_pool"]["nous"][0]["last_error_code"] = 429;
  changed["credential_pool"]["openrouter"] = json::array({key_row("new", "sk-new")});
  root(changed);

  refresh(store, nous(store).uid);
  ASSERT_TRUE(project(store, kWait));

  const json after = tree();
  EXPECT_EQ(after["credential_pool"]["nous"][0]["last_status"], "exhausted");
  EXPECT_EQ(after["credential_pool"]["openrouter"][0]["access_token"], "sk-new");
  EXPECT_EQ(after["providers"]["nous"]["access_token"],
            text(store.unseal(nous(store).uid)->access_token));
}

TEST_F(CutoverTest, ATokenThatTheToolGaveUpIsPutBack) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  json quarantined = tree();
  for (const char* key : {"access_token", "refresh_token", "agent_key"}) {
    quarantined["providers"]["nous"].erase(key);
  }
  quarantined["providers"]["nous"]["last_auth_error"] = {{"code", "invalid_grant"}};
  quarantined["credential_pool"]["nous"].erase(0);
  root(quarantined);

  ASSERT_TRUE(project_all(store, kWait));

  const json block = tree()["providers"]["nous"];
  EXPECT_EQ(nous_would(block, Era::e3, now()), "");
  EXPECT_FALSE(block.contains("last_auth_error"));
}

TEST_F(CutoverTest, P8_ABearerThatWasRejectedIsNotPutThereAndTheNextOneIs) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  const Uid uid = nous(store).uid;
  const json before = tree();
  refresh(store, uid);
  const std::string rejected = store.find(uid)->access_fingerprint;
  LockedCredential::acquire(store, uid, {kWait})->note_rejected(rejected);

  ASSERT_TRUE(project_all(store, kWait));
  EXPECT_EQ(tree(), before) << "it is as bad as the one that stands there";
  refresh(store, uid);
  ASSERT_TRUE(project_all(store, kWait));

  EXPECT_EQ(tree()["providers"]["nous"]["access_token"], text(store.unseal(uid)->access_token));
}

TEST_F(CutoverTest, P8_TheEndOfABearerThatAClockAheadHasObtainedIsNotStated) {
  const auto claude = home_.write_json("claude/.credentials.json",
                                       {{"claudeAiOauth",
                                         {{"accessToken", "sk-ant-oat-1"},
                                          {"refreshToken", "rt-claude"},
                                          {"expiresAt", to_millis(now() + Seconds(3600))},
                                          {"scopes", {"user:inference"}}}}});
  Store store = open();
  ASSERT_TRUE(cut_over(store, {from({claude}), false, kWait}));
  const auto stated = [&] { return tree(claude)["claudeAiOauth"]["expiresAt"]; };
  advance(Seconds(3 * 86400));
  refresh(store, store.list({})->front().uid);
  ASSERT_TRUE(project_all(store, kWait));
  ASSERT_GT(stated(), to_millis(now()));

  advance(-Seconds(3 * 86400));
  ASSERT_TRUE(project_all(store, kWait));

  EXPECT_EQ(stated(), to_millis(now()));
  EXPECT_EQ(tree(claude)["claudeAiOauth"]["accessToken"],
            text(store.unseal(store.list({})->front().uid)->access_token));
  advance(Seconds(30));
  const auto again = project_all(store, kWait);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->front().written) << "once is enough";
  for (const Format format : {Format::claude, Format::opencode, Format::hermes}) {
    const auto bytes = export_document(store, {.profile = "default", .format = format});
    ASSERT_TRUE(bytes);
    EXPECT_THAT(text(*bytes), Not(HasSubstr("17902")));
    EXPECT_THAT(text(*bytes), Not(HasSubstr("2026-09-24")));
  }
}

TEST_F(CutoverTest, MigratingAProjectionChangesNothingFreshOrStale) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  for (const bool stale : {false, true}) {
    if (stale) refresh(store, nous(store).uid);
    const auto generation = nous(store).generation;

    const Plan plan = migrate(store);

    EXPECT_THAT(plan.conflicts, IsEmpty());
    EXPECT_THAT(plan.warnings, IsEmpty());
    EXPECT_EQ(nous(store).generation, generation);
    EXPECT_EQ(nous(store).hold, Hold::none);
    EXPECT_EQ(store.list({})->size(), 2u);
  }
}

TEST_F(CutoverTest, ALoginOfTheToolsOwnIsNoticedAndAdopted) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  const Uid uid = nous(store).uid;
  refresh(store, uid);
  ASSERT_TRUE(project(store, kWait));
  root(nous_home("rt-new-login"));  // as old as the first by all its times

  const auto noticed = project_all(store, kWait);
  EXPECT_THAT(noticed->at(0).warning, HasSubstr("logged in by itself"));
  EXPECT_THAT(contents(file()), HasSubstr("rt-new-login")) << "never overwritten";

  const Plan plan = migrate(store);
  EXPECT_EQ(plan.warnings.back().code, "logged_in_again");
  EXPECT_EQ(nous(store).uid, uid);
  EXPECT_EQ(nous(store).family, 2);
  EXPECT_EQ(refresh_token(store), "rt-new-login");

  cut(store);
  EXPECT_THAT(contents(file()), Not(HasSubstr("rt-new-login")));
  EXPECT_GT(projections_due(store)->at(0).at, now());
}

TEST_F(CutoverTest, AnOldCopyPutBackIsNoLogin) {
  const std::string old = contents(root(nous_home("rt-1")));
  Store store = open();
  cut(store);
  refresh(store, nous(store).uid);
  home_.write("auth.json", old);

  migrate(store);

  EXPECT_EQ(refresh_token(store), "successor-1") << "P2: tokens only move forward";
  cut(store);
  EXPECT_THAT(contents(file()), Not(HasSubstr("rt-1")));
}

// ---- A tool that takes no lock
// --------------------------------------------------------------------

TEST_F(CutoverTest, WhatAToolWritesAtAnyMomentOfACutOverIsInTheFileOrInTheStore) {
  const int points = sweep_a_tools_write(
      [&] {
        fs::remove_all(database().parent_path());
        for (const auto& path : kept()) fs::remove(path);
        root(nous_home("rt-1"));
        { Store made = open(); }
      },
      [&] {
        Store store = *Store::open(options(), OpenMode::use);
        (void)cut_over(store, options_for());
      },
      [&](const std::string& where) {
        const Store store = open(OpenMode::use);
        const bool in_file = contents(file()).find("rt-of-the-tool") != std::string::npos;
        EXPECT_TRUE(in_file || refresh_token(store) == "rt-of-the-tool") << where;
      });
  EXPECT_GT(points, 40) << "the sweep is empty";
}

TEST_F(CutoverTest, WhatAToolWritesAtAnyMomentOfAProjectionStaysInItsFile) {
  const int points =
      sweep_a_tools_write([&] { leave_behind(); },
                          [&] {
                            Store store = *Store::open(options(), OpenMode::use);
                            (void)project(store, kWait);
                          },
                          [&](const std::string& where) {
                            EXPECT_THAT(contents(file()), HasSubstr("rt-of-the-tool")) << where;
                          });
  EXPECT_GT(points, 10) << "the sweep is empty";
}

TEST_F(CutoverTest, WhatAToolWritesAtAnyMomentOfAHandOverStaysInItsFile) {
  const int points =
      sweep_a_tools_write([&] { cut_over_anew(); },
                          [&] {
                            Store store = *Store::open(options(), OpenMode::use);
                            (void)hand_over(store, file(), kWait);
                          },
                          [&](const std::string& where) {
                            EXPECT_THAT(contents(file()), HasSubstr("rt-of-the-tool")) << where;
                          });
  EXPECT_GT(points, 20) << "the sweep is empty";
}

TEST_F(CutoverTest, WhereAFileCannotBeExchangedItIsReplacedAllTheSame) {
  leave_behind();

  traced(
      [&] {
        Store store = *Store::open(options(), OpenMode::use);
        (void)project(store, kWait);
      },
      [](std::uint64_t call) { return call == SYS_renameat2 ? Fate::fails : Fate::happens; });

  const Store store = open(OpenMode::use);
  EXPECT_EQ(tree()["providers"]["nous"]["access_token"],
            text(store.unseal(nous(store).uid)->access_token));
}

TEST_F(CutoverTest, OfTwoWritesInOneReplacementTheNewerStandsAndTheOtherIsKept) {
  leave_behind();
  int exchanges = 0;

  traced(
      [&] {
        Store store = *Store::open(options(), OpenMode::use);
        home_.write("said", project(store, kWait)->at(0).warning);
      },
      [&](std::uint64_t call) {
        if (call != SYS_renameat2) return Fate::happens;
        if (exchanges == 0) tool_writes("the first");
        if (exchanges == 1) tool_writes("the second");
        ++exchanges;
        return Fate::happens;
      });

  EXPECT_EQ(contents(file()), "the second");
  ASSERT_THAT(displaced(), SizeIs(1));
  EXPECT_EQ(contents(displaced()[0]), "the first");
  EXPECT_THAT(contents(home_.path() / "said"), HasSubstr("was written twice"));
}

TEST_F(CutoverTest, KilledBeforeAFileIsPutBackTheNextOneKeepsIt) {
  leave_behind();
  int exchanges = 0;
  traced(
      [&] {
        Store store = *Store::open(options(), OpenMode::use);
        (void)project(store, kWait);
      },
      [&](std::uint64_t call) {
        if (call != SYS_renameat2) return Fate::happens;
        if (exchanges == 0) tool_writes(tools_own_login());
        return exchanges++ == 0 ? Fate::happens : Fate::kills;
      });
  ASSERT_EQ(exchanges, 2);
  auto remains = remains_beside(file());
  ASSERT_THAT(remains, SizeIs(1));
  EXPECT_TRUE(remains[0].came_out);
  EXPECT_THAT(contents(remains[0].path), HasSubstr("rt-of-the-tool"));

  Store store = open(OpenMode::use);
  refresh(store, nous(store).uid);
  ASSERT_TRUE(project(store, kWait));

  ASSERT_THAT(displaced(), SizeIs(1));
  remains = remains_beside(file());
  ASSERT_THAT(remains, SizeIs(1)) << "it is named until somebody has looked";
  EXPECT_TRUE(remains[0].came_out);
  EXPECT_EQ(remains[0].path, displaced()[0]);
  EXPECT_THAT(contents(displaced()[0]), HasSubstr("rt-of-the-tool"));
}

TEST_F(CutoverTest, AllFilesTogetherAreWaitedForNoLongerThanOne) {
  std::vector<Fd> held;
  for (const char* name : {"one", "two", "three", "four"}) {
    home_.write_json("profiles/" + std::string(name) + "/auth.json",
                     pool("nous", {grant_row(name, "rt-" + std::string(name))}));
  }
  Store store = open();
  cut(store);
  const auto rows = store.list({});
  for (const auto& row : *rows) refresh(store, row.uid);
  const auto files = store.projections();
  for (const auto& one : *files) {
    const fs::path lock = fs::path(one.path).replace_extension(".lock");
    held.emplace_back(::open(lock.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::flock(held.back().get(), LOCK_EX), 0);
  }
  ASSERT_THAT(held, SizeIs(4));
  const auto start = std::chrono::steady_clock::now();

  const auto done = project(store, Milliseconds(500));

  EXPECT_LT(std::chrono::steady_clock::now() - start, Milliseconds(1500));
  ASSERT_THAT(*done, SizeIs(4));
  for (const auto& one : *done) EXPECT_THAT(one.warning, HasSubstr("locked by another process"));
}

// ---- The way back
// --------------------------------------------------------------------------------

TEST_F(CutoverTest, HandedOverTheToolHasTheLivePairAndTheStoreSpendsNothing) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  const Uid uid = nous(store).uid;
  refresh(store, uid);

  const auto done = hand_over(store, file(), kWait);

  ASSERT_TRUE(done) << done.error().message;
  ASSERT_THAT(done->credentials, SizeIs(1));
  EXPECT_EQ(done->credentials[0].hold, Hold::handed_over);
  const json after = tree();
  EXPECT_EQ(after["providers"]["nous"]["refresh_token"], "successor-1");
  EXPECT_EQ(after["credential_pool"]["nous"][0]["refresh_token"], "successor-1");
  EXPECT_EQ(nous(store).hold, Hold::handed_over);
  EXPECT_FALSE(rotate(store, uid, {.force = true}));
  EXPECT_THAT(sent(), SizeIs(1));
  EXPECT_THAT(*store.projections(), IsEmpty());
}

TEST_F(CutoverTest, TheNextMigrationTakesBackWhatTheToolMadeOfIt) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));
  json refreshed = tree();
  for (json* place : {&refreshed["providers"]["nous"], &refreshed["credential_pool"]["nous"][0]}) {
    (*place)["refresh_token"] = "rt-of-the-tool";
    (*place)["access_token"] = jwt(now() + Seconds(7200), "tool");
  }
  root(refreshed);
  const auto generation = nous(store).generation;

  migrate(store);

  EXPECT_EQ(refresh_token(store), "rt-of-the-tool");
  EXPECT_EQ(nous(store).hold, Hold::none);
  EXPECT_EQ(nous(store).generation, generation + 1);
}

TEST_F(CutoverTest, HandedOverAndBackAgainTwiceWithoutARotationBetween) {
  root(nous_home("rt-1"));
  Store store = open();
  for (int round = 0; round < 2; ++round) {
    cut(store);
    EXPECT_EQ(nous(store).hold, Hold::none) << round;
    ASSERT_TRUE(hand_over(store, file(), kWait));
    ASSERT_TRUE(hand_over(store, file(), kWait)) << "repeatable";
    EXPECT_EQ(tree()["providers"]["nous"]["refresh_token"], "rt-1");
    advance(Seconds(5));
    migrate(store);
    EXPECT_EQ(nous(store).hold, Hold::none) << round;
  }
}

TEST_F(CutoverTest, ACopyOfAHandedOverFileElsewhereDoesNotTakeItBack) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));
  const auto import = [&](const fs::path& path) {
    const auto documents = read_sources(from({path}));
    ASSERT_TRUE(apply(store, *documents, from({path})));
  };

  import(home_.write("backup/auth.json", contents(file())));
  EXPECT_EQ(nous(store).hold, Hold::handed_over) << "the tool still has it";
  import(home_.write("backup/auth.json", tools_own_login()));
  EXPECT_EQ(nous(store).hold, Hold::handed_over) << "and what it made of it";
  EXPECT_EQ(refresh_token(store), "rt-1");

  import(file());
  EXPECT_EQ(nous(store).hold, Hold::none) << "the file that it was given";
}

TEST_F(CutoverTest, ACopyInAFileThatTheStoreSuppliesDoesNotTakeItBackEither) {
  root(nous_home("rt-1"));
  const auto atlas = home_.write_json("profiles/atlas/auth.json", nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));
  home_.write("profiles/atlas/auth.json", tools_own_login());

  const auto documents = read_sources(from({atlas}));
  const auto plan = apply(store, *documents, from({atlas}));

  EXPECT_EQ(nous(store).hold, Hold::handed_over);
  EXPECT_THAT(plan->decisions.at(0).reason, HasSubstr("authdb migrate --prefer"));
  MigrateOptions prefer = from({atlas});
  prefer.prefer = atlas;
  ASSERT_TRUE(apply(store, *documents, prefer));
  EXPECT_EQ(nous(store).hold, Hold::none) << "on the user's word it does";
  EXPECT_EQ(refresh_token(store), "rt-of-the-tool");
}

TEST_F(CutoverTest, WhereNoPlaceIsNotedNoFileTakesALoginBackButOnTheUsersWord) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  {
    auto locked = LockedCredential::acquire(store, nous(store).uid, {kWait});
    ASSERT_TRUE(locked && LockedCredential::set_hold({&*locked}, Hold::handed_over));
  }
  const auto same = home_.write_json("copy/auth.json", nous_home("rt-1"));
  const auto later = home_.write("later/auth.json", tools_own_login());

  for (const auto& path : {same, later}) {
    const auto documents = read_sources(from({path}));
    const auto plan = apply(store, *documents, from({path}));
    EXPECT_EQ(nous(store).hold, Hold::handed_over) << path;
    EXPECT_THAT(plan->decisions.at(0).reason,
                HasSubstr("authdb migrate --prefer " + path.string().substr(0, 5)));
  }
  EXPECT_EQ(refresh_token(store), "rt-1");

  MigrateOptions prefer = from({later});
  prefer.prefer = later;
  ASSERT_TRUE(apply(store, *read_sources(prefer), prefer));
  EXPECT_EQ(nous(store).hold, Hold::none);
  EXPECT_EQ(refresh_token(store), "rt-of-the-tool");
}

TEST_F(CutoverTest, OnlyTheFileThatALoginWasGivenToLastTakesItBack) {
  root(nous_home("rt-1"));
  const auto atlas = home_.write_json("profiles/atlas/auth.json", nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));
  cut(store);
  advance(Seconds(5));
  ASSERT_TRUE(hand_over(store, atlas, kWait));
  home_.write("auth.json", tools_own_login());

  ASSERT_TRUE(apply(store, *read_sources(from({file()})), from({file()})));
  EXPECT_EQ(nous(store).hold, Hold::handed_over) << "it was given to that file before";
  ASSERT_TRUE(apply(store, *read_sources(from({atlas})), from({atlas})));
  EXPECT_EQ(nous(store).hold, Hold::none);
}

TEST_F(CutoverTest, ALoginThatIsHandedOverIsGivenToNoOtherFile) {
  root(nous_home("rt-1"));
  const auto atlas = home_.write_json("profiles/atlas/auth.json", nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));

  const auto refused = hand_over(store, atlas, kWait);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_THAT(refused.error().message, HasSubstr(file().string()));
  EXPECT_THAT(refused.error().hint, HasSubstr("authdb migrate " + file().string().substr(0, 5)));
  EXPECT_THAT(contents(atlas), Not(HasSubstr("rt-1")));
  EXPECT_TRUE(hand_over(store, file(), kWait)) << "which finishes one that was cut off";
  migrate(store);
  cut(store);
  EXPECT_TRUE(hand_over(store, atlas, kWait)) << "taken back it is free again";
}

TEST_F(CutoverTest, WhereSeveralFilesShowALoginTheFirstGetsItAndTheOthersGetTheirOwn) {
  root(nous_home("rt-1"));
  json both = nous_home("rt-1");
  both["credential_pool"]["minimax-oauth"] = json::array({grant_row("m", "rt-minimax")});
  const auto atlas = home_.write_json("profiles/atlas/auth.json", both);
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait, GivenElsewhere::leave));

  const auto second = hand_over(store, atlas, kWait, GivenElsewhere::leave);

  ASSERT_TRUE(second) << second.error().message;
  ASSERT_THAT(second->credentials, SizeIs(1));
  EXPECT_EQ(second->credentials[0].identity.provider, "minimax-oauth");
  EXPECT_THAT(second->warnings, ::testing::Contains(HasSubstr(file().string())));
  EXPECT_THAT(contents(atlas), AllOf(HasSubstr("rt-minimax"), Not(HasSubstr("rt-1"))));
}

TEST_F(CutoverTest, TheFileThatALoginWasHandedOverToIsNoSecondSpender) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));
  MigrateOptions look = from({home_.path()});
  look.leave_handed_over = true;

  EXPECT_THAT(plan(*read_sources(look), &store, look)->warnings, IsEmpty());
  home_.write("auth.json", tools_own_login());
  const auto after = plan(*read_sources(look), &store, look);
  EXPECT_THAT(after->warnings, IsEmpty()) << "what its tool made of it is not ours";
  EXPECT_THAT(after->change.credentials, IsEmpty());
  look.leave_handed_over = false;
  EXPECT_THAT(plan(*read_sources(look), &store, look)->warnings, SizeIs(1))
      << "taken back, and still in the file";
}

TEST_F(CutoverTest, ASpentTokenInAFileIsASecondSpenderTooUntilItIsReplaced) {
  const std::string old = contents(root(nous_home("rt-1")));
  Store store = open();
  migrate(store);
  refresh(store, nous(store).uid);

  const Plan plan = migrate(store);
  ASSERT_THAT(plan.warnings, SizeIs(1));
  EXPECT_EQ(plan.warnings[0].code, "second_spender");
  EXPECT_THAT(plan.warnings[0].message,
              AllOf(HasSubstr(file().string()), HasSubstr("spent refresh token"),
                    HasSubstr("authdb migrate --cutover")));

  cut(store);
  EXPECT_THAT(migrate(store).warnings, IsEmpty());
  home_.write("auth.json", old);
  EXPECT_THAT(migrate(store).warnings, SizeIs(1));
  EXPECT_THAT(project_all(store, kWait)->at(0).warning, HasSubstr("spent refresh token"));
}

TEST_F(CutoverTest, ASpentTokenOfAnEarlierLoginEndsNoSession) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  refresh(store, nous(store).uid);
  home_.write("auth.json", tools_own_login());
  cut(store);
  ASSERT_EQ(nous(store).family, 2);

  home_.write_json("auth.json", nous_home("rt-1"));
  EXPECT_THAT(migrate(store).warnings, IsEmpty());
}

TEST_F(CutoverTest, AFileThatWasHandedOverAsItHadBeenImportedIsTakenBackToo) {
  const auto codex = home_.write("codex/auth.json", json{{"OPENAI_API_KEY", nullptr},
                                                         {"tokens",
                                                          {{"access_token", "at-codex"},
                                                           {"refresh_token", "rt-codex"},
                                                           {"id_token", "x.y.z"},
                                                           {"account_id", "acct"}}}}
                                                            .dump(2) +
                                                        "\n");
  Store store = open();
  const auto import = [&] {
    const auto documents = read_sources(from({codex}));
    ASSERT_TRUE(apply(store, *documents, from({codex})));
  };
  import();
  const std::string before = contents(codex);
  ASSERT_TRUE(hand_over(store, codex, kWait));
  ASSERT_EQ(contents(codex), before) << "nothing tells them apart";
  ASSERT_EQ(store.list({})->at(0).hold, Hold::handed_over);

  import();

  EXPECT_EQ(store.list({})->at(0).hold, Hold::none);
}

TEST_F(CutoverTest, AHandOverNamesTheOthersWhoUseTheLogin) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(store.add_profile("atlas"));
  ASSERT_TRUE(store.bind("atlas", nous(store).uid));

  const auto done = hand_over(store, file(), kWait);

  EXPECT_THAT(done->warnings, ElementsAre(HasSubstr("atlas")));
}

TEST_F(CutoverTest, WhatIsUncertainOrNotOursIsNotHandedOver) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  will({.silence = true});
  ASSERT_FALSE(rotate(store, nous(store).uid, {.force = true}));
  const std::string before = contents(file());

  EXPECT_EQ(hand_over(store, file(), kWait).error().code, Errc::try_later);
  EXPECT_EQ(contents(file()), before);

  const auto other = home_.write_json("other.json", pool("nous", {grant_row("x", "rt-unknown")}));
  EXPECT_EQ(hand_over(store, other, kWait).error().code, Errc::not_found);
}

TEST_F(CutoverTest, WhileAFileIsHandedOverNobodyElseGetsTheLoginOrTheToolsLock) {
  root(nous_home("rt-1"));
  {
    Store made = open();
    cut(made);
  }
  int renames = 0;

  traced(
      [&] {
        Store store = *Store::open(options(), OpenMode::use);
        (void)hand_over(store, file(), kWait);
      },
      [&](std::uint64_t call) {
        if (call != SYS_renameat) return Fate::happens;  // the draft, before it changes places
        ++renames;
        const Store other = open(OpenMode::use);
        const auto login = LockedCredential::acquire(other, nous(other).uid, {Milliseconds(0)});
        EXPECT_EQ(error_of(login), Errc::busy);
        EXPECT_EQ(nous(other).hold, Hold::handed_over) << "before the tool can have it";
        const auto tool = lock_tools({{file(), "hermes"}}, Milliseconds(0));
        EXPECT_EQ(error_of(tool), Errc::busy);
        return Fate::happens;
      });

  EXPECT_EQ(renames, 1);
  EXPECT_EQ(tree()["providers"]["nous"]["refresh_token"], "rt-1");
}

TEST_F(CutoverTest, AFileWithASecondNameIsRefusedBeforeAnythingIsImported) {
  const std::string before = contents(root(nous_home("rt-1")));
  fs::create_hard_link(file(), file().parent_path() / "second name");
  Store store = open();

  EXPECT_EQ(error_of(cut_over(store, options_for())), Errc::refused);

  EXPECT_TRUE(store.list({})->empty());
  EXPECT_EQ(contents(file()), before);
}

TEST_F(CutoverTest, AFileWithASecondNameIsNotHandedOver) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  fs::create_hard_link(file(), file().parent_path() / "second name");

  EXPECT_EQ(error_of(hand_over(store, file(), kWait)), Errc::refused);

  EXPECT_EQ(nous(store).hold, Hold::none);
  EXPECT_THAT(contents(file()), Not(HasSubstr("rt-1")));
}

TEST_F(CutoverTest, ALockThatIsALinkIsNotFollowed) {
  root(nous_home("rt-1"));
  Store store = open();
  const fs::path elsewhere = file().parent_path() / "elsewhere";
  fs::create_symlink(elsewhere, fs::path(file()).replace_extension(".lock"));

  EXPECT_EQ(error_of(cut_over(store, options_for())), Errc::refused);

  EXPECT_FALSE(fs::exists(elsewhere));
}

TEST_F(CutoverTest, WhereTheFileCannotBeWrittenTheLoginStaysWithTheStore) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  const std::string before = contents(file());

  hand_over_without_rename();

  EXPECT_EQ(contents(file()), before);
  EXPECT_EQ(nous(store).hold, Hold::none);
  refresh(store, nous(store).uid);
  EXPECT_EQ(refresh_token(store), "successor-1");
}

TEST_F(CutoverTest, WhatTheToolHasAlreadyStaysWithItWhereAnotherFileCannotBeWritten) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));
  const std::string before = contents(file());

  hand_over_without_rename();

  EXPECT_EQ(contents(file()), before);
  EXPECT_EQ(nous(store).hold, Hold::handed_over) << "its token is in the file";
}

TEST_F(CutoverTest, AHandOverThatDoesNotGetEachLockInTimeChangesNothing) {
  root(pool("nous", {grant_row("ada", "rt-1"), grant_row("bob", "rt-2")}));
  auto hurried = options();
  hurried.lock_wait = Milliseconds(20);
  Store store = *Store::open(hurried, OpenMode::create);
  cut(store);
  const std::string before = contents(file());
  const auto unchanged = [&] {
    const auto rows = store.list({});
    for (const auto& row : *rows) EXPECT_EQ(row.hold, Hold::none) << row.uid;
    EXPECT_EQ(contents(file()), before);
  };

  const auto rows = store.list({});
  for (const auto& row : *rows) {
    const auto login = LockedCredential::acquire(store, row.uid, {Milliseconds(0)});
    EXPECT_EQ(error_of(hand_over(store, file(), kWait)), Errc::busy) << row.uid;
    unchanged();
  }
  const auto tool = lock_tools({{file(), "hermes"}}, Milliseconds(0));
  EXPECT_EQ(error_of(hand_over(store, file(), Milliseconds(20))), Errc::busy);
  unchanged();
}

TEST_F(CutoverTest, APoolOfMoreLoginsThanAProcessMayOpenFilesIsHandedOver) {
  std::vector<json> rows;
  for (int i = 0; i < 260; ++i)
    rows.push_back(grant_row("id" + std::to_string(i), "rt-" + std::to_string(i)));
  root(pool("nous", rows));
  Store store = open();
  cut(store);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{250, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);

  const auto done = hand_over(store, file(), kWait);

  ::setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->credentials.size(), 260u);
}

// ---- Killed anywhere
// -----------------------------------------------------------------------------

TEST_F(CutoverTest, KilledAnywhereEachFileIsTheOldOrTheNewAndNoTokenIsLost) {
  const std::string before = nous_home("rt-1").dump(2);
  int points = 0;
  for (;; ++points) {
    fs::remove_all(database().parent_path());
    for (const auto& path : kept()) fs::remove(path);
    home_.write("auth.json", before);
    { Store made = open(); }
    const bool killed = killed_before(points, [&] {
      Store store = *Store::open(options(), OpenMode::use);
      (void)cut_over(store, options_for());
    });
    const std::string found = contents(file());
    const bool is_old = found == before;
    if (!is_old) {
      ASSERT_FALSE(json::parse(found, nullptr, false).is_discarded()) << points;
      ASSERT_THAT(found, Not(HasSubstr("rt-1"))) << points;
    }
    Store store = open(OpenMode::use);
    if (!is_old) {
      ASSERT_EQ(refresh_token(store), "rt-1") << points;
      ASSERT_THAT(*store.projections(), SizeIs(1)) << points;
      ASSERT_FALSE(kept().empty()) << points;
    }
    cut(store);
    ASSERT_THAT(contents(file()), Not(HasSubstr("rt-1"))) << points;
    ASSERT_EQ(refresh_token(store), "rt-1") << points;
    for (const auto& entry : fs::directory_iterator(file().parent_path())) {
      ASSERT_EQ(name_of_draft(entry.path().filename().string()), "") << points;
    }
    if (!killed) break;
  }
  EXPECT_GT(points, 20) << "the sweep is empty";
}

TEST_F(CutoverTest, KilledInAHandOverAtMostOneSpendsAndItCanBeRepeated) {
  int points = 0;
  for (;; ++points) {
    cut_over_anew();
    const bool killed = killed_before(points, [&] {
      Store store = *Store::open(options(), OpenMode::use);
      (void)hand_over(store, file(), kWait);
    });
    const bool tool_spends = contents(file()).find("rt-1") != std::string::npos;
    Store store = open(OpenMode::use);
    const bool store_spends = nous(store).hold == Hold::none;
    ASSERT_FALSE(tool_spends && store_spends) << points;
    const auto unfinished = unfinished_hand_over(store, nous(store));
    ASSERT_TRUE(unfinished);
    EXPECT_EQ(unfinished->has_value(), !tool_spends && !store_spends) << points;
    for (const Remains& left : remains_beside(file())) {
      const bool may_be_lost = contents(left.path).find("rt-1") == std::string::npos;
      EXPECT_TRUE(!left.came_out || may_be_lost) << points << left.path;
    }
    ASSERT_TRUE(hand_over(store, file(), kWait)) << points;
    ASSERT_EQ(tree()["providers"]["nous"]["refresh_token"], "rt-1") << points;
    if (!killed) break;
  }
  EXPECT_GT(points, 8) << "the sweep is empty";
}

TEST_F(CutoverTest, WhicheverCallOfAHandOverFailsTheStoreSpendsOrTheToolButNotNeither) {
  int points = 0;
  for (;; ++points) {
    cut_over_anew();
    const bool failed = failed_at(points, [&] {
      auto store = Store::open(options(), OpenMode::use);
      if (store) (void)hand_over(*store, file(), kWait);
    });
    const bool tool_spends = contents(file()).find("rt-1") != std::string::npos;
    Store store = open(OpenMode::use);
    ASSERT_EQ(nous(store).hold == Hold::none, !tool_spends) << points;
    ASSERT_TRUE(hand_over(store, file(), kWait)) << points;
    ASSERT_EQ(tree()["providers"]["nous"]["refresh_token"], "rt-1") << points;
    if (!failed) break;
  }
  EXPECT_GT(points, 8) << "the sweep is empty";
}

}  // namespace
}  // namespace authdb::migrate
