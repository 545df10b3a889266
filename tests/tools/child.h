// The real authdb executable as a process of its own.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "tests/tools/harness.h"

namespace authdb::cli {

// Where a child's input comes from and its output goes to. Empty: stdin is empty, stdout and stderr
// are pipes that finish() reads.
struct Plumbing {
  std::string stdin_path = "/dev/null";
  std::string stdout_path = {};
  int terminal = -1;  // a pty's slave: all three, and the controlling terminal
  uid_t user = 0;     // whose process it is, where the test is root's; 0: the test's own user's
  std::string program = AUTHDB_BINARY;
};

class Child {
 public:
  Child(const std::vector<std::string>& words, const std::map<std::string, std::string>& env,
        const Plumbing& plumbing = {});
  Child(Child&& other) noexcept;
  // Killed and reaped unless finish() has done it.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  void close_stdout();  // as a reader that goes away
  // Returns when the process is stopped by a signal.
  void wait_until_stopped() const;
  // Waits for its end. The status is negative if a signal ended it.
  Ran finish();

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
};

// A terminal of its own for a child.
class Terminal {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  int slave() const { return slave_; }
  // What is shown until the last process that has it open has gone.
  std::string read_to_end();

 private:
  int master_ = -1;
  int slave_ = -1;
};

// A store of the test's own for children and for verbs run in this process.
class ProcessTest : public CommandTest {
 protected:
  ProcessTest();
  Ran spawn(const std::vector<std::string>& words, const std::string& input = {},
            const std::string& stdout_path = {});
};

}  // namespace authdb::cli
