// The last resort of step 6: both the journal's file system and the database's refuse to be
// written, and a rotated token is in our hands.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "store/files.h"
#include "store/locked.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestRescue = 4 << 20;

// Empty if there is no such directory: then there is no last resort either.
fs::path rescue_path(const Locked& locked) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || *runtime != '/') return {};
  return fs::path(runtime) / "authdb" / (locked.engine.files.store_id + "-" + locked.uid());
}

}  // namespace

bool write_rescue(Locked& locked, const JournalRecord& answered) {
  const fs::path path = rescue_path(locked);
  if (path.empty() || !make_private_directories(path.parent_path())) return false;
  JournalRecord record = answered;
  record.state = JournalState::answered;
  record.number = 1;
  const auto bytes = Journal::encode(record);
  ::unlink(path.c_str());  // an older one is of an older token
  const auto made = create_durable(path, Secret(std::vector<char>(bytes.begin(), bytes.end())));
  return made && *made;
}

std::optional<JournalRecord> read_rescue(Locked& locked) {
  const fs::path path = rescue_path(locked);
  if (path.empty() || ::access(path.c_str(), F_OK) != 0) return std::nullopt;
  if (!check_private(path)) return std::nullopt;
  const auto bytes = read_file(path, kLargestRescue);
  if (!bytes) return std::nullopt;
  const auto text = bytes->reveal();
  return Journal::decode({reinterpret_cast<const unsigned char*>(text.data()), text.size()});
}

void remove_rescue(Locked& locked) {
  const fs::path path = rescue_path(locked);
  if (!path.empty()) ::unlink(path.c_str());
}

}  // namespace authdb
