// From what the store holds for a profile to the tree of one tool's file. Pure; export.h is the way
// in.
#pragma once

#include <nlohmann/json.hpp>

#include "migrate/formats/contents.h"
#include "store/result.h"

namespace authdb::migrate {

// Hermes's auth.json, as its newest era writes it.
nlohmann::json hermes_tree(const Contents& contents);

// The files that hold one login, and opencode's. not_found if the profile has none for them.
Result<nlohmann::json> tool_tree(const Contents& contents, const ExportRequest& request);

}  // namespace authdb::migrate
