// The lock by which a tool keeps its own processes from writing one of its files at once, taken as
// the tool itself takes it.
//
// Hermes: flock(2) on the file's name with the suffix `.lock`, `auth.lock` for auth.json, and for
// its Anthropic file that of the home as well. It does not resolve links, so that profiles which
// share a file by a link hold different locks: the lock beside the name and the one beside the file
// itself are both taken. A tool that has no such lock gets one of ours beside its file, against our
// own processes.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "store/file_lock.h"
#include "store/result.h"

namespace authdb::migrate {

struct ToolFile {
  std::filesystem::path path;  // as it is named
  std::string_view format;     // a reader's name
};

// Links resolved; the path itself where that cannot be done.
std::filesystem::path real_path(const std::filesystem::path& path);

// The lock files of a tool's file, in the order in which they are taken.
std::vector<std::filesystem::path> lock_files_of(const ToolFile& file);

// Takes the locks of all files, each once, in Hermes's order: those of the homes by path, that of
// the shared Nous file last. Lock files are made where there are none. busy, naming the file, if
// they are not all free within `wait`. Before any credential's lock, never after (docs/design.md).
Result<std::vector<FileLock>> lock_tools(const std::vector<ToolFile>& files, Milliseconds wait);

}  // namespace authdb::migrate
