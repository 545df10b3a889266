#include "store/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "store/draft.h"
#include "store/ownership.h"

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
  const bool not_ours = error == EACCES || error == EPERM;
  return {space      ? Errc::try_later
          : not_ours ? Errc::refused
                     : Errc::unexpected,
          std::string(what) + " " + path.string() + ": " + std::generic_category().message(error),
          std::move(hint)};
}

std::filesystem::path beside(const std::filesystem::path& path, std::string_view suffix) {
  return path.string() + std::string(suffix);
}

bool is_taken(const std::filesystem::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
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

Result<bool> create_durable(const fs::path& path, const Secret& content) {
  auto draft = Draft::make(path);
  if (!draft) return fail(std::move(draft.error()));
  if (auto written = draft->write(content); !written) return fail(std::move(written.error()));
  return draft->create();
}

namespace {

Error in_the_way(const fs::path& path, const std::string& why) {
  return {Errc::refused, path.string() + ": " + why,
          "Give the name of a file that may be replaced, or of one that does not exist yet."};
}

// What stands there may be replaced only if it is a file of ours, by this name alone.
Result<void> check_replaceable(const Draft& draft, bool must_exist) {
  const fs::path& path = draft.meant_for();
  const auto found = draft.what_is_there();
  if (!found && errno == ENOENT && !must_exist) return {};
  if (!found) return fail(file_error("cannot look at", path, errno));
  if (S_ISLNK(found->st_mode)) return fail(in_the_way(path, "is a symbolic link"));
  if (!S_ISREG(found->st_mode)) return fail(in_the_way(path, "is no regular file"));
  if (found->st_uid != ::geteuid()) return fail(belongs_to(path, found->st_uid));
  if (found->st_nlink <= 1) return {};
  return fail(Errc::refused,
              path.string() + " has " + std::to_string(found->st_nlink) +
                  " hard links: what is in it would stay under the other names",
              "Remove the other names (find DIRECTORY -samefile " + path.string() +
                  "), or make it a file of its own: cp it and rename the copy.");
}

Result<void> put(const fs::path& path, const Secret& content, bool must_exist) {
  auto draft = Draft::make(path);
  if (!draft) return fail(std::move(draft.error()));
  if (auto checked = check_replaceable(*draft, must_exist); !checked) return checked;
  draft->remove_abandoned();
  if (auto written = draft->write(content); !written) return written;
  return draft->replace();
}

}  // namespace

Result<void> check_replaceable(const fs::path& path) {
  const auto draft = Draft::make(path);
  if (!draft) return fail(draft.error());
  return check_replaceable(*draft, /*must_exist=*/true);
}

Result<void> replace_durable(const fs::path& path, const Secret& content) {
  return put(path, content, /*must_exist=*/true);
}

Result<void> write_durable(const fs::path& path, const Secret& content) {
  return put(path, content, /*must_exist=*/false);
}

Result<Fd> open_directory(const fs::path& directory) {
  const char* const name = directory.empty() ? "." : directory.c_str();
  Fd opened(::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened) return fail(file_error("cannot open directory", directory, errno));
  return opened;
}

Result<void> sync_directory(const fs::path& directory) {
  const auto opened = open_directory(directory);
  if (!opened) return fail(opened.error());
  if (::fsync(opened->get()) == 0) return {};
  return fail(file_error("cannot sync directory", directory, errno));
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

std::string FileToRead::problem() const {
  if (!kind.empty()) return "is " + std::string(kind) + ", not a regular file";
  return std::generic_category().message(error);
}

namespace {

std::string_view kind_of(mode_t mode) {
  if (S_ISREG(mode)) return "";
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

FileToRead open_to_read(const fs::path& path) {
  FileToRead file;
  const auto failed = [&] {
    file.error = errno;
    return std::move(file);
  };
  // Looked at before: to open a device is to do something with it already.
  if (::stat(path.c_str(), &file.st) != 0) return failed();
  file.kind = kind_of(file.st.st_mode);
  if (!file.kind.empty()) return file;
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd || ::fstat(fd.get(), &file.st) != 0) return failed();
  // And again: something else may stand there by now, for which O_NONBLOCK did not wait.
  file.kind = kind_of(file.st.st_mode);
  if (file.kind.empty()) file.fd = std::move(fd);
  return file;
}

std::string_view what_is_no_file(const fs::path& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 ? kind_of(st.st_mode) : std::string_view();
}

Result<Secret> read_file(const fs::path& path, std::size_t cap) {
  const FileToRead file = open_to_read(path);
  if (!file.kind.empty()) return fail(Errc::refused, path.string() + " " + file.problem());
  if (!file) return fail(file_error("cannot read", path, file.error));
  if (file.st.st_size > static_cast<off_t>(cap)) {
    return fail(Errc::refused, path.string() + " is larger than " + std::to_string(cap) + " bytes");
  }
  std::vector<char> bytes(static_cast<std::size_t>(file.st.st_size));
  const ssize_t got = ::pread(file.fd.get(), bytes.data(), bytes.size(), 0);
  if (got != file.st.st_size) return fail(file_error("cannot read", path, got < 0 ? errno : EIO));
  return Secret(std::move(bytes));
}

}  // namespace authdb
