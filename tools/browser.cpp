#include "tools/browser.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "oauth/url.h"
#include "tools/closed_memory.h"

namespace authdb::cli {
namespace {

// With nothing of ours but the environment: no terminal, no signals of its group, no descriptors.
struct Detached {
  Detached() {
    posix_spawn_file_actions_init(&files);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    }
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  }
  ~Detached() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  Detached(const Detached&) = delete;
  Detached& operator=(const Detached&) = delete;

  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
};

}  // namespace

bool has_browser(const oauth::Environment& environment) {
  for (const char* variable : {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}) {
    if (const auto value = environment(variable); value && !value->empty()) return true;
  }
  return false;
}

bool open_in_browser(const std::string& url) {
  const auto parsed = oauth::parse_url(url);
  if (!parsed || !oauth::is_secure(*parsed)) return false;
  const Detached detached;
  const CoreLimitForOthers as_given;
  std::string program = "xdg-open";
  std::string page = url;
  std::array<char*, 3> arguments{program.data(), page.data(), nullptr};
  pid_t pid = 0;
  return ::posix_spawnp(&pid, program.c_str(), &detached.files, &detached.attributes,
                        arguments.data(), environ) == 0;
}

}  // namespace authdb::cli
