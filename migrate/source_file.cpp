#include "migrate/source_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "store/files.h"
#include "store/fingerprint.h"

namespace authdb::migrate {
namespace {

tl::unexpected<Error> unreadable(const std::filesystem::path& path, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    return fail(Errc::not_found, path.string() + ": no such file", "Check the path.");
  }
  return fail(Errc::refused, path.string() + ": cannot be read: " + std::strerror(error),
              "Run as the user who owns the file, or mend its permissions; it was left as it is.");
}

bool same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

// Reads one byte more than `size` at most, so that a file that grew is noticed.
Result<Secret> read_all(int fd, std::size_t size, const std::filesystem::path& path) {
  std::vector<char> bytes(size + 1);
  std::size_t used = 0;
  while (used < bytes.size()) {
    const ssize_t got = ::read(fd, bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      wipe(bytes.data(), bytes.size());
      return unreadable(path, error);
    }
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  bytes.resize(used);  // shrinks in place
  return Secret(std::move(bytes));
}

// nullopt: it changed meanwhile.
Result<std::optional<Secret>> read_once(const std::filesystem::path& path,
                                        const std::function<void()>& between) {
  const FileToRead file = open_to_read(path);
  if (!file.kind.empty()) {
    return fail(Errc::refused, path.string() + ": " + file.problem(),
                "Give the file itself, or the directory that holds it.");
  }
  if (!file) return unreadable(path, file.error);
  const struct stat& before = file.st;
  const auto size = static_cast<std::uintmax_t>(before.st_size);
  if (size > kMaxFileSize) {
    return fail(Errc::refused,
                path.string() + ": " + std::to_string(size >> 20) + " MiB is more than the " +
                    std::to_string(kMaxFileSize >> 20) + " MiB we accept",
                "Is this the right file? Credential files are far smaller.");
  }
  auto bytes = read_all(file.fd.get(), static_cast<std::size_t>(size), path);
  if (!bytes) return fail(std::move(bytes.error()));
  if (between) between();

  struct stat after {};
  struct stat named {};
  if (::fstat(file.fd.get(), &after) != 0 || ::stat(path.c_str(), &named) != 0) {
    return std::optional<Secret>();
  }
  if (!same(before, after) || !same(before, named) || bytes->size() != size) {
    return std::optional<Secret>();
  }
  return std::optional<Secret>(std::move(*bytes));
}

}  // namespace

std::string sha256_of(const Secret& text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : token_hash(text.reveal())) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 0xF];
  }
  return out;
}

Result<SourceBytes> read_source(const std::filesystem::path& path,
                                const std::function<void()>& between) {
  for (int reading = 0; reading < 2; ++reading) {
    auto text = read_once(path, between);
    if (!text) return fail(std::move(text.error()));
    if (!*text) continue;
    std::string sha256 = sha256_of(**text);
    return SourceBytes{std::move(**text), std::move(sha256)};
  }
  return fail(Errc::try_later, path.string() + ": changed each time it was read",
              "Another program is writing it; stop that program, or migrate again in a moment.");
}

}  // namespace authdb::migrate
