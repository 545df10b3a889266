#include "store/ownership.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "store/files.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kDefaultOverflow = 65534;

// The number that stands for every user without a place in this user namespace; 0 if all have one.
uid_t overflow_user() {
  std::ifstream map("/proc/self/uid_map");
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  constexpr std::uint64_t kAll = 0xFFFFFFFF;
  if (!(map >> inside >> outside >> count) || count == kAll) return 0;
  uid_t overflow = kDefaultOverflow;
  std::ifstream("/proc/sys/kernel/overflowuid") >> overflow;
  return overflow;
}

Result<struct stat> look_at(const fs::path& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) return st;
  const int error = errno;
  if (error == ENOENT && ::lstat(path.c_str(), &st) == 0) {
    return fail(Errc::refused, path.string() + " is a link that leads nowhere",
                "Remove it, or name another place.");
  }
  return fail(file_error("cannot look at", path, error));
}

constexpr std::string_view kElsewhere =
    ", or put the store elsewhere with --store, its key with AUTHDB_KEY_FILE";
constexpr std::string_view kElsewhereForOutput = ", or name a file in another directory";

// What is put into the last directory on the way.
enum class Kept { files_that_others_stand_beside, whole_files };

// The way to a path, one name after the other, through every symbolic link.
class Walk {
 public:
  // `also`: trusted beside this user and root. `elsewhere`: what may be done instead of a chmod.
  Walk(const fs::path& to, std::set<uid_t> also, std::string_view elsewhere,
       Kept kept = Kept::files_that_others_stand_beside)
      : also_(std::move(also)), elsewhere_(elsewhere), kept_(kept) {
    put_in_front(fs::absolute(to));
  }

  Result<void> run() {
    if (auto root = check_directory(); !root) return root;
    while (!names_.empty()) {
      const fs::path name = std::move(names_.front());
      names_.pop_front();
      if (auto gone = go(name); !gone) return gone;
    }
    return {};
  }

 private:
  Result<void> go(const fs::path& name) {
    if (name == "..") {
      at_ = at_.parent_path();
      return check_directory();
    }
    const fs::path next = at_ / name;
    struct stat st {};
    if (::lstat(next.c_str(), &st) != 0) {
      if (errno != ENOENT) return fail(file_error("cannot look at", next, errno));
      if (names_.empty()) return check_directory();
      names_.clear();  // whoever makes the rest makes it private
      return {};
    }
    if (S_ISLNK(st.st_mode)) return follow(next, st);
    if (S_ISDIR(st.st_mode)) at_ = next;
    return check_directory();
  }

  Result<void> follow(const fs::path& link, const struct stat& st) {
    constexpr int kMostLinks = 40;  // as the kernel
    if (!trusts(st.st_uid)) return fail(belongs_to(link, st.st_uid));
    if (++links_ > kMostLinks) return fail(file_error("cannot look at", link, ELOOP));
    std::error_code error;
    const fs::path target = fs::read_symlink(link, error);
    if (error) return fail(file_error("cannot look at", link, error.value()));
    put_in_front(target);
    return {};
  }

  void put_in_front(const fs::path& path) {
    if (path.is_absolute()) at_ = "/";
    std::deque<fs::path> names;
    for (const fs::path& name : path.relative_path()) {
      if (!name.empty() && name != ".") names.push_back(name);
    }
    names_.insert(names_.begin(), names.begin(), names.end());
  }

  // Where nothing follows, files are put into it.
  Result<void> check_directory() const {
    const auto st = look_at(at_);
    if (!st) return fail(st.error());
    if (!trusts(st->st_uid)) {
      Error error = belongs_to(at_, st->st_uid);
      error.message += ": whoever owns it could replace what is in it";
      error.hint += elsewhere_;
      return fail(std::move(error));
    }
    const bool may_be_sticky = !names_.empty() || kept_ == Kept::whole_files;
    const bool kept_apart = may_be_sticky && (st->st_mode & S_ISVTX) != 0;
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) == 0 || kept_apart) return {};
    return fail(Errc::refused, "other users can write to the directory " + at_.string(),
                "chmod go-w " + at_.string() + std::string(elsewhere_));
  }

  bool trusts(uid_t owner) const { return is_trusted_owner(owner) || also_.contains(owner); }

  std::set<uid_t> also_;
  std::string_view elsewhere_;
  Kept kept_;
  fs::path at_ = "/";
  std::deque<fs::path> names_;
  int links_ = 0;
};

Result<struct stat> look_at_file(const fs::path& path) {
  auto st = look_at(path);
  const std::string_view kind = what_is_no_file(path);
  if (!st || kind.empty()) return st;
  return fail(Errc::refused, path.string() + " is " + std::string(kind) + ", not a regular file");
}

Result<void> check_file(const fs::path& path, const struct stat& st) {
  if (st.st_uid != ::geteuid()) return fail(belongs_to(path, st.st_uid));
  if ((st.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  return fail(Errc::refused, path.string() + " can be read or written by other users",
              "chmod 600 " + path.string());
}

// Whoever owns the program that runs, or a directory on the way to it.
std::set<uid_t> owners_of_the_program() {
  std::set<uid_t> owners;
  std::error_code error;
  fs::path at = fs::read_symlink("/proc/self/exe", error);
  for (; !at.empty(); at = at == at.root_path() ? fs::path() : at.parent_path()) {
    struct stat st {};
    if (::stat(at.c_str(), &st) == 0) owners.insert(st.st_uid);  // it may be replaced by now
  }
  return owners;
}

}  // namespace

bool is_trusted_owner(uid_t owner) {
  return owner == ::geteuid() || owner == 0 || owner == overflow_user();
}

Error belongs_to(const fs::path& path, uid_t owner) {
  const std::string user = std::to_string(owner);
  return {Errc::refused,
          path.string() + " belongs to user " + user + ", and this is user " +
              std::to_string(::geteuid()),
          "Run it as the owner: sudo -H -u '#" + user + "' authdb ..."};
}

Result<void> check_private(const fs::path& path) {
  const auto st = look_at_file(path);
  if (!st) return fail(st.error());
  return check_file(path, *st);
}

Result<void> check_private_or_handed(const fs::path& path) {
  constexpr mode_t kAllowed = S_IRUSR | S_IRGRP;
  const auto st = look_at_file(path);
  if (!st) return fail(st.error());
  if (st->st_uid == 0 && (st->st_mode & 0777 & ~kAllowed) == 0) return {};
  return check_file(path, *st);
}

Result<void> check_irreplaceable(const fs::path& path) { return Walk(path, {}, kElsewhere).run(); }

Result<void> check_output(const fs::path& path) {
  std::error_code error;
  const fs::path full = fs::absolute(path, error);
  if (error) {
    return fail(
        Errc::usage,
        "there is no place for " + path.string() + ": the directory where this was started is gone",
        "Name it from the root.");
  }
  return Walk(full.parent_path(), {}, kElsewhereForOutput, Kept::whole_files).run();
}

Result<void> check_loadable(const fs::path& path) {
  const auto st = look_at_file(path);
  if (!st) return fail(st.error());
  std::set<uid_t> owners = owners_of_the_program();
  if (!is_trusted_owner(st->st_uid) && !owners.contains(st->st_uid)) {
    return fail(belongs_to(path, st->st_uid));
  }
  if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(Errc::refused, "other users can write to " + path.string(),
                "chmod go-w " + path.string());
  }
  return Walk(path, std::move(owners), "").run();
}

}  // namespace authdb
