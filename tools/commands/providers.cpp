// authdb providers: whose tokens the store knows how to refresh, and where each fact comes from.
#include <algorithm>

#include "oauth/endpoints.h"
#include "store/target.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/duration.h"
#include "tools/render/json.h"
#include "tools/render/table.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Lists the providers, or shows what is known of one and where each value comes
from: built in, a file, a variable of the environment, or a default. A provider
is data: a JSON file in providers.d of the configuration folder adds one, or
changes a built-in one (docs/providers.md describes the fields). One of KIND
`api_key` has no logins. API keys need no entry here; a provider that only the
store knows is listed as `custom`.

A file that cannot be used is reported on stderr, and the other providers still
work.

Exit codes
  0 done   3 no such provider

Examples
  authdb providers
  authdb providers nous
  authdb providers --json
)man";

std::string text_of(Seconds span) { return std::to_string(span.count()) + " s"; }

std::string text_of(const std::optional<Seconds>& span) { return span ? text_of(*span) : ""; }

// Header names only: a value may be a key.
std::string names_of(const std::map<std::string, std::string>& headers) {
  std::vector<std::string> names;
  for (const auto& header : headers) names.push_back(header.first);
  return joined(names);
}

std::string pairs_of(const std::map<std::string, std::string>& map, const char* sign) {
  std::vector<std::string> pairs;
  for (const auto& [left, right] : map) pairs.push_back(left + sign + right);
  return joined(pairs);
}

struct Field {
  std::string name;
  std::string value;
  std::string origin{};
};

std::vector<Field> fields_of(const oauth::Provider& provider) {
  return {{"id", provider.id},
          {"name", provider.name},
          {"aliases", joined(provider.aliases)},
          {"issuer", provider.issuer},
          {"portal_base_url", provider.portal_base_url},
          {"token_endpoint", provider.token_endpoint},
          {"revocation_endpoint", provider.revocation_endpoint},
          {"login", provider.login},
          {"device_authorization_endpoint", provider.device_authorization_endpoint},
          {"device_token_endpoint", provider.device_token_endpoint},
          {"verification_uri", provider.verification_uri},
          {"device_pkce", provider.device_pkce ? "true" : ""},
          {"authorization_endpoint", provider.authorization_endpoint},
          {"authorization_params", pairs_of(provider.authorization_params, "=")},
          {"redirect_uri", provider.redirect_uri},
          {"client_id", provider.client_id},
          {"client_auth", provider.client_auth},
          {"client_secret_env", provider.client_secret_env},
          {"api_key_env", joined(provider.api_key_env)},
          {"scope", provider.scope},
          {"token_body", provider.token_body},
          {"token_body_of", pairs_of(provider.token_body_of, "=")},
          {"code_body", provider.code_body},
          {"revocation_body", provider.revocation_body},
          {"refresh_token_in", provider.refresh_token_in},
          {"headers", names_of(provider.headers)},
          {"skew_s", text_of(provider.skew)},
          {"lead_s", text_of(provider.lead)},
          {"floor_s", text_of(provider.floor)},
          {"reuse_grace_s", text_of(provider.reuse_grace)},
          {"session_s", text_of(provider.session)},
          {"inference_base_url", provider.inference_base_url},
          {"agent_key", provider.agent_key ? provider.agent_key->endpoint : ""},
          {"allowed_hosts", joined(provider.allowed_hosts)},
          {"moved_hosts", pairs_of(provider.moved_hosts, "=")},
          {"ca_file", provider.ca_file},
          {"errors", provider.errors.empty() ? "" : counted(std::ssize(provider.errors), "rule")},
          {"login_hint", provider.login_hint},
          {"env", pairs_of(provider.env, "=$")}};
}

oauth::Setting authorities_of(const Context& context, const oauth::Provider& provider) {
  auto file = oauth::ca_file_of(provider, {}, context.env);
  return file.value.empty() ? oauth::ca_directory_of(provider, {}, context.env) : file;
}

