#include "migrate/readers.h"

#include <array>

#include "migrate/claude.h"
#include "migrate/codex.h"
#include "migrate/hermes.h"
#include "migrate/json_text.h"
#include "migrate/opencode.h"
#include "migrate/qwen.h"
#include "migrate/source_file.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

Error unrecognised(const std::string& path) {
  Error error{Errc::refused, path + ": no credential file that we know", "Recognised are:"};
  for (const Reader& reader : readers()) {
    error.hint += (error.hint.back() == ':' ? " " : "; ") + std::string(reader.format) + " (" +
                  std::string(reader.shape) + ")";
  }
  error.hint += ".";
  return error;
}

}  // namespace

std::span<const Reader> readers() {
  static constexpr std::array kReaders{
      Reader{"hermes", "auth.json with `credential_pool`, `providers` or `systems`",
             hermes::recognises_store, hermes::read_store},
      Reader{"hermes-anthropic", ".anthropic_oauth.json with `accessToken`",
             hermes::recognises_anthropic, hermes::read_anthropic},
      Reader{"hermes-shared-nous", "shared/nous_auth.json with `refresh_token` and a portal",
             hermes::recognises_shared_nous, hermes::read_shared_nous},
      Reader{"claude", "Claude Code's .credentials.json with `claudeAiOauth`", claude::recognises,
             claude::read},
      Reader{"codex", "Codex's auth.json with `tokens` or `OPENAI_API_KEY`", codex::recognises,
             codex::read},
      Reader{"qwen", "Qwen's oauth_creds.json with `resource_url`", qwen::recognises, qwen::read},
      Reader{"opencode", "opencode's auth.json, whose members have a `type`", opencode::recognises,
             opencode::read},
  };
  return kReaders;
}

Document read_document(const std::filesystem::path& path, std::string profile) {
  Document document;
  document.path = path;
  document.profile = std::move(profile);

  auto bytes = read_source(path);
  if (!bytes) {
    document.failure = std::move(bytes.error());
    return document;
  }
  document.sha256 = std::move(bytes->sha256);
  auto tree = parse_json(bytes->text.reveal(), path.string());
  if (!tree) {
    document.failure = std::move(tree.error());
    return document;
  }
  for (const Reader& reader : readers()) {
    if (!reader.recognises(*tree)) continue;
    document.format = reader.format;
    reader.read(std::move(*tree), document);
    return document;
  }
  wipe_strings(*tree);
  document.failure = unrecognised(path.string());
  return document;
}

}  // namespace authdb::migrate
