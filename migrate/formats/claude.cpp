// Claude Code's .credentials.json. What else lies in it (logins of MCP servers) stays with the
// file.
#include "migrate/formats/fields.h"
#include "migrate/formats/format.h"
#include "migrate/formats/hermes.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

constexpr std::string_view kFile = ".credentials.json";
constexpr const char* kBlock = "claudeAiOauth";
constexpr const char* kMcp = "mcpOAuth";  // logins at MCP servers
constexpr Spelling kSpelling{.access = "accessToken",
                             .refresh = "refreshToken",
                             .obtained = nullptr,
                             .expires = "expiresAt",
                             .expires_ms = true};

std::string joined(const json& words) {
  std::string text;
  for (const json& word : words) {
    if (word.is_string()) text += (text.empty() ? "" : " ") + word.get<std::string>();
  }
  return text;
}

std::vector<std::filesystem::path> homes() {
  return kept_in(
      tool_directory({"CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CONFIG_DIR"}, ".claude"), kFile);
}

bool recognises(const json& root, const std::filesystem::path&) {
  return root.is_object() && (root.contains(kBlock) || root.contains(kMcp));
}

void read(json root, Document& document) {
  if (root.contains(kMcp)) {
    document.bad_rows.push_back({kMcp, "", "logins at MCP servers, which stay with Claude Code"});
  }
  if (!root.contains(kBlock)) return hermes::keep_rest(std::move(root), document);
  json block = std::move(root[kBlock]);
  root.erase(kBlock);
  json original = masked(block, kSpelling);
  if (block.is_object()) {
    rename(block, "accessToken", "access_token");
    rename(block, "refreshToken", "refresh_token");
    rename(block, "expiresAt", "expires_at_ms");
    rename(block, "refreshTokenExpiresAt", "refresh_token_expires_at");
    if (block.contains("scopes") && block["scopes"].is_array()) {
      block["scope"] = joined(block["scopes"]);
      block.erase("scopes");
    }
  }
  hermes::read_block({kBlock, "anthropic", "claude_code", std::move(block), std::move(original)},
                     document);
  hermes::keep_rest(std::move(root), document);
}

std::vector<GrantPlace> places(json& root) {
  const auto block = root.find(kBlock);
  if (block == root.end() || !block->is_object()) return {};
  return {GrantPlace(pointer({kBlock}), "anthropic", *block, kSpelling)};
}

json words_of(const std::string& scope) {
  json words = json::array();
  std::string word;
  for (const char c : scope + " ") {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  return words;
}

Result<json> tree(const Contents& contents, const ExportRequest& request) {
  const Shown* shown = only_login(contents, "anthropic");
  if (!shown) return nothing_for(request, "Claude login");
  json root = rest_of(contents);
  root[kBlock] =
      block_of(contents, *shown, kSpelling, {{"scopes", words_of(shown->identity().scope)}});
  return root;
}

// For a refresh, the old place of that lock, and for a write; Hermes locks the file in its own way.
// As of 2.1: it touches them each 5 s, 5 s, and 7.5 s, and asks nobody but the clock whether one
// was left behind.
std::vector<LockRule> locks(const std::filesystem::path& path) {
  std::vector<LockRule> rules{hermes_lock(path)};
  if (path.filename() != kFile) return rules;
  const auto directory = path.parent_path();
  std::error_code error;
  auto legacy = std::filesystem::canonical(directory, error);
  if (error) legacy = directory;
  legacy += ".lock";
  constexpr auto kDirectory = LockRule::Kind::directory;
  rules.push_back({kDirectory, directory / ".oauth_refresh.lock", Seconds{60}});
  rules.push_back({kDirectory, legacy, Seconds{60}, true});
  rules.push_back({kDirectory, directory / ".storage-write.lock", Seconds{15}});
  return rules;
}

}  // namespace

extern const Format kClaude;
const Format kClaude{"claude",   "Claude Code's .credentials.json with `claudeAiOauth`",
                     kFile,      homes,
                     recognises, read,
                     places,     tree,
                     usual_skew, locks};

}  // namespace authdb::migrate
