// opencode's auth.json: an object of provider ids, each an OAuth grant, a key, or a login at a
// .well-known place.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "migrate/formats/document.h"
#include "store/credential.h"

namespace authdb::migrate::opencode {

bool recognises(const nlohmann::json& root);
void read(nlohmann::json root, Document& document);

// Ours for the OAuth grant that has this name there.
std::string oauth_provider(const std::string& name);
// What the provider is called there; ChatGPT's login and OpenAI's key go by one name.
std::string foreign_provider(const std::string& provider);

}  // namespace authdb::migrate::opencode
