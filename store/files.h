// The few file operations that durability hangs on, each with its failure said in words. POSIX
// only.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "store/result.h"
#include "store/secret.h"

namespace authdb {

// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// `what: path: strerror`. A full disk, a read-only file system and the like are try_later, what is
// not allowed is refused, the rest unexpected.
Error file_error(std::string_view what, const std::filesystem::path& path, int error);

// `path` with `suffix` at its end: `auth.db-wal`.
std::filesystem::path beside(const std::filesystem::path& path, std::string_view suffix);

// Whether the name is taken, also by a link that leads nowhere.
bool is_taken(const std::filesystem::path& path);

// Writes all of `bytes` at `offset`, however many calls it takes. 0, or errno.
int write_all(int fd, std::string_view bytes, off_t offset);

// ---- A file as a whole: complete, synced and private (draft.h), or as it was -------------------

// Makes a new file. False if `path` exists already.
Result<bool> create_durable(const std::filesystem::path& path, const Secret& content);

// refused unless `path` is a regular file of this user, in a directory of its or root's, and has no
// second name, which would keep the old content.
Result<void> check_replaceable(const std::filesystem::path& path);

// Replaces the file `path`: killed at any point it is the old or the new one. Errors as of
// check_replaceable().
Result<void> replace_durable(const std::filesystem::path& path, const Secret& content);

// One or the other.
Result<void> write_durable(const std::filesystem::path& path, const Secret& content);

Result<Fd> open_directory(const std::filesystem::path& directory);
Result<void> sync_directory(const std::filesystem::path& directory);

// mkdir -p with mode 0700 for what it makes.
Result<void> make_private_directories(const std::filesystem::path& directory);

// A file to be read, wherever its path came from: an option, a variable, another tool's file.
struct FileToRead {
  Fd fd;                  // not open: problem() says why
  struct stat st {};      // of what is open
  int error = 0;          // errno
  std::string_view kind;  // what stands there in the place of a file: "a pipe", "a directory", ...

  explicit operator bool() const { return static_cast<bool>(fd); }
  // For a person, to follow a path: "No such file or directory", "is a pipe, not a regular file".
  std::string problem() const;
};

// Opens `path`, through symbolic links, if it is a regular file, and waits for nobody: a pipe whose
// writer never comes, or a device, is not even opened. The one way in which files that others name
// or could put in a file's place are opened; tests/opens.cmake looks after that.
FileToRead open_to_read(const std::filesystem::path& path);

// What stands at `path` in the place of a file, as FileToRead::kind; empty: a file, or nothing.
// Only looks: for what SQLite opens, and nobody else may.
std::string_view what_is_no_file(const std::filesystem::path& path);

// The whole file, at most `cap` bytes.
Result<Secret> read_file(const std::filesystem::path& path, std::size_t cap);

}  // namespace authdb
