#include "tools/secret_input.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

namespace authdb::cli {
namespace {

constexpr std::size_t kLargestInput = 1 << 20;
constexpr std::string_view kBlank = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The terminal's settings while its echo is off; plain data, because a signal handler restores it.
int hushed_terminal = -1;
termios hushed_settings{};

extern "C" void restore_echo_and_die(int signal) {
  tcsetattr(hushed_terminal, TCSANOW, &hushed_settings);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Echo is off while one exists.
class Hush {
 public:
  explicit Hush(int terminal) {
    tcgetattr(terminal, &hushed_settings);
    hushed_terminal = terminal;
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      struct sigaction handler {};
      handler.sa_handler = restore_echo_and_die;
      sigaction(kSignals[i], &handler, &before_[i]);
    }
    auto silent = hushed_settings;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(terminal, TCSAFLUSH, &silent);
  }
  ~Hush() {
    tcsetattr(hushed_terminal, TCSAFLUSH, &hushed_settings);
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  Hush(const Hush&) = delete;
  Hush& operator=(const Hush&) = delete;

 private:
  static constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace

WipingInput::int_type WipingInput::underflow() {
  ssize_t got = 0;
  do {
    got = ::read(descriptor_, buffer_, sizeof buffer_);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return traits_type::eof();
  setg(buffer_, buffer_, buffer_ + got);
  return traits_type::to_int_type(buffer_[0]);
}

Result<Secret> read_all(std::istream& in) {
  std::vector<char> bytes(4096);
  std::size_t size = 0;
  while (const auto got = in.rdbuf()->sgetn(bytes.data() + size,
                                            static_cast<std::streamsize>(bytes.size() - size))) {
    size += static_cast<std::size_t>(got);
    if (size < bytes.size()) continue;
    // A vector that grows by itself leaves the old buffer behind unwiped.
    std::vector<char> larger(bytes.size() * 2);
    std::copy(bytes.begin(), bytes.end(), larger.begin());
    wipe(bytes.data(), bytes.size());
    bytes = std::move(larger);
    if (size > kLargestInput) break;
  }
  bytes.resize(size);  // shrinking moves nothing
  Secret read(std::move(bytes));
  if (size > kLargestInput) return fail(Errc::usage, "there is more than 1 MiB on stdin");
  return read;
}

Result<Secret> read_secret(Context& context, std::string_view prompt) {
  auto read = context.ask ? context.ask(prompt) : read_all(context.in);
  if (!read) return read;
  const auto text = trimmed(read->reveal());
  if (text.empty()) {
    return fail(Errc::usage, "there is nothing on stdin",
                "Pipe the secret in, or run the command at a terminal to be asked for it.");
  }
  if (!is_token_text(text)) {
    return fail(Errc::usage,
                "what came in on stdin is no key: it has white space inside, a control character, "
                "or something that is no ASCII",
                "Pipe the bare key in, and nothing else.");
  }
  return Secret::copy_of(text);
}

Result<Secret> ask_hidden(std::string_view prompt) {
  const int terminal = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (terminal < 0) return fail(Errc::usage, "there is no terminal to ask at");
  const auto write_all = [terminal](std::string_view text) {
    return ::write(terminal, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  };
  std::vector<char> line(8192);
  ssize_t got = -1;
  {
    const Hush hush(terminal);
    if (write_all(prompt)) got = ::read(terminal, line.data(), line.size());
    (void)write_all("\n");  // the person's own, which was not shown
  }
  ::close(terminal);
  line.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  Secret answer(std::move(line));
  if (got < 0) return fail(Errc::unexpected, "the terminal could not be read");
  return answer;
}

}  // namespace authdb::cli
