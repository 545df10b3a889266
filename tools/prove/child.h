// A child process with a chosen environment. Its stdin, stdout and stderr are files in memory, so
// that nobody has to read while it runs and nothing blocks on a full pipe. It is the leader of its
// own process group and dies with the thread that started it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

struct sock_fprog;

namespace authdb::prove {

struct Command {
  std::vector<std::string> words;
  std::vector<std::string> env;  // NAME=value; nothing is inherited
  std::string input{};           // stdin
};

struct Finished {
  int code = -1;  // exit code; 128 + signal when a signal ended it
  std::string out{};
  std::string err{};
};

class Child {
 public:
  // Throws std::system_error if there is no process to be had. A command that cannot be executed is
  // a child that exits with 127.
  explicit Child(const Command& command) : Child(command, nullptr) {}
  // Waits for go(), then puts itself under the seccomp filter and executes the command.
  Child(const Command& command, const sock_fprog* filter);
  ~Child();  // kills the group and reaps
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void go();
  void signal(int number) const;  // to the whole group
  // False: it still runs after `limit`.
  bool ended_within(std::chrono::milliseconds limit) const;
  Finished finish();
  // For whoever has reaped it already, as a tracer does.
  Finished reaped(int wait_status);

 private:
  pid_t pid_ = -1;
  int gate_ = -1;
  int out_ = -1;
  int err_ = -1;
};

// Runs it to its end. One that takes longer than `limit` is killed: code 137.
Finished run(const Command& command, std::chrono::milliseconds limit = std::chrono::seconds(60));

}  // namespace authdb::prove