// As it counts now: the environment wins over the files.
Field in_effect(const Context& context, const oauth::Provider& provider, Field field) {
  const auto set = field.name == "ca_file" ? authorities_of(context, provider)
                                           : oauth::setting(provider, field.name, context.env);
  const auto file = provider.origin.find(field.name);
  if (!set.variable.empty()) return {field.name, set.value, "$" + set.variable};
  field.origin = file == provider.origin.end() ? "default" : file->second;
  return field;
}

int show_one(Context& context, const oauth::Provider& provider) {
  auto json = Json::object();
  Table table({"FIELD", "VALUE", "FROM"});
  for (const auto& field : fields_of(provider)) {
    const auto [name, value, origin] = in_effect(context, provider, field);
    if (value.empty()) continue;
    json[name] = {{"value", value}, {"from", origin}};
    table.add({{name}, {value}, {origin, Tone::faint}});
  }
  if (context.globals.json) {
    print_json(context.out, json);
  } else {
    table.draw(context.out, context.colour());
  }
  return kOk;
}

// What the store holds of each provider; empty where there is no store, which is no mistake here.
std::vector<Credential> stored_credentials(Context& context) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) {
    if (store.error().code != Errc::not_found) context.warn(store.error().message);
    return {};
  }
  auto all = store->list({});
  return all ? *std::move(all) : std::vector<Credential>();
}

void report_problems(Context& context) {
  for (const auto& problem : context.registry().problems()) {
    auto text = problem.file.string() + ": ";
    if (!problem.field.empty()) text += problem.field + ": ";
    context.warn(printable(text + problem.reason));
  }
}

int show_all(Context& context) {
  std::map<std::string, std::int64_t> held;
  for (const auto& credential : stored_credentials(context)) ++held[credential.identity.provider];
  auto json = Json::array();
  Table table({"PROVIDER", "NAME", "ALIASES", "KIND", "CREDENTIALS"});
  const auto add = [&](const std::string& id, const std::string& name,
                       const std::vector<std::string>& aliases, const std::string& kind) {
    json.push_back({{"id", id},
                    {"name", or_null(name)},
                    {"aliases", aliases},
                    {"kind", kind},
                    {"credentials", held[id]}});
    table.add({{id}, {name}, {joined(aliases)}, {kind}, {std::to_string(held[id])}});
  };
  for (const auto& provider : context.registry().all()) {
    add(provider.id, provider.name, provider.aliases,
        oauth::has_logins(provider) ? "oauth" : "api_key");
  }
  for (const auto& [id, count] : std::map(held)) {
    if (context.registry().find(id) == nullptr) add(id, "", {}, "custom");
  }
  if (context.globals.json) {
    print_json(context.out, json);
  } else {
    table.draw(context.out, context.colour());
  }
  return kOk;
}

Result<int> run(Context& context, const std::string& name) {
  report_problems(context);
  if (name.empty()) return show_all(context);
  if (const auto* provider = context.registry().find(name)) return show_one(context, *provider);

  std::vector<std::string> names;
  for (const auto& provider : context.registry().all()) names.push_back(provider.id);
  const auto stored = stored_credentials(context);
  const bool custom = std::any_of(stored.begin(), stored.end(), [&](const auto& credential) {
    return credential.identity.provider == name;
  });
  if (custom) {
    return fail(
        Errc::not_found, in_quotes(name) + " is a custom provider: nothing is known of it",
        "Its API keys are used as they are. `authdb list " + printable(name) + "` shows them.");
  }
  const auto close = nearest(name, names);
  return fail(Errc::not_found, "there is no provider " + in_quotes(name),
              close.empty() ? "`authdb providers` lists them."
                            : "Did you mean " + joined(close, " or ") + "?");
}

Run declare(Arguments& arguments) {
  auto name = std::make_shared<std::string>();
  arguments.positional("NAME", *name, "id or alias of one", Need::optional);
  return [name](Context& context) { return run(context, *name); };
}

}  // namespace

const Command kProviders{"providers", Group::setup, "whose tokens can be refreshed, and how",
                         kManual, declare};

}  // namespace authdb::cli
