// Qwen Code's ~/.qwen/oauth_creds.json.
#pragma once

#include <nlohmann/json.hpp>

#include "migrate/formats/document.h"

namespace authdb::migrate::qwen {

bool recognises(const nlohmann::json& root);
void read(nlohmann::json root, Document& document);

}  // namespace authdb::migrate::qwen
