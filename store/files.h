// The few file operations that durability hangs on, each with its failure said in words. POSIX
// only.
#pragma once

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

// `what: path: strerror`. A full disk, a read-only file system and the like are try_later, the rest
// unexpected.
Error file_error(std::string_view what, const std::filesystem::path& path, int error);

// Writes all of `bytes` at `offset`, however many calls it takes. 0, or errno.
int write_all(int fd, std::string_view bytes, off_t offset);

// Makes a new file with this content, durable and complete or not there at all: written under
// another name, synced, linked into place. False if `path` exists already.
Result<bool> create_durable(const std::filesystem::path& path, const Secret& content);

// Replaces the content of the file `path` (no link) as a whole, durably: killed at any point it is
// the old or the new one. Owner and mode stay. The new content is written beside it first, as
// `<path>.authdb-new`; call it under a lock that excludes others who replace this file.
Result<void> replace_durable(const std::filesystem::path& path, const Secret& content);

Result<void> sync_directory(const std::filesystem::path& directory);

// mkdir -p with mode 0700 for what it makes.
Result<void> make_private_directories(const std::filesystem::path& directory);

// The whole file, at most `cap` bytes.
Result<Secret> read_file(const std::filesystem::path& path, std::size_t cap);

// refused unless `path` is a regular file of this user that nobody else can read or write; the
// message names the chmod or chown that mends it.
Result<void> check_private(const std::filesystem::path& path);

}  // namespace authdb
