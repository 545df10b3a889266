// What a proof is true of: this machine, and the file system of one directory.
#pragma once

#include <filesystem>
#include <string>

namespace authdb::prove {

struct Machine {
  std::string kernel;  // Linux 6.1.0 x86_64
  unsigned processors = 0;
  std::string file_system;  // ext4
  double fdatasync_ms = 0;  // the median of writing and syncing 4 KiB
};

// Writes a small file into `directory` and removes it.
Machine look_at_machine(const std::filesystem::path& directory);

}  // namespace authdb::prove
