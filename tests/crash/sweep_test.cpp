// The command that ships, killed before every call that writes, locks, syncs or sends.
#include "tools/prove/sweep.h"

#include "tests/crash/crash_test.h"

namespace authdb::prove {
namespace {

constexpr const char* kRefresh = "refresh";

class CrashSweepTest : public CrashTest, public testing::WithParamInterface<std::string> {
 protected:
  SweepResult sweep_all(const Scenario& swept) {
    SweepResult result = sweep(swept, AUTHDB_BINARY, scratch_.path(), swept.sample);
    expect_none(result.violations);
    EXPECT_GT(result.points, 20U);
    EXPECT_EQ(result.kills, (result.points + swept.sample - 1) / swept.sample);
    return result;
  }
  static Scenario scenario(const std::string& name) {
    for (const auto& one : crash_scenarios()) {
      if (one.name == name) return one;
    }
    throw std::runtime_error("no scenario is called " + name);
  }
};

TEST_P(CrashSweepTest, EveryDeathIsARowOfTheCrashTable) { sweep_all(scenario(GetParam())); }

// But the one that CrashTableTest looks at more closely.
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& scenario : crash_scenarios()) {
    if (scenario.name != kRefresh) all.push_back(scenario.name);
  }
  return all;
}

std::string as_test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(While, CrashSweepTest, testing::ValuesIn(names()), as_test_name);

class CrashTableTest : public CrashSweepTest {};

// Every row is met: otherwise a sweep that judges nothing would pass too.
TEST_F(CrashTableTest, ARefreshDiesInEveryRow) {
  const SweepResult result = sweep_all(scenario(kRefresh));
  EXPECT_GT(result.recovered, 10U);
  EXPECT_GE(result.replayed, 2U);
  EXPECT_GE(result.lost, 1U);
  EXPECT_LT(result.lost, result.replayed);  // before the request left, a replay is harmless
}

}  // namespace
}  // namespace authdb::prove
