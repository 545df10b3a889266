// The knife is sharp: the call before which a process is killed is not made.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

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

// The command closes its memory to the other processes of its user, but not to whoever traces it
// from its start: a sweep shows which file a call is about, root's or not.
TEST_F(TracerTest, OfACommandThatIsNotRootsTheFilesAreSeenToo) {
  constexpr uid_t kSomebody = 4711;
  constexpr int kNotThere = 2;
  const auto look = []() -> int {
    if (::geteuid() == 0 && (::setgid(kSomebody) != 0 || ::setuid(kSomebody) != 0)) return 1;
    ::prctl(PR_SET_DUMPABLE, 1);  // not so after setuid(), and then children cannot be traced
    if (::access(AUTHDB_BINARY, X_OK) != 0) return kNotThere;
    const Scratch scratch(where());
    const Stage stage(AUTHDB_BINARY, scratch.path());
    const Traced traced =
        trace(stage.command(stage.home("home"), {"add", "openrouter"}, "sk-or-FAKE-1"));
    const auto is_of_the_store = [](const Call& call) { return call.target == "auth.db-wal"; };
    const bool seen = std::any_of(traced.calls.begin(), traced.calls.end(), is_of_the_store);
    return traced.finished.code == 0 && seen ? 0 : 1;
  };
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      ::_exit(look());
    } catch (const std::exception& error) {
      std::cerr << error.what() << '\n';
      ::_exit(1);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  // A checkout in somebody's home is often closed to others, and this is not what is tested.
  if (WEXITSTATUS(status) == kNotThere) GTEST_SKIP() << "the build is closed to other users";

  EXPECT_EQ(status, 0);
}

TEST_F(TracerTest, AProgramThatIsNotThereEndsWith127) {
  EXPECT_EQ(trace({{"/no/such/program"}, {}}).finished.code, 127);
}

}  // namespace
}  // namespace authdb::prove
