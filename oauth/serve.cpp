#include "oauth/serve.h"

#include <algorithm>

#include "oauth/endpoints.h"
#include "oauth/env_key.h"
#include "oauth/login_hint.h"
#include "oauth/renewable.h"
#include "store/clock_slack.h"
#include "store/env_source.h"
#include "store/pool.h"
#include "store/rejection.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

constexpr Seconds kAgentKeySkew{120};

// In the ledger: a resource server refused the bearer, and a new one was to be had for it.
constexpr const char* kRejectedBearer = "bearer_rejected";

// Due this long before its end: the skew or what the caller asks for, but a key whose life is known
// is good for at least half of it. Otherwise a key shorter than the skew would be minted anew on
// each call.
bool agent_key_serves(const Credential& row, const BearerRequest& request, Instant now) {
  if (!agent_key_lives(row, request.rejected, now)) return false;
  if (is_ahead(row.agent_key_obtained_at, now)) return false;
  const Instant ends = *row.agent_key_expires_at;
  Instant due = ends - std::max<Milliseconds>(kAgentKeySkew, request.min_ttl);
  if (const auto since = row.agent_key_obtained_at) {
    due = std::max(due, *since + (ends - *since) / 2);
  }
  return now < due && now < ends;
}

// Whoever is told of a time that nobody knows would wait for it. `now` is not read for this: what
// is handed out has been looked at last of all.
void doubt_times(Bearer& bearer, Instant now) {
  if (!is_ahead(bearer.obtained_at, now)) return;
  bearer.obtained_at.reset();
  bearer.expires_at.reset();
  bearer.warnings.emplace_back(
      "the bearer was obtained by a clock that was ahead: nobody knows when it expires");
}

// Whoever has put another address there wants to know why it does not count.
void warn_of_address(Bearer& bearer, const Provider* provider, const Identity& identity,
                     const Environment& environment) {
  if (provider == nullptr || identity.auth_type == AuthType::api_key) return;
  for (const std::string* stored : {&identity.inference_base_url, &identity.base_url}) {
    if (stored->empty() || *stored == bearer.base_url) continue;
    const auto allowed = check_allowed(*provider, *stored, environment);
    if (!allowed) bearer.warnings.push_back(allowed.error().message);
  }
}

bool not_known_to_be_over(std::optional<Instant> expires_at, Instant now) {
  return !expires_at || now < *expires_at;
}

RotateRequest rotate_request(const BearerRequest& request) {
  RotateRequest out;
  out.profile = request.profile;
  out.min_ttl = request.min_ttl;
  out.rejected = request.rejected;
  out.stop = request.stop;
  return out;
}

}  // namespace

// What is in the store may be of a time when less was asked of it, and an environment variable is
// anything.
Result<Bearer> Serving::serve(const Credential& row) const {
  auto bearer = serve_by_kind(row);
  if (!bearer || is_token_text(bearer->token.reveal())) return bearer;
  return fail(Errc::refused,
              "the bearer of " + name_of(row) +
                  " has a character that no token has (a space, a line end, a control character, "
                  "or no ASCII): it is not handed out",
              "Put the right one in its place: authdb add, authdb login, or its variable.");
}

Result<Bearer> Serving::serve_by_kind(const Credential& row) const {
  if (row.identity.auth_type == AuthType::api_key) return api_key(row);
  return row.bearer_kind == BearerKind::agent_key ? agent_key(row) : access_token(row);
}

// ---- API keys ----------------------------------------------------------------------------------

Result<Bearer> Serving::api_key(const Credential& row) const {
  auto held = store_.unseal(row.uid);
  if (!held) return fail(held.error());
  Secret token = std::move(held->access_token);
  if (token.empty() && variable_of(held->row.identity.source)) {
    auto key = key_in_environment(held->row);
    if (!key) return fail(key.error());
    token = std::move(*key);
  }
  if (token.empty()) return login_needed(row, "has no key in it");
  if (fingerprint(token) == request_.rejected) return reject(row, "an API key cannot be renewed");
  return make(held->row, BearerKind::api_key, std::move(token), Action::cached);
}

