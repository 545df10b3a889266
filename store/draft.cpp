#include "store/draft.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <utility>
#include <vector>

#include "store/ownership.h"
#include "store/uid.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".authdb-";
constexpr std::string_view kDisplaced = ".displaced-";
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

// A draft that is about to change places with its file is called after its inode, too: whoever
// finds the name sees whether the draft has it or the file that came out.
struct Exchanged {
  std::string_view meant_for;
  ino_t draft = 0;
};

std::string exchange_name(const std::string& name, ino_t draft) {
  return "." + name + std::string(kMark) + std::to_string(draft) + "-" + draw_uid();
}

std::optional<Exchanged> exchanged(std::string_view name) {
  const auto mark = name.rfind(kMark);
  if (!name.starts_with('.') || mark == std::string_view::npos || mark <= 1) return {};
  const std::string_view rest = name.substr(mark + kMark.size());
  const auto dash = rest.find('-');
  if (dash == std::string_view::npos || !is_uid(rest.substr(dash + 1))) return {};
  Exchanged found{name.substr(1, mark - 1), 0};
  const char* const end = rest.data() + dash;
  const auto parsed = std::from_chars(rest.data(), end, found.draft);
  if (parsed.ec != std::errc() || parsed.ptr != end) return {};
  return found;
}

bool is_displaced(std::string_view name, const std::string& target) {
  const std::string before = target + std::string(kDisplaced);
  return name.starts_with(before) && is_uid(name.substr(before.size()));
}

