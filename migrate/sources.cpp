#include "migrate/sources.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "migrate/addresses.h"
#include "migrate/formats/format.h"
#include "migrate/migrate.h"
#include "store/user_directories.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultProfile = "default";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// A path as the user meant it, without `.`, `..` and a trailing slash.
fs::path tidy(const fs::path& path) {
  std::error_code error;
  fs::path full = fs::absolute(path, error).lexically_normal();
  return full.has_filename() ? full : full.parent_path();
}

bool is_inside(const fs::path& path, const fs::path& directory) {
  const auto [end, unused] =
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return end == directory.end();
}

// Empty where there is no home: a name alone would be looked for wherever the process stands.
fs::path in_home(const fs::path& usual) {
  const fs::path home = home_directory();
  return home.empty() ? home : home / usual;
}

fs::path hermes_root() {
  const fs::path native = in_home(".hermes");
  const std::string set = environment("HERMES_HOME");
  if (set.empty()) return native;
  const fs::path given = tidy(set);
  if (!native.empty() && is_inside(given, native)) return native;
  return given.parent_path().filename() == "profiles" ? given.parent_path().parent_path() : given;
}

bool is_there(const fs::path& path) {
  // Not fs::exists: what may not be looked at is there, and reading it will say why it failed.
  std::error_code error;
  const auto type = fs::status(path, error).type();
  return type != fs::file_type::not_found;
}

void add_files_of(const fs::path& directory, const std::string& profile,
                  std::vector<Place>& places) {
  for (const char* name : {"auth.json", ".anthropic_oauth.json", ".credentials.json",
                           "oauth_creds.json", "shared/nous_auth.json"}) {
    if (is_there(directory / name)) places.push_back({directory / name, profile});
  }
}

// The places that the options name, and what was looked for in vain.
struct Found {
  std::vector<Place> places;
  std::vector<std::string> missing;
};

void look(const fs::path& path, Found& found) {
  std::error_code error;
  if (!is_there(path)) {
    found.missing.push_back(path.string());
  } else if (!fs::is_directory(path, error)) {
    found.places.push_back({path, profile_of_file(path)});
  } else {
    const auto files = files_in(path);
    if (files.empty()) found.missing.push_back((path / "auth.json").string());
    found.places.insert(found.places.end(), files.begin(), files.end());
  }
}

// One file named twice is one source; one file that is two profiles' (by a link) is two.
void drop_repeated(std::vector<Place>& places) {
  std::set<std::pair<fs::path, std::string>> seen;
  std::error_code error;
  std::erase_if(places, [&](const Place& place) {
    return !seen.emplace(fs::weakly_canonical(place.path, error), place.profile).second;
  });
}

Document missing_document(const std::string& path) {
  Document document;
  document.path = path;
  document.profile = profile_of_file(path);
  document.failure = Error{Errc::not_found, path + ": no such file", "Check the path."};
  return document;
}

}  // namespace

std::vector<Place> files_in(const fs::path& directory) {
  const bool is_profile = directory.parent_path().filename() == "profiles";
  std::vector<Place> places;
  add_files_of(directory, is_profile ? directory.filename().string() : kDefaultProfile, places);

  std::error_code error;
  std::vector<fs::path> profiles;
  for (fs::directory_iterator it(directory / "profiles", error), end; !error && it != end;
       it.increment(error)) {
    profiles.push_back(it->path());
  }
  std::sort(profiles.begin(), profiles.end());
  for (const fs::path& profile : profiles) add_files_of(profile, profile.filename(), places);
  return places;
}

std::string profile_of_file(const fs::path& file) {
  const fs::path directory = file.parent_path();
  const bool is_profile = directory.parent_path().filename() == "profiles";
  return is_profile ? directory.filename().string() : kDefaultProfile;
}

std::vector<fs::path> well_known_places() {
  const auto either = [](const char* variable, const fs::path& usual) {
    const std::string set = environment(variable);
    return set.empty() ? in_home(usual) : fs::path(set);
  };
  const fs::path data = data_directory();
  std::vector<fs::path> places{hermes_root(), either("CODEX_HOME", ".codex"),
                               either("CLAUDE_CONFIG_DIR", ".claude"), in_home(".qwen"),
                               data.empty() ? data : data / "opencode"};
  const std::string shared = environment("HERMES_SHARED_AUTH_DIR");
  if (!shared.empty()) places.push_back(fs::path(shared) / "nous_auth.json");
  std::erase_if(places, [](const fs::path& place) { return place.empty(); });
  return places;
}

Result<std::vector<Document>> read_sources(const MigrateOptions& options) {
  auto paths = options.paths.empty() ? well_known_places() : options.paths;
  if (options.prefer) paths.push_back(*options.prefer);
  Found found;
  for (const fs::path& path : paths) look(tidy(path), found);
  drop_repeated(found.places);

  if (found.places.empty()) {
    std::string looked;
    for (const auto& path : found.missing) looked += (looked.empty() ? "" : ", ") + path;
    return fail(Errc::not_found, "There is nothing to migrate; looked for " + looked,
                "Give the file, or the directory that holds it: authdb migrate PATH.");
  }
  std::vector<Document> documents;
  for (const Place& place : found.places) {
    documents.push_back(read_document(place.path, place.profile));
    const UsableAddress& usable = options.providers.usable;
    if (usable) check_addresses(documents.back(), usable);
    if (options.progress) options.progress("files read", documents.size(), found.places.size());
  }
  // Nobody is told of well-known places that do not exist.
  if (!options.paths.empty()) {
    for (const auto& path : found.missing) documents.push_back(missing_document(path));
  }
  return documents;
}

}  // namespace authdb::migrate
