#include <array>

#include "migrate/formats/fields.h"
#include "migrate/formats/opencode.h"
#include "migrate/formats/writers.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

tl::unexpected<Error> nothing_for(const ExportRequest& request, const std::string& what) {
  return fail(Errc::not_found,
              "Profile " + request.profile + " has no " + what + " that a " +
                  std::string(name_of(request.format)) + " file could hold",
              "`authdb list --profile " + request.profile + "` shows what it has.");
}

// What the last such file had beside its blocks; what could not be imported stays there.
json rest_of(const Contents& contents) {
  json rest = contents.unknown;
  rest.erase(kNotImported);
  return rest;
}

// The one block of the file, as it was or made anew from `fresh`.
json block_of(const Contents& contents, const ExportRequest& request, const Shown& shown,
              json fresh) {
  const bool known = !shown.places.empty();
  json block = std::move(fresh);
  if (known) block = shown.places.front().as;
  write_grant(block, spelling_of(name_of(request.format), shown.identity().provider, true),
              shown.held, {.known = known, .with_refresh = contents.with_refresh});
  return block;
}

Result<json> claude_tree(const Contents& contents, const ExportRequest& request) {
  const Shown* shown = only_login(contents, "anthropic");
  if (!shown) return nothing_for(request, "Claude login");
  json scopes = json::array();
  std::string word;
  for (const char c : shown->identity().scope + " ") {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      scopes.push_back(std::exchange(word, {}));
    }
  }
  json root = rest_of(contents);
  root["claudeAiOauth"] = block_of(contents, request, *shown, {{"scopes", std::move(scopes)}});
  return root;
}

Result<json> flat_tree(const Contents& contents, const ExportRequest& request, const char* provider,
                       json fresh) {
  const Shown* shown = only_login(contents, provider);
  if (!shown) return nothing_for(request, std::string(provider) + " login");
  json root = block_of(contents, request, *shown, std::move(fresh));
  root.update(rest_of(contents));
  return root;
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

json fresh_qwen(const Shown* shown) {
  const bool known = shown && shown->extra.contains("resource_url");
  return {{"token_type", "Bearer"},
          {"resource_url", known ? shown->extra["resource_url"] : json("portal.qwen.ai")}};
}

const Shown* key_of(const Contents& contents, const std::string& provider) {
  const auto pool = contents.pools.find(provider);
  if (pool == contents.pools.end()) return nullptr;
  const Shown* first = nullptr;
  for (const Shown& shown : pool->second) {
    if (shown.held.access_token.empty()) continue;
    if (!shown.places.empty()) return &shown;
    if (!first) first = &shown;
  }
  return first;
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

Result<json> codex_tree(const Contents& contents, const ExportRequest& request) {
  const Shown* login = only_login(contents, "openai-codex");
  const Shown* key = key_of(contents, "openai");
  if (!login && !key) return nothing_for(request, "ChatGPT login and no OpenAI key");
  json root = json::object();
  if (login) {
    root = block_of(contents, request, *login, json::object());
    complete_codex(root, *login);
  }
  root.update(rest_of(contents));
  // A key that Codex never had goes there only for want of a login.
  const bool show_key = key && (!key->places.empty() || !login);
  if (show_key) root["OPENAI_API_KEY"] = std::string(key->held.access_token.reveal());
  if (!root.contains("OPENAI_API_KEY")) root["OPENAI_API_KEY"] = nullptr;
  return root;
}

json opencode_entry(const Contents& contents, const Shown& shown) {
  const bool known = !shown.places.empty();
  const bool oauth = shown.identity().auth_type == AuthType::oauth;
  json entry = known ? shown.places.front().as : json{{"type", oauth ? "oauth" : "api"}};
  Spelling spelling = spelling_of("opencode", shown.identity().provider, true);
  if (entry["type"] != "oauth") {
    spelling = {.access = entry["type"] == "wellknown" ? "token" : "key",
                .refresh = nullptr,
                .obtained = nullptr,
                .expires = nullptr};
  }
  write_grant(entry, spelling, shown.held, {.known = known, .with_refresh = contents.with_refresh});
  if (entry["type"] == "oauth") {  // opencode's schema wants all three
    if (!entry.contains("expires")) entry["expires"] = 0;
    if (!entry.contains("refresh")) entry["refresh"] = kHeldElsewhere;
  }
  return entry;
}

Result<json> opencode_tree(const Contents& contents, const ExportRequest& request) {
  json root = rest_of(contents);
  for (const auto& [provider, pool] : contents.pools) {
    const Shown* shown = only_login(contents, provider);
    if (!shown) shown = key_of(contents, provider);
    if (!shown || shown->held.access_token.empty()) continue;
    const std::string name =
        shown->places.empty() ? opencode::foreign_provider(provider) : shown->places.front().where;
    if (!root.contains(name)) root[name] = opencode_entry(contents, *shown);
  }
  if (root.empty()) return nothing_for(request, "credential");
  return root;
}

}  // namespace

Result<json> tool_tree(const Contents& contents, const ExportRequest& request) {
  switch (request.format) {
    case Format::hermes_anthropic:
      return flat_tree(contents, request, "anthropic", json::object());
    case Format::hermes_shared_nous:
      return flat_tree(contents, request, "nous", fresh_nous(only_login(contents, "nous")));
    case Format::claude:
      return claude_tree(contents, request);
    case Format::codex:
      return codex_tree(contents, request);
    case Format::qwen:
      return flat_tree(contents, request, "qwen-oauth",
                       fresh_qwen(only_login(contents, "qwen-oauth")));
    case Format::opencode:
      return opencode_tree(contents, request);
    case Format::hermes:
      break;
  }
  return hermes_tree(contents);
}

}  // namespace authdb::migrate
