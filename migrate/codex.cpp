#include "migrate/codex.h"

#include "migrate/fields.h"
#include "migrate/hermes.h"

namespace authdb::migrate::codex {

using nlohmann::json;

bool recognises(const json& root) {
  if (!root.is_object()) return false;
  const auto tokens = root.find("tokens");
  return root.contains("OPENAI_API_KEY") || (tokens != root.end() && tokens->is_object());
}

void read(json root, Document& document) {
  // Signed in with a key, or with ChatGPT, or both.
  json key = json::object();
  if (has_text(root, "OPENAI_API_KEY")) {
    key["access_token"] = std::move(root["OPENAI_API_KEY"]);
    key["auth_type"] = "api_key";
    root.erase("OPENAI_API_KEY");
  }
  json rest = json::object();
  hermes::read_block("tokens", "openai-codex", "codex-cli", std::move(root), std::move(rest),
                     document);
  if (key.empty()) return;
  Secret unknown = std::move(document.unknown);
  hermes::read_block("OPENAI_API_KEY", "openai", "codex-cli", std::move(key), json::object(),
                     document);
  document.unknown = std::move(unknown);
}

}  // namespace authdb::migrate::codex
