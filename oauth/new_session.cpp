#include "oauth/new_session.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "store/claims.h"
#include "store/rotation.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

using nlohmann::json;

// Others may move the credential between plan and apply.
constexpr int kTries = 4;

// Credentials whose locks are tried before a login that names none of them.
constexpr std::size_t kMostProbed = 32;

constexpr const char* kIdToken = "id_token";

struct Account {
  std::string account;  // OpenAI's account id; else empty
  std::string subject;
  std::string stored;  // what Identity::account says: one of the two
};

Account account_of(const NewSession& session) {
  const std::string& known = session.identity.account;
  return {known == session.subject ? "" : known, session.subject, known};
}

Account account_of(const Store& store, const Credential& row) {
  Account out{{}, {}, row.identity.account};
  const auto held = store.unseal(row.uid);
  if (!held) return out;
  if (const auto claims = read_claims(held->access_token.reveal())) {
    out.account = claims->account;
    out.subject = claims->subject;
  }
  return out;
}

enum class Sameness { same, unknown, other };

Sameness compare(const Account& a, const Account& b) {
  const bool accounts = !a.account.empty() && !b.account.empty();
  const bool subjects = !a.subject.empty() && !b.subject.empty();
  if (accounts || subjects) {
    const bool equal =
        (!accounts || a.account == b.account) && (!subjects || a.subject == b.subject);
    return equal ? Sameness::same : Sameness::other;
  }
  if (a.stored.empty() || b.stored.empty()) return Sameness::unknown;
  return a.stored == b.stored ? Sameness::same : Sameness::other;
}

std::vector<Credential> labelled(const std::vector<Credential>& rows, const std::string& label) {
  std::vector<Credential> out;
  if (label.empty()) return out;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(out),
               [&](const Credential& row) { return row.identity.label == label; });
  return out;
}

bool bound_to(const Store& store, const Credential& row, const std::string& profile) {
  const auto users = store.profiles_of(row.uid);
  return users && std::find(users->begin(), users->end(), profile) != users->end();
}

struct Choice {
  const Credential* row = nullptr;  // null: a new credential
  bool label_is_anothers = false;
};

// The credential that was removed with this very token. A server that does not rotate may have one
// for a user and a client: then it comes back.
std::optional<Credential> removed_with(const Store& store, const NewSession& session) {
  const Secret& token = session.grant.refresh_token;
  if (token.empty()) return std::nullopt;
  const auto retired = store.retired(token_hash(token));
  if (!retired || !*retired || (*retired)->reason != Retirement::removed) return std::nullopt;
  const auto rows = store.list({session.identity.provider, {}, true});
  if (!rows) return std::nullopt;
  const auto it = std::find_if(rows->begin(), rows->end(), [&](const Credential& row) {
    return row.uid == (*retired)->uid && row.removed_at;
  });
  return it == rows->end() ? std::nullopt : std::optional(*it);
}

Choice choose(const Store& store, const std::vector<Credential>& rows, const NewSession& session,
              const KeepOptions& options) {
  const Account account = account_of(session);
  Choice choice;
  const Credential* named = nullptr;
  std::vector<const Credential*> ended;  // of nobody knows whom
  int best = -1;
  for (const Credential& row : rows) {
    if (row.identity.auth_type != AuthType::oauth) continue;
    const Secret& token = session.grant.refresh_token;
    if (!token.empty() && row.refresh_hash == token_hash(token)) return {&row, false};
    const bool has_label = !options.label.empty() && row.identity.label == options.label;
    const Sameness sameness = compare(account, account_of(store, row));
    if (has_label && sameness == Sameness::unknown) named = &row;
    if (has_label && sameness == Sameness::other) choice.label_is_anothers = true;
    const bool is_dead = row.health.status == Status::dead;
    if (sameness == Sameness::unknown && is_dead && bound_to(store, row, options.profile)) {
      ended.push_back(&row);
    }
    if (sameness != Sameness::same) continue;
    const int merit =
        (has_label ? 4 : 0) + (is_dead ? 2 : 0) + (bound_to(store, row, options.profile) ? 1 : 0);
    if (merit > best) choice.row = &row;
    best = std::max(best, merit);
  }
  if (named != nullptr && best < 4) choice.row = named;
  const bool none_fits = choice.row == nullptr && options.label.empty();
  if (none_fits && ended.size() == 1) choice.row = ended.front();
  return choice;
}

