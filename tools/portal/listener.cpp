#include "tools/portal/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace authdb::portal {
namespace {

// Below the usual limit of 1024 descriptors; further connections queue in the kernel.
constexpr std::size_t kMaxConnections = 512;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  std::string host;  // as a URL spells it

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

bool parse_v4(const std::string& text, std::uint16_t port, Address& address) {
  sockaddr_in v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) != 1) return false;
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  std::memcpy(&address.storage, &v4, sizeof v4);
  address.size = sizeof v4;
  address.host = text;
  return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
}

bool parse_v6(const std::string& text, std::uint16_t port, Address& address) {
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) != 1) return false;
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&address.storage, &v6, sizeof v6);
  address.size = sizeof v6;
  address.host = "[" + text + "]";
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

Address loopback(const std::string& text, std::uint16_t port) {
  Address address;
  const std::string numeric = text == "localhost" ? "127.0.0.1" : text;
  if (!parse_v4(numeric, port, address) && !parse_v6(numeric, port, address)) {
    throw std::invalid_argument(text + " is not a loopback address");
  }
  return address;
}

void check(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
}

std::uint16_t port_of(int fd) {
  Address bound;
  bound.size = sizeof bound.storage;
  check(::getsockname(fd, bound.get(), &bound.size), "getsockname");
  // The port is at the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&bound.storage)->sin_port);
}

}  // namespace

Listener::Listener(const std::string& address, std::uint16_t port) {
  const Address wanted = loopback(address, port);
  fd_ = ::socket(wanted.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd_, "socket");
  const int on = 1;
  ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  try {
    check(::bind(fd_, wanted.get(), wanted.size), "bind");
    check(::listen(fd_, SOMAXCONN), "listen");
    base_url_ = "http://" + wanted.host + ":" + std::to_string(port_of(fd_));
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

Listener::~Listener() {
  stop();
  ::close(fd_);
}

void Listener::start(std::function<void(int fd)> serve) {
  serve_ = std::move(serve);
  acceptor_ = std::thread([this] { accept_all(); });
}

void Listener::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  ::shutdown(fd_, SHUT_RDWR);  // on Linux this wakes a blocked accept()
  if (acceptor_.joinable()) acceptor_.join();
  {
    std::unique_lock lock(mutex_);
    for (const auto& worker : running_) ::shutdown(worker.fd, SHUT_RDWR);
    changed_.wait(lock, [this] { return running_.empty(); });
  }
  join_finished();
}

void Listener::accept_all() {
  for (;;) {
    wait_for_room();
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) {
      launch(fd);
    } else if (errno == EMFILE || errno == ENFILE) {
      wait_for_a_descriptor();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;  // stop() shut the socket down
    }
  }
}

void Listener::wait_for_room() {
  join_finished();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || running_.size() < kMaxConnections; });
}

// The process may have used its descriptors up elsewhere, so no connection of ours need end first.
void Listener::wait_for_a_descriptor() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(10));
}

void Listener::launch(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const std::lock_guard lock(mutex_);  // held until the thread is in its place in the list
  const auto worker = running_.insert(running_.end(), Worker{fd, {}});
  worker->thread = std::thread([this, worker] { run(worker); });
}

void Listener::run(Workers::iterator self) {
  serve_(self->fd);
  const std::lock_guard lock(mutex_);
  ::close(self->fd);  // under the lock: stop() must not shut down a descriptor that is reused
  finished_.splice(finished_.end(), running_, self);
  changed_.notify_all();
}

void Listener::join_finished() {
  Workers done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(finished_);
  }
  for (auto& worker : done) worker.thread.join();
}

}  // namespace authdb::portal
