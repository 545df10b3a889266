#include "migrate/formats/hermes.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "migrate/formats/fields.h"
#include "migrate/formats/format.h"
#include "migrate/formats/hermes_row.h"
#include "migrate/formats/json_text.h"
#include "store/scrub.h"

namespace authdb::migrate::hermes {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Hermes takes a grant of these for expiring where it finds no `expires_at`.
bool needs_expiry(std::string_view provider) {
  return provider == "nous" || provider == "minimax-oauth" || provider == "spotify";
}

// Collects what one file says.
class Reading {
 public:
  explicit Reading(Document& document) : document_(document) {}

  void pool_list(const std::string& provider, json& rows) {
    const std::string list = "credential_pool." + provider;
    if (provider.empty()) return bad(list, "", "it has no provider", rows);
    if (!rows.is_array()) return bad(list, "", wrong_type(rows, "an array"), rows);
    const auto first = document_.rows.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      pool_row(list + "[" + std::to_string(i) + "]", provider, rows[i]);
    }
    const auto alive = std::count_if(
        document_.rows.begin() + static_cast<std::ptrdiff_t>(first), document_.rows.end(),
        [](const Row& row) { return row.health.status != Status::dead; });
    for (auto i = first; i < document_.rows.size(); ++i) {
      end_cooldown(document_.rows[i], alive == 1);
    }
  }

  void provider_block(const std::string& where, const std::string& provider, json& object) {
    if (!provider.empty() && is_without_login(object)) {
      if (object.contains("last_auth_error")) bad(where, "", given_up(object["last_auth_error"]));
      state(provider).extra = Secret::take(object.dump());
      return;
    }
    const char* source = seeded_source(provider);
    json original = masked(object, block_spelling(provider));
    block({where, provider, source ? source : "manual", std::move(object), std::move(original)});
  }

  void block(Block block) {
    const std::string where = block.where;
    json& fields = block.fields;
    if (block.provider.empty()) return bad(where, "", "it has no provider", fields);
    if (!fields.is_object()) return bad(where, "", wrong_type(fields, "an object"), fields);
    hoist_tokens(fields);
    if (const char* field = field_of_wrong_type(fields)) {
      return bad(where, field, wrong_type(fields[field], "text"), fields);
    }
    if (!holds_secret(fields)) return bad_without_token(where, fields);
    document_.rows.push_back(read_row(std::move(block), true));
    end_cooldown(document_.rows.back(), true);
  }

