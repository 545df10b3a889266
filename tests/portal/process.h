// Child processes and raw sockets: how the portal is looked at from outside, without HTTP code of
// our own.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace authdb::portal {

struct Finished {
  int code = -1;  // exit code; 128 + signal when killed
  std::string out{};
  std::string err{};
};

// A child with its stdout and stderr on pipes. Killed and reaped when destroyed.
class Process {
 public:
  explicit Process(const std::vector<std::string>& command);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  std::string read_line();  // of stdout; blocks until it is there
  void signal(int number);
  Finished finish();  // reads both pipes to their end, then waits

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
};

Finished run(const std::vector<std::string>& command);

// What the curl executable got.
struct Reply {
  int exit = -1;  // curl's own: 0 fine, 18 cut short, 52 no answer at all
  int status = 0;
  std::string headers{};
  std::string body{};

  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
  std::string header(const std::string& name) const;  // empty: absent
};

Reply curl(const std::string& url, std::vector<std::string> arguments = {});

// A TCP connection to a base URL.
class Socket {
 public:
  explicit Socket(const std::string& base_url);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  void send(std::string_view bytes);
  std::string read(std::size_t size);  // fewer only at the end of the stream
  std::string read_to_end() { return read(std::string::npos); }

 private:
  int fd_ = -1;
};

}  // namespace authdb::portal
