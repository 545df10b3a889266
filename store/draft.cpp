#include "store/draft.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "store/ownership.h"
#include "store/uid.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".authdb-";
constexpr std::array<std::string_view, 3> kBesideDatabases{"-wal", "-shm", "-journal"};

std::string draft_name(const std::string& name) {
  return "." + name + std::string(kMark) + draw_uid();
}

// The name is taken only if it is free, on any file system.
bool rename_to_free_name(int directory, const char* from, const char* to) {
  if (::renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  if (::linkat(directory, from, directory, to, 0) != 0) return false;
  ::unlinkat(directory, from, 0);
  return true;
}

// With what SQLite put beside it.
void remove_draft(int directory, const std::string& name) {
  ::unlinkat(directory, name.c_str(), 0);
  for (const std::string_view suffix : kBesideDatabases) {
    ::unlinkat(directory, (name + std::string(suffix)).c_str(), 0);
  }
}

bool is_beside_a_database(std::string_view name) {
  return std::any_of(kBesideDatabases.begin(), kBesideDatabases.end(),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

}  // namespace

Draft::Draft(fs::path meant_for, Fd directory)
    : meant_for_(std::move(meant_for)), directory_(std::move(directory)) {}

Draft::Draft(Draft&& other) noexcept
    : meant_for_(std::move(other.meant_for_)),
      directory_(std::move(other.directory_)),
      name_(std::exchange(other.name_, {})),
      file_(std::move(other.file_)) {}

Draft::~Draft() {
  if (!name_.empty()) remove_draft(directory_.get(), name_);
}

Result<Draft> Draft::make(const fs::path& meant_for) {
  const fs::path above = meant_for.parent_path();
  auto directory = open_directory(above);
  if (!directory) return fail(std::move(directory.error()));
  struct stat st {};
  if (::fstat(directory->get(), &st) != 0) return fail(file_error("cannot look at", above, errno));
  if (!is_trusted_owner(st.st_uid)) return fail(belongs_to(above, st.st_uid));
  return Draft(meant_for, std::move(*directory));
}

std::optional<struct stat> Draft::what_is_there() const {
  struct stat found {};
  const std::string name = target();
  if (::fstatat(directory_.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) return {};
  return found;
}

void Draft::remove_abandoned() const {
  const int again = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(again), ::closedir);
  while (const dirent* entry = listing ? ::readdir(listing.get()) : nullptr) {
    const std::string name = entry->d_name;
    const std::string_view meant = name_of_draft(name);
    const bool for_this = meant == target() || meant.starts_with(target() + ".");
    if (!for_this || is_beside_a_database(name)) continue;
    const Fd found(
        ::openat(directory_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat st {};
    const bool is_ours =
        found && ::fstat(found.get(), &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == ::geteuid();
    if (!is_ours || ::flock(found.get(), LOCK_EX | LOCK_NB) != 0) continue;
    remove_draft(directory_.get(), name);
  }
}

// False, and errno. EWOULDBLOCK: somebody took it for abandoned before it was locked.
bool Draft::open_new() {
  constexpr mode_t kPrivate = S_IRUSR | S_IWUSR;
  name_ = draft_name(target());
  file_ = Fd(
      ::openat(directory_.get(), name_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kPrivate));
  if (!file_) name_.clear();
  struct stat st {};
  if (!file_ || ::flock(file_.get(), LOCK_EX | LOCK_NB) != 0 ||
      ::fchmod(file_.get(), kPrivate) != 0 || ::fstat(file_.get(), &st) != 0) {
    return false;
  }
  errno = EWOULDBLOCK;
  return st.st_nlink > 0;
}

Result<void> Draft::begin() {
  constexpr int kTries = 3;
  for (int i = 0; i < kTries; ++i) {
    if (open_new()) return {};
    if (errno != EWOULDBLOCK) break;
  }
  return fail(file_error("cannot create", meant_for_, errno));
}

Result<void> Draft::write(const Secret& content) {
  if (auto begun = begin(); !begun) return begun;
  if (const int error = write_all(file_.get(), content.reveal(), 0)) {
    return fail(file_error("cannot write", meant_for_, error));
  }
  return sync();
}

Result<void> Draft::sync() const {
  if (::fsync(file_.get()) == 0) return {};
  return fail(file_error("cannot sync", meant_for_, errno));
}

Result<void> Draft::finish() {
  auto synced = sync();
  file_ = Fd();
  return synced;
}

Result<void> Draft::named() {
  name_.clear();
  if (::fsync(directory_.get()) == 0) return {};
  return fail(file_error("cannot sync directory", meant_for_.parent_path(), errno));
}

Result<bool> Draft::create() {
  if (!rename_to_free_name(directory_.get(), name_.c_str(), target().c_str())) {
    if (errno == EEXIST) return false;
    return fail(file_error("cannot create", meant_for_, errno));
  }
  if (auto done = named(); !done) return fail(std::move(done.error()));
  return true;
}

Result<void> Draft::replace() {
  if (::renameat(directory_.get(), name_.c_str(), directory_.get(), target().c_str()) != 0) {
    return fail(file_error("cannot replace", meant_for_, errno));
  }
  return named();
}

Result<Draft> begin_draft(const fs::path& meant_for) {
  auto draft = Draft::make(meant_for);
  if (!draft) return draft;
  draft->remove_abandoned();
  if (auto begun = draft->begin(); !begun) return fail(std::move(begun.error()));
  return draft;
}

std::string_view name_of_draft(std::string_view name) {
  for (const std::string_view suffix : kBesideDatabases) {
    if (name.ends_with(suffix)) name.remove_suffix(suffix.size());
  }
  const auto mark = name.rfind(kMark);
  const bool is_draft = name.starts_with('.') && mark != std::string_view::npos && mark > 1 &&
                        is_uid(name.substr(mark + kMark.size()));
  return is_draft ? name.substr(1, mark - 1) : std::string_view();
}

}  // namespace authdb
