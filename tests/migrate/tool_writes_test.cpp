// What a tool writes while its file is being replaced.
#include "tests/migrate/cutover_fixture.h"

namespace authdb::migrate {
namespace {

using ToolWritesTest = CutoverTest;

TEST_F(ToolWritesTest, WhatAToolWritesAtAnyMomentOfACutOverIsInTheFileOrInTheStore) {
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

TEST_F(ToolWritesTest, WhatAToolWritesAtAnyMomentOfAProjectionStaysInItsFile) {
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

TEST_F(ToolWritesTest, WhatAToolWritesAtAnyMomentOfAHandOverStaysInItsFile) {
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

TEST_F(ToolWritesTest, WhereAFileCannotBeExchangedItIsReplacedAllTheSame) {
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

TEST_F(ToolWritesTest, OfTwoWritesInOneReplacementTheNewerStandsAndTheOtherIsKept) {
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

TEST_F(ToolWritesTest, KilledBeforeAFileIsPutBackTheNextOneKeepsIt) {
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

}  // namespace
}  // namespace authdb::migrate
