// The bytes of a file that another tool owns: opened read-only, never written, never locked.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "store/result.h"
#include "store/secret.h"

namespace authdb::migrate {

// A hundred thousand rows take about 70 MiB; more than this is no credential file.
inline constexpr std::uintmax_t kMaxFileSize = 256ULL << 20;

// How often a file is read before it is replaced, where it changes each time meanwhile.
inline constexpr int kReadings = 4;

struct SourceBytes {
  Secret text;
  std::string sha256;  // hex
};

std::string sha256_of(const Secret& text);

// Symbolic links are followed; anything but a regular file is refused, and so is one larger than
// kMaxFileSize, before a byte is read. A file that changes or is replaced while it is read is read
// again, once. `between` is called after each reading and before the check: tests change the file
// there.
//
// Errors: not_found (no such file); try_later (it kept changing); refused (unreadable, too large,
// no regular file). Unreadable is never mistaken for empty.
Result<SourceBytes> read_source(const std::filesystem::path& path,
                                const std::function<void()>& between = {});

}  // namespace authdb::migrate
