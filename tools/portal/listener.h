// Listener accepts TCP connections on a loopback address, one thread for each.
//
// A thread per connection, not a pool: a delayed or endless answer holds its thread for as long
// as it likes and starves nobody.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace authdb::portal {

class Listener {
 public:
  // Binds and listens; connections queue until start(). Port 0: the kernel chooses.
  // Throws std::invalid_argument for an address that is not loopback, std::system_error otherwise.
  Listener(const std::string& address, std::uint16_t port);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const std::string& base_url() const { return base_url_; }

  // `serve` gets each connection on a thread of its own. The listener closes it afterwards.
  void start(std::function<void(int fd)> serve);
  // Accepts no more, shuts every connection down and waits for their threads. Idempotent.
  void stop();

 private:
  struct Worker {
    int fd;
    std::thread thread;
  };
  using Workers = std::list<Worker>;

  void accept_all();
  void wait_for_room();
  void wait_for_a_descriptor();
  void launch(int fd);
  void run(Workers::iterator self);
  void join_finished();

  int fd_ = -1;
  std::string base_url_;
  std::function<void(int fd)> serve_;
  std::thread acceptor_;

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  bool stopping_ = false;
  Workers running_;
  Workers finished_;
};

}  // namespace authdb::portal
