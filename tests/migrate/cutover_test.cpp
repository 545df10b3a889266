// From the files of a tool to projections.
#include "tests/migrate/cutover_fixture.h"

namespace authdb::migrate {
namespace {

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
  EXPECT_THAT(locks_of({file(), "hermes"}),
              ElementsAre(::testing::Field(&LockRule::path, home_.path() / "auth.lock"),
                          ::testing::Field(&LockRule::path,
                                           fs::canonical(real).replace_extension(".lock"))));
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
  for (const char* const format : {"claude", "opencode", "hermes"}) {
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

TEST_F(CutoverTest, ASpentTokenInAFileIsASecondSpenderTooUntilItIsReplaced) {
  const std::string old = contents(root(nous_home("rt-1")));
  Store store = open();
  migrate(store);
  refresh(store, nous(store).uid);

  const Plan plan = migrate(store);
  ASSERT_THAT(plan.warnings, SizeIs(1));
  EXPECT_EQ(plan.warnings[0].code, "second_spender");
  EXPECT_THAT(plan.warnings[0].message,
              AllOf(HasSubstr(file().string()), HasSubstr("old refresh token"),
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

TEST_F(CutoverTest, AFileWithASecondNameIsRefusedBeforeAnythingIsImported) {
  const std::string before = contents(root(nous_home("rt-1")));
  fs::create_hard_link(file(), file().parent_path() / "second name");
  Store store = open();

  EXPECT_EQ(error_of(cut_over(store, options_for())), Errc::refused);

  EXPECT_TRUE(store.list({})->empty());
  EXPECT_EQ(contents(file()), before);
}

TEST_F(CutoverTest, ALockThatIsALinkIsNotFollowed) {
  root(nous_home("rt-1"));
  Store store = open();
  const fs::path elsewhere = file().parent_path() / "elsewhere";
  fs::create_symlink(elsewhere, fs::path(file()).replace_extension(".lock"));

  EXPECT_EQ(error_of(cut_over(store, options_for())), Errc::refused);

  EXPECT_FALSE(fs::exists(elsewhere));
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

}  // namespace
}  // namespace authdb::migrate
