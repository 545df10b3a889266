// Qwen Code's oauth_creds.json.
#include "migrate/formats/fields.h"
#include "migrate/formats/format.h"
#include "migrate/formats/hermes.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

constexpr std::string_view kFile = "oauth_creds.json";
constexpr const char* kProvider = "qwen-oauth";
constexpr Spelling kSpelling{
    .obtained = nullptr, .expires = "expiry_date", .expires_ms = true, .no_refresh = Instead::word};

std::vector<std::filesystem::path> homes() {
  return kept_in(tool_directory({"QWEN_HOME"}, ".qwen"), kFile);
}

// Gemini's oauth_creds.json looks much the same, but has no resource.
bool recognises(const json& root, const std::filesystem::path& path) {
  return root.is_object() && root.contains("access_token") && root.contains("expiry_date") &&
         (root.contains("resource_url") || is_at(path, ".qwen/oauth_creds.json"));
}

void read(json root, Document& document) {
  json original = masked(root, kSpelling);
  rename(root, "expiry_date", "expires_at_ms");
  hermes::read_block({"file", kProvider, "qwen-cli", std::move(root), std::move(original)},
                     document);
}

std::vector<GrantPlace> places(json& root) { return {GrantPlace("", kProvider, root, kSpelling)}; }

json fresh_qwen(const Shown* shown) {
  const bool known = shown && shown->extra.contains("resource_url");
  return {{"token_type", "Bearer"},
          {"resource_url", known ? shown->extra["resource_url"] : json("portal.qwen.ai")}};
}

Result<json> tree(const Contents& contents, const ExportRequest& request) {
  return flat_tree(contents, request, kProvider, kSpelling,
                   fresh_qwen(only_login(contents, kProvider)));
}

// It never touches it again: 35 s since 0.24, 10 s before.
std::vector<LockRule> locks(const std::filesystem::path& path) {
  if (path.filename() != kFile) return {};
  return {{LockRule::Kind::file, path.parent_path() / "oauth_creds.lock", Seconds{35}}};
}

}  // namespace

extern const Format kQwen;
const Format kQwen{"qwen",     "Qwen's oauth_creds.json with `resource_url`",
                   kFile,      homes,
                   recognises, read,
                   places,     tree,
                   usual_skew, locks};

}  // namespace authdb::migrate
