// Rescue files by themselves: what key rotation and `doctor` do with them. Private to store/; the
// protocol's own three functions are in locked.h.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "store/journal.h"

namespace authdb {

// Those of a credential that are there, in this process's runtime directory and the session's.
std::vector<std::filesystem::path> rescue_files(const std::string& store_id, const Uid& uid);
// Those of all credentials of a store.
std::vector<std::filesystem::path> rescue_files(const std::string& store_id);
// nullopt if it is not whole, or if others could have written it.
std::optional<JournalRecord> read_rescue_file(const std::filesystem::path& path);
Result<void> replace_rescue_file(const std::filesystem::path& path, const JournalRecord& record);

}  // namespace authdb
