// Which processes have a tool's files open.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace authdb::migrate {

struct Running {
  int pid = 0;
  std::string name;
  std::string file;  // one of the files that it has open
};

// Every other process that has one of `places` open, or a file in it or below, as far as this user
// may see it (Linux: /proc). A gateway that runs has at least its log or its database open there.
std::vector<Running> running_in(const std::vector<std::filesystem::path>& places);

}  // namespace authdb::migrate