  // A bare array, or an object whose keys are the sources.
  void suppressed(const std::string& provider, json& sources) {
    const std::string where = "suppressed_sources." + provider;
    if (!sources.is_structured()) return bad(where, "", wrong_type(sources, "an array"), sources);
    if (sources.is_object()) {
      for (const auto& [source, unused] : sources.items()) suppress(provider, source);
      return;
    }
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].is_string()) {
        suppress(provider, sources[i].get<std::string>());
      } else {
        bad(where + "[" + std::to_string(i) + "]", "", wrong_type(sources[i], "text"), sources[i]);
      }
    }
  }

  void active(json provider) {
    if (!provider.is_string()) {
      return bad("active_provider", "", wrong_type(provider, "text"), provider);
    }
    if (provider != "") state(provider.get<std::string>()).active = true;
  }

  // `field` of the file is an object by contract; calls `each` for its members.
  template <typename Each>
  void members(json& root, const char* field, Each each) {
    const auto it = root.find(field);
    if (it == root.end()) return;
    if (it->is_object()) {
      for (auto& [name, value] : it->items()) each(name, value);
    } else if (!it->is_null()) {
      bad(field, "", wrong_type(*it, "an object"), *it);
    }
    root.erase(it);
  }

  // `raw` is taken, and kept sealed with the file's receipt.
  void bad(std::string where, std::string field, std::string reason, json& raw) {
    const bool left_behind = holds_token(raw);
    not_imported_[where] = std::move(raw);
    document_.bad_rows.push_back(
        {std::move(where), std::move(field), std::move(reason), left_behind});
  }
  void bad_without_token(const std::string& where, json& raw) {
    not_imported_[where] = std::move(raw);
    bad(where, "", "it holds no token");
  }
  void bad(std::string where, std::string field, std::string reason) {
    document_.bad_rows.push_back({std::move(where), std::move(field), std::move(reason)});
  }

  void finish(json rest) {
    for (auto& [provider, state] : states_) document_.states.push_back(std::move(state));
    if (!not_imported_.empty()) rest[kNotImported] = std::move(not_imported_);
    document_.unknown = seal_text(std::move(rest));
  }

 private:
  void pool_row(const std::string& where, const std::string& provider, json& object) {
    if (!object.is_object()) return bad(where, "", wrong_type(object, "an object"), object);
    if (const char* field = field_of_wrong_type(object)) {
      return bad(where, field, wrong_type(object[field], "text"), object);
    }
    if (!holds_secret(object) && !is_borrowed(text_at(object, "source"))) {
      return bad_without_token(where, object);
    }
    json original = masked(object, row_spelling(provider));
    document_.rows.push_back(
        read_row({where, provider, "manual", std::move(object), std::move(original)}, false));
  }

  // Of what could not be read: whether something that may be a token is left behind with it.
  static bool holds_token(const json& raw) {
    if (raw.is_array()) return std::any_of(raw.begin(), raw.end(), holds_token);
    return raw.is_object() && (holds_secret(raw) || holds_token(raw.value("tokens", json())));
  }

  // Codex and xAI keep their tokens one level down.
  static void hoist_tokens(json& block) {
    const auto tokens = block.find("tokens");
    if (tokens == block.end() || !tokens->is_object()) return;
    for (const char* key : {"access_token", "refresh_token", "token_type", "expires_in",
                            "expires_at", "expires_at_ms", "obtained_at", "last_refresh"}) {
      const auto token = tokens->find(key);
      if (token == tokens->end() || block.contains(key)) continue;
      json value = std::move(*token);
      tokens->erase(token);
      block[key] = std::move(value);
    }
    if (block["tokens"].empty()) block.erase("tokens");
  }

  // What Hermes remembers of a provider that it has no tokens for; `{}` too.
  static bool is_without_login(const json& block) {
    if (!block.is_object() || holds_secret(block) || field_of_wrong_type(block)) {
      return false;
    }
    const auto tokens = block.find("tokens");
    return tokens == block.end() ||
           (tokens->is_object() && !holds_secret(*tokens) && !field_of_wrong_type(*tokens));
  }

  static std::string given_up(const json& error) {
    std::string code =
        error.is_object() ? scrub(text_at(error, "code"), {}, kShownError) : std::string();
    return "Hermes gave its tokens up" + (code.empty() ? code : " (" + code + ")") +
           ": log in again";
  }

  void suppress(const std::string& provider, std::string source) {
    state(provider).suppressed_sources.push_back(std::move(source));
  }

  ForeignState& state(const std::string& provider) {
    ForeignState& found = states_[provider];
    found.provider = provider;
    return found;
  }

  Document& document_;
  std::map<std::string, ForeignState> states_;
  json not_imported_ = json::object();
};

bool has_object(const json& root, const char* key) {
  const auto it = root.find(key);
  return it != root.end() && it->is_object();
}

// Before there were providers, Nous was a system; the other systems no reader ever knew.
void read_systems(json& root, Reading& reading) {
  reading.members(root, "systems", [&](const std::string& name, json& block) {
    if (name != "nous_portal") {
      return reading.bad("systems." + name, "", "no such system is known", block);
    }
    reading.provider_block("systems.nous_portal", "nous", block);
    reading.active("nous");
  });
}

}  // namespace

void read_block(Block block, Document& document) {
  Reading reading(document);
  reading.block(std::move(block));
  json kept = open_text(document.unknown);
  reading.finish(std::move(kept));
}

void keep_rest(json rest, Document& document) {
  rest.update(open_text(document.unknown));
  document.unknown = seal_text(std::move(rest));
}

// Codex's and xAI's tokens are one level down.
bool is_nested(std::string_view provider) {
  return provider == "openai-codex" || provider == "xai-oauth";
}

Spelling row_spelling(std::string_view provider) {
  const bool ms =
      provider == "anthropic" || provider == "qwen-oauth" || provider == "minimax-oauth";
  const bool nested = is_nested(provider);
  return {.access = provider == "photon_project" ? "project_secret" : "access_token",
          .obtained = nested ? "last_refresh"
                      : ms   ? nullptr
                             : "obtained_at",
          .expires = nested ? nullptr
                     : ms   ? "expires_at_ms"
                            : "expires_at",
          .expires_ms = ms,
          .needs_expiry = needs_expiry(provider)};
}

