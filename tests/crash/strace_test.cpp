// The sweep's own count against strace's, on the same uninstrumented executable.
#include "tests/crash/crash_test.h"
#include "tools/prove/sweep.h"

namespace authdb::prove {
namespace {

class StraceTest : public CrashTest {
 protected:
  // One line for each call; those that the filter cannot leave out by their arguments are left out
  // here.
  static bool is_counted(const std::string& line) {
    const auto has = [&](const char* text) { return line.find(text) != std::string::npos; };
    if (has(" resumed>") || !has("(")) return false;
    if (has(" open(") || has(" openat(")) return has("O_CREAT");
    if (has(" fcntl(")) return has("F_SETLK") || has("F_OFD_SETLK");
    return true;
  }

  std::size_t count_with_strace(Command command, int exit_code) const {
    const std::string log = scratch_.path() / "strace.log";
    const std::vector<std::string> strace = {
        "/usr/bin/strace",   "-f", "-qq",         "-s", "0", "-e",
        strace_expression(), "-e", "signal=none", "-o", log};
    command.words.insert(command.words.begin(), strace.begin(), strace.end());
    const Finished finished = run(command);
    EXPECT_EQ(finished.code, exit_code) << finished.err << "tools/install-packages installs strace";
    std::size_t count = 0;
    std::istringstream lines(read_file(log));
    for (std::string line; std::getline(lines, line);) count += is_counted(line) ? 1U : 0U;
    return count;
  }
};

TEST_F(StraceTest, CountsAsManyCallsAsTheSweep) {
  for (const Scenario& scenario : crash_scenarios()) {
    Rehearsal rehearsal(scenario, AUTHDB_BINARY, scratch_.path());
    const auto swept = trace(rehearsal.command(rehearsal.fresh_home())).calls.size();
    const auto again = trace(rehearsal.command(rehearsal.fresh_home())).calls.size();
    EXPECT_EQ(swept, again) << scenario.name;
    EXPECT_EQ(count_with_strace(rehearsal.command(rehearsal.fresh_home()), scenario.exit_code),
              swept)
        << scenario.name;
  }
}

}  // namespace
}  // namespace authdb::prove
