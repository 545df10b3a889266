// Connection is one client's TCP connection as the HTTP library's stream. It keeps an answer back
// until it is complete, and then sends it the way a fault asks: cut, dripping, endless or not at
// all. That is why the portal reads its sockets itself: a library's server always sends headers.
#pragma once

#include <httplib.h>

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tools/portal/pauses.h"

namespace authdb::portal {

// How an answer leaves. The default is: whole and at once.
struct Delivery {
  std::optional<std::int64_t> cut_after{};  // 0: nothing at all; negative: short of the end
  std::chrono::milliseconds drip{0};
  bool endless = false;
  std::function<void()>
      about_to_end{};  // called before the last bytes leave, or the connection closes

  bool keeps_connection() const { return !cut_after && !endless; }
};

class Connection final : public httplib::Stream {
 public:
  // Borrows `fd`; whoever accepted it closes it.
  Connection(int fd, Pauses& pauses) : fd_(fd), pauses_(pauses) {}

  bool wait_for_request();  // false: the client has hung up
  bool hung_up() const;     // the client has closed its side
  // Sends what was written. False: the connection is to be closed now.
  bool deliver(const Delivery& delivery);

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* bytes, std::size_t size) override;
  ssize_t write(const char* bytes, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return -1; }  // asked only in order to refuse large numbers

 private:
  bool fill();
  bool send(std::string_view bytes);
  bool send_dripping(std::string_view bytes, std::chrono::milliseconds pace);
  bool send_blanks_for_ever(std::chrono::milliseconds pace);

  const int fd_;
  Pauses& pauses_;
  std::array<char, 16384> input_{};
  std::size_t begin_ = 0;  // unread input is [begin_, end_)
  std::size_t end_ = 0;
  std::string answer_;
};

}  // namespace authdb::portal
