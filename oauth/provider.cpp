#include "oauth/provider.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "oauth/builtin_providers.h"
#include "oauth/provider_file.h"
#include "store/files.h"
#include "store/ownership.h"
#include "store/user_directories.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kAliases{{
    {"codex", "openai-codex"},
    {"xai", "xai-oauth"},
    {"qwen", "qwen-oauth"},
    {"minimax", "minimax-oauth"},
}};

constexpr std::size_t kLargestFile = 1 << 20;

void add_aliases(Provider& provider) {
  for (const auto& [alias, id] : kAliases) {
    if (id == provider.id) provider.aliases.emplace_back(alias);
  }
}

std::vector<Provider> builtin_providers(std::vector<ProviderProblem>& problems) {
  std::vector<Provider> out;
  for (const json& object : json::parse(kBuiltinProviders)) {
    Provider provider;
    for (FieldProblem& problem : read_provider(object, "built-in", provider)) {
      problems.push_back(
          {"oauth/providers.json", std::move(problem.field), std::move(problem.reason)});
    }
    add_aliases(provider);
    out.push_back(std::move(provider));
  }
  return out;
}

// Empty if the file may be believed. Of the open file, so that it is the one that is read.
std::string distrust(const struct stat& info) {
  if (info.st_uid != ::geteuid() && info.st_uid != 0) return "belongs to another user";
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "can be written by others: chmod go-w it";
  if (info.st_size > static_cast<off_t>(kLargestFile)) return "is larger than 1 MiB";
  return {};
}

std::string read_all(int fd) {
  std::string out;
  std::array<char, 8192> chunk{};
  for (ssize_t got = 0; (got = ::read(fd, chunk.data(), chunk.size())) > 0;) {
    out.append(chunk.data(), static_cast<std::size_t>(got));
    if (out.size() > kLargestFile) break;
  }
  return out;
}

// What the parser says, without its own prefix.
std::string json_problem(const json::exception& error) {
  const std::string text = error.what();
  const auto bracket = text.find("] ");
  return "is not JSON: " + (bracket == std::string::npos ? text : text.substr(bracket + 2));
}

// A built-in provider whose file cannot be used is none that logins go by: the user has said
// something of where its tokens go, and nobody knows what.
void take_logins_from(std::vector<Provider>& providers, const std::string& id_or_alias) {
  const std::string id = ProviderRegistry::canonical_id(id_or_alias);
  for (Provider& provider : providers) {
    if (provider.id != id || provider.origin["id"] != "built-in") continue;
    provider.token_endpoint.clear();
    provider.issuer.clear();
  }
}

// The problems of one file; none, and `providers` has what it says. `id`: what the file is called,
// until it says itself whose it is.
std::vector<FieldProblem> take_file(const fs::path& path, std::vector<Provider>& providers,
                                    std::string& id) {
  const FileToRead file = open_to_read(path);
  if (!file) {
    return {{"", file.kind.empty() ? "cannot be opened: " + file.problem() : file.problem()}};
  }
  if (std::string reason = distrust(file.st); !reason.empty()) return {{"", reason}};

  json object;
  try {
    object = json::parse(read_all(file.fd.get()));
  } catch (const json::exception& error) {
    return {{"", json_problem(error)}};
  }
  const auto said = object.is_object() ? object.find("id") : object.end();
  if (object.is_object() && said == object.end()) return {{"id", "is required"}};
  const std::string name =
      object.is_object() && said->is_string() ? said->get<std::string>() : std::string();
  if (!name.empty()) id = name;
  if (ProviderRegistry::canonical_id(name) != name) {
    return {{"id", "is an alias of " + ProviderRegistry::canonical_id(name)}};
  }

  const auto known = std::find_if(providers.begin(), providers.end(),
                                  [&](const Provider& other) { return other.id == name; });
  if (known != providers.end() && known->origin["id"] != "built-in") {
    return {{"id", "is already defined by " + known->origin["id"]}};
  }
  Provider provider = known == providers.end() ? Provider{} : *known;
  std::vector<FieldProblem> problems = read_provider(object, path.string(), provider);
  if (!problems.empty()) return problems;
  if (provider.name.empty()) provider.name = provider.id;
  if (known == providers.end()) {
    providers.push_back(std::move(provider));
  } else {
    *known = std::move(provider);
  }
  return {};
}

}  // namespace

bool has_logins(const Provider& provider) {
  return !provider.token_endpoint.empty() || !provider.issuer.empty();
}

Environment process_environment() {
  return [](const std::string& variable) -> std::optional<std::string> {
    const char* value = std::getenv(variable.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

ProviderRegistry ProviderRegistry::load(const fs::path& directory) {
  ProviderRegistry registry;
  registry.providers_ = builtin_providers(registry.problems_);

  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".json") files.push_back(it->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    registry.problems_.push_back({directory, "", "cannot be read: " + error.message()});
  }
  std::sort(files.begin(), files.end());
  // They say where tokens go: whoever may put one there may have them sent to himself.
  const auto safe = files.empty() ? Result<void>() : check_irreplaceable(files.front());
  if (!safe) {
    registry.problems_.push_back(
        {directory, "",
         "is not read: " + safe.error().message +
             ". Nobody else may own or write a directory on the way (chmod go-w)"});
    for (const fs::path& file : files) take_logins_from(registry.providers_, file.stem());
    return registry;
  }
  for (const fs::path& file : files) {
    std::string id = file.stem();
    std::vector<FieldProblem> problems = take_file(file, registry.providers_, id);
    if (!problems.empty()) take_logins_from(registry.providers_, id);
    for (FieldProblem& problem : problems) {
      registry.problems_.push_back({file, std::move(problem.field), std::move(problem.reason)});
    }
  }
  return registry;
}

fs::path ProviderRegistry::default_directory() {
  const fs::path config = config_directory();
  return config.empty() ? config : config / "authdb" / "providers.d";
}

const Provider* ProviderRegistry::find(std::string_view id_or_alias) const {
  const std::string id = canonical_id(id_or_alias);
  const auto found = std::find_if(providers_.begin(), providers_.end(),
                                  [&](const Provider& provider) { return provider.id == id; });
  return found == providers_.end() ? nullptr : &*found;
}

const Provider* ProviderRegistry::find_oauth(std::string_view id_or_alias) const {
  const Provider* provider = find(id_or_alias);
  return provider != nullptr && has_logins(*provider) ? provider : nullptr;
}

std::string ProviderRegistry::canonical_id(std::string_view id_or_alias) {
  for (const auto& [alias, id] : kAliases) {
    if (alias == id_or_alias) return std::string(id);
  }
  return std::string(id_or_alias);
}

}  // namespace authdb::oauth
