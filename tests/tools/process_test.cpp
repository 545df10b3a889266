// The real binary: exit codes, exact stdout, no terminal, signals.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::string drain(int descriptor) {
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(descriptor, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(descriptor);
  return text;
}

// A running authdb whose stdout and stderr go to pipes, and whose stdin is a file.
class Child {
 public:
  Child(const std::vector<std::string>& words, const std::map<std::string, std::string>& env,
        const std::string& stdin_path, const std::string& stdout_path = {}) {
    std::vector<std::string> strings{AUTHDB_BINARY};
    strings.insert(strings.end(), words.begin(), words.end());
    std::vector<std::string> variables;
    for (const auto& [name, value] : env) variables.push_back(name + "=" + value);
    std::vector<char*> argv;
    std::vector<char*> envp;
    for (auto& text : strings) argv.push_back(text.data());
    for (auto& text : variables) envp.push_back(text.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    int out[2];
    int err[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(::open(stdin_path.c_str(), O_RDONLY), STDIN_FILENO);
      ::dup2(stdout_path.empty() ? out[1] : ::open(stdout_path.c_str(), O_WRONLY), STDOUT_FILENO);
      ::dup2(err[1], STDERR_FILENO);
      ::setsid();  // no controlling terminal, so that nothing could ask there either
      ::execve(AUTHDB_BINARY, argv.data(), envp.data());
      ::_exit(127);
    }
    ::close(out[1]);
    ::close(err[1]);
    out_ = out[0];
    err_ = err[0];
  }
  pid_t pid() const { return pid_; }
  // Waits for its end. The status is negative if a signal ended it.
  Ran finish() {
    Ran ran;
    ran.out = drain(out_);
    ran.err = drain(err_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return ran;
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
};

class ProcessTest : public CommandTest {
 protected:
  ProcessTest() {
    env_["XDG_CONFIG_HOME"] = dir_ / "config";
    env_["XDG_RUNTIME_DIR"] = dir_.path();
    env_["HOME"] = dir_.path();
  }
  Ran spawn(const std::vector<std::string>& words, const std::string& input = {},
            const std::string& stdout_path = {}) {
    write_file(dir_ / "stdin", input);
    return Child(words, env_, dir_ / "stdin", stdout_path).finish();
  }
};

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

    write_file(dir_ / "stdin", "");
    Child child({"refresh", "slow"}, env_, dir_ / "stdin");
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