Result<Secret> Serving::key_in_environment(const Credential& row) const {
  const auto extra = store_.unseal_extra(row.uid);
  if (!extra) return fail(extra.error());
  return env_key({row, *extra, parts_.registry().find(row.identity.provider), parts_.environment,
                  name_of(row)});
}

// ---- Access tokens that are bearers themselves -------------------------------------------------

Result<Bearer> Serving::access_token(const Credential& row) const {
  const RotateRequest want = rotate_request(request_);
  // One that nobody has heard of may be in an answer that waits in the journal.
  const bool may_wait =
      !request_.rejected.empty() && request_.rejected != row.access_fingerprint && is_unheard_of();
  const Instant asked_at = now();
  if (!may_wait && access_token_serves(row, want, asked_at)) {
    if (auto bearer = cached(row, BearerKind::access_token, {})) return bearer;
  }
  if (!row.refresh_hash) return without_refresh_token(row);
  if (const auto provider = known_provider(row.identity); !provider) {
    remember_rejected(row);
    return cached_or(row, provider.error());
  }
  auto rotated =
      request_.rejected.empty() ? rotate(store_, row.uid, want) : rotate_rejected(row, want);
  if (!rotated) return cached_or(row, rotated.error());

  Held& held = rotated->held;
  Action action = rotated->action;
  if (action == Action::cached && !request_.rejected.empty()) action = Action::adopted;
  Bearer bearer = make(held.row, BearerKind::access_token, std::move(held.access_token), action);
  if (rotated->action == Action::cached) doubt_times(bearer, asked_at);
  if (!rotated->warning.empty()) bearer.warnings.push_back(std::move(rotated->warning));
  return bearer;
}

Result<Rotated> Serving::rotate_rejected(const Credential& row, const RotateRequest& want) const {
  auto lock = LockedCredential::acquire(
      store_, row.uid,
      {.wait = store_.lock_wait(), .stop = request_.stop, .unsettled_too = true, .to_spend = true});
  if (!lock) return fail(not_locked(row, lock.error()));
  const Credential& current = lock->held().row;
  if (current.access_fingerprint == request_.rejected) {
    if (const auto first = note_rejection(*lock); !first) return fail(first.error());
  } else if (is_unheard_of()) {
    note_unheard_of(*lock);
  }
  return lock->rotate(want);
}

// ---- Agent keys --------------------------------------------------------------------------------

Result<Bearer> Serving::agent_key(const Credential& row) const {
  if (agent_key_serves(row, request_, now())) {
    if (auto bearer = cached(row, BearerKind::agent_key, {})) return bearer;
  }
  if (!row.refresh_hash) return without_refresh_token(row);
  const auto provider = known_provider(row.identity);
  if (!provider) {
    remember_rejected(row);
    return cached_or(row, provider.error());
  }
  // Whoever has a live key does not wait for somebody else's mint.
  const bool content = agent_key_lives(row, request_.rejected, now()) &&
                       now() + request_.min_ttl < *row.agent_key_expires_at;
  auto lock = LockedCredential::acquire(store_, row.uid,
                                        {.wait = content ? Milliseconds{0} : store_.lock_wait(),
                                         .stop = request_.stop,
                                         .to_spend = true});
  if (!lock && content && lock.error().code == Errc::busy)
    return cached(row, BearerKind::agent_key, {});
  if (!lock) return cached_or(row, not_locked(row, lock.error()));

  const Held& held = lock->held();
  if (held.row.bearer_kind == BearerKind::agent_key) {
    if (agent_key_serves(held.row, request_, now())) {
      return make(held.row, BearerKind::agent_key, held.agent_key.clone(),
                  lock->recovered() ? Action::recovered : Action::adopted);
    }
    if (held.row.has_agent_key && held.row.agent_key_fingerprint == request_.rejected) {
      if (const auto first = note_rejection(*lock); !first) return fail(first.error());
    }
  }
  auto minted = mint_under(*lock, **provider, /*ignore_rest=*/false);
  return minted ? std::move(minted) : cached_or(row, minted.error());
}

