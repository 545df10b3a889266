// authdb add: an API key, or a grant that somebody else logged in for.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "oauth/expiry.h"
#include "oauth/new_session.h"
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

For whatever starts again and again with the same secret in hand, a container, say:
--if-absent leaves what the profile has of the provider as it is, by --label the one
of that name, with --grant the login of the same account; --renew puts the key or
the grant in its place, and adds it only where there is none.

With --grant the JSON answer of a token endpoint is read from stdin instead, and
with it an OAuth grant is added: access_token, refresh_token, expires_in or
expires_at, scope, token_type, inference_base_url; and, where they matter,
client_id, portal_base_url, obtained_at, agent_key, agent_key_id,
agent_key_expires_at. From then on the store refreshes it: whoever gave you the
answer must not use its refresh token any more. An expiry that it does not state
is unknown, and one that is past is past. Of an account that the store has a login
of already, or with the --label of one of nobody knows whom, it is a new login of
that credential, whose rest and marks are over; another account's is a credential
of its own. Of a grant that is there already a newer access token is taken.

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
  bool if_absent = false;
  bool renew = false;
};

// An API key, ready for the store.
struct Arrival {
  Identity identity;
  Grant grant;
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

std::string subject_in(const oauth::TokenAnswer& answer) {
  for (const char* token : {"id_token", "access_token"}) {
    const auto claims = read_claims(answer.text(token));
    if (claims && !claims->subject.empty()) return claims->subject;
  }
  return {};
}

Result<oauth::NewSession> read_grant(Context& context, const std::string& provider_id) {
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

  oauth::NewSession arrival;
  arrival.identity = identity_in(answer, *provider);
  arrival.agent_key = agent_key_in(answer);
  arrival.id_token = answer.secret("id_token");
  arrival.subject = subject_in(answer);
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

const Credential* same_key(const std::vector<Credential>& existing, const Grant& grant) {
  const std::string print = fingerprint(grant.access_token);
  const auto it = std::find_if(existing.begin(), existing.end(), [&](const Credential& row) {
    return row.access_fingerprint == print;
  });
  return it == existing.end() ? nullptr : &*it;
}

const Credential* same_grant(const std::vector<Credential>& existing, const Grant& grant) {
  if (grant.refresh_token.empty()) return same_key(existing, grant);
  const TokenHash hash = token_hash(grant.refresh_token);
  const auto it = std::find_if(existing.begin(), existing.end(),
                               [&](const Credential& row) { return row.refresh_hash == hash; });
  return it == existing.end() ? nullptr : &*it;
}

// The one of that kind that --if-absent and --renew are about: by label, else the first that the
// profile has.
std::optional<Credential> meant(const Store& store, const std::string& provider, AuthType type,
                                const Options& options, const std::string& profile) {
  const auto pool = store.pool(profile, provider);
  if (!pool) return std::nullopt;
  const auto it = std::find_if(pool->begin(), pool->end(), [&](const PoolEntry& entry) {
    const Identity& identity = entry.credential.identity;
    return identity.auth_type == type && (!options.label || identity.label == *options.label);
  });
  return it == pool->end() ? std::nullopt : std::optional(it->credential);
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

struct Placed {
  Uid uid;
  enum class How { added, there_already, renewed } how;
  std::string warning = {};
};

// As it is, for this profile too.
Result<Placed> keep(Store& store, const Uid& uid, const std::string& profile,
                    Placed::How how = Placed::How::there_already) {
  const auto users = store.profiles_of(uid);
  if (!users) return fail(users.error());
  if (std::find(users->begin(), users->end(), profile) == users->end()) {
    Change change;
    change.profiles = {profile};  // made if there is none
    if (const auto applied = store.apply(change); !applied) return fail(applied.error());
    if (auto bound = store.bind(profile, uid); !bound) return fail(bound.error());
  }
  return Placed{uid, how};
}

Result<Placed> apply(Store& store, CredentialChange one, const std::string& profile) {
  const bool is_new = one.uid.empty();
  one.origin = Origin::login;
  one.kind = AttemptKind::login;
  one.bindings = {{profile, std::nullopt}};
  Change change;
  change.profiles = {profile};
  change.credentials.push_back(std::move(one));
  const auto applied = store.apply(change);
  if (!applied) return fail(applied.error());
  if (applied->stale_plan) {
    return fail(Errc::busy, "another process changed it at this moment", "Try again.");
  }
  return Placed{applied->uids.front(), is_new ? Placed::How::added : Placed::How::renewed};
}

// Into what is there.
CredentialChange renewal_of(const Credential& row, Grant grant) {
  CredentialChange change;
  change.uid = row.uid;
  change.planned_against = row.generation;
  change.grant = std::move(grant);
  return change;
}

Result<Placed> put_key(Store& store, Arrival arrival, const Options& options,
                       const std::string& profile) {
  const std::string& provider = arrival.identity.provider;
  const auto existing = store.list({provider, {}, false});
  if (!existing) return fail(existing.error());
  if (const auto* same = same_key(*existing, arrival.grant)) return keep(store, same->uid, profile);
  const auto there = meant(store, provider, AuthType::api_key, options, profile);
  if (there && options.if_absent) return keep(store, there->uid, profile);
  if (there && options.renew) {
    CredentialChange change = renewal_of(*there, std::move(arrival.grant));
    change.health = Health{};
    return apply(store, std::move(change), profile);
  }
  arrival.identity.label = options.label ? *options.label : free_label(*existing, arrival.identity);
  CredentialChange change;
  change.identity = std::move(arrival.identity);
  change.grant = std::move(arrival.grant);
  return apply(store, std::move(change), profile);
}

// The store has this very refresh token. A server that does not rotate may have sent a newer access
// token with it.
Result<Placed> put_again(Store& store, const Credential& row, oauth::NewSession arrival,
                         const std::string& profile) {
  Grant& grant = arrival.grant;
  const bool newer = !grant.access_token.empty() && grant.expires_at &&
                     fingerprint(grant.access_token) != row.access_fingerprint &&
                     (!row.expires_at || *grant.expires_at > *row.expires_at);
  if (!newer) return keep(store, row.uid, profile);
  grant.refresh_token = Secret();  // the one in the store stays
  return apply(store, renewal_of(row, std::move(grant)), profile);
}

Result<Placed> put_grant(Store& store, oauth::NewSession arrival, const Options& options,
                         const std::string& profile) {
  const std::string provider = arrival.identity.provider;
  const auto existing = store.list({provider, {}, false});
  if (!existing) return fail(existing.error());
  const auto* same = same_grant(*existing, arrival.grant);
  if (same != nullptr) return put_again(store, *same, std::move(arrival), profile);
  const auto there = meant(store, provider, AuthType::oauth, options, profile);
  if (options.if_absent) {
    const auto known = oauth::same_account(store, arrival);
    if (!known) return fail(known.error());
    if (*known) return keep(store, (*known)->uid, profile);
    const bool is_anothers = there && !there->identity.account.empty() &&
                             !arrival.identity.account.empty() && !options.label;
    if (there && !is_anothers) return keep(store, there->uid, profile);
  }
  if (auto unspent = check_unspent(store, arrival.grant); !unspent) return fail(unspent.error());
  oauth::KeepOptions keeping{profile, options.label.value_or("")};
  if (options.renew && !options.label && there) keeping.label = there->identity.label;
  if (auto checked = oauth::check_keepable(store, provider, keeping.label); !checked) {
    return fail(checked.error());
  }
  const auto kept = oauth::keep_session(store, arrival, keeping);
  if (!kept) return fail(kept.error());
  return Placed{kept->uid, kept->renewed ? Placed::How::renewed : Placed::How::added,
                kept->warning};
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
    case Placed::How::renewed:
      context.out << (identity.auth_type == AuthType::oauth ? "Logged in again: " : "Renewed: ");
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
  if (options.if_absent && options.renew) {
    return fail(Errc::usage, "--if-absent and --renew exclude each other");
  }
  std::optional<Arrival> key;
  std::optional<oauth::NewSession> grant;
  if (options.grant) {
    auto read = read_grant(context, provider);
    if (!read) return fail(read.error());
    grant = *std::move(read);
  } else {
    auto read = read_api_key(context, provider);
    if (!read) return fail(read.error());
    key = *std::move(read);
  }

  auto store = open_store(context, OpenMode::create);
  if (!store) return fail(store.error());
  const auto profile = context.profile();
  const auto placed = grant ? put_grant(*store, *std::move(grant), options, profile)
                            : put_key(*store, *std::move(key), options, profile);
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
  arguments.flag("--if-absent", options->if_absent, "leave what is there as it is");
  arguments.flag("--renew", options->renew, "put it in the place of what is there");
  arguments.when_unexpected(explain_key_argument);
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kAdd{"add", Group::setup, "add an API key or a grant from stdin", kManual, declare};

}  // namespace authdb::cli
