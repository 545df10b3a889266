// authdb add: an API key, or a grant that somebody else logged in for.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "oauth/expiry.h"
#include "oauth/token_answer.h"
#include "store/claims.h"
#include "store/fingerprint.h"
#include "store/timestamp.h"
#include "store/words.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/projections.h"
#include "tools/render/json.h"
#include "tools/render/number.h"
#include "tools/render/text.h"
#include "tools/secret_input.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Adds an API key, read from stdin or asked for without echo at a terminal. The key
is never an argument: arguments are visible to every process of the machine and
kept in the shell's history. A key that is there already is not added twice.

With --grant the JSON answer of a token endpoint is read from stdin instead, and
with it an OAuth grant is added: access_token, refresh_token, expires_in or
expires_at, scope, token_type, inference_base_url; and, where they matter,
client_id, portal_base_url, obtained_at, agent_key, agent_key_id,
agent_key_expires_at. From then on the store refreshes it: whoever gave you the
answer must not use its refresh token any more. An expiry that it does not state
is unknown, and one that is past is past. With the --label of a credential
whose session has ended, it is a new login of that credential.

The store is made if there is none. The credential is bound to the profile.

Exit codes
  0 done   2 usage, or nothing usable on stdin   3 --grant for an unknown provider
  6 busy   7 refused, or the refresh token was spent before

Examples
  authdb add openrouter --label work < key.txt
  pass show openrouter | authdb add openrouter --priority 1
  curl … https://portal.example.org/api/oauth/token | authdb add nous --grant
)man";

struct Options {
  std::string provider;
  std::optional<std::string> label;
  std::optional<std::string> priority;
  bool grant = false;
};

// What stdin brought, ready for the store.
struct Arrival {
  Identity identity;
  Grant grant;
  std::optional<AgentKey> agent_key;
};

constexpr std::string_view kNotAnArgument =
    "Arguments are visible to every process of this machine and kept in the shell's history. Pipe "
    "the key in, or run the command at a terminal to be asked for it.";

std::optional<Error> explain_key_argument(std::string_view option) {
  constexpr std::array kKeyOptions{"--api-key", "--key", "--token", "--secret", "--access-token"};
  const bool positional = option.empty();
  const bool named = std::find(kKeyOptions.begin(), kKeyOptions.end(), option) != kKeyOptions.end();
  if (!positional && !named) return std::nullopt;
  return Error{Errc::usage, "a key is not given as an argument", std::string(kNotAnArgument)};
}

Result<void> check_provider_name(const std::string& name) {
  // Whoever forgot the provider typed the key in its place.
  if (name.starts_with("sk-")) return fail(*explain_key_argument({}));
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._:/@-").find(c) != std::string_view::npos;
  };
  if (name.empty() || name.size() > 64 || !std::all_of(name.begin(), name.end(), fits)) {
    return fail(Errc::usage, "that is no name for a provider",
                "It has letters, digits and . _ : / @ - in it.");
  }
  return {};
}

// API key -------------------------------------------------------------------------------------

Result<Arrival> read_api_key(Context& context, const std::string& provider) {
  auto key = read_secret(context, "API key for " + printable(provider) + ": ");
  if (!key) return fail(std::move(key).error());
  Arrival arrival;
  arrival.identity.provider = provider;
  arrival.identity.auth_type = AuthType::api_key;
  arrival.identity.source = "manual";
  arrival.grant.access_token = *std::move(key);
  arrival.grant.obtained_at = context.clock();
  arrival.grant.bearer_kind = BearerKind::api_key;
  return arrival;
}

// OAuth grant ---------------------------------------------------------------------------------

std::optional<Instant> time_in(const oauth::TokenAnswer& answer, const char* key) {
  const auto field = answer.fields().find(key);
  if (field == answer.fields().end()) return std::nullopt;
  const auto parsed = parse_time(*field, NaiveTime::reject);
  return parsed ? std::optional(parsed->at) : std::nullopt;
}

