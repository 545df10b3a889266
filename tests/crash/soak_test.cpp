// The randomised soak, for the part of a minute that CI has. tests/soak is the long form.
#include "tools/prove/soak.h"

#include <iostream>
#include <random>

#include "tests/crash/crash_test.h"

namespace authdb::prove {
namespace {

class SoakTest : public CrashTest {};

TEST_F(SoakTest, WhateverIsDoneToThemNoTokenIsLostOrSpentTwice) {
  SoakOptions options;
  options.authdb = AUTHDB_BINARY;
  options.worker = AUTHDB_PROVE_BINARY;
  options.directory = scratch_.path();
  options.processes = 6;
  options.time = std::chrono::seconds(40);
  options.seed = std::random_device{}() % 1'000'000;
  options.progress = [](const std::string& line) { std::cout << line << std::endl; };
  const SoakResult result = soak(options);
  expect_none(result.violations);
  EXPECT_GT(result.kills, 20U);
  EXPECT_GT(result.rotations, 10U);
  EXPECT_GT(result.forks, 0U);
  EXPECT_EQ(result.most_in_flight, 1U);
  EXPECT_EQ(result.unexplained, 0U);
}

}  // namespace
}  // namespace authdb::prove