std::string free_label(const std::vector<Credential>& rows, const std::string& provider) {
  auto n = rows.size() + 1;
  const auto taken = [&] {
    return !labelled(rows, provider + "-oauth-" + std::to_string(n)).empty();
  };
  while (taken()) ++n;
  return provider + "-oauth-" + std::to_string(n);
}

// What the tool that wrote the row knew of it stays, but for where its tokens go and how: that is
// about tokens of before. The new ones were issued to this client, by this portal.
Identity renewed_identity(const Identity& old, const NewSession& session) {
  Identity identity = old;
  identity.client_id = session.identity.client_id;
  identity.base_url = session.identity.base_url;
  identity.portal_base_url = session.identity.portal_base_url;
  identity.inference_base_url = session.identity.inference_base_url;
  identity.ca_file = session.identity.ca_file;
  const auto take = [](std::string& into, const std::string& from) {
    if (!from.empty()) into = from;
  };
  take(identity.scope, session.identity.scope);
  take(identity.token_type, session.identity.token_type);
  take(identity.account, session.identity.account);
  return identity;
}

// The id token travels with its grant, for tools that want to see it in their files.
std::optional<Secret> extra_with_id_token(const Store& store, const Credential* row,
                                          const NewSession& session) {
  json extra = json::object();
  if (row != nullptr) {
    const auto stored = store.unseal_extra(row->uid);
    if (!stored) return std::nullopt;
    json parsed = json::parse(stored->reveal(), nullptr, false);
    if (parsed.is_object()) extra = std::move(parsed);
  }
  if (session.id_token.empty() && !extra.contains(kIdToken)) return std::nullopt;
  extra.erase(kIdToken);
  if (!session.id_token.empty()) extra[kIdToken] = std::string(session.id_token.reveal());
  return Secret::take(extra.dump(-1, ' ', false, json::error_handler_t::replace));
}

CredentialChange change_for(const Store& store, const std::vector<Credential>& rows,
                            const Choice& choice, const NewSession& session,
                            const KeepOptions& options) {
  CredentialChange change;
  change.origin = Origin::login;
  change.kind = AttemptKind::login;
  change.grant = session.grant.clone();
  if (session.agent_key) {
    const AgentKey& key = *session.agent_key;
    change.agent_key =
        AgentKey{key.secret.clone(), key.key_id, key.obtained_at, key.expires_at, key.reused};
  }
  change.extra = extra_with_id_token(store, choice.row, session);
  change.bindings = {{options.profile, std::nullopt}};
  change.health = Health{};
  change.hold = Hold::none;
  if (choice.row == nullptr) {
    change.identity = session.identity;
  } else {
    change.uid = choice.row->uid;
    change.restore = choice.row->removed_at.has_value();
    change.planned_against = choice.row->generation;
    change.new_family = true;
    change.identity = renewed_identity(choice.row->identity, session);
    change.health->request_count = choice.row->health.request_count;
    change.health->last_used_at = choice.row->health.last_used_at;
  }
  std::string& label = change.identity->label;
  if (!options.label.empty() && !choice.label_is_anothers) label = options.label;
  const bool taken = choice.row == nullptr && !labelled(rows, label).empty();
  if (label.empty() || taken) label = free_label(rows, session.identity.provider);
  return change;
}

