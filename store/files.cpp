#include "store/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace authdb {

namespace fs = std::filesystem;

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Error file_error(std::string_view what, const fs::path& path, int error) {
  const bool space = error == ENOSPC || error == EDQUOT || error == EROFS || error == EMFILE ||
                     error == ENFILE || error == EIO;
  std::string hint;
  if (error == ENOSPC || error == EDQUOT) hint = "Free space on that file system, then try again.";
  if (error == EIO)
    hint = "The device fails: see the kernel's log (dmesg), and save what is there.";
  if (error == EROFS) hint = "The file system is mounted read-only.";
  if (error == EMFILE || error == ENFILE) hint = "Too many open files: raise `ulimit -n`.";
  if (error == EACCES || error == EPERM) hint = "Run it as the owner of the store.";
  return {space ? Errc::try_later : Errc::unexpected,
          std::string(what) + " " + path.string() + ": " + std::generic_category().message(error),
          std::move(hint)};
}

int write_all(int fd, std::string_view bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += written;
  }
  return 0;
}

namespace {

// Removes a temporary name whatever happens after it was made, unless it has been renamed.
class TemporaryName {
 public:
  explicit TemporaryName(fs::path path) : path_(std::move(path)) {}
  ~TemporaryName() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  const char* c_str() const { return path_.c_str(); }
  void renamed() { path_.clear(); }

 private:
  fs::path path_;
};

fs::path temporary_name(const fs::path& path) {
  return path.string() + ".new." + std::to_string(::getpid()) + "." + std::to_string(::gettid());
}

// A synced file under another name than the `path` it is meant for.
Result<void> write_new(const char* temporary, const fs::path& path, const Secret& content) {
  ::unlink(temporary);  // of a process with our number that died here
  const Fd file(::open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return fail(file_error("cannot create", path, errno));
  if (const int error = write_all(file.get(), content.reveal(), 0)) {
    return fail(file_error("cannot write", path, error));
  }
  if (::fsync(file.get()) != 0) return fail(file_error("cannot sync", path, errno));
  return {};
}

}  // namespace

Result<bool> create_durable(const fs::path& path, const Secret& content) {
  const TemporaryName temporary(temporary_name(path));
  if (auto made = write_new(temporary.c_str(), path, content); !made) return fail(made.error());
  if (::link(temporary.c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) return false;
    return fail(file_error("cannot create", path, errno));
  }
  if (auto synced = sync_directory(path.parent_path()); !synced) return fail(synced.error());
  return true;
}

Result<void> replace_durable(const fs::path& path, const Secret& content) {
  struct stat old {};
  if (::lstat(path.c_str(), &old) != 0) return fail(file_error("cannot look at", path, errno));
  TemporaryName fresh(path.string() + ".authdb-new");
  if (auto made = write_new(fresh.c_str(), path, content); !made) return made;
  const bool same_owner = old.st_uid == ::geteuid() && old.st_gid == ::getegid();
  if ((!same_owner && ::lchown(fresh.c_str(), old.st_uid, old.st_gid) != 0) ||
      ::chmod(fresh.c_str(), old.st_mode & 07777) != 0 ||
      ::rename(fresh.c_str(), path.c_str()) != 0) {
    return fail(file_error("cannot replace", path, errno));
  }
  // A lock on the file was on the one that has just gone: whoever locks the new one may have made
  // the next of this name already.
  fresh.renamed();
  return sync_directory(path.parent_path());
}

Result<void> sync_directory(const fs::path& directory) {
  const char* const name = directory.empty() ? "." : directory.c_str();
  const Fd dir(::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) {
    return fail(file_error("cannot sync directory", directory, errno));
  }
  return {};
}

Result<void> make_private_directories(const fs::path& directory) {
  if (directory.empty()) return {};
  struct stat st {};
  if (::stat(directory.c_str(), &st) == 0) return {};
  if (auto parent = make_private_directories(directory.parent_path()); !parent) return parent;
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(file_error("cannot create directory", directory, errno));
  }
  return sync_directory(directory.parent_path());
}

Result<Secret> read_file(const fs::path& path, std::size_t cap) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (!file || ::fstat(file.get(), &st) != 0) return fail(file_error("cannot read", path, errno));
  if (st.st_size > static_cast<off_t>(cap)) {
    return fail(Errc::refused, path.string() + " is larger than " + std::to_string(cap) + " bytes");
  }
  std::vector<char> bytes(static_cast<std::size_t>(st.st_size));
  const ssize_t got = ::pread(file.get(), bytes.data(), bytes.size(), 0);
  if (got != st.st_size) return fail(file_error("cannot read", path, got < 0 ? errno : EIO));
  return Secret(std::move(bytes));
}

Result<void> check_private(const fs::path& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail(file_error("cannot look at", path, errno));
  if (!S_ISREG(st.st_mode)) return fail(Errc::refused, path.string() + " is not a regular file");
  if (st.st_uid != ::geteuid()) {
    return fail(Errc::refused,
                path.string() + " belongs to user " + std::to_string(st.st_uid) +
                    ", and this is user " + std::to_string(::geteuid()),
                "Run it as the owner: sudo -u '#" + std::to_string(st.st_uid) + "' authdb ...");
  }
  if ((st.st_mode & 077) != 0) {
    return fail(Errc::refused, path.string() + " can be read or written by other users",
                "chmod 600 " + path.string());
  }
  return {};
}

}  // namespace authdb
