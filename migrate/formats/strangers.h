// Files of tools that authdb does not read: what each is, and what to do instead. They look enough
// like those it reads to be given to it by mistake.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "store/result.h"

namespace authdb::migrate {

// nullopt: it is none of them. Else the refusal, which says whose file it is.
std::optional<Error> stranger_in(const nlohmann::json& root, const std::filesystem::path& path);
// nullopt: it is no SQLite database. It is looked at without a change, and may be of any size.
std::optional<Error> database_at(const std::filesystem::path& path);
// Whose logins OpenCode 2 keeps in its database. Empty: none, or it is no such database.
std::vector<std::string> logins_in_opencode2(const std::filesystem::path& path);

}  // namespace authdb::migrate