// Whoever logs in wants to use it.
void lift_suppression(const Store& store, const std::string& profile, Change& change) {
  const Identity& identity = *change.credentials.front().identity;
  auto state = store.provider_state(profile, identity.provider);
  if (!state || std::erase(state->suppressed_sources, identity.source) == 0) return;
  state->profile = profile;
  state->provider = identity.provider;
  state->extra = Secret{};  // stays as it is
  change.states.push_back(*std::move(state));
}

Error lost(const Error& error) {
  return {error.code, "the login was granted, but could not be stored: " + error.message,
          "The new session is lost, the old one is untouched. " +
              (error.hint.empty() ? "Log in once more." : error.hint)};
}

std::string name_of(const Credential& row) {
  return "\"" + shortened(row.identity.label, kShownLabel) + "\" (" + row.uid + ")";
}

void say(std::string& warning, const std::string& text) {
  warning += (warning.empty() ? "" : "; ") + text;
}

// Whose current refresh token it is, of any provider: two may share a server.
std::optional<Credential> owner_of(const Store& store, const Secret& refresh_token) {
  const auto rows = store.list({});
  if (refresh_token.empty() || !rows) return std::nullopt;
  const TokenHash hash = token_hash(refresh_token);
  const auto it = std::find_if(rows->begin(), rows->end(),
                               [&](const Credential& row) { return row.refresh_hash == hash; });
  return it == rows->end() ? std::nullopt : std::optional(*it);
}

// A token that is current elsewhere, or was retired, never becomes current a second time (P4): what
// is left of the grant is its access token.
void drop_known_token(const Store& store, CredentialChange& change, std::string& warning) {
  Secret& token = change.grant->refresh_token;
  if (token.empty()) return;
  const auto owner = owner_of(store, token);
  const auto retired = store.retired(token_hash(token));
  if (!owner && !(retired && *retired)) return;
  token = Secret();
  const std::string whose = owner ? "that of " + owner->identity.provider + " " + name_of(*owner)
                                  : "one that the store has had before";
  say(warning, "its refresh token is " + whose + ", so it cannot be renewed");
}

enum class Place { best, new_credential };

// One attempt to keep a session, by what the store has at this moment.
struct Attempted {
  std::optional<KeptSession> kept;
  Error error{Errc::busy, "others kept changing the credential", ""};
  std::string renewing;  // the credential that was to be renewed; empty: none
};

Change change_of(Store& store, const std::vector<Credential>& rows, const Choice& choice,
                 const NewSession& session, const KeepOptions& options) {
  Change change;
  change.profiles = {options.profile};
  change.credentials.push_back(change_for(store, rows, choice, session, options));
  lift_suppression(store, options.profile, change);
  return change;
}

Attempted try_to_keep(Store& store, const NewSession& session, const KeepOptions& options,
                      Place place) {
  Attempted out;
  const auto rows = store.list({session.identity.provider, {}, false});
  if (!rows) {
    out.error = rows.error();
    return out;
  }
  Choice choice;
  std::optional<Credential> removed;
  if (place == Place::best) {
    removed = removed_with(store, session);
    choice = removed ? Choice{&*removed} : choose(store, *rows, session, options);
  }
  if (choice.row != nullptr) out.renewing = name_of(*choice.row);
  KeptSession kept{{}, choice.row != nullptr, session.warning};
  Change change = change_of(store, *rows, choice, session, options);
  CredentialChange& one = change.credentials.front();
  if (place == Place::new_credential) drop_known_token(store, one, kept.warning);
  const auto applied = store.apply(change);
  if (!applied) out.error = applied.error();
  if (!applied || applied->stale_plan) return out;
  kept.uid = applied->uids.front();
  if (choice.label_is_anothers && choice.row == nullptr) {
    say(kept.warning,
        "the credential \"" + options.label + "\" is another account's and was left alone");
  }
  out.kept = std::move(kept);
  return out;
}