std::optional<AgentKey> agent_key_in(const oauth::TokenAnswer& answer) {
  if (answer.text("agent_key").empty()) return std::nullopt;
  AgentKey key;
  key.secret = answer.secret("agent_key");
  key.key_id = answer.text("agent_key_id");
  key.obtained_at = time_in(answer, "agent_key_obtained_at");
  key.expires_at = time_in(answer, "agent_key_expires_at");
  const auto lifetime = answer.fields().find("agent_key_expires_in");
  if (!key.expires_at && key.obtained_at && lifetime != answer.fields().end()) {
    if (const auto life = parse_lifetime(*lifetime)) key.expires_at = *key.obtained_at + *life;
  }
  return key;
}

Identity identity_in(const oauth::TokenAnswer& answer, const oauth::Provider& provider) {
  Identity identity;
  identity.provider = provider.id;
  identity.auth_type = AuthType::oauth;
  identity.source = "manual:grant";
  identity.client_id = answer.text("client_id");
  if (identity.client_id.empty()) identity.client_id = provider.client_id;
  identity.scope = answer.text("scope");
  identity.token_type = answer.text("token_type");
  identity.portal_base_url = answer.text("portal_base_url");
  identity.inference_base_url = answer.text("inference_base_url");
  if (const auto claims = read_claims(answer.text("access_token"))) {
    identity.account = claims->account.empty() ? claims->subject : claims->account;
    identity.label = claims->email;
  }
  return identity;
}

Result<Arrival> read_grant(Context& context, const std::string& provider_id) {
  const auto* provider = context.registry().find_oauth(provider_id);
  if (provider == nullptr) {
    return fail(
        Errc::not_found,
        "there is no provider " + in_quotes(provider_id) + " whose grants could be refreshed",
        "`authdb providers` lists them; a file in providers.d adds one.");
  }
  if (context.ask) {
    return fail(Errc::usage, "the token endpoint's answer is expected on stdin",
                "Pipe it in: a terminal would show it.");
  }
  auto body = read_all(context.in);
  if (!body) return fail(std::move(body).error());
  const oauth::TokenAnswer answer(body->reveal());

  Arrival arrival;
  arrival.identity = identity_in(answer, *provider);
  arrival.agent_key = agent_key_in(answer);
  const auto endpoint = oauth::endpoints(context.bearer_parts(), context.clock)(arrival.identity);
  if (endpoint == nullptr) return fail(Errc::unexpected, "the provider has no token endpoint");

  Answer received;
  received.http_status = 200;
  received.body = *std::move(body);
  received.content_type = "application/json";
  received.complete = true;
  received.started_at = time_in(answer, "obtained_at").value_or(context.clock());
  auto judgement = endpoint->judge(received);
  if (!judgement.grant) {
    return fail(Errc::usage, "there is no usable grant on stdin: " + printable(judgement.message),
                "It is the JSON of a token endpoint, with an access_token or a refresh_token.");
  }
  arrival.grant = *std::move(judgement.grant);
  for (const Secret* token : {&arrival.grant.access_token, &arrival.grant.refresh_token}) {
    if (token->empty() || is_token_text(token->reveal())) continue;
    return fail(Errc::usage,
                "a token on stdin has a character that no token has: a space, a control "
                "character, or something that is no ASCII",
                "Pipe the token endpoint's answer in as it came.");
  }
  // What the endpoint assumes of an answer to our own request is no knowledge of this one.
  const auto token = arrival.grant.access_token.reveal();
  if (!token.empty()) {
    arrival.grant.expires_at = oauth::stated_expiry(answer, token, received.started_at);
  }
  // The latest that it can be: the login was not after this answer.
  if (provider->session && !arrival.grant.session_ends_at) {
    arrival.grant.session_ends_at = received.started_at + *provider->session;
  }
  return arrival;
}

// Into the store ------------------------------------------------------------------------------

