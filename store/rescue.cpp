#include "store/rescue.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "store/engine.h"
#include "store/files.h"
#include "store/journal_format.h"
#include "store/ownership.h"
#include "store/uid.h"

namespace authdb {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestRescue = 4 << 20;

fs::path session_directory() { return "/run/user/" + std::to_string(::geteuid()); }

fs::path runtime_directory() {
  const char* set = std::getenv("XDG_RUNTIME_DIR");
  if (set != nullptr && *set == '/') return set;
  std::error_code error;
  const fs::path session = session_directory();
  return fs::is_directory(session, error) ? session : fs::path();
}

std::string name_of(const JournalPlace& place) { return place.store_id + "-" + place.uid; }

Secret as_secret(const std::vector<unsigned char>& bytes) {
  return Secret(std::vector<char>(bytes.begin(), bytes.end()));
}

}  // namespace

fs::path rescue_directory() {
  const fs::path runtime = runtime_directory();
  return runtime.empty() ? runtime : runtime / "authdb";
}

std::vector<fs::path> rescue_files(const std::string& store_id) {
  std::vector<fs::path> found;
  for (const fs::path& directory :
       std::set<fs::path>{session_directory() / "authdb", rescue_directory()}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(store_id + "-") && is_uid(name.substr(store_id.size() + 1))) {
        found.push_back(entry.path());
      }
    }
  }
  return found;
}

std::vector<fs::path> rescue_files(const JournalPlace& place, const std::string& named) {
  std::vector<fs::path> found;
  for (const fs::path& directory :
       std::set<fs::path>{named, session_directory() / "authdb", rescue_directory()}) {
    if (directory.empty()) continue;
    const fs::path path = directory / name_of(place);
    if (::access(path.c_str(), F_OK) == 0) found.push_back(path);
  }
  return found;
}

std::optional<CredentialState> read_rescue_file(const fs::path& path) {
  if (!check_private(path)) return std::nullopt;
  const Secret bytes = value_or_throw(read_file(path, kLargestRescue));
  const auto text = bytes.reveal();
  return journal_format::state_in(
      {reinterpret_cast<const unsigned char*>(text.data()), text.size()});
}

Result<void> replace_rescue_file(const fs::path& path, const CredentialState& state) {
  return replace_durable(path, as_secret(journal_format::record_of(state)));
}

bool write_rescue_file(const JournalPlace& place, const CredentialState& answered) {
  const fs::path directory = rescue_directory();
  if (directory.empty() || !make_private_directories(directory)) return false;
  const fs::path path = directory / name_of(place);
  // An older one is of an older token.
  return write_durable(path, as_secret(journal_format::record_of(answered))).has_value();
}

}  // namespace authdb
