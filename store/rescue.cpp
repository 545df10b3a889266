// The last resort of step 6: both the journal's file system and the database's refuse to be
// written, and a rotated token is in our hands.
#include "store/rescue.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "store/files.h"
#include "store/locked.h"
#include "store/uid.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestRescue = 4 << 20;

fs::path below(const fs::path& runtime, const std::string& store_id, const Uid& uid) {
  return runtime / "authdb" / (store_id + "-" + uid);
}

// Empty if there is no such directory: then there is no last resort either.
fs::path rescue_path(const Locked& locked) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || *runtime != '/') return {};
  return below(runtime, locked.engine.files.store_id, locked.uid());
}

Secret as_secret(const std::vector<unsigned char>& bytes) {
  return Secret(std::vector<char>(bytes.begin(), bytes.end()));
}

std::optional<JournalRecord> decoded(const Secret& bytes) {
  const auto text = bytes.reveal();
  return Journal::decode({reinterpret_cast<const unsigned char*>(text.data()), text.size()});
}

}  // namespace

std::vector<fs::path> rescue_files(const std::string& store_id) {
  std::vector<fs::path> found;
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  // Ours, and the one a session has: who left the file may have had it, though we do not.
  std::set<fs::path> directories{"/run/user/" + std::to_string(::geteuid())};
  if (runtime != nullptr && *runtime == '/') directories.insert(runtime);
  for (const fs::path& directory : directories) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory / "authdb", error)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(store_id + "-") && is_uid(name.substr(store_id.size() + 1))) {
        found.push_back(entry.path());
      }
    }
  }
  return found;
}

std::vector<fs::path> rescue_files(const std::string& store_id, const Uid& uid) {
  std::vector<fs::path> found = rescue_files(store_id);
  std::erase_if(found, [&](const fs::path& path) {
    return path.filename() != fs::path(store_id + "-" + uid);
  });
  return found;
}

std::optional<JournalRecord> read_rescue_file(const fs::path& path) {
  if (!check_private(path)) return std::nullopt;
  const auto bytes = read_file(path, kLargestRescue);
  return bytes ? decoded(*bytes) : std::nullopt;
}

Result<void> replace_rescue_file(const fs::path& path, const JournalRecord& record) {
  return replace_durable(path, as_secret(Journal::encode(record)));
}

bool write_rescue(Locked& locked, const JournalRecord& answered) {
  const fs::path path = rescue_path(locked);
  if (path.empty() || !make_private_directories(path.parent_path())) return false;
  JournalRecord record = answered;
  record.state = JournalState::answered;
  record.number = 1;
  ::unlink(path.c_str());  // an older one is of an older token
  const auto made = create_durable(path, as_secret(Journal::encode(record)));
  return made && *made;
}

std::optional<JournalRecord> read_rescue(Locked& locked) {
  const fs::path path = rescue_path(locked);
  if (path.empty() || ::access(path.c_str(), F_OK) != 0) return std::nullopt;
  if (!check_private(path)) return std::nullopt;
  // It is there and ours: going on without it could send a token whose successor is in it.
  return decoded(value_or_throw(read_file(path, kLargestRescue)));
}

void remove_rescue(Locked& locked) {
  const fs::path path = rescue_path(locked);
  if (!path.empty()) ::unlink(path.c_str());
}

}  // namespace authdb
