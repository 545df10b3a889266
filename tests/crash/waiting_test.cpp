#include "tools/prove/waiting.h"

#include "tests/crash/crash_test.h"

namespace authdb::prove {
namespace {

class WaitingTest : public CrashTest {};

TEST_F(WaitingTest, KilledBetweenRequestAndAnswerIsUncertainAndSaysSo) {
  const WaitingResult result = kill_while_waiting(AUTHDB_BINARY, scratch_.path());
  expect_none(result.violations);
  EXPECT_EQ(result.kills, 5U);
  EXPECT_EQ(result.lost, 4U);  // all that the portal had rotated
}

}  // namespace
}  // namespace authdb::prove
