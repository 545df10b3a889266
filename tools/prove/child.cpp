#include "tools/prove/child.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace authdb::prove {
namespace {

[[noreturn]] void give_up(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

int memory_file(const std::string& content = {}) {
  const int fd = ::memfd_create("authdb-prove", MFD_CLOEXEC);
  if (fd < 0) give_up("memfd_create");
  if (::pwrite(fd, content.data(), content.size(), 0) != static_cast<ssize_t>(content.size())) {
    give_up("memfd");
  }
  return fd;
}

std::string content_of(int fd) {
  std::string text;
  std::array<char, 8192> chunk;
  for (off_t at = 0;;) {
    const ssize_t got = ::pread(fd, chunk.data(), chunk.size(), at);
    if (got <= 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    at += got;
  }
}

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> all;
  for (const auto& word : words) all.push_back(const_cast<char*>(word.c_str()));
  all.push_back(nullptr);
  return all;
}

struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> envp;
  const sock_fprog* filter;
  int in, out, err, gate;
  pid_t parent;
};

void wait_for_filter(const Prepared& prepared) {
  char byte = 0;
  while (::read(prepared.gate, &byte, 1) < 0 && errno == EINTR) {
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, prepared.filter) != 0) ::_exit(126);
}

// Between fork() and exec(): only what is allowed there, and no memory.
[[noreturn]] void become(const Prepared& prepared) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != prepared.parent) ::_exit(127);
  ::setpgid(0, 0);
  ::dup2(prepared.in, STDIN_FILENO);
  ::dup2(prepared.out, STDOUT_FILENO);
  ::dup2(prepared.err, STDERR_FILENO);
  if (prepared.filter != nullptr) wait_for_filter(prepared);
  ::execve(prepared.argv[0], prepared.argv.data(), prepared.envp.data());
  ::_exit(127);
}

}  // namespace

Child::Child(const Command& command, const sock_fprog* filter) {
  const int in = memory_file(command.input);
  out_ = memory_file();
  err_ = memory_file();
  std::array<int, 2> gate{-1, -1};
  if (filter != nullptr && ::pipe2(gate.data(), O_CLOEXEC) != 0) give_up("pipe2");
  gate_ = gate[1];
  const Prepared prepared{pointers_to(command.words),
                          pointers_to(command.env),
                          filter,
                          in,
                          out_,
                          err_,
                          gate[0],
                          ::getpid()};
  pid_ = ::fork();
  if (pid_ == 0) become(prepared);
  ::close(in);
  if (gate[0] >= 0) ::close(gate[0]);
  if (pid_ < 0) give_up("fork");
  ::setpgid(pid_, pid_);  // whoever of the two comes first
}

Child::~Child() {
  if (pid_ > 0) {
    signal(SIGKILL);
    finish();
  }
  for (const int fd : {gate_, out_, err_}) {
    if (fd >= 0) ::close(fd);
  }
}

// A byte, not the end of the pipe: the child has a copy of that end itself.
void Child::go() {
  if (::write(gate_, "", 1) != 1) give_up("pipe");
}

void Child::signal(int number) const { ::kill(-pid_, number); }

bool Child::ended_within(std::chrono::milliseconds limit) const {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (fd < 0) give_up("pidfd_open");
  pollfd wanted{fd, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&wanted, 1, static_cast<int>(limit.count()));
  } while (ready < 0 && errno == EINTR);
  ::close(fd);
  return ready == 1;
}

Finished Child::finish() {
  int status = 0;
  while (::waitpid(pid_, &status, __WALL) < 0 && errno == EINTR) {
  }
  return reaped(status);
}

Finished Child::reaped(int wait_status) {
  ::kill(-std::exchange(pid_, -1), SIGKILL);  // whatever it has left in its group
  const int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  return {code, content_of(out_), content_of(err_)};
}

Finished run(const Command& command, std::chrono::milliseconds limit) {
  Child child(command);
  if (!child.ended_within(limit)) child.signal(SIGKILL);
  return child.finish();
}

}  // namespace authdb::prove
