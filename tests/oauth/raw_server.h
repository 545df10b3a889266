// A server that is told byte for byte what to say, and remembers byte for byte what it heard. One
// thread; one connection at a time.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace authdb::oauth {

// One connection as its server sees it.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  int fd() const { return fd_; }
  // Until the end of the request: headers and Content-Length bytes. What came before the client
  // went away, if it did.
  std::string read_request() const;
  // False if the client has gone.
  bool say(std::string_view bytes) const;
  // Blocks until the client closes.
  void wait_for_close() const;

 private:
  int fd_;
};

class RawServer {
 public:
  // `serve` gets each connection in turn; it is closed when `serve` returns.
  explicit RawServer(std::function<void(Peer&)> serve);
  ~RawServer();

  std::string url(std::string_view path = "/token") const;
  int connections() const;
  // Blocks until so many connections have been served to their end.
  void wait_served(int count) const;

 private:
  void run();

  std::function<void(Peer&)> serve_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  int connections_ = 0;
  int served_ = 0;
  std::thread thread_;
};

}  // namespace authdb::oauth