// Refresh if due, commit, mint, commit; once more if the access token turns out to be refused.
Result<Bearer> Serving::mint_under(LockedCredential& lock, const Provider& provider,
                                   bool ignore_rest) const {
  RotateRequest want;
  want.profile = request_.profile;
  want.rejected = request_.rejected;
  want.ignore_rest = ignore_rest;
  want.stop = request_.stop;
  std::vector<std::string> warnings;
  if (!ignore_rest && rejected_again(lock.held().row, now())) return fail(rejected_anew(lock));
  if (!ignore_rest) {
    if (auto may = lock.check_rest(); !may) return fail(std::move(may.error()));
  }
  // What another access token did not mend is not tried with one after the other.
  const bool failed_before = lock.held().row.renewal.failures > 0;
  for (bool second = false;; second = true) {
    if (second) want.rejected = lock.held().row.access_fingerprint;
    auto rotated = lock.rotate(want);
    if (!rotated) return fail(rotated.error());
    Held& held = rotated->held;
    if (!rotated->warning.empty()) warnings.push_back(std::move(rotated->warning));
    if (held.row.bearer_kind == BearerKind::access_token) {  // the era changed under us
      Bearer bearer =
          make(held.row, BearerKind::access_token, std::move(held.access_token), rotated->action);
      bearer.warnings = std::move(warnings);
      return bearer;
    }
    if (request_.stop.stop_requested()) return fail(stopped_error());
    MintAnswer answer = ask_for_key(lock, held, provider);
    if (answer.key) {
      const std::string fresh = fingerprint(answer.key->secret);
      const bool refused = fresh == request_.rejected || fresh == lock.held().row.renewal.rejected;
      if (refused) return fail(rejected_anew(lock));
      if (!not_known_to_be_over(answer.key->expires_at, now())) {
        return fail(Errc::try_later,
                    "the new agent key of " + name_of(held.row) + " is over already", "Try again.");
      }
      Bearer bearer =
          make(held.row, BearerKind::agent_key, std::move(answer.key->secret), Action::minted);
      bearer.obtained_at = answer.key->obtained_at;
      bearer.expires_at = answer.key->expires_at;
      bearer.warnings = std::move(warnings);
      if (!answer.warning.empty()) bearer.warnings.push_back(std::move(answer.warning));
      return bearer;
    }
    const bool definite = answer.failure == FailureClass::login;
    if (!answer.may_be_the_token || second || (failed_before && !definite)) {
      return mint_failure(lock, held, answer);
    }
  }
}

MintAnswer Serving::ask_for_key(LockedCredential& lock, const Held& held,
                                const Provider& provider) const {
  Attempt attempt = lock.begin_attempt(AttemptKind::mint, request_.profile);
  const auto settle = [&](MintAnswer answer, Outcome outcome) {
    attempt.outcome = outcome;
    attempt.error_code = answer.code;
    if (answer.http_status != 0) attempt.http_status = answer.http_status;
    if (!answer.key) {
      lock.record(attempt);
    } else if (const auto kept = lock.keep_agent_key(*answer.key, attempt); !kept) {
      answer.warning = "the new agent key works but could not be stored: " + kept.error().message;
    }
    return answer;
  };

  const auto request = mint_request(provider, held.row.identity, parts_.environment,
                                    held.access_token, request_.min_ttl);
  if (!request) {
    MintAnswer refused;
    refused.code = "not_allowed";
    refused.message = request.error().message;
    return settle(std::move(refused), Outcome::not_sent);
  }
  const std::shared_ptr<void> uninterrupted = lock.shield();
  bool sent = false;
  Answer answer;
  try {
    answer = parts_.http->perform(*request, [&] { return sent = true; });
  } catch (const std::exception& error) {
    answer.failure = std::string("the request was given up: ") + error.what();
  }
  answer.started_at = attempt.started_at;
  MintAnswer read = read_mint(answer, provider, held.access_token);
  const Outcome outcome = read.key                  ? Outcome::committed
                          : !sent                   ? Outcome::not_sent
                          : answer.http_status == 0 ? Outcome::uncertain
                                                    : Outcome::rejected;
  return settle(std::move(read), outcome);
}