std::string free_label(const std::vector<Credential>& existing, const Identity& identity) {
  const auto taken = [&](const std::string& label) {
    return std::any_of(existing.begin(), existing.end(),
                       [&](const auto& credential) { return credential.identity.label == label; });
  };
  const bool oauth = identity.auth_type == AuthType::oauth;
  const auto stem = oauth ? identity.provider + "-oauth-" : "api-key-";
  auto n = existing.size() + 1;
  while (taken(stem + std::to_string(n))) ++n;
  return stem + std::to_string(n);
}

// The credential that holds what arrived already; it is not added twice.
const Credential* same_secret(const std::vector<Credential>& existing, const Arrival& arrival) {
  for (const auto& credential : existing) {
    if (arrival.grant.refresh_token.empty()
            ? credential.access_fingerprint == fingerprint(arrival.grant.access_token)
            : credential.refresh_hash == token_hash(arrival.grant.refresh_token)) {
      return &credential;
    }
  }
  return nullptr;
}

// The credential whose ended session this grant continues.
const Credential* ended_session(const std::vector<Credential>& existing, const Options& options) {
  if (!options.grant || !options.label) return nullptr;
  for (const auto& credential : existing) {
    if (credential.identity.label == *options.label &&
        credential.identity.auth_type == AuthType::oauth &&
        credential.health.status == Status::dead) {
      return &credential;
    }
  }
  return nullptr;
}

Result<void> check_unspent(const Store& store, const Grant& grant) {
  if (grant.refresh_token.empty()) return {};
  const auto retired = store.retired(token_hash(grant.refresh_token));
  if (!retired) return fail(retired.error());
  if (!*retired) return {};
  return fail(Errc::refused,
              "the refresh token " + fingerprint(grant.refresh_token) + " is a retired one (" +
                  std::string(word((*retired)->reason)) + ", credential " + (*retired)->uid + ")",
              "Sending it again could end the session for everybody. Log in for a new one.");
}

CredentialChange as_change(Arrival arrival, const Credential* ended, const std::string& profile) {
  CredentialChange change;
  change.origin = Origin::login;
  change.kind = AttemptKind::login;
  if (ended != nullptr) {
    change.uid = ended->uid;
    change.planned_against = ended->generation;
    change.new_family = true;
    change.health = Health{};
    change.hold = Hold::none;
    arrival.identity.foreign_id = ended->identity.foreign_id;
  }
  change.identity = std::move(arrival.identity);
  change.grant = std::move(arrival.grant);
  change.agent_key = std::move(arrival.agent_key);
  change.bindings = {{profile, std::nullopt}};
  return change;
}

Result<void> bind(Store& store, const std::string& profile, const Uid& uid) {
  Change change;
  change.profiles = {profile};  // made if there is none
  if (const auto applied = store.apply(change); !applied) return fail(applied.error());
  return store.bind(profile, uid);
}

struct Placed {
  Uid uid;
  enum class How { added, there_already, logged_in_again } how;
  std::string warning;
};

// The grant has been handed over to us: where the credential that it was meant for cannot take it,
// it is kept as another one.
Result<Placed> apply(Store& store, Change change, const std::vector<Credential>& existing) {
  CredentialChange& one = change.credentials.front();
  const bool again = !one.uid.empty();
  const auto applied = store.apply(change);
  if (applied && !applied->stale_plan) {
    return Placed{
        applied->uids.front(), again ? Placed::How::logged_in_again : Placed::How::added, {}};
  }
  const Error error = applied ? Error{Errc::busy, "another process changed it at this moment", ""}
                              : applied.error();
  if (!again) return fail(error);
  const std::string old = in_quotes(one.identity->label) + " (" + one.uid + ")";
  one.uid.clear();
  one.planned_against = 0;
  one.new_family = false;
  one.identity->foreign_id.clear();
  one.identity->label = free_label(existing, *one.identity);
  const auto anew = store.apply(change);
  if (!anew) return fail(anew.error());
  return Placed{anew->uids.front(), Placed::How::added,
                old + " could not be renewed, so this grant is a new credential: " + error.message};
}

