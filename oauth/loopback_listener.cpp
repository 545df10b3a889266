#include "oauth/loopback_listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <vector>

#include "oauth/url.h"

namespace authdb::oauth {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kLargestRequest = 16 << 10;
// Browsers open connections in advance and say nothing on them.
constexpr std::size_t kMostConnections = 32;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Connection {
  Descriptor socket;
  std::string request;  // as much as has arrived
};

// Nothing of what the browser sent is in it.
std::string page(std::string_view status, std::string_view title, std::string_view text) {
  std::string body = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>";
  body.append(title).append("</title></head>\n<body style=\"font-family:sans-serif;margin:4em\">");
  body.append("<h1>")
      .append(title)
      .append("</h1>\n<p>")
      .append(text)
      .append("</p></body></html>\n");
  std::string out = "HTTP/1.1 ";
  out.append(status).append("\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: ");
  out += std::to_string(body.size());
  out +=
      "\r\nConnection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
      "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\r\n";
  return out + body;
}

void answer(const Connection& connection, const std::string& text) {
  // Small enough for any socket buffer; a browser that has gone misses nothing.
  (void)::send(connection.socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  ::shutdown(connection.socket.get(), SHUT_WR);
}

// The target of a whole GET request, else empty.
std::string_view target_of(std::string_view request) {
  constexpr std::string_view kGet = "GET ";
  if (!request.starts_with(kGet)) return {};
  request.remove_prefix(kGet.size());
  const auto end = request.find(' ');
  if (end == std::string_view::npos || !request.substr(end).starts_with(" HTTP/1.")) return {};
  return request.substr(0, end);
}

}  // namespace

struct LoopbackListener::Listening {
  Descriptor socket;
  std::string path;
  std::string redirect_uri;
  std::vector<Connection> connections{};

  void accept_one();
  std::optional<Query> read_from(Connection& connection,
                                 const std::function<bool(const Query&)>& ours, bool& over) const;
  std::optional<Query> serve(const Connection& connection,
                             const std::function<bool(const Query&)>& ours) const;
};

void LoopbackListener::Listening::accept_one() {
  const int fd = ::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  // The oldest has had its time.
  if (connections.size() == kMostConnections) connections.erase(connections.begin());
  connections.push_back({Descriptor(fd), {}});
}

std::optional<Query> LoopbackListener::Listening::serve(
    const Connection& connection, const std::function<bool(const Query&)>& ours) const {
  const std::string_view target = target_of(connection.request);
  const auto mark = std::min(target.find('?'), target.size());
  if (target.substr(0, mark) != path) {
    answer(connection, page("404 Not Found", "Nothing here", "This address waits for a login."));
    return std::nullopt;
  }
  auto query = parse_query(target.substr(std::min(mark + 1, target.size())));
  if (!query || !ours(*query)) {
    answer(connection, page("400 Bad Request", "Not the login that is waited for",
                            "Use the page that authdb has opened last, or start again."));
    return std::nullopt;
  }
  answer(connection, page("200 OK", "That was all here",
                          "authdb has its answer; the terminal says what became of it. You can "
                          "close this page."));
  return query;
}

std::optional<Query> LoopbackListener::Listening::read_from(
    Connection& connection, const std::function<bool(const Query&)>& ours, bool& over) const {
  char buffer[4096];
  const ssize_t got = ::recv(connection.socket.get(), buffer, sizeof buffer, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  over = true;
  if (got <= 0) return std::nullopt;
  connection.request.append(buffer, static_cast<std::size_t>(got));
  if (connection.request.find("\r\n\r\n") != std::string::npos) return serve(connection, ours);
  over = connection.request.size() > kLargestRequest;
  return std::nullopt;
}

LoopbackListener::LoopbackListener(std::unique_ptr<Listening> listening)
    : listening_(std::move(listening)) {}
LoopbackListener::~LoopbackListener() = default;
LoopbackListener::LoopbackListener(LoopbackListener&&) noexcept = default;
LoopbackListener& LoopbackListener::operator=(LoopbackListener&&) noexcept = default;

const std::string& LoopbackListener::redirect_uri() const { return listening_->redirect_uri; }

Result<LoopbackListener> LoopbackListener::open(const std::string& redirect_uri) {
  const auto url = parse_url(redirect_uri.empty() ? "http://127.0.0.1/callback" : redirect_uri);
  if (!url || url->scheme != "http" || (url->host != "127.0.0.1" && url->host != "localhost") ||
      url->path.find('?') != std::string::npos) {
    return fail(Errc::usage, "redirect_uri must be http on 127.0.0.1, without a query",
                "Logins in a browser come back to this machine.");
  }
  int port = 0;
  std::from_chars(url->port.data(), url->port.data() + url->port.size(), port);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);  // whatever `localhost` may mean
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  socklen_t size = sizeof address;
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;  // a port that somebody listens on is taken all the same
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (socket.get() < 0 || ::bind(socket.get(), generic, size) != 0 ||
      ::listen(socket.get(), 16) != 0 || ::getsockname(socket.get(), generic, &size) != 0) {
    return fail(Errc::try_later,
                "nobody can come back to port " + std::to_string(port) +
                    " of this machine: " + std::strerror(errno),
                "Another program listens there, perhaps another login. End it and try again.");
  }
  const std::string path = url->path.empty() ? "/" : url->path;
  std::string uri =
      "http://" + url->host + ":" + std::to_string(ntohs(address.sin_port)) + url->path;
  return LoopbackListener(
      std::make_unique<Listening>(Listening{std::move(socket), path, std::move(uri)}));
}

std::optional<Query> LoopbackListener::wait(Milliseconds patience,
                                            const std::function<bool(const Query&)>& ours) {
  const auto until = SteadyClock::now() + patience;
  auto& connections = listening_->connections;
  for (;;) {
    const auto left = std::chrono::ceil<Milliseconds>(until - SteadyClock::now());
    if (left <= Milliseconds{0}) return std::nullopt;
    std::vector<pollfd> waiting{{listening_->socket.get(), POLLIN, 0}};
    for (const Connection& connection : connections) {
      waiting.push_back({connection.socket.get(), POLLIN, 0});
    }
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) <= 0) continue;
    for (std::size_t i = connections.size(); i-- > 0;) {
      if (waiting[i + 1].revents == 0) continue;
      bool over = false;
      auto query = listening_->read_from(connections[i], ours, over);
      if (over) connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
      if (query) return query;
    }
    if (waiting[0].revents != 0) listening_->accept_one();
  }
}

}  // namespace authdb::oauth