Result<Bearer> Serving::mint_failure(LockedCredential& lock, const Held& held,
                                     const MintAnswer& answer) const {
  const std::string what = "agent-key mint failed for " + name_of(held.row) + ": " + answer.message;
  if (answer.http_status == 401 && answer.failure == FailureClass::login) {
    Judgement judgement;
    judgement.ruling = Ruling::rejected;
    judgement.failure = FailureClass::login;
    judgement.code = answer.code;
    judgement.message = "a freshly refreshed access token may not mint: " + answer.message;
    lock.mark_dead(judgement);
  }
  if (answer.failure == FailureClass::login) {
    return fail(Errc::login_needed, what, login_hint(parts_, store_, held.row));
  }
  lock.note_mint_failure(answer.retry_after);
  if (answer.failure == FailureClass::entitlement) {
    return fail(Errc::try_later, what,
                "The account may not use this now; nothing is wrong with the login.");
  }
  const std::string when =
      answer.retry_after ? std::to_string(answer.retry_after->count()) + " s" : "a while";
  return fail(Errc::try_later, what, "Nothing was lost. Try again in " + when + ".");
}

Error Serving::rejected_anew(const LockedCredential& lock) const {
  const Credential& row = lock.held().row;
  return {Errc::login_needed,
          "a freshly minted key or token of " + name_of(row) +
              " was rejected again; the grant may have been revoked",
          login_hint(parts_, store_, row)};
}

// Ok if this is the first bearer in a row to be rejected. One that has just replaced a rejected one
// is not replaced again: that would go on for ever, a spent refresh token each time.
Result<void> Serving::note_rejection(LockedCredential& lock) const {
  lock.note_rejected(request_.rejected);
  const Credential& row = lock.held().row;
  if (rejected_again(row, now())) return fail(rejected_anew(lock));
  const bool key = row.bearer_kind == BearerKind::agent_key;
  Attempt attempt =
      lock.begin_attempt(key ? AttemptKind::mint : AttemptKind::refresh, request_.profile);
  attempt.outcome = Outcome::not_sent;
  attempt.http_status = 401;
  attempt.error_code = kRejectedBearer;
  attempt.bearer = request_.rejected;
  lock.record(attempt);
  return {};
}

// Where the journal is damaged, the row alone can be told that the bearer was rejected.
Error Serving::not_locked(const Credential& row, Error error) const {
  if (error.code == Errc::refused && !request_.rejected.empty()) {
    (void)note_rejected_in_row(store_, row.uid, request_.rejected);
  }
  return error;
}

// ---- Without a refresh token there is only what there is ---------------------------------------

// For a bearer that nobody can renew now. One that nobody has heard of may be in an answer that
// waits to be settled.
void Serving::remember_rejected(const Credential& row) const {
  const std::string& rejected = request_.rejected;
  const bool noted = row.renewal.rejected == rejected;
  if (row.identity.auth_type != AuthType::oauth || rejected.empty() || noted) return;
  auto lock = LockedCredential::acquire(
      store_, row.uid, {.wait = store_.lock_wait(), .stop = request_.stop, .unsettled_too = true});
  if (!lock) return (void)not_locked(row, lock.error());
  if (owns_bearer(lock->held().row, rejected)) {
    lock->note_rejected(rejected);
  } else {
    note_unheard_of(*lock);
  }
}

// True if no credential is known to have, or to have had, the rejected bearer.
bool Serving::is_unheard_of() const {
  return !store_.owner_of_bearer(request_.rejected).value_or(std::nullopt);
}

// It may be the bearer of an answer that waits, and be known once that is settled.
void Serving::note_unheard_of(LockedCredential& lock) const {
  const Credential& row = lock.held().row;
  if (!owns_bearer(row, row.renewal.rejected)) {
    lock.note_rejected(request_.rejected, /*heard_of=*/false);
  }
}

