#include "migrate/takeover/running.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;

std::optional<int> pid_of(const fs::path& directory) {
  const std::string name = directory.filename();
  int pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return pid;
}

bool is_in(const std::string& file, const fs::path& place) {
  return file == place.string() || file.starts_with(place.string() + "/");
}

std::string name_of(const fs::path& process) {
  std::string name;
  std::getline(std::ifstream(process / "comm"), name);
  return name;
}

// The first file that the process has open there; empty if it has none, or may not be looked at.
std::string open_file(const fs::path& process, const std::vector<fs::path>& places) {
  std::error_code error;
  for (fs::directory_iterator it(process / "fd", error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    const std::string file = fs::read_symlink(it->path(), gone);
    if (gone) continue;
    const bool inside = std::any_of(places.begin(), places.end(),
                                    [&](const auto& place) { return is_in(file, place); });
    if (inside) return file;
  }
  return {};
}

}  // namespace

std::vector<Running> running_in(const std::vector<fs::path>& places) {
  std::vector<Running> found;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const auto pid = pid_of(it->path());
    if (!pid || *pid == ::getpid()) continue;
    auto file = open_file(it->path(), places);
    if (!file.empty()) found.push_back({*pid, name_of(it->path()), std::move(file)});
  }
  std::sort(found.begin(), found.end(),
            [](const Running& a, const Running& b) { return a.pid < b.pid; });
  return found;
}

}  // namespace authdb::migrate
