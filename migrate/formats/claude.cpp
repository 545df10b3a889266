#include "migrate/formats/claude.h"

#include "migrate/formats/fields.h"
#include "migrate/formats/hermes.h"
#include "migrate/formats/imprint.h"

namespace authdb::migrate::claude {
namespace {

using nlohmann::json;

constexpr const char* kBlock = "claudeAiOauth";

std::string joined(const json& words) {
  std::string text;
  for (const json& word : words) {
    if (word.is_string()) text += (text.empty() ? "" : " ") + word.get<std::string>();
  }
  return text;
}

}  // namespace

bool recognises(const json& root) { return root.is_object() && root.contains(kBlock); }

void read(json root, Document& document) {
  json block = std::move(root[kBlock]);
  root.erase(kBlock);
  json original = masked(block, spelling_of("claude", "anthropic", true));
  if (block.is_object()) {
    rename(block, "accessToken", "access_token");
    rename(block, "refreshToken", "refresh_token");
    rename(block, "expiresAt", "expires_at_ms");
    if (block.contains("scopes") && block["scopes"].is_array()) {
      block["scope"] = joined(block["scopes"]);
      block.erase("scopes");
    }
  }
  hermes::read_block({kBlock, "anthropic", "claude_code", std::move(block), std::move(original)},
                     document);
  hermes::keep_rest(std::move(root), document);
}

}  // namespace authdb::migrate::claude
