#include "migrate/takeover/tool_lock.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "store/descriptors.h"
#include "store/files.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> beside(const fs::path& path, std::string_view format) {
  fs::path with_suffix = path;
  with_suffix.replace_extension(".lock");
  if (format == "hermes-anthropic") return {path.parent_path() / "auth.lock", with_suffix};
  if (format.starts_with("hermes") || format == "claude") return {with_suffix};
  return {path.parent_path() / ("." + path.filename().string() + ".authdb-lock")};
}

Result<FileLock> take(const fs::path& path, Milliseconds wait) {
  // FileLock opens what is there. Made as its tool would make it, and never emptied.
  const Fd made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!made && errno == ELOOP) {
    return fail(Errc::refused, "the lock " + path.string() + " is a symbolic link",
                "No tool makes one: find out who did, and remove it.");
  }
  if (!made) return fail(file_error("cannot open the lock", path, errno));
  auto lock = FileLock::acquire(path, wait);
  if (!lock) return fail(std::move(lock.error()));
  if (!*lock) {
    return fail(Errc::busy, path.string() + " is locked by another process",
                "The tool that owns it is at work. Nothing was changed; try again.");
  }
  return std::move(**lock);
}

}  // namespace

fs::path real_path(const fs::path& path) {
  std::error_code error;
  fs::path real = fs::canonical(path, error);
  return error ? path : real;
}

std::vector<fs::path> lock_files_of(const ToolFile& file) {
  std::error_code error;
  // A name alone has no directory that could be resolved.
  const fs::path named = fs::absolute(file.path, error);
  auto locks = beside(error ? file.path : named, file.format);
  for (auto& lock : beside(real_path(file.path), file.format)) {
    if (std::find(locks.begin(), locks.end(), lock) == locks.end()) locks.push_back(lock);
  }
  return locks;
}

Result<std::vector<FileLock>> lock_tools(const std::vector<ToolFile>& files, Milliseconds wait) {
  std::vector<std::pair<bool, fs::path>> wanted;
  for (const ToolFile& file : files) {
    for (const auto& lock : lock_files_of(file)) {
      wanted.emplace_back(file.format == "hermes-shared-nous",
                          real_path(lock.parent_path()) / lock.filename());
    }
  }
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  if (auto room = room_for_descriptors(wanted.size()); !room) return fail(std::move(room.error()));
  std::vector<FileLock> held;
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (const auto& [shared, path] : wanted) {
    const auto left =
        std::chrono::duration_cast<Milliseconds>(deadline - std::chrono::steady_clock::now());
    auto lock = take(path, std::max(left, Milliseconds(0)));
    if (!lock) return fail(std::move(lock.error()));
    held.push_back(std::move(*lock));
  }
  return held;
}

}  // namespace authdb::migrate
