#include "tests/tools/child.h"

#include <fcntl.h>
#include <grp.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

namespace authdb::cli {
namespace {

std::string drain(int descriptor) {
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(descriptor, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(descriptor);
  return text;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

void become(uid_t user) {
  if (::setgroups(0, nullptr) != 0 || ::setgid(user) != 0 || ::setuid(user) != 0) ::_exit(127);
}

}  // namespace

Child::Child(const std::vector<std::string>& words, const std::map<std::string, std::string>& env,
             const Plumbing& plumbing) {
  std::vector<std::string> strings{plumbing.program};
  strings.insert(strings.end(), words.begin(), words.end());
  std::vector<std::string> variables;
  for (const auto& [name, value] : env) variables.push_back(name + "=" + value);
  const auto argv = pointers(strings);
  const auto envp = pointers(variables);
  int out[2];
  int err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::setsid();  // no controlling terminal but the one that is given
    if (plumbing.terminal >= 0) {
      ::ioctl(plumbing.terminal, TIOCSCTTY, 0);
      for (const int fd : {0, 1, 2}) ::dup2(plumbing.terminal, fd);
    } else {
      ::dup2(::open(plumbing.stdin_path.c_str(), O_RDONLY), STDIN_FILENO);
      const auto& path = plumbing.stdout_path;
      ::dup2(path.empty() ? out[1] : ::open(path.c_str(), O_WRONLY), STDOUT_FILENO);
      ::dup2(err[1], STDERR_FILENO);
    }
    ::signal(SIGPIPE, SIG_DFL);  // the portal's server ignores it, and that would be inherited
    if (plumbing.user != 0) become(plumbing.user);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(err[1]);
  out_ = out[0];
  err_ = err[0];
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      out_(std::exchange(other.out_, -1)),
      err_(std::exchange(other.err_, -1)) {}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  (void)finish();
}

void Child::signal(int number) const { ::kill(pid_, number); }

void Child::close_stdout() {
  ::close(out_);
  out_ = -1;
}

void Child::wait_until_stopped() const {
  int status = 0;
  ::waitpid(pid_, &status, WUNTRACED);
}

Ran Child::finish() {
  Ran ran;
  if (out_ >= 0) ran.out = drain(out_);
  ran.err = drain(err_);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  ran.dumped_core = WIFSIGNALED(status) && WCOREDUMP(status);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return ran;
}

Terminal::Terminal() {
  if (::openpty(&master_, &slave_, nullptr, nullptr, nullptr) != 0) std::abort();
  for (const int fd : {master_, slave_}) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

Terminal::~Terminal() {
  if (slave_ >= 0) ::close(slave_);
  if (master_ >= 0) ::close(master_);
}

std::string Terminal::read_to_end() {
  ::close(std::exchange(slave_, -1));
  return drain(std::exchange(master_, -1));
}

ProcessTest::ProcessTest() {
  env_["XDG_CONFIG_HOME"] = dir_ / "config";
  env_["XDG_RUNTIME_DIR"] = dir_.path();
  env_["HOME"] = dir_.path();
}

Ran ProcessTest::spawn(const std::vector<std::string>& words, const std::string& input,
                       const std::string& stdout_path) {
  write_file(dir_ / "stdin", input);
  return Child(words, env_, {dir_ / "stdin", stdout_path}).finish();
}

}  // namespace authdb::cli
