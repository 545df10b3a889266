// opencode's auth.json: an object of provider ids, each an OAuth grant, a key, or a login at a
// .well-known place. pi's has the same shape, and another word for a key.
#include <algorithm>

#include "migrate/formats/fields.h"
#include "migrate/formats/format.h"
#include "migrate/formats/hermes.h"
#include "migrate/formats/strangers.h"
#include "store/user_directories.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

constexpr std::string_view kFile = "auth.json";

// Ours for the OAuth grant that has this name there.
std::string oauth_provider(const std::string& name) {
  if (name == "openai") return "openai-codex";
  return name == "xai" ? "xai-oauth" : name;
}

// What the provider is called there; ChatGPT's login and OpenAI's key go by one name.
std::string foreign_provider(const std::string& provider) {
  if (provider == "openai-codex") return "openai";
  return provider == "xai-oauth" ? "xai" : provider;
}

// opencode's word, and pi's.
bool is_key(const std::string& kind) { return kind == "api" || kind == "api_key"; }

const Spelling& spelling_of(const std::string& kind) {
  static constexpr Spelling kOauth{.access = "access",
                                   .refresh = "refresh",
                                   .obtained = nullptr,
                                   .expires = "expires",
                                   .expires_ms = true,
                                   .no_refresh = Instead::word};
  static constexpr Spelling kKey{
      .access = "key", .refresh = nullptr, .obtained = nullptr, .expires = nullptr};
  static constexpr Spelling kWellKnown{
      .access = "token", .refresh = nullptr, .obtained = nullptr, .expires = nullptr};
  return is_key(kind) ? kKey : kind == "wellknown" ? kWellKnown : kOauth;
}

std::string kind_of(const json& entry) {
  if (!entry.is_object() || !has_text(entry, "type")) return {};
  const auto& kind = entry.at("type").get_ref<const std::string&>();
  const bool known = kind == "oauth" || is_key(kind) || kind == "wellknown";
  return known ? kind : std::string();
}

void read_entry(const std::string& name, json entry, Document& document) {
  const std::string kind = kind_of(entry);
  const std::string provider = kind == "oauth" ? oauth_provider(name) : name;
  const Spelling& spelling = spelling_of(kind);
  json original = masked(entry, spelling);
  if (entry.is_object()) {
    rename(entry, spelling.access, "access_token");
    if (spelling.refresh) rename(entry, spelling.refresh, "refresh_token");
    rename(entry, "expires", "expires_at_ms");
    entry["auth_type"] = kind == "oauth" ? "oauth" : "api_key";
  }
  hermes::read_block({name, provider, "opencode", std::move(entry), std::move(original)}, document);
}

bool recognises(const json& root, const std::filesystem::path&) {
  return root.is_object() &&
         std::any_of(root.begin(), root.end(), [](const json& e) { return !kind_of(e).empty(); });
}

void read(json root, Document& document) {
  for (auto& [name, entry] : root.items()) read_entry(name, std::move(entry), document);
}

std::vector<GrantPlace> places(json& root) {
  std::vector<GrantPlace> found;
  for (auto& [name, entry] : root.items()) {
    if (kind_of(entry) != "oauth") continue;
    found.emplace_back(pointer({name}), oauth_provider(name), entry, spelling_of("oauth"));
  }
  return found;
}

json opencode_entry(const Contents& contents, const Shown& shown) {
  const bool known = !shown.places.empty();
  const bool oauth = shown.identity().auth_type == AuthType::oauth;
  json entry = known ? shown.places.front().as : json{{"type", oauth ? "oauth" : "api"}};
  const Spelling& spelling = spelling_of(entry["type"].get<std::string>());
  write_grant(entry, spelling, shown.held, {.with_refresh = contents.with_refresh, .anew = !known});
  if (entry["type"] == "oauth") {  // opencode's schema wants all three
    if (!entry.contains("expires")) entry["expires"] = 0;
    if (!entry.contains("refresh")) entry["refresh"] = kHeldElsewhere;
  }
  return entry;
}

Result<json> tree(const Contents& contents, const ExportRequest& request) {
  json root = rest_of(contents);
  for (const auto& [provider, pool] : contents.pools) {
    const Shown* shown = only_login(contents, provider);
    if (!shown) shown = only_key(contents, provider);
    if (!shown || shown->held.access_token.empty()) continue;
    const std::string name =
        shown->places.empty() ? foreign_provider(provider) : shown->places.front().where;
    if (!root.contains(name)) root[name] = opencode_entry(contents, *shown);
  }
  if (root.empty()) return nothing_for(request, "credential");
  return root;
}

std::vector<std::filesystem::path> homes() {
  const auto data = data_directory();
  const auto directory = data.empty() ? data : data / "opencode";
  auto files = kept_in(directory, kFile);
  // It makes this beside its file, without a login in it, unless it is the second version.
  for (auto& database : kept_in(directory, "opencode.db")) {
    if (!logins_in_opencode2(database).empty()) files.push_back(std::move(database));
  }
  for (auto& pis : kept_in(tool_directory({"PI_CODING_AGENT_DIR"}, ".pi/agent"), kFile)) {
    files.push_back(std::move(pis));
  }
  return files;
}

// pi's, for a refresh and for a write. opencode takes none.
std::vector<LockRule> locks(const std::filesystem::path& path) {
  if (path.filename() != kFile) return {};
  return {{LockRule::Kind::directory, path.string() + ".lock", Seconds{30}}};
}

}  // namespace

extern const Format kOpencode;
const Format kOpencode{"opencode", "opencode's or pi's auth.json, whose members have a `type`",
                       kFile,      homes,
                       recognises, read,
                       places,     tree,
                       usual_skew, locks};

}  // namespace authdb::migrate
