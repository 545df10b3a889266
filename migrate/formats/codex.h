// Codex CLI's ~/.codex/auth.json.
#pragma once

#include <nlohmann/json.hpp>

#include "migrate/formats/document.h"

namespace authdb::migrate::codex {

bool recognises(const nlohmann::json& root);
void read(nlohmann::json root, Document& document);

}  // namespace authdb::migrate::codex
