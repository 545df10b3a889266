#include "migrate/formats/qwen.h"

#include "migrate/formats/fields.h"
#include "migrate/formats/hermes.h"
#include "migrate/formats/imprint.h"

namespace authdb::migrate::qwen {

using nlohmann::json;

// Gemini's oauth_creds.json looks much the same, but has no resource.
bool recognises(const json& root) {
  return root.is_object() && root.contains("access_token") && root.contains("resource_url") &&
         root.contains("expiry_date");
}

void read(json root, Document& document) {
  json original = masked(root, spelling_of("qwen", "qwen-oauth", true));
  rename(root, "expiry_date", "expires_at_ms");
  hermes::read_block({"file", "qwen-oauth", "qwen-cli", std::move(root), std::move(original)},
                     document);
}

}  // namespace authdb::migrate::qwen