// nullopt: somebody is at work on it, or it is no file of ours. A moment's lock, which a process
// that begins a draft bears.
std::optional<ino_t> inode_of_abandoned(const fs::path& path) {
  const Fd found(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  const bool is_file = found && ::fstat(found.get(), &st) == 0 && S_ISREG(st.st_mode);
  if (!is_file || ::flock(found.get(), LOCK_SH | LOCK_NB) != 0) return std::nullopt;
  return st.st_ino;
}

bool consists_of(int fd, const Secret& bytes) {
  std::vector<char> read(bytes.size() + 1);  // one more: it may be longer
  const ssize_t got = ::pread(fd, read.data(), read.size(), 0);
  const bool same = got == static_cast<ssize_t>(bytes.size()) &&
                    std::equal(read.begin(), read.end() - 1, bytes.reveal().begin());
  wipe(read.data(), read.size());
  return same;
}

// The kernel gives a lease to read only while nobody has the file open to write. Where it gives
// none at all, nobody can know. Whoever opens it to write at that moment has a signal sent to us:
// SIGIO would end the process, SIGURG is ignored.
bool has_writer(int fd) {
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
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
    const auto half_done = exchanged(name);
    const std::string_view meant = half_done ? half_done->meant_for : name_of_draft(name);
    const bool for_this = meant == target() || (!half_done && meant.starts_with(target() + "."));
    if (!for_this || is_beside_a_database(name)) continue;
    const Fd found(
        ::openat(directory_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat st {};
    const bool is_ours =
        found && ::fstat(found.get(), &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == ::geteuid();
    if (!is_ours || ::flock(found.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (half_done && half_done->draft != st.st_ino) {
      (void)keep(name);
    } else {
      remove_draft(directory_.get(), name);
    }
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

// The file of that name, if it is one that may be replaced (files.h). Locked, so that nobody takes
// it for abandoned when it has come out of its place.
Fd Draft::open_ordinary(const std::string& name) const {
  Fd file(::openat(directory_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!file || ::fstat(file.get(), &st) != 0) return {};
  if (!S_ISREG(st.st_mode) || st.st_uid != ::geteuid() || st.st_nlink != 1) return {};
  (void)::flock(file.get(), LOCK_SH | LOCK_NB);
  return file;
}

bool Draft::exchange(const std::string& name) const {
  return ::renameat2(directory_.get(), name.c_str(), directory_.get(), target().c_str(),
                     RENAME_EXCHANGE) == 0;
}

// Under a name that no draft has and nothing removes. Empty: it could not be renamed.
std::string Draft::keep(const std::string& out) const {
  const std::string kept = target() + std::string(kDisplaced) + draw_uid();
  return rename_to_free_name(directory_.get(), out.c_str(), kept.c_str()) ? kept : std::string();
}

Result<bool> Draft::replace_if_same(const Secret& was, const Secret& written) {
  // What differs already is found here, before anybody can see the draft.
  const Fd before = open_ordinary(target());
  if (!before || !consists_of(before.get(), was)) return false;
  struct stat st {};
  if (::fstat(file_.get(), &st) != 0) return fail(file_error("cannot look at", meant_for_, errno));
  const std::string out = exchange_name(target(), st.st_ino);
  if (::renameat(directory_.get(), name_.c_str(), directory_.get(), out.c_str()) != 0) {
    return fail(file_error("cannot replace", meant_for_, errno));
  }
  name_ = out;
  if (exchange(out)) {
    name_.clear();  // that is the other file now
    return decide(out, was, written);
  }
  if (errno == ENOENT) return false;
  if (errno != EINVAL && errno != ENOSYS) {
    return fail(file_error("cannot replace", meant_for_, errno));
  }
  const Fd now = open_ordinary(target());
  if (!now || !consists_of(now.get(), was)) return false;
  if (auto done = replace(); !done) return fail(std::move(done.error()));
  return true;
}

// They have changed places: for good, if `was` came out.
Result<bool> Draft::decide(const std::string& out, const Secret& was, const Secret& written) {
  file_ = Fd();
  // Nobody opens it by this name: only who has had it open since before can write after the look.
  const auto is_still = [&](const Secret& bytes) {
    const Fd found = open_ordinary(out);
    return found && !has_writer(found.get()) && consists_of(found.get(), bytes);
  };
  const bool replaced = is_still(was);
  // Back again; and once more if meanwhile something else was written, so that the newest stands.
  const bool is_ours = !replaced && exchange(out) && is_still(written);
  if (replaced || is_ours) {
    ::unlinkat(directory_.get(), out.c_str(), 0);
    if (auto synced = named(); !synced) return fail(std::move(synced.error()));
    return replaced;
  }
  (void)exchange(out);
  const std::string kept = keep(out);
  (void)named();
  const fs::path where = meant_for_.parent_path() / (kept.empty() ? out : kept);
  return fail(Errc::try_later,
              meant_for_.string() +
                  " was written twice while it was being replaced: what it held in between is "
                  "kept as " +
                  where.string(),
              "See which of the two has the newer login, then try again.");
}

Result<Draft> begin_draft(const fs::path& meant_for) {
  auto draft = Draft::make(meant_for);
  if (!draft) return draft;
  draft->remove_abandoned();
  if (auto begun = draft->begin(); !begun) return fail(std::move(begun.error()));
  return draft;
}

Result<bool> replace_if_same(const fs::path& path, const Secret& was, const Secret& content) {
  if (auto may = check_replaceable(path); !may) return fail(std::move(may.error()));
  auto draft = Draft::make(path);
  if (!draft) return fail(std::move(draft.error()));
  draft->remove_abandoned();
  if (auto written = draft->write(content); !written) return fail(std::move(written.error()));
  return draft->replace_if_same(was, content);
}

std::vector<Remains> remains_beside(const fs::path& file) {
  std::vector<Remains> remains;
  const std::string target = file.filename();
  std::error_code error;
  for (fs::directory_iterator it(file.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    const fs::path& path = it->path();
    const std::string name = path.filename();
    if (is_displaced(name, target)) remains.push_back({path, true});
    const auto half_done = exchanged(name);
    const bool is_ours = half_done ? half_done->meant_for == target : name_of_draft(name) == target;
    const auto inode = is_ours ? inode_of_abandoned(path) : std::nullopt;
    if (inode) remains.push_back({path, half_done && half_done->draft != *inode});
  }
  return remains;
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
