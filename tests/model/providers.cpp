#include "tests/model/providers.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace authdb::model {
namespace {

constexpr std::array<const char*, 3> kFiles{
    R"({"id": "acme", "client_id": "model", "token_endpoint": "https://acme.example/token",
        "errors": [{"status": 200, "code": "session_ended", "class": "terminal"}]})",
    R"({"id": "gracious", "client_id": "model", "token_endpoint": "https://gracious.example/token",
        "token_body": "json", "reuse_grace_s": 30})",
    R"({"id": "mintery", "client_id": "model", "token_endpoint": "https://mintery.example/token",
        "scope": "inference:mint_agent_key", "refresh_token_in": "header:x-refresh-token",
        "agent_key": {"endpoint": "https://mintery.example/agent-key", "min_ttl_s": 60}})"};

oauth::ProviderRegistry load() {
  std::string pattern = (std::filesystem::temp_directory_path() / "authdb-model-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(pattern.data());
  for (std::size_t i = 0; i < kFiles.size(); ++i) {
    const auto file = directory / (std::to_string(i) + ".json");
    std::ofstream(file) << kFiles.at(i);
    ::chmod(file.c_str(), 0600);
  }
  auto loaded = oauth::ProviderRegistry::load(directory);
  std::filesystem::remove_all(directory);
  if (!loaded.problems().empty()) throw std::runtime_error(loaded.problems()[0].reason);
  return loaded;
}

}  // namespace

const oauth::ProviderRegistry& registry(bool gone) {
  static const oauth::ProviderRegistry whole = load();
  static const oauth::ProviderRegistry without = oauth::ProviderRegistry::load("/nonexistent");
  return gone ? without : whole;
}

}  // namespace authdb::model
