#include "migrate/formats/codex.h"

#include "migrate/formats/fields.h"
#include "migrate/formats/hermes.h"
#include "migrate/formats/imprint.h"

namespace authdb::migrate::codex {
namespace {

using nlohmann::json;

constexpr const char* kKey = "OPENAI_API_KEY";

void read_key(json key, Document& document) {
  json original{{kKey, fingerprint(token_hash(key.get_ref<std::string&>()))}};
  json fields{{"access_token", std::move(key)}, {"auth_type", "api_key"}};
  hermes::read_block({kKey, "openai", "codex-cli", std::move(fields), std::move(original)},
                     document);
}

}  // namespace

bool recognises(const json& root) {
  if (!root.is_object()) return false;
  const auto tokens = root.find("tokens");
  return root.contains(kKey) || (tokens != root.end() && tokens->is_object());
}

// Signed in with ChatGPT, or with a key, or both.
void read(json root, Document& document) {
  json original = masked(root, spelling_of("codex", "openai-codex", true));
  json key;
  if (has_text(root, kKey)) key = std::move(root[kKey]);
  const auto tokens = root.find("tokens");
  if (tokens != root.end() && tokens->is_object()) {
    root.erase(kKey);
    original.erase(key.is_null() ? "" : kKey);
    hermes::read_block(
        {"tokens", "openai-codex", "codex-cli", std::move(root), std::move(original)}, document);
  } else {
    if (!key.is_null()) root.erase(kKey);
    hermes::keep_rest(std::move(root), document);
  }
  if (!key.is_null()) read_key(std::move(key), document);
}

}  // namespace authdb::migrate::codex
