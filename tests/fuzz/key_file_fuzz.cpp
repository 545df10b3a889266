// A key file: whole keys, or refused.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "store/key_file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace authdb;
  static const std::filesystem::path file = [] {
    std::string directory = "/dev/shm/authdb-fuzz-XXXXXX";
    return std::filesystem::path(::mkdtemp(directory.data())) / "seal.key";
  }();
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  fuzz::require(fd >= 0, "the target has its file");
  fuzz::require(::write(fd, data, size) == static_cast<ssize_t>(size), "it is written");
  ::close(fd);
  const auto keys = read_keys(file);
  if (!keys) {
    fuzz::require(keys.error().code == Errc::refused, "a key file that is none is refused");
    return 0;
  }
  fuzz::require(!keys->empty(), "there is a key");
  for (const SealKey& key : *keys) {
    fuzz::require(key.bytes.reveal().size() == 32, "a key has 256 bits");
  }
  return 0;
}
