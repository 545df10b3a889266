// What a process of the command has in memory: other processes of its user cannot get at it.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/tools/users.h"
#include "tools/portal/portal.h"

namespace authdb::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

bool can_open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

bool can_be_traced(pid_t pid) {
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) return false;
  ::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  return true;
}

// Every way into another process that a debugger or a thief has.
std::string ways_into(pid_t pid) {
  const std::string process = "/proc/" + std::to_string(pid);
  std::string ways;
  for (const char* file : {"/mem", "/environ", "/maps", "/auxv", "/syscall"}) {
    if (can_open(process + file)) ways += std::string(file) + " ";
  }
  if (::access((process + "/fd/0").c_str(), F_OK) == 0) ways += "/fd ";
  const int watched = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (::syscall(SYS_pidfd_getfd, watched, 0, 0) >= 0) ways += "pidfd_getfd ";
  if (can_be_traced(pid)) ways += "ptrace ";
  return ways;
}

// `0 of unlimited`: soft and hard, in bytes.
std::string limit_of_core_files(pid_t pid) {
  std::ifstream limits("/proc/" + std::to_string(pid) + "/limits");
  std::string soft;
  std::string hard;
  for (std::string line; std::getline(limits, line);) {
    if (!line.starts_with("Max core file size")) continue;
    std::istringstream(line.substr(18)) >> soft >> hard;
  }
  return soft + " of " + hard;
}

// Cores are wanted here, as a developer's shell may have it.
class CoresWanted {
 public:
  CoresWanted() {
    ::getrlimit(RLIMIT_CORE, &before_);
    const rlimit all{before_.rlim_max, before_.rlim_max};
    ::setrlimit(RLIMIT_CORE, &all);
  }
  ~CoresWanted() { ::setrlimit(RLIMIT_CORE, &before_); }
  CoresWanted(const CoresWanted&) = delete;
  CoresWanted& operator=(const CoresWanted&) = delete;
  std::string most() const {
    return before_.rlim_max == RLIM_INFINITY ? "unlimited" : std::to_string(before_.rlim_max);
  }

 private:
  rlimit before_{};
};

class ClosedMemoryTest : public UsersOfAMachine {
 protected:
  void SetUp() override {
    UsersOfAMachine::SetUp();
    if (IsSkipped()) return;
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    const auto grant = portal_.create_grant();
    must_own({"add", "nous", "--grant"},
             grant_json({grant.access_token, grant.refresh_token, 3600, grant.scope}));
  }
  // A process that has tokens in its memory until the portal's answer comes.
  Child at_work() {
    portal::Fault fault;
    fault.delay_before = std::chrono::hours(1);
    portal_.add_fault(fault);
    Child child = start({"refresh", "nous"});
    EXPECT_TRUE(portal_.wait_until([&] { return portal_.delayed() > 0; }));
    return child;
  }

  portal::Portal portal_{{.era = portal::Era::kJwt}};
};

TEST_F(ClosedMemoryTest, NoOtherProcessOfTheSameUserCanLookIntoItOrTraceIt) {
  const std::string into_others = as(kOwner, [] {
    ::prctl(PR_SET_DUMPABLE, 1);  // not so after setuid()
    const pid_t other = ::fork();
    if (other == 0) {
      ::pause();
      ::_exit(0);
    }
    const std::string ways = ways_into(other);
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
    return ways;
  });
  ASSERT_THAT(into_others, HasSubstr("/environ")) << "this machine lets nobody look anyhow";
  Child child = at_work();

  EXPECT_THAT(as(kOwner, [&] { return ways_into(child.pid()); }), IsEmpty());

  portal_.release();
  const auto ran = child.finish();
  EXPECT_EQ(ran.status, 0) << testing::PrintToString(ran);
}

TEST_F(ClosedMemoryTest, NothingIsWrittenThatOpensItsConnections) {
  const auto keys = home() / "keys";
  env_["SSLKEYLOGFILE"] = keys.string();
  must_own({"refresh", "nous"});
  EXPECT_FALSE(std::filesystem::exists(keys));
}

TEST_F(ClosedMemoryTest, ACrashLeavesNoCoreFile) {
  const CoresWanted wanted;
  Child child = at_work();

  EXPECT_EQ(limit_of_core_files(child.pid()), "0 of " + wanted.most());
  child.signal(SIGSEGV);
  const auto ran = child.finish();

  EXPECT_EQ(ran.status, -SIGSEGV);
  EXPECT_FALSE(ran.dumped_core);
}

TEST_F(ClosedMemoryTest, TheBrowserGetsTheLimitOfCoreFilesThatWeWereGiven) {
  const CoresWanted wanted;
  env_["DISPLAY"] = ":nowhere";
  env_["PATH"] = (home() / "bin").string() + ":/usr/bin:/bin";
  file_of(kOwner, home() / "bin/xdg-open",
          "#!/bin/sh\necho `ulimit -S -c` of `ulimit -H -c` > \"$HOME/told\"\ncurl -sL \"$1\"\n",
          0700);
  give(home() / "bin", kOwner, 0755);
  file_of(kOwner, home() / ".config/authdb/providers.d/sim.json",
          R"({"id":"sim","client_id":"app","token_endpoint":")" + portal_.base_url() +
              R"(/oauth/token","authorization_endpoint":")" + portal_.base_url() +
              R"(/oauth/authorize"})");
  give(home() / ".config/authdb/providers.d", kOwner, 0700);
  Terminal terminal;  // without one nothing is opened
  Child child = start({"login", "sim"}, {}, terminal.slave());
  const std::string shown = terminal.read_to_end();
  ASSERT_EQ(child.finish().status, 0) << shown;

  const std::string limits = read_file(home() / "told");
  EXPECT_THAT(limits, Not(testing::StartsWith("0 of")));
  EXPECT_EQ(limits.substr(0, limits.find(' ')) + "\n", limits.substr(limits.find("of ") + 3));
}

}  // namespace
}  // namespace authdb::cli