// Nothing can replace it. An access token is of no use from now on; an API key rests for everybody,
// as after a report of the 401, because it may be the server's mood.
Result<Bearer> Serving::reject(const Credential& row, const std::string& why) const {
  remember_rejected(row);
  Report report;
  report.http_status = 401;
  report.profile = request_.profile;
  if (row.health.status == Status::ok) (void)Store(store_).report(row.uid, report);
  return login_needed(row, "was rejected, and " + why);
}

Result<Bearer> Serving::without_refresh_token(const Credential& row) const {
  for (const std::string& rejected : {request_.rejected, row.renewal.rejected}) {
    if (rejected.empty()) continue;
    if (row.agent_key_fingerprint == rejected || row.access_fingerprint == rejected) {
      return reject(row, "it has no refresh token to get another");
    }
  }
  if (row.has_agent_key && not_known_to_be_over(row.agent_key_expires_at, now())) {
    return cached(row, BearerKind::agent_key, {});
  }
  auto held = store_.unseal(row.uid);
  if (!held) return fail(held.error());
  const bool is_bearer =
      row.bearer_kind == BearerKind::access_token || held->access_token.reveal().starts_with("sk-");
  const Instant asked_at = now();
  if (is_bearer && !held->access_token.empty() && not_known_to_be_over(row.expires_at, asked_at)) {
    Bearer bearer =
        make(held->row, BearerKind::access_token, std::move(held->access_token), Action::cached);
    doubt_times(bearer, asked_at);
    return bearer;
  }
  if (row.has_agent_key) {
    return login_needed(row, "has an agent key that is over and no refresh token to get another");
  }
  return login_needed(row,
                      "has an access token that is of no use any more, no refresh token and no "
                      "agent key: it looks like a partial OAuth setup");
}

// ---- One credential, forced --------------------------------------------------------------------

Result<Bearer> Serving::refresh(const Credential& row, bool replay) const {
  if (row.identity.auth_type == AuthType::api_key) {
    return fail(Errc::usage, name_of(row) + " is an API key: there is nothing to refresh");
  }
  if (!row.refresh_hash) return login_needed(row, "has no refresh token: a partial OAuth setup");
  if (const auto provider = known_provider(row.identity); !provider) {
    return fail(provider.error());
  }
  RotateRequest want = rotate_request(request_);
  want.force = true;
  want.replay = replay;
  auto rotated = rotate(store_, row.uid, want);
  if (!rotated) return fail(with_hint(rotated.error(), row));
  Bearer bearer = make(rotated->held.row, BearerKind::access_token,
                       std::move(rotated->held.access_token), rotated->action);
  if (!rotated->warning.empty()) bearer.warnings.push_back(std::move(rotated->warning));
  return bearer;
}

Result<Bearer> Serving::mint(const Credential& row) const {
  if (row.bearer_kind != BearerKind::agent_key) {
    return fail(Errc::usage, name_of(row) + " needs no agent key: its token is the bearer itself");
  }
  if (!row.refresh_hash) return login_needed(row, "has no refresh token: a partial OAuth setup");
  const auto provider = known_provider(row.identity);
  if (!provider) return fail(provider.error());
  auto lock = LockedCredential::acquire(
      store_, row.uid, {.wait = store_.lock_wait(), .stop = request_.stop, .to_spend = true});
  if (!lock) return fail(lock.error());
  auto minted = mint_under(*lock, **provider, /*ignore_rest=*/true);
  if (!minted) return fail(with_hint(minted.error(), row));
  return minted;
}

// ---- Building blocks ---------------------------------------------------------------------------

// Also says, before any lock is taken, whether anything stands in the way.
Result<const Provider*> Serving::known_provider(const Identity& identity) const {
  auto obstacle = obstacle_to_renewal(parts_.registry(), identity, parts_.environment);
  if (obstacle) return fail(*std::move(obstacle));
  return parts_.registry().find_oauth(identity.provider);
}

