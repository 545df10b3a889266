#include "tools/prove/machine.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace authdb::prove {
namespace {

namespace fs = std::filesystem;

// Of the mount point that is nearest above: proc(5), mountinfo; the type stands behind the dash.
std::string file_system_of(const fs::path& directory) {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string best = "unknown";
  std::size_t longest = 0;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string skip, point, field, type;
    fields >> skip >> skip >> skip >> skip >> point;
    while (fields >> field && field != "-") {
    }
    fields >> type;
    const std::string prefix = point == "/" ? point : point + "/";
    if ((directory.string() + "/").starts_with(prefix) && prefix.size() >= longest) {
      longest = prefix.size();
      best = type;
    }
  }
  return best;
}

double median_sync_ms(const fs::path& directory) {
  const fs::path file = directory / "sync-time";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const std::array<char, 4096> page{};
  std::vector<double> times;
  for (int i = 0; i < 31; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (::pwrite(fd, page.data(), page.size(), 0) < 0 || ::fdatasync(fd) != 0) break;
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  ::close(fd);
  fs::remove(file);
  if (times.empty()) return -1;
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

}  // namespace

Machine look_at_machine(const fs::path& directory) {
  utsname name{};
  ::uname(&name);
  Machine machine;
  machine.kernel = std::string(name.sysname) + " " + name.release + " " + name.machine;
  machine.processors = std::thread::hardware_concurrency();
  machine.file_system = file_system_of(fs::canonical(directory));
  machine.fdatasync_ms = median_sync_ms(directory);
  return machine;
}

}  // namespace authdb::prove
