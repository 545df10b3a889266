// Codex's auth.json: signed in with ChatGPT, or with a key, or both.
#include "migrate/formats/fields.h"
#include "migrate/formats/format.h"
#include "migrate/formats/hermes.h"
#include "store/claims.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

constexpr std::string_view kFile = "auth.json";

constexpr const char* kKey = "OPENAI_API_KEY";
constexpr Spelling kSpelling{
    .nest = "tokens", .obtained = "last_refresh", .expires = nullptr, .no_refresh = Instead::word};

void read_key(json key, Document& document) {
  json original{{kKey, fingerprint(token_hash(key.get_ref<std::string&>()))}};
  json fields{{"access_token", std::move(key)}, {"auth_type", "api_key"}};
  hermes::read_block({kKey, "openai", "codex-cli", std::move(fields), std::move(original)},
                     document);
}

bool recognises(const json& root, const std::filesystem::path& path) {
  if (!root.is_object()) return false;
  if (root.contains(kKey) || root.contains("auth_mode")) return true;
  const auto tokens = root.find("tokens");
  if (tokens == root.end() || !tokens->is_object()) return false;
  return root.contains("last_refresh") || tokens->contains("id_token") ||
         is_issued_by(*tokens, "https://auth.openai.com") || is_at(path, ".codex/auth.json");
}

// Codex itself reads one key; others stand there because a person put them there.
void leave_other_keys(const json& root, Document& document) {
  for (const auto& [name, value] : root.items()) {
    if (name == kKey || !name.ends_with("_API_KEY") || !has_text(root, name.c_str())) continue;
    document.bad_rows.push_back(
        {name, "", "a key that Codex does not read: `authdb add PROVIDER` takes it", true});
  }
}

void read(json root, Document& document) {
  leave_other_keys(root, document);
  json original = masked(root, kSpelling);
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

std::vector<GrantPlace> places(json& root) {
  return {GrantPlace("", "openai-codex", root, kSpelling)};
}

// Codex refuses a file without an id token. Its access token is a JWT of the same issuer that names
// the same account, which is all that Codex reads there.
void complete_codex(json& root, const Shown& shown) {
  json& tokens = root["tokens"];
  if (!has_text(tokens, "id_token")) tokens["id_token"] = tokens["access_token"];
  if (!tokens.contains("account_id") && !shown.identity().account.empty()) {
    tokens["account_id"] = shown.identity().account;
  }
}

Result<json> tree(const Contents& contents, const ExportRequest& request) {
  const Shown* login = only_login(contents, "openai-codex");
  const Shown* key = only_key(contents, "openai");
  if (!login && !key) return nothing_for(request, "ChatGPT login and no OpenAI key");
  json root = json::object();
  if (login) {
    root = block_of(contents, *login, kSpelling, json::object());
    const auto claims = read_claims(login->held.access_token.reveal());
    if (!has_text(root, "last_refresh") && claims && claims->issued_at) {
      root["last_refresh"] = format_iso(*claims->issued_at);
    }
    complete_codex(root, *login);
  }
  root.update(rest_of(contents));
  // A key that Codex never had goes there only for want of a login.
  const bool show_key = key && (!key->places.empty() || !login);
  if (show_key) root[kKey] = std::string(key->held.access_token.reveal());
  if (!root.contains(kKey)) root[kKey] = nullptr;
  return root;
}

// Its own, and those of the accounts that people keep beside it to change between them.
std::vector<std::filesystem::path> homes() {
  namespace fs = std::filesystem;
  const fs::path directory = tool_directory({"CODEX_HOME"}, ".codex");
  if (directory.empty()) return {};
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(directory / "accounts", error), end; !error && it != end;
       it.increment(error)) {
    const fs::path& path = it->path();
    const bool is_list = path.filename() == "registry.json";
    if (path.extension() == ".json" && !is_list) files.push_back(path);
    if (fs::exists(path / kFile, error)) files.push_back(path / kFile);
    error.clear();
  }
  std::sort(files.begin(), files.end());
  files.insert(files.begin(), directory / kFile);
  return files;
}

std::vector<LockRule> locks(const std::filesystem::path& path) {
  if (path.filename() != kFile) return {};
  return {{LockRule::Kind::flock, path.parent_path() / "auth.lock"},
          {LockRule::Kind::flock, path.string() + ".lock"}};
}

}  // namespace

extern const Format kCodex;
const Format kCodex{"codex",    "Codex's auth.json with `tokens` or `OPENAI_API_KEY`",
                    kFile,      homes,
                    recognises, read,
                    places,     tree,
                    usual_skew, locks};

}  // namespace authdb::migrate