Spelling block_spelling(std::string_view provider) {
  if (!is_nested(provider)) return {.needs_expiry = needs_expiry(provider)};
  return {.nest = "tokens",
          .obtained = "last_refresh",
          .expires = nullptr,
          .no_refresh = Instead::word};
}

namespace {

constexpr Spelling kAnthropicSpelling{.access = "accessToken",
                                      .refresh = "refreshToken",
                                      .obtained = nullptr,
                                      .expires = "expiresAt",
                                      .expires_ms = true};

// What has a provider's block without Hermes's own words may be another tool's.
bool is_foreign(const json& block) {
  return block.is_object() &&
         (block.contains("api_key") || block.contains("oauth") || block.contains("settings"));
}

bool recognises_store(const json& root, const std::filesystem::path& path) {
  if (!root.is_object()) return false;
  if (has_object(root, "credential_pool") || has_object(root, "systems")) return true;
  const bool nothing_else = root.empty() || (root.size() == 1 && root.contains("version"));
  if (nothing_else) return is_at(path, "auth.json");
  if (!has_object(root, "providers")) return false;
  const json& blocks = root.at("providers");
  return root.contains("active_provider") || std::none_of(blocks.begin(), blocks.end(), is_foreign);
}

void read_store(json root, Document& document) {
  Reading reading(document);
  if (!has_object(root, "providers") && !has_object(root, "credential_pool")) {
    read_systems(root, reading);
  }
  reading.members(root, "credential_pool", [&](const std::string& provider, json& rows) {
    reading.pool_list(provider, rows);
  });
  reading.members(root, "providers", [&](const std::string& provider, json& block) {
    reading.provider_block("providers." + provider, provider, block);
  });
  reading.members(root, "suppressed_sources", [&](const std::string& provider, json& sources) {
    reading.suppressed(provider, sources);
  });
  if (root.contains("active_provider") && !root["active_provider"].is_null()) {
    reading.active(root["active_provider"]);
    root.erase("active_provider");
  }
  root.erase("updated_at");
  if (root.value("version", json()) == 1) root.erase("version");
  reading.finish(std::move(root));
}

bool recognises_anthropic(const json& root, const std::filesystem::path& path) {
  if (!root.is_object() || !root.contains("accessToken") || !root.contains("refreshToken")) {
    return false;
  }
  const auto is_claudes = [&](const char* key) {
    return has_text(root, key) && root.at(key).get_ref<const std::string&>().starts_with("sk-ant-");
  };
  return is_at(path, ".anthropic_oauth.json") || is_claudes("accessToken") ||
         is_claudes("refreshToken");
}

void read_anthropic(json root, Document& document) {
  json original = masked(root, kAnthropicSpelling);
  rename(root, "accessToken", "access_token");
  rename(root, "refreshToken", "refresh_token");
  rename(root, "expiresAt", "expires_at_ms");
  read_block({"file", "anthropic", "hermes_pkce", std::move(root), std::move(original)}, document);
}

bool recognises_shared_nous(const json& root, const std::filesystem::path&) {
  return root.is_object() && root.contains("refresh_token") &&
         (root.contains("portal_base_url") || root.contains("inference_base_url"));
}

void read_shared_nous(json root, Document& document) {
  json rest = json::object();
  for (const char* key : {"_schema", "updated_at"}) {
    if (root.contains(key)) rest[key] = std::move(root[key]);
    root.erase(key);
  }
  json original = masked(root, block_spelling("nous"));
  read_block({"file", "nous", "device_code", std::move(root), std::move(original)}, document);
  keep_rest(std::move(rest), document);
}

void add_rows(std::vector<GrantPlace>& found, json& root) {
  const auto pools = root.find("credential_pool");
  if (pools == root.end() || !pools->is_object()) return;
  for (auto& [provider, rows] : pools->items()) {
    for (std::size_t i = 0; rows.is_array() && i < rows.size(); ++i) {
      if (!rows[i].is_object()) continue;
      found.emplace_back(pointer({"credential_pool", provider, std::to_string(i)}), provider,
                         rows[i], row_spelling(provider));
    }
  }
}

void add_blocks(std::vector<GrantPlace>& found, json& root, const char* section) {
  const auto blocks = root.find(section);
  if (blocks == root.end() || !blocks->is_object()) return;
  for (auto& [name, block] : blocks->items()) {
    if (!block.is_object()) continue;
    const std::string provider = name == "nous_portal" ? "nous" : name;
    found.emplace_back(pointer({section, name}), provider, block, block_spelling(provider));
  }
}

std::vector<GrantPlace> places_of_store(json& root) {
  std::vector<GrantPlace> found;
  add_rows(found, root);
  for (const char* section : {"providers", "systems"}) add_blocks(found, root, section);
  return found;
}

std::vector<GrantPlace> places_of_anthropic(json& root) {
  return {GrantPlace("", "anthropic", root, kAnthropicSpelling)};
}

std::vector<GrantPlace> places_of_shared_nous(json& root) {
  return {GrantPlace("", "nous", root, block_spelling("nous"))};
}

Result<json> anthropic_tree(const Contents& contents, const ExportRequest& request) {
  return flat_tree(contents, request, "anthropic", kAnthropicSpelling, json::object());
}

json fresh_nous(const Shown* shown) {
  json fresh{{"_schema", 1}};
  if (!shown) return fresh;
  const Identity& id = shown->identity();
  for (const auto& [key, text] : {std::pair{"client_id", &id.client_id},
                                  {"scope", &id.scope},
                                  {"token_type", &id.token_type},
                                  {"portal_base_url", &id.portal_base_url},
                                  {"inference_base_url", &id.inference_base_url}}) {
    if (!text->empty()) fresh[key] = *text;
  }
  return fresh;
}

Result<json> shared_nous_tree(const Contents& contents, const ExportRequest& request) {
  return flat_tree(contents, request, "nous", block_spelling("nous"),
                   fresh_nous(only_login(contents, "nous")));
}

Seconds skew(std::string_view provider) {
  if (provider == "xai-oauth") return Seconds{3600};
  if (provider == "minimax-oauth") return Seconds{60};
  return Seconds{120};
}

bool is_inside(const fs::path& path, const fs::path& directory) {
  const auto [end, unused] =
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return end == directory.end();
}

// With all of its profiles. A variable that names a profile of a root means that root.
std::vector<fs::path> homes() {
  const fs::path native = tool_directory({}, ".hermes");
  fs::path root = tool_directory({"HERMES_HOME"}, ".hermes");
  if (root.empty()) return {};
  root = tidy(root);
  if (!native.empty() && is_inside(root, native)) return {native};
  const bool is_profile = root.parent_path().filename() == "profiles";
  return {is_profile ? root.parent_path().parent_path() : root};
}

// In the directory that homes() says.
std::vector<fs::path> no_homes() { return {}; }

std::vector<fs::path> shared_homes() {
  const char* const set = std::getenv("HERMES_SHARED_AUTH_DIR");
  return kept_in(set == nullptr ? "" : set, "nous_auth.json");
}

std::vector<LockRule> locks(const std::filesystem::path& path) { return {hermes_lock(path)}; }

// That of the home first.
std::vector<LockRule> anthropic_locks(const std::filesystem::path& path) {
  return {hermes_lock(path.parent_path() / "auth.json"), hermes_lock(path)};
}

}  // namespace

}  // namespace authdb::migrate::hermes

