#include "tests/portal/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>

extern char** environ;

namespace authdb::portal {
namespace {

void check(int error, const std::string& what) {
  if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

std::array<int, 2> new_pipe() {
  std::array<int, 2> ends{};
  check(::pipe2(ends.data(), O_CLOEXEC) == 0 ? 0 : errno, "pipe");
  return ends;
}

std::vector<char*> argv_of(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  return argv;
}

pid_t spawn(const std::vector<std::string>& command, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid = -1;
  const int error =
      ::posix_spawnp(&pid, command[0].c_str(), &actions, nullptr, argv_of(command).data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  check(error, command[0]);
  return pid;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 16384> chunk;
  for (;;) {
    const auto count = ::read(fd, chunk.data(), chunk.size());
    if (count <= 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

Process::Process(const std::vector<std::string>& command) {
  const auto out = new_pipe();
  const auto err = new_pipe();
  pid_ = spawn(command, out[1], err[1]);
  ::close(out[1]);
  ::close(err[1]);
  out_ = out[0];
  err_ = err[0];
}

Process::~Process() {
  if (pid_ > 0) {
    signal(SIGKILL);
    finish();
  }
  ::close(out_);
  ::close(err_);
}

std::string Process::read_line() {
  std::string line;
  char byte = 0;
  while (::read(out_, &byte, 1) == 1 && byte != '\n') line += byte;
  return line;
}

void Process::signal(int number) { ::kill(pid_, number); }

Finished Process::finish() {
  Finished finished;
  finished.out = read_all(out_);
  finished.err = read_all(err_);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  finished.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

Finished run(const std::vector<std::string>& command) { return Process(command).finish(); }

std::string Reply::header(const std::string& name) const {
  const auto begin = headers.find("\r\n" + name + ": ");
  if (begin == std::string::npos) return {};
  const auto value = begin + name.size() + 4;
  return headers.substr(value, headers.find("\r\n", value) - value);
}

Reply curl(const std::string& url, std::vector<std::string> arguments) {
  std::vector<std::string> command = {"curl",      "-q", "-s",         "-i",
                                      "--noproxy", "*",  "--max-time", "60"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.push_back(url);
  const Finished finished = run(command);

  Reply reply;
  reply.exit = finished.code;
  const auto blank_line = finished.out.find("\r\n\r\n");
  if (blank_line == std::string::npos) return reply;
  reply.headers = finished.out.substr(0, blank_line + 2);
  reply.body = finished.out.substr(blank_line + 4);
  reply.status = std::stoi(reply.headers.substr(9, 3));  // behind "HTTP/1.1 "
  return reply;
}

Socket::Socket(const std::string& base_url)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto port = std::stoul(base_url.substr(base_url.rfind(':') + 1));
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  check(::connect(fd_, generic, sizeof address) == 0 ? 0 : errno, "connect");
}

Socket::~Socket() { ::close(fd_); }

void Socket::send(std::string_view bytes) {
  const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(bytes.size())) throw std::runtime_error("short send");
}

std::string Socket::read(std::size_t size) {
  std::string text;
  std::array<char, 4096> chunk;
  while (text.size() < size) {
    const auto wanted = std::min(chunk.size(), size - text.size());
    const auto count = ::recv(fd_, chunk.data(), wanted, 0);
    if (count <= 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return text;
}

}  // namespace authdb::portal
