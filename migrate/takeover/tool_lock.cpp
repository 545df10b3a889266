#include "migrate/takeover/tool_lock.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "store/descriptors.h"
#include "store/files.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;

// Of a file under that name.
std::vector<LockRule> locks_beside(const fs::path& path, std::string_view format) {
  std::vector<LockRule> locks;
  if (const Format* known = format_named(format)) locks = known->locks(path);
  const bool has_flock = std::any_of(locks.begin(), locks.end(), [](const LockRule& rule) {
    return rule.kind == LockRule::Kind::flock;
  });
  if (!has_flock) {
    const fs::path ours = path.parent_path() / ("." + path.filename().string() + ".authdb-lock");
    locks.insert(locks.begin(), {LockRule::Kind::flock, ours});
  }
  return locks;
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

std::vector<LockRule> locks_of(const ToolFile& file) {
  std::error_code error;
  // A name alone has no directory that could be resolved.
  const fs::path named = fs::absolute(file.path, error);
  auto locks = locks_beside(error ? file.path : named, file.format);
  for (auto& lock : locks_beside(real_path(file.path), file.format)) {
    const bool known = std::any_of(locks.begin(), locks.end(),
                                   [&](const LockRule& one) { return one.path == lock.path; });
    if (!known) locks.push_back(std::move(lock));
  }
  return locks;
}

namespace {

// The locks of all files, each once, in their order.
std::vector<LockRule> in_order(const std::vector<ToolFile>& files) {
  std::vector<std::pair<bool, std::vector<LockRule>>> wanted;
  for (const ToolFile& file : files) {
    auto& locks = wanted.emplace_back(file.format == "hermes-shared-nous", locks_of(file)).second;
    for (LockRule& lock : locks) {
      lock.path = real_path(lock.path.parent_path()) / lock.path.filename();
    }
  }
  std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.front().path) < std::pair(b.first, b.second.front().path);
  });
  std::vector<LockRule> all;
  std::set<fs::path> seen;
  for (auto& [shared, locks] : wanted) {
    for (LockRule& lock : locks) {
      if (seen.insert(lock.path).second) all.push_back(std::move(lock));
    }
  }
  return all;
}

}  // namespace

Result<ToolLocks> lock_tools(const std::vector<ToolFile>& files, Milliseconds wait) {
  const std::vector<LockRule> wanted = in_order(files);
  if (auto room = room_for_descriptors(wanted.size()); !room) return fail(std::move(room.error()));
  ToolLocks held;
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (const LockRule& rule : wanted) {
    if (rule.kind != LockRule::Kind::flock) {
      auto lock = MadeLock::make(rule, deadline);
      if (lock) {
        held.made.push_back(std::move(*lock));
      } else if (!rule.may_lack || lock.error().code == Errc::busy) {
        return fail(std::move(lock.error()));
      }
      continue;
    }
    const auto left =
        std::chrono::duration_cast<Milliseconds>(deadline - std::chrono::steady_clock::now());
    auto lock = take(rule.path, std::max(left, Milliseconds(0)));
    if (!lock) return fail(std::move(lock.error()));
    held.flocks.push_back(std::move(*lock));
  }
  return held;
}

}  // namespace authdb::migrate
