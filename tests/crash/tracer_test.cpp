// The knife is sharp: the call before which a process is killed is not made.
#include "tests/crash/crash_test.h"

namespace authdb::prove {
namespace {

using testing::ElementsAre;

class TracerTest : public CrashTest {
 protected:
  Command shell(const std::string& script) const {
    return {{"/bin/sh", "-c", script}, {"PATH=/usr/bin:/bin", "D=" + scratch_.path().string()}};
  }
  bool exists(const std::string& name) const {
    return std::filesystem::exists(scratch_.path() / name);
  }
};

TEST_F(TracerTest, SeesTheCountedCallsInOrder) {
  const Traced traced = trace(shell("echo one; echo second"));
  EXPECT_EQ(traced.finished.code, 0);
  EXPECT_EQ(traced.finished.out, "one\nsecond\n");
  EXPECT_THAT(traced.calls,
              ElementsAre(Call{"write", "stdio", -1, 4}, Call{"write", "stdio", -1, 7}));
  EXPECT_FALSE(traced.killed_before);
}

TEST_F(TracerTest, TheCallOfItsDeathIsNotMade) {
  const Traced traced = trace(shell("echo one; echo second; echo third"), 2);
  EXPECT_EQ(traced.finished.code, 128 + SIGKILL);
  EXPECT_EQ(traced.finished.out, "one\n");
  ASSERT_TRUE(traced.killed_before);
  EXPECT_EQ(describe(*traced.killed_before), "write(stdio, 7 bytes)");
}

TEST_F(TracerTest, AFileIsNotMadeByTheOpenOfItsDeath) {
  EXPECT_TRUE(trace(shell(": > $D/made"), 1).killed_before);
  EXPECT_FALSE(exists("made"));
  EXPECT_FALSE(trace(shell(": > $D/made"), 2).killed_before);
  EXPECT_TRUE(exists("made"));
}

TEST_F(TracerTest, CallsOfChildrenCountToo) {
  const Traced traced = trace(shell("(echo inner); echo outer"));
  EXPECT_THAT(traced.calls, testing::SizeIs(2));
  EXPECT_EQ(trace(shell("(echo inner); echo outer"), 1).finished.out, "");
}

TEST_F(TracerTest, AProgramThatIsNotThereEndsWith127) {
  EXPECT_EQ(trace({{"/no/such/program"}, {}}).finished.code, 127);
}

}  // namespace
}  // namespace authdb::prove