Result<Placed> put(Store& store, Arrival arrival, const Options& options,
                   const std::string& profile) {
  const auto existing = store.list({arrival.identity.provider, {}, false});
  if (!existing) return fail(existing.error());
  if (const auto* same = same_secret(*existing, arrival)) {
    const auto users = store.profiles_of(same->uid);
    if (!users) return fail(users.error());
    if (std::find(users->begin(), users->end(), profile) == users->end()) {
      if (auto bound = bind(store, profile, same->uid); !bound) return fail(bound.error());
    }
    return Placed{same->uid, Placed::How::there_already, {}};
  }
  if (auto unspent = check_unspent(store, arrival.grant); !unspent) return fail(unspent.error());

  if (options.label) arrival.identity.label = *options.label;
  if (arrival.identity.label.empty()) {
    arrival.identity.label = free_label(*existing, arrival.identity);
  }
  Change change;
  change.profiles = {profile};
  const auto* ended = ended_session(*existing, options);
  change.credentials.push_back(as_change(std::move(arrival), ended, profile));
  return apply(store, std::move(change), *existing);
}

void print(Context& context, const Placed& placed, const PoolEntry& entry) {
  const auto& identity = entry.credential.identity;
  if (context.globals.json) {
    print_json(context.out, {{"added", placed.how == Placed::How::added},
                             {"provider", identity.provider},
                             {"credential", placed.uid},
                             {"label", identity.label},
                             {"profile", context.profile()},
                             {"position", entry.position},
                             {"kind", word(entry.credential.bearer_kind)}});
    return;
  }
  const auto type = identity.auth_type == AuthType::oauth ? " OAuth credential #" : " credential #";
  switch (placed.how) {
    case Placed::How::added:
      context.out << "Added ";
      break;
    case Placed::How::there_already:
      context.out << "There already: ";
      break;
    case Placed::How::logged_in_again:
      context.out << "Logged in again: ";
      break;
  }
  context.out << printable(identity.provider) << type << entry.position << ": \""
              << printable(identity.label) << "\"\n";
}

Result<int> run(Context& context, const Options& options) {
  if (auto named = check_provider_name(options.provider); !named) return fail(named.error());
  const auto place = options.priority ? parse_place(*options.priority) : std::nullopt;
  if (options.priority && !place) {
    return fail(Errc::usage, "--priority is a place in the pool: 1, 2, 3, …");
  }
  if (options.label && options.label->empty()) return fail(Errc::usage, "--label is empty");
  const auto provider = oauth::ProviderRegistry::canonical_id(options.provider);
  auto arrival = options.grant ? read_grant(context, provider) : read_api_key(context, provider);
  if (!arrival) return fail(arrival.error());

  auto store = open_store(context, OpenMode::create);
  if (!store) return fail(store.error());
  const auto profile = context.profile();
  const auto placed = put(*store, *std::move(arrival), options, profile);
  if (!placed) return fail(placed.error());
  if (!placed->warning.empty()) context.warn(placed->warning);
  if (place) {
    if (auto moved = store->set_place(profile, placed->uid, *place); !moved) {
      return fail(moved.error());
    }
  }

  update_projections(context, *store);
  const auto entry = find_target(context, *store, profile, provider, placed->uid);
  if (!entry) return fail(entry.error());
  print(context, *placed, *entry);
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose key, or whose grant");
  arguments.option("--label", "L", options->label, "what to call it");
  arguments.option("--priority", "N", options->priority, "its place in the pool; else the end");
  arguments.flag("--grant", options->grant, "stdin is the JSON answer of a token endpoint");
  arguments.when_unexpected(explain_key_argument);
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kAdd{"add", Group::setup, "add an API key or a grant from stdin", kManual, declare};

}  // namespace authdb::cli