// What is busy is waited for, what has moved is looked at anew.
Attempted keep_trying(Store& store, const NewSession& session, const KeepOptions& options,
                      Place place) {
  const auto deadline = std::chrono::steady_clock::now() + store.lock_wait();
  for (int tried = 1;; ++tried) {
    Attempted attempted = try_to_keep(store, session, options, place);
    const bool again = !attempted.kept && attempted.error.code == Errc::busy && tried < kTries &&
                       std::chrono::steady_clock::now() < deadline;
    if (!again) return attempted;
  }
}

Result<void> check_label(const std::vector<Credential>& named, const std::string& provider) {
  if (named.size() > 1) {
    std::string uids;
    for (const Credential& row : named) uids += (uids.empty() ? "" : ", ") + row.uid;
    return fail(Errc::usage, "several credentials of " + provider + " have that label: " + uids,
                "Choose another label; the same account is recognised without one.");
  }
  if (!named.empty() && named.front().identity.auth_type == AuthType::api_key) {
    return fail(Errc::usage, "that label is an API key's (" + named.front().uid + ")",
                "Choose another label.");
  }
  return {};
}

// Who holds one now has let go of it by the time the login is approved. Nothing is set aside for a
// login that may never come: what is damaged, or cannot be settled, makes way when it is kept.
std::vector<std::string> not_lockable(const Store& store, const std::vector<Credential>& rows) {
  std::vector<std::string> warnings;
  for (const Credential& row : rows) {
    if (row.identity.auth_type != AuthType::oauth) continue;
    const auto locked = LockedCredential::acquire(store, row.uid, LockPolicy{});
    if (locked || locked.error().code == Errc::busy) continue;
    warnings.push_back(name_of(row) + ": " + locked.error().message +
                       ". A login of its account is kept all the same, if need be as a new "
                       "credential");
  }
  return warnings;
}

}  // namespace

Result<std::vector<std::string>> check_keepable(Store& store, const std::string& provider,
                                                const std::string& label) {
  // A store that cannot be written must say so before there is something to lose.
  if (auto writable = store.check_writable(); !writable) return fail(writable.error());
  const auto rows = store.list({provider, {}, false});
  if (!rows) return fail(rows.error());
  const auto named = labelled(*rows, label);
  if (auto usable = check_label(named, provider); !usable) return fail(usable.error());
  if (!named.empty()) return not_lockable(store, named);
  // Of a crowd it is found out when the login is kept: that would take longer than the login.
  return rows->size() <= kMostProbed ? not_lockable(store, *rows) : std::vector<std::string>();
}

Result<KeptSession> keep_session(Store& store, const NewSession& session,
                                 const KeepOptions& options) {
  const auto before = owner_of(store, session.grant.refresh_token);
  Attempted best = keep_trying(store, session, options, Place::best);
  if (best.kept) return *std::move(best.kept);
  // A commit that failed may have happened.
  const auto owner = owner_of(store, session.grant.refresh_token);
  if (owner && (!before || owner->uid != before->uid)) {
    return KeptSession{owner->uid, !best.renewing.empty(), session.warning};
  }
  Attempted anew = keep_trying(store, session, options, Place::new_credential);
  if (!anew.kept) return fail(lost(anew.error));
  if (!best.renewing.empty()) {
    say(anew.kept->warning, best.renewing + " could not be renewed, so this login is a new " +
                                "credential: " + best.error.message);
  }
  return *std::move(anew.kept);
}

Result<std::optional<Credential>> same_account(const Store& store, const NewSession& session) {
  const auto rows = store.list({session.identity.provider, {}, false});
  if (!rows) return fail(rows.error());
  const Account account = account_of(session);
  const auto it = std::find_if(rows->begin(), rows->end(), [&](const Credential& row) {
    return row.identity.auth_type == AuthType::oauth &&
           compare(account, account_of(store, row)) == Sameness::same;
  });
  return it == rows->end() ? std::nullopt : std::optional(*it);
}

}  // namespace authdb::oauth
