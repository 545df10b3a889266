#include "tools/portal/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace authdb::portal {
namespace {

// Small enough to leave in one piece, so that a client that has it all has waited for its end.
constexpr std::size_t kLastPiece = 1024;

std::size_t body_start(std::string_view answer) {
  const auto blank_line = answer.find("\r\n\r\n");
  return blank_line == std::string_view::npos ? answer.size() : blank_line + 4;
}

void remove_content_length(std::string& answer) {
  const auto begin = answer.find("Content-Length: ");
  if (begin < body_start(answer)) answer.erase(begin, answer.find("\r\n", begin) + 2 - begin);
}

void cut(std::string& answer, std::int64_t after) {
  const auto size = static_cast<std::int64_t>(answer.size());
  const auto kept = std::clamp<std::int64_t>(after < 0 ? size + after : after, 0, size);
  answer.resize(static_cast<std::size_t>(kept));
}

}  // namespace

bool Connection::wait_for_request() { return begin_ < end_ || fill(); }

bool Connection::hung_up() const {
  pollfd poll{fd_, POLLRDHUP, 0};
  return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool Connection::deliver(const Delivery& delivery) {
  std::string answer = std::exchange(answer_, {});
  if (delivery.endless) remove_content_length(answer);
  if (delivery.cut_after) cut(answer, *delivery.cut_after);

  const bool slow = delivery.drip.count() > 0;
  const std::size_t held_back = delivery.endless ? 0 : slow ? 1 : kLastPiece;
  const auto last = answer.size() - std::min(answer.size(), held_back);
  const auto early = slow ? std::min(body_start(answer), last) : last;
  const std::string_view bytes = answer;
  bool open = send(bytes.substr(0, early)) &&
              send_dripping(bytes.substr(early, last - early), delivery.drip);
  if (open && delivery.endless) open = send_blanks_for_ever(delivery.drip);
  if (delivery.about_to_end) delivery.about_to_end();
  return open && send(bytes.substr(last)) && delivery.keeps_connection();
}

ssize_t Connection::read(char* bytes, std::size_t size) {
  if (begin_ == end_) {
    // What is written before the request is read to its end is "100 Continue": somebody waits.
    if (!answer_.empty() && !send(std::exchange(answer_, {}))) return -1;
    if (!fill()) return -1;
  }
  const auto count = std::min(size, end_ - begin_);
  std::memcpy(bytes, input_.data() + begin_, count);
  begin_ += count;
  return static_cast<ssize_t>(count);
}

ssize_t Connection::write(const char* bytes, std::size_t size) {
  answer_.append(bytes, size);
  return static_cast<ssize_t>(size);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip = "loopback";
  port = 0;
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  get_remote_ip_and_port(ip, port);
}

bool Connection::fill() {
  ssize_t received = 0;
  do {
    received = ::recv(fd_, input_.data(), input_.size(), 0);
  } while (received < 0 && errno == EINTR);
  begin_ = 0;
  end_ = received > 0 ? static_cast<std::size_t>(received) : 0;
  return received > 0;
}

bool Connection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool Connection::send_dripping(std::string_view bytes, std::chrono::milliseconds pace) {
  if (pace.count() == 0) return send(bytes);
  for (const char& byte : bytes) {
    if (!send({&byte, 1}) || !pauses_.wait(pace)) return false;
  }
  return true;
}

bool Connection::send_blanks_for_ever(std::chrono::milliseconds pace) {
  const std::string blanks(pace.count() == 0 ? 4096 : 1, ' ');
  while (send(blanks)) {
    if (pace.count() > 0 && !pauses_.wait(pace)) break;
  }
  return false;
}

}  // namespace authdb::portal
