#include "migrate/formats/opencode.h"

#include <algorithm>

#include "migrate/formats/fields.h"
#include "migrate/formats/hermes.h"
#include "migrate/formats/imprint.h"

namespace authdb::migrate::opencode {
namespace {

using nlohmann::json;

std::string kind_of(const json& entry) {
  if (!entry.is_object() || !has_text(entry, "type")) return {};
  const auto& kind = entry.at("type").get_ref<const std::string&>();
  return kind == "oauth" || kind == "api" || kind == "wellknown" ? kind : std::string();
}

void read_entry(const std::string& name, json entry, Document& document) {
  const std::string kind = kind_of(entry);
  const std::string provider = kind == "oauth" ? oauth_provider(name) : name;
  Spelling spelling = spelling_of("opencode", provider, true);
  if (kind == "api" || kind == "wellknown") {
    spelling.access = kind == "api" ? "key" : "token";
    spelling.refresh = nullptr;
  }
  json original = masked(entry, spelling);
  if (entry.is_object()) {
    rename(entry, spelling.access, "access_token");
    if (spelling.refresh) rename(entry, spelling.refresh, "refresh_token");
    rename(entry, "expires", "expires_at_ms");
    entry["auth_type"] = kind == "oauth" ? "oauth" : "api_key";
  }
  hermes::read_block({name, provider, "opencode", std::move(entry), std::move(original)}, document);
}

}  // namespace

bool recognises(const json& root) {
  return root.is_object() &&
         std::any_of(root.begin(), root.end(), [](const json& e) { return !kind_of(e).empty(); });
}

void read(json root, Document& document) {
  for (auto& [name, entry] : root.items()) read_entry(name, std::move(entry), document);
}

std::string oauth_provider(const std::string& name) {
  return name == "openai" ? "openai-codex" : name;
}

std::string foreign_provider(const std::string& provider) {
  return provider == "openai-codex" ? "openai" : provider;
}

}  // namespace authdb::migrate::opencode
