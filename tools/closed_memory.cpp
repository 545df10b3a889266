#include "tools/closed_memory.h"

#include <sys/prctl.h>

#include <fstream>
#include <optional>
#include <string>

namespace authdb::cli {
namespace {

// The limit before close_memory().
std::optional<rlimit> g_given;

bool is_traced() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("TracerPid:")) return line.find_first_of("123456789") != line.npos;
  }
  return false;
}

}  // namespace

void close_memory() noexcept try {
  rlimit limit{};
  if (::getrlimit(RLIMIT_CORE, &limit) == 0) {
    g_given = limit;
    // The soft limit alone: the hard one could not be given back to the programs that we start.
    limit.rlim_cur = 0;
    ::setrlimit(RLIMIT_CORE, &limit);
  }
  // This is what counts where cores go to a program (systemd-coredump): such a one is not limited.
  if (!is_traced()) ::prctl(PR_SET_DUMPABLE, 0);
} catch (...) {  // no memory to read a line with: what needs some will say so
  ::prctl(PR_SET_DUMPABLE, 0);
}

CoreLimitForOthers::CoreLimitForOthers() noexcept {
  ::getrlimit(RLIMIT_CORE, &ours_);
  if (g_given) ::setrlimit(RLIMIT_CORE, &*g_given);
}

CoreLimitForOthers::~CoreLimitForOthers() { ::setrlimit(RLIMIT_CORE, &ours_); }

}  // namespace authdb::cli
