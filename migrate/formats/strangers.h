// Files of tools that authdb does not read: what each is, and what to do instead. They look enough
// like those it reads to be given to it by mistake.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "store/result.h"

namespace authdb::migrate {

// nullopt: it is none of them. Else the refusal, which says whose file it is.
std::optional<Error> stranger_in(const nlohmann::json& root, const std::filesystem::path& path);

}  // namespace authdb::migrate
