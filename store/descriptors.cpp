#include "store/descriptors.h"

#include <sys/resource.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace authdb {
namespace {

namespace fs = std::filesystem;

// A connection to the database has three, a journal that is rewritten two; some for other threads.
constexpr std::size_t kBeside = 24;

std::size_t open_descriptors() {
  constexpr std::size_t kUnknown = 200;  // generously
  std::error_code error;
  std::size_t open = 0;
  for (fs::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++open;
  }
  return error ? kUnknown : open;
}

}  // namespace

Result<void> room_for_descriptors(std::size_t more) {
  rlimit limit{};
  if (more == 0 || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const rlim_t wanted = open_descriptors() + more + kBeside;
  if (wanted <= limit.rlim_cur) return {};
  if (wanted <= limit.rlim_max) {
    limit.rlim_cur = wanted;
    if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  }
  return fail(Errc::try_later,
              std::to_string(more) + " files must be open at once, and this process may open " +
                  std::to_string(limit.rlim_max) + " in all",
              "Allow " + std::to_string(wanted) +
                  ": `ulimit -n` in a shell, LimitNOFILE= in a systemd unit.");
}

}  // namespace authdb
