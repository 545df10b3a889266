#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/portal/portal_test.h"

namespace authdb::portal {
namespace {

constexpr const char* kListening = "authdb-portal listening on ";

std::string read_file(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class CommandTest : public testing::Test {
 protected:
  CommandTest() {
    auto pattern = (std::filesystem::temp_directory_path() / "authdb-portal-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~CommandTest() override { std::filesystem::remove_all(directory_); }

  static std::vector<std::string> portal(const std::vector<std::string>& arguments = {}) {
    std::vector<std::string> command = {AUTHDB_PORTAL_PROGRAM};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
  }

  static std::string url_of(Process& process) {
    return process.read_line().substr(std::string_view(kListening).size());
  }

  std::filesystem::path directory_;
};

TEST_F(CommandTest, ItSaysWhereItListensAndServes) {
  Process process(portal());

  const auto url = url_of(process);

  EXPECT_THAT(url, testing::MatchesRegex("http://127\\.0\\.0\\.1:[0-9]+"));
  EXPECT_EQ(curl(url + "/_control/grants", {"-d", "{}"}).status, 200);
}

TEST_F(CommandTest, TerminationAndInterruptionAreCleanExits) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Process process(portal());
    url_of(process);

    process.signal(signal);

    EXPECT_EQ(process.finish().code, 0);
  }
}

TEST_F(CommandTest, ThePortFileHoldsJustTheUrl) {
  const auto file = directory_ / "url";
  Process process(portal({"--port-file", file.string()}));

  const auto url = url_of(process);

  EXPECT_EQ(read_file(file), url);
}

TEST_F(CommandTest, QuietPrintsNothing) {
  const auto fifo = directory_ / "url";
  Process process(portal({"--quiet", "--port-file", fifo.string()}));
  while (!std::filesystem::exists(fifo)) std::this_thread::yield();

  process.signal(SIGTERM);

  EXPECT_EQ(process.finish().out, "");
}

TEST_F(CommandTest, ListeningBeyondLoopbackIsRefusedInTwoLines) {
  for (const auto* address : {"0.0.0.0", "192.168.1.1", "::", "example.com", "128.0.0.1"}) {
    const auto finished = run(portal({"--listen", address}));

    EXPECT_EQ(finished.code, 2) << address;
    EXPECT_THAT(finished.err, testing::HasSubstr(std::string(address) + " is not a loopback"));
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 2);
  }
}

TEST_F(CommandTest, AnyLoopbackAddressWillDo) {
  Process process(portal({"--listen", "127.1.2.3"}));

  EXPECT_EQ(curl(url_of(process) + "/v1/models").status, 401);
}

TEST_F(CommandTest, ATakenPortIsAnExplainedFailure) {
  const Portal occupant;
  const auto port = occupant.base_url().substr(occupant.base_url().rfind(':') + 1);

  const auto finished = run(portal({"--port", port}));

  EXPECT_EQ(finished.code, 1);
  EXPECT_THAT(finished.err, testing::HasSubstr("Address already in use"));
}

TEST_F(CommandTest, AWrongOptionIsAUsageError) {
  EXPECT_EQ(run(portal({"--nonsense"})).code, 2);
  EXPECT_EQ(run(portal({"--era", "bronze"})).code, 2);
  EXPECT_EQ(run(portal({"--access-ttl", "-1"})).code, 2);
}

TEST_F(CommandTest, OptionsReachThePortal) {
  Process process(
      portal({"--era", "jwt", "--access-ttl", "60", "--clock", "1778841000000", "--refresh-in",
              "header", "--auto-approve-device", "--device-interval", "3"}));
  const auto url = url_of(process);

  const auto grant = curl(url + "/_control/grants", {"-d", "{}"}).json();
  const auto device = curl(url + "/api/oauth/device/code", {"-d", "client_id=c"}).json();

  EXPECT_EQ(grant["expires_in"], 60);
  EXPECT_EQ(grant["scope"], "inference:invoke");
  EXPECT_EQ(device["interval"], 3);
  const auto clock = curl(url + "/_control/clock").json()["now_ms"].get<std::int64_t>();
  EXPECT_LT(clock - 1778841000000, 60'000);
}

TEST_F(CommandTest, ItEndsWithItsParentWhenAsked) {
  Process shell({"bash", "-c", std::string(AUTHDB_PORTAL_PROGRAM) + " --exit-with-parent & wait"});
  ASSERT_THAT(shell.read_line(), testing::StartsWith(kListening));

  shell.signal(SIGKILL);

  // The portal holds the other end of the pipe; only when it has gone does the stream end.
  EXPECT_EQ(shell.finish().out, "");
}

TEST_F(CommandTest, HelpNamesEveryOptionAndControlPath) {
  const auto help = run(portal({"--help"})).out;

  for (const auto* word : {"--listen",
                           "--port",
                           "--port-file",
                           "--access-ttl",
                           "--agent-key-ttl",
                           "--era",
                           "--refresh-in",
                           "--reuse-grace",
                           "--device-ttl",
                           "--device-interval",
                           "--auto-approve-device",
                           "--clock",
                           "--quiet",
                           "--exit-with-parent",
                           "/_control/grants",
                           "/_control/adopt",
                           "/_control/counters",
                           "/_control/faults",
                           "/_control/clock",
                           "/_control/device/approve",
                           "/_control/revoke",
                           "/_control/reset",
                           "/_control/requests"}) {
    EXPECT_THAT(help, testing::HasSubstr(word));
  }
}

TEST_F(CommandTest, TheExampleOfTheHelpWorksWhenPasted) {
  const auto help = run(portal({"--help"})).out;
  const auto begin = help.find("Example:\n") + 9;
  const auto example = help.substr(begin, help.find("\n\n", begin) - begin);
  const auto bin = std::filesystem::path(AUTHDB_PORTAL_PROGRAM).parent_path().string();

  const auto finished = run(
      {"bash", "-c",
       "set -m; cd " + directory_.string() + "; PATH=" + bin + ":$PATH\n" + example + "\nwait"});

  EXPECT_THAT(finished.out, testing::HasSubstr("Refresh token reuse detected"));
  EXPECT_THAT(finished.out, testing::HasSubstr("\"reuse_detected\":1"));
}

}  // namespace
}  // namespace authdb::portal
