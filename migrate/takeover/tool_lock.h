// The lock by which a tool keeps its own processes from writing one of its files at once, taken as
// the tool itself takes it.
//
// Which these are, each format says (LockRule). No tool resolves links alike, so that profiles
// which share a file by a link hold different locks: those beside the name and those beside the
// file itself are all taken. Where none is a flock, one of ours beside the file comes first,
// against our own processes.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "migrate/formats/format.h"
#include "migrate/takeover/made_lock.h"
#include "store/file_lock.h"
#include "store/result.h"

namespace authdb::migrate {

struct ToolFile {
  std::filesystem::path path;  // as it is named
  std::string_view format;     // a reader's name
};

// Links resolved; the path itself where that cannot be done.
std::filesystem::path real_path(const std::filesystem::path& path);

// The locks of a tool's file, in the order in which they are taken.
std::vector<LockRule> locks_of(const ToolFile& file);

// Held until it ends.
struct ToolLocks {
  std::vector<FileLock> flocks;
  std::vector<MadeLock> made;
};

// Takes the locks of all files, each once: file by file, in the order of their first locks, that of
// Hermes's shared Nous file last (which is Hermes's own order), and of each file as its tool does.
// busy, naming the lock, if they are not all free within `wait`. Before any credential's lock,
// never after (docs/design.md).
Result<ToolLocks> lock_tools(const std::vector<ToolFile>& files, Milliseconds wait);

}  // namespace authdb::migrate
