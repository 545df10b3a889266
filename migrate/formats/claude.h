// Claude Code's ~/.claude/.credentials.json.
#pragma once

#include <nlohmann/json.hpp>

#include "migrate/formats/document.h"

namespace authdb::migrate::claude {

bool recognises(const nlohmann::json& root);
void read(nlohmann::json root, Document& document);

}  // namespace authdb::migrate::claude
