// The tools whose files are read and written: all that is known of one tool is in its own .cpp
// here, and format.cpp lists them.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "migrate/formats/contents.h"
#include "migrate/formats/document.h"
#include "migrate/formats/grant_place.h"

namespace authdb::migrate {

// Something that a tool takes while it refreshes, or writes, a file of its own.
struct LockRule {
  enum class Kind {
    flock,      // flock(2) on a file, which stays
    directory,  // a directory that is made, and removed: npm's proper-lockfile
    file,       // a file that is made with O_EXCL, and removed
  };
  Kind kind;
  std::filesystem::path path;
  // Made, and not touched for so long: whoever made it has died. Meaningless for flock.
  Seconds stale{0};
  // Its tool goes on without it where it cannot be made.
  bool may_lack = false;
};

struct Format {
  std::string_view name;   // stored with what was read from such a file: never rename
  std::string_view shape;  // for people: what makes a file one of these
  std::string_view file;   // what such a file is called in a directory of the tool's
  // Where the tool keeps one for this user, whether it is there or not: the file, or a directory
  // that has more than one.
  std::vector<std::filesystem::path> (*homes)();
  // By proof: a key that only this tool has, a token that names its issuer, or the place where the
  // tool keeps the file. `path` is as the user named it.
  bool (*recognises)(const nlohmann::json& root, const std::filesystem::path& path);
  // Takes the tree apart. Fills rows, states, unknown and bad_rows.
  void (*read)(nlohmann::json root, Document& document);
  // The OAuth grants in such a file. Refers to the tree; never fails.
  std::vector<GrantPlace> (*places)(nlohmann::json& root);
  // Such a file from what the store holds for a profile. not_found if it has nothing for one.
  Result<nlohmann::json> (*tree)(const Contents& contents, const ExportRequest& request);
  // How long before its end the tool refreshes a token itself.
  Seconds (*skew)(std::string_view provider);
  // The tool's own locks for such a file, in the order in which it takes them. `path` has its
  // directory.
  std::vector<LockRule> (*locks)(const std::filesystem::path& path);
};

// In the order in which they are asked whose file one is.
std::span<const Format* const> formats();
// nullptr: there is none of that name.
const Format* format_named(std::string_view name);

// A path as the user meant it, without `.`, `..` and a trailing slash.
std::filesystem::path tidy(const std::filesystem::path& path);
// The tool's directory for this user: the first of the variables that is set, else `usual` in the
// home directory. Empty where there is neither: a name alone would be looked for wherever the
// process stands.
std::filesystem::path tool_directory(std::initializer_list<const char*> variables,
                                     const char* usual);
// The file in it; none in no directory.
std::vector<std::filesystem::path> kept_in(const std::filesystem::path& directory,
                                           std::string_view file);

// True if `path` ends so: `.codex/auth.json`.
bool is_at(const std::filesystem::path& path, std::string_view place);
// True if one of the tokens is a JWT of that issuer (its `iss`, without a slash at its end).
bool is_issued_by(const nlohmann::json& tokens, std::string_view issuer);

// Five minutes before: Claude Code's, the longest of those that are known.
Seconds usual_skew(std::string_view provider);

// The flock that Hermes takes for a file: its name, with the suffix `.lock` for its own.
LockRule hermes_lock(std::filesystem::path path);

// Empty for a file of a format that is not known any more.
std::vector<GrantPlace> places_in(nlohmann::json& root, std::string_view format);

// Reads one file, and the list of spent tokens that Hermes keeps beside it. Whatever keeps them
// from being read is in the document's `failure`. `as`: the name of its format; empty: as it
// proves.
Document read_document(const std::filesystem::path& path, std::string profile,
                       std::string_view as = {});

}  // namespace authdb::migrate
