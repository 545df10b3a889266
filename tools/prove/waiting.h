// The process dies while it waits for the portal's answer, which no system call of its own marks:
// before the portal has looked at the request, after it has rotated, in the middle of the answer.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace authdb::prove {

struct WaitingResult {
  std::size_t kills = 0;
  std::size_t lost = 0;  // as the crash table allows
  std::vector<std::string> violations{};
};

WaitingResult kill_while_waiting(const std::filesystem::path& authdb,
                                 const std::filesystem::path& directory);

}  // namespace authdb::prove
