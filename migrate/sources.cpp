#include "migrate/sources.h"

#include <algorithm>
#include <set>

#include "migrate/addresses.h"
#include "migrate/formats/format.h"
#include "migrate/migrate.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultProfile = "default";

bool is_there(const fs::path& path) {
  // Not fs::exists: what may not be looked at is there, and reading it will say why it failed.
  std::error_code error;
  const auto type = fs::status(path, error).type();
  return type != fs::file_type::not_found;
}

void add_files_of(const fs::path& directory, const std::string& profile,
                  std::vector<Place>& places) {
  std::set<std::string_view> seen;
  for (const Format* format : formats()) {
    const fs::path path = directory / format->file;
    if (seen.insert(format->file).second && is_there(path)) places.push_back({path, profile});
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
  std::vector<fs::path> places;
  for (const Format* format : formats()) {
    const auto homes = format->homes();
    places.insert(places.end(), homes.begin(), homes.end());
  }
  return places;
}

Result<std::vector<Document>> read_sources(const MigrateOptions& options) {
  if (!options.as.empty() && format_named(options.as) == nullptr) {
    std::string names;
    for (const Format* format : formats()) {
      names += (names.empty() ? "" : ", ") + std::string(format->name);
    }
    return fail(Errc::usage, "--as takes the name of a format", "One of " + names + ".");
  }
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
    documents.push_back(read_document(place.path, place.profile, options.as));
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
