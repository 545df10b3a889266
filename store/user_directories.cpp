#include "store/user_directories.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

namespace authdb {
namespace {

namespace fs = std::filesystem;

// Empty unless it is absolute.
fs::path absolute(const char* text) {
  const fs::path path = text == nullptr ? "" : text;
  return path.is_absolute() ? path : fs::path();
}

fs::path directory(const char* variable, const char* below_home) {
  if (const fs::path set = absolute(::getenv(variable)); !set.empty()) return set;
  const fs::path home = home_directory();
  return home.empty() ? home : home / below_home;
}

}  // namespace

fs::path home_directory() {
  if (const fs::path set = absolute(::getenv("HOME")); !set.empty()) return set;
  const passwd* entry = ::getpwuid(::geteuid());
  return entry == nullptr ? fs::path() : absolute(entry->pw_dir);
}

fs::path data_directory() { return directory("XDG_DATA_HOME", ".local/share"); }
fs::path config_directory() { return directory("XDG_CONFIG_HOME", ".config"); }

}  // namespace authdb