// What the store holds now, without asking anybody. Fails if that is of no use any more: another
// may stand there since `row` was read.
Result<Bearer> Serving::cached(const Credential& row, BearerKind kind, std::string warning) const {
  auto held = store_.unseal(row.uid);
  if (!held) return fail(held.error());
  // The key may have gone since `row` was read, when a refresh brought a token that needs none.
  if (held->agent_key.empty()) kind = BearerKind::access_token;
  const bool is_key = kind == BearerKind::agent_key;
  const auto ends = is_key ? held->row.agent_key_expires_at : held->row.expires_at;
  const Instant asked_at = now();
  if (ends && *ends <= asked_at) {
    return fail(Errc::try_later, "the bearer of " + name_of(row) + " has just expired",
                "Ask again: it will be renewed.");
  }
  const std::string& fresh =
      is_key ? held->row.agent_key_fingerprint : held->row.access_fingerprint;
  if (!fresh.empty() && (fresh == request_.rejected || fresh == held->row.renewal.rejected)) {
    return fail(Errc::try_later,
                "the bearer of " + name_of(row) + " was rejected, and is not replaced yet" +
                    (warning.empty() ? "" : ": " + warning),
                "Ask again: it will be renewed.");
  }
  Secret& token = is_key ? held->agent_key : held->access_token;
  Bearer bearer = make(held->row, kind, std::move(token),
                       request_.rejected.empty() ? Action::cached : Action::adopted);
  doubt_times(bearer, asked_at);
  if (!warning.empty()) bearer.warnings.push_back(std::move(warning));
  return bearer;
}

// A failure to renew is only a warning while the bearer still lives; a login that is gone is not.
Result<Bearer> Serving::cached_or(const Credential& row, const Error& error) const {
  const bool lives = row.bearer_kind == BearerKind::agent_key
                         ? agent_key_lives(row, request_.rejected, now())
                         : access_token_lives(row, request_.rejected, now());
  if (error.code != Errc::login_needed && lives) return cached(row, row.bearer_kind, error.message);
  return fail(with_hint(error, row));
}

Error Serving::with_hint(Error error, const Credential& row) const {
  if (error.code == Errc::login_needed && error.hint.empty()) {
    error.hint = login_hint(parts_, store_, row);
  }
  return error;
}

Bearer Serving::make(const Credential& row, BearerKind kind, Secret token, Action action) const {
  Bearer bearer;
  bearer.provider = row.identity.provider;
  bearer.credential = row.uid;
  bearer.label = row.identity.label;
  bearer.profile = request_.profile;
  bearer.kind = kind;
  bearer.fingerprint = fingerprint(token);
  bearer.token = std::move(token);
  if (!row.identity.token_type.empty()) bearer.token_type = row.identity.token_type;
  const bool is_key = kind == BearerKind::agent_key;
  bearer.obtained_at = is_key ? row.agent_key_obtained_at : row.obtained_at;
  bearer.expires_at = is_key ? row.agent_key_expires_at : row.expires_at;
  bearer.action = action;
  if (request_.want_base_url) {
    const Provider* provider = parts_.registry().find(row.identity.provider);
    bearer.base_url = inference_base_url(provider == nullptr ? Provider{} : *provider, row.identity,
                                         parts_.environment);
    warn_of_address(bearer, provider, row.identity, parts_.environment);
  }
  return bearer;
}

// `nous "personal" (sha256:…, profile default)`
std::string Serving::name_of(const Credential& row) const {
  return row.identity.provider + " \"" + shortened(row.identity.label, kShownLabel) + "\" (" +
         (row.access_fingerprint.empty() ? row.uid : row.access_fingerprint) + ", profile " +
         request_.profile + ")";
}

tl::unexpected<Error> Serving::login_needed(const Credential& row, const std::string& what) const {
  return fail(Errc::login_needed, name_of(row) + " " + what, login_hint(parts_, store_, row));
}

}  // namespace authdb::oauth
