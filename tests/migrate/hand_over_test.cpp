// The way back: a tool gets the live pair, and the store stops.
#include "tests/migrate/cutover_fixture.h"

namespace authdb::migrate {
namespace {

using HandOverTest = CutoverTest;

TEST_F(HandOverTest, HandedOverTheToolHasTheLivePairAndTheStoreSpendsNothing) {
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

TEST_F(HandOverTest, TheNextMigrationTakesBackWhatTheToolMadeOfIt) {
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

TEST_F(HandOverTest, HandedOverAndBackAgainTwiceWithoutARotationBetween) {
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

TEST_F(HandOverTest, ACopyOfAHandedOverFileElsewhereDoesNotTakeItBack) {
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

TEST_F(HandOverTest, ACopyInAFileThatTheStoreSuppliesDoesNotTakeItBackEither) {
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

TEST_F(HandOverTest, WhereNoPlaceIsNotedNoFileTakesALoginBackButOnTheUsersWord) {
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

TEST_F(HandOverTest, OnlyTheFileThatALoginWasGivenToLastTakesItBack) {
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

TEST_F(HandOverTest, ALoginThatIsHandedOverIsGivenToNoOtherFile) {
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

TEST_F(HandOverTest, WhereSeveralFilesShowALoginTheFirstGetsItAndTheOthersGetTheirOwn) {
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

TEST_F(HandOverTest, TheFileThatALoginWasHandedOverToIsNoSecondSpender) {
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

TEST_F(HandOverTest, AFileThatWasHandedOverAsItHadBeenImportedIsTakenBackToo) {
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

TEST_F(HandOverTest, AHandOverNamesTheOthersWhoUseTheLogin) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(store.add_profile("atlas"));
  ASSERT_TRUE(store.bind("atlas", nous(store).uid));

  const auto done = hand_over(store, file(), kWait);

  EXPECT_THAT(done->warnings, ElementsAre(HasSubstr("atlas")));
}

TEST_F(HandOverTest, WhatIsUncertainOrNotOursIsNotHandedOver) {
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

TEST_F(HandOverTest, WhileAFileIsHandedOverNobodyElseGetsTheLoginOrTheToolsLock) {
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

TEST_F(HandOverTest, AFileWithASecondNameIsNotHandedOver) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  fs::create_hard_link(file(), file().parent_path() / "second name");

  EXPECT_EQ(error_of(hand_over(store, file(), kWait)), Errc::refused);

  EXPECT_EQ(nous(store).hold, Hold::none);
  EXPECT_THAT(contents(file()), Not(HasSubstr("rt-1")));
}

TEST_F(HandOverTest, WhereTheFileCannotBeWrittenTheLoginStaysWithTheStore) {
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

TEST_F(HandOverTest, WhatTheToolHasAlreadyStaysWithItWhereAnotherFileCannotBeWritten) {
  root(nous_home("rt-1"));
  Store store = open();
  cut(store);
  ASSERT_TRUE(hand_over(store, file(), kWait));
  const std::string before = contents(file());

  hand_over_without_rename();

  EXPECT_EQ(contents(file()), before);
  EXPECT_EQ(nous(store).hold, Hold::handed_over) << "its token is in the file";
}

TEST_F(HandOverTest, AHandOverThatDoesNotGetEachLockInTimeChangesNothing) {
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

TEST_F(HandOverTest, APoolOfMoreLoginsThanAProcessMayOpenFilesIsHandedOver) {
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

TEST_F(HandOverTest, KilledInAHandOverAtMostOneSpendsAndItCanBeRepeated) {
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

TEST_F(HandOverTest, WhicheverCallOfAHandOverFailsTheStoreSpendsOrTheToolButNotNeither) {
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