namespace authdb::migrate {

extern const Format kHermes;
const Format kHermes{"hermes",
                     "auth.json with `credential_pool`, `providers` or `systems`",
                     "auth.json",
                     hermes::homes,
                     hermes::recognises_store,
                     hermes::read_store,
                     hermes::places_of_store,
                     hermes::tree,
                     hermes::skew,
                     hermes::locks};

extern const Format kHermesAnthropic;
const Format kHermesAnthropic{"hermes-anthropic",
                              ".anthropic_oauth.json with `accessToken`",
                              ".anthropic_oauth.json",
                              hermes::no_homes,
                              hermes::recognises_anthropic,
                              hermes::read_anthropic,
                              hermes::places_of_anthropic,
                              hermes::anthropic_tree,
                              hermes::skew,
                              hermes::anthropic_locks};

extern const Format kHermesSharedNous;
const Format kHermesSharedNous{"hermes-shared-nous",
                               "shared/nous_auth.json with `refresh_token` and a portal",
                               "shared/nous_auth.json",
                               hermes::shared_homes,
                               hermes::recognises_shared_nous,
                               hermes::read_shared_nous,
                               hermes::places_of_shared_nous,
                               hermes::shared_nous_tree,
                               hermes::skew,
                               hermes::locks};

}  // namespace authdb::migrate
