// The real binary: exit codes, exact stdout, no terminal, signals.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/tools/child.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST_F(ProcessTest, ATokenIsExactlyOneLine) {
  EXPECT_EQ(spawn({"add", "openrouter"}, "sk-key-1\n").status, 0);
  const auto ran = spawn({"token", "openrouter"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.out, "sk-key-1\n");
  EXPECT_THAT(ran.err, IsEmpty());
}

TEST_F(ProcessTest, ErrorCodesAreExitCodes) {
  EXPECT_EQ(spawn({"token", "nous"}).status, 3);
  EXPECT_EQ(spawn({"tokn"}).status, 2);
  EXPECT_EQ(spawn({"--version"}).status, 0);
  spawn({"add", "openrouter"}, "sk-key-1");
  std::filesystem::permissions(store_path(), std::filesystem::perms(0644));
  const auto ran = spawn({"token", "openrouter"});
  EXPECT_EQ(ran.status, 7);
  EXPECT_THAT(ran.err, AllOf(StartsWith("authdb: "), HasSubstr("\n  "), HasSubstr("chmod")));
}

TEST_F(ProcessTest, WithoutATerminalNobodyIsAsked) {
  const auto ran = spawn({"add", "openrouter"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, StartsWith("authdb: there is nothing on stdin\n"));
}

TEST_F(ProcessTest, P8_ACheckWithTooFewDescriptorsForTheProvidersIsNotGreen) {
  const auto file = dir_ / "config/authdb/providers.d/acme.json";
  env_["XDG_CONFIG_HOME"] = dir_ / "config";
  write_file(file,
             R"({"id":"acme","client_id":"c","token_endpoint":"https://acme.example/token"})");
  ASSERT_EQ(spawn({"add", "acme", "--grant"}, grant_json()).status, 0);
  const auto check_with = [&](int descriptors) {
    const std::string limit = "ulimit -n " + std::to_string(descriptors) + "; exec ";
    Plumbing shell;
    shell.program = "/bin/sh";
    return Child({"-c", limit + AUTHDB_BINARY + " status --check"}, env_, shell).finish();
  };

  int enough = 4;
  while (enough < 24 && check_with(enough).status != 0) ++enough;
  EXPECT_GT(enough, 4) << "the limit was never felt";
  EXPECT_LT(enough, 24);
  std::filesystem::remove(file);
  for (int few = 4; few <= enough; ++few) EXPECT_NE(check_with(few).status, 0) << few;
}

TEST_F(ProcessTest, AFullDiskBehindStdoutIsAFailure) {
  spawn({"add", "openrouter"}, "sk-key-1");
  const auto ran = spawn({"token", "openrouter"}, {}, "/dev/full");
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("stdout"));
}

TEST_F(ProcessTest, VerboseSpeaksOnStderrOnly) {
  spawn({"add", "openrouter"}, "sk-key-1");
  EXPECT_EQ(spawn({"-v", "token", "openrouter"}).out, "sk-key-1\n");
}

// A token endpoint that answers when the test wants it to.
class SlowEndpoint {
 public:
  SlowEndpoint() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 1) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      std::abort();
    }
    port_ = ntohs(address.sin_port);
  }
  ~SlowEndpoint() {
    ::close(connection_);
    ::close(listener_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/token"; }
  // Returns when the whole request has arrived.
  void wait_for_request() {
    connection_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    std::string request;
    char byte = 0;
    while (request.find("refresh-token-ALPHA-1") == std::string::npos &&
           ::read(connection_, &byte, 1) == 1) {
      request += byte;
    }
  }
  void answer(const std::string& body) {
    const auto text =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        "Content-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    EXPECT_EQ(::write(connection_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::shutdown(connection_, SHUT_WR);
  }

 private:
  int listener_ = -1;
  int connection_ = -1;
  int port_ = 0;
};

TEST_F(ProcessTest, ASignalDuringARefreshWaitsUntilTheNewTokenIsSafe) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    std::filesystem::remove_all(dir_ / "store");
    SlowEndpoint endpoint;
    write_file(dir_ / "config/authdb/providers.d/slow.json",
               R"({"id":"slow","client_id":"c","token_endpoint":")" + endpoint.url() + "\"}");
    ASSERT_EQ(spawn({"add", "slow", "--grant"}, grant_json()).status, 0);

    Child child({"refresh", "slow"}, env_);
    endpoint.wait_for_request();
    ::kill(child.pid(), signal);
    endpoint.answer(grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
    const auto ran = child.finish();

    EXPECT_EQ(ran.status, -signal) << testing::PrintToString(ran);
    now_ = system_now();
    ASSERT_EQ(stored().size(), 1U);
    EXPECT_EQ(stored()[0].generation, 2);
    EXPECT_EQ(stored_token(stored()[0].uid), "access-token-ALPHA-2");
  }
}

}  // namespace
}  // namespace authdb::cli
