// Where credential files are: what a path stands for, and where to look when none is given.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace authdb::migrate {

struct Place {
  std::filesystem::path path;
  std::string profile;
};

// The files under a Hermes root (its own, the shared one, every profile's) or another tool's
// directory that exist; `directory` itself is known to be one.
std::vector<Place> files_in(const std::filesystem::path& directory);

// `profiles/<name>/auth.json` is that profile's; any other file is `default`'s.
std::string profile_of_file(const std::filesystem::path& file);

// Where the tools keep their files for this user, whether they are there or not.
std::vector<std::filesystem::path> well_known_places();

}  // namespace authdb::migrate
