#include "store/rotation.h"

#include <algorithm>

#include "store/explain.h"
#include "store/locked.h"
#include "store/scrub.h"
#include "store/timestamp.h"
#include "store/words.h"

namespace authdb {
namespace {

constexpr Seconds kClockSlack{60};  // a clock further behind than this was stepped back

// min_ttl counts up to half the life that the store knows the provider gives: more would be a
// refresh per call.
Milliseconds effective_min_ttl(const Credential& row, Milliseconds wanted) {
  if (row.origin == Origin::import || !row.obtained_at || !row.expires_at) return wanted;
  return std::min(wanted, Milliseconds((*row.expires_at - *row.obtained_at) / 2));
}

Rotated as_it_stands(const Locked& locked, Action action, std::string warning = {}) {
  return {locked.held.clone(), action, std::move(warning)};
}

// One attempt from intent to settlement.
struct Sending {
  Locked& locked;
  const RotateRequest& request;
  TokenEndpoint& endpoint;
  SentToken token;
  Attempt attempt;
  std::optional<Error> unmarked;  // why the request was not allowed to begin
};

// ---- step 3: is there any need, and may it be sent ---------------------------------------------

std::optional<Rotated> serve_without_sending(Locked& locked, const RotateRequest& request) {
  const Credential& row = locked.held.row;
  const Action action = locked.recovered ? Action::recovered : Action::adopted;
  const bool newer = request.seen_generation != 0 && row.generation > request.seen_generation;
  RotateRequest eased = request;
  eased.force = request.force && !newer && !locked.recovered;
  locked.recovered = false;  // said once
  if (!access_token_serves(row, eased, locked.engine.now())) return std::nullopt;
  return as_it_stands(locked, action);
}

// The replay rule (DESIGN 5.4). nullopt: it may be sent.
std::optional<Result<Rotated>> hold_back_uncertain(Locked& locked, const RotateRequest& request) {
  if (request.replay) return std::nullopt;
  const Instant now = locked.engine.now();
  const LostAttempts lost = lost_attempts(locked);
  const auto next = next_replay(locked, lost, request.rejected);
  if (next && *next <= now) return std::nullopt;
  Error error = explain_uncertain(locked, lost, next);
  if (request.force || !access_token_lives(locked.held.row, request.rejected, now)) {
    return fail(std::move(error));
  }
  return as_it_stands(locked, Action::cached, error.message);
}

// The journal knows its successor: the row is of a database that somebody put back, and the grant
// that would mend it cannot be read any more. A token that was pardoned since has a later
// generation.
bool spent_by_journal(const Locked& locked) {
  const Credential& row = locked.held.row;
  const auto& spent = locked.journal.spent();
  return std::any_of(spent.begin(), spent.end(), [&](const auto& entry) {
    return entry.first == *row.refresh_hash && entry.second >= row.generation;
  });
}

// Why the token must never be sent, whatever the caller wants.
std::optional<Error> never_to_be_sent(const Locked& locked) {
  const Credential& row = locked.held.row;
  if (!row.refresh_hash) return explain_no_refresh_token(locked);
  if (row.hold == Hold::conflict || row.hold == Hold::handed_over) return explain_hold(locked);
  if (const auto retired = locked.engine.backend->view()->retired(*row.refresh_hash)) {
    return explain_retired(locked, *retired);
  }
  if (spent_by_journal(locked)) {
    return explain_retired(
        locked, {row.uid, row.family, row.generation, locked.engine.now(), Retirement::spent});
  }
  return std::nullopt;
}

// Why the token is not sent now unless somebody insists. Whoever waited for the lock while the
// server said no, or not now, need not ask it again.
std::optional<Error> not_to_be_sent(const Locked& locked, const RotateRequest& request) {
  if (request.force) return std::nullopt;
  const Health& health = locked.held.row.health;
  if (health.status == Status::dead) return explain_dead(locked);
  const auto until = asked_to_wait_until(health);
  const bool waits = !request.ignore_cooldown && until && *until > locked.engine.now();
  return waits ? std::optional(explain_cooldown(locked)) : std::nullopt;
}

std::optional<Result<Rotated>> refuse_to_send(Locked& locked, const RotateRequest& request) {
  const Credential& row = locked.held.row;
  auto refused = never_to_be_sent(locked);
  if (!refused) refused = not_to_be_sent(locked, request);
  if (refused) {
    // What cannot be renewed is good to its last second.
    const bool lives = access_token_lives(row, request.rejected, locked.engine.now());
    if (lives && !request.force) return as_it_stands(locked, Action::cached, refused->message);
    return fail(std::move(*refused));
  }
  if (row.hold == Hold::uncertain) return hold_back_uncertain(locked, request);
  return std::nullopt;
}

// ---- step 4 ------------------------------------------------------------------------------------

Result<void> write_intent(Sending& s) {
  JournalRecord intent;
  intent.family = s.token.family;
  intent.generation = s.token.generation;
  intent.hash = s.token.hash;
  intent.replay = s.locked.held.row.hold == Hold::uncertain;
  intent.pid = s.attempt.pid;
  intent.boot_id = s.attempt.boot_id;
  intent.process = s.attempt.process;
  intent.profile = s.attempt.profile;
  intent.started_at = s.attempt.started_at;
  return s.locked.journal.write_intent(std::move(intent));
}

// ---- step 5 ------------------------------------------------------------------------------------

Answer post(Sending& s) {
  const Secret& token = s.locked.held.refresh_token;
  const auto mark = [&] {
    const auto marked = s.locked.journal.write_sent();
    if (!marked) s.unmarked = marked.error();
    return marked.has_value();
  };
  Answer answer;
  try {
    answer = s.endpoint.send(token, mark);
  } catch (const std::exception& error) {  // how far it came is what the mark says
    answer.failure = "the request was given up: " + scrub(error.what(), {&token});
  }
  if (answer.started_at == Instant{}) answer.started_at = s.attempt.started_at;
  if (answer.http_status != 0) s.attempt.http_status = answer.http_status;
  return answer;
}

// ---- step 6 ------------------------------------------------------------------------------------

JournalRecord answered_record(Sending& s, const Answer& answer) {
  JournalRecord record = s.locked.journal.record();
  record.http_status = answer.http_status;
  record.complete = answer.complete ? 1 : 0;
  record.started_at = answer.started_at;
  record.payload =
      s.locked.engine.seal(answer.body, s.locked.uid(), kAnswerColumn, record.generation);
  return record;
}

// The judge is the caller's. Should it throw, an answer that is written nowhere yet is rescued
// first.
Judgement judge(Sending& s, const Answer& answer, bool journalled, const JournalRecord& answered) {
  try {
    return s.endpoint.judge(answer);
  } catch (...) {
    if (!journalled && answered.http_status != 0) write_rescue(s.locked, answered);
    throw;
  }
}

// ---- step 7, and what a failure of it leaves ---------------------------------------------------

// The grant as the caller gets it when the database would not take it.
Held held_from(const Locked& locked, const Grant& grant) {
  Held held;
  held.row = locked.held.row;
  held.access_token = grant.access_token.clone();
  held.refresh_token =
      (grant.refresh_token.empty() ? locked.held.refresh_token : grant.refresh_token).clone();
  held.agent_key = locked.held.agent_key.clone();
  held.row.access_fingerprint = fingerprint(held.access_token);
  held.row.bearer_kind = grant.bearer_kind;
  held.row.obtained_at = grant.obtained_at;
  held.row.expires_at = grant.expires_at;
  held.row.generation += 1;
  return held;
}

Rotated serve_unsettled(Sending& s, const Grant& grant, bool journalled,
                        const JournalRecord& answered, const Error& why) {
  Rotated rotated;
  rotated.action = Action::refreshed;
  rotated.held = held_from(s.locked, grant);
  if (journalled) {
    rotated.warning = "the new token of " + name_of(s.locked.held.row) +
                      " is safe in its journal, but the database could not be written (" +
                      why.message + "); the next refresh settles it";
  } else if (write_rescue(s.locked, answered)) {
    rotated.warning =
        "neither journal nor database could be written (" + why.message + "); the new token of " +
        name_of(s.locked.held.row) +
        " is sealed in $XDG_RUNTIME_DIR/authdb and is lost at reboot: free space, then "
        "run `authdb refresh`";
  } else {
    rotated.warning = "NOTHING could be written (" + why.message + "): the new token of " +
                      name_of(s.locked.held.row) + " lives only in this process. Free space now";
  }
  return rotated;
}

Result<Rotated> settle_grant(Sending& s, const Judgement& judgement, const Answer& answer,
                             bool journalled, const JournalRecord& answered) {
  const auto settled =
      Engine::guarded([&] { return settle(s.locked, s.token, *judgement.grant, s.attempt); });
  auto unsettled = [&] {
    return serve_unsettled(s, *judgement.grant, journalled, answered, settled.error());
  };
  if (judgement.ruling != Ruling::granted) {  // a refresh token that came alone serves nobody
    Error error = explain_unspent(s.locked, judgement, s.request.profile);
    if (!settled) error.hint = unsettled().warning + ". " + error.hint;
    return fail(std::move(error));
  }
  if (!settled) return unsettled();
  mark_alive(s.locked);
  const Action action = *settled == SettleEnd::committed ? Action::refreshed : Action::adopted;
  std::string warning = judgement.message;
  if (const auto differs = clocks_differ(answer, s.locked.engine.now()); !differs.empty()) {
    warning += (warning.empty() ? "" : "; ") + differs;
  }
  return as_it_stands(s.locked, action, std::move(warning));
}

// ---- everything but a grant --------------------------------------------------------------------

// The token was not spent: the journal forgets the intent, the ledger keeps the attempt.
void forget_attempt(Sending& s, const Judgement& judgement, Outcome outcome) {
  s.locked.journal.write_resolved();
  s.attempt.outcome = outcome;
  s.attempt.error_code = judgement.code;
  s.attempt.finished_at = s.locked.engine.now();
  (void)Engine::guarded([&] {
    const auto txn = s.locked.begin_write();
    txn->record(s.locked.held.row.id, s.attempt);
    if (judgement.retry_after) {
      Health health = s.locked.held.row.health;
      const Instant until = s.locked.engine.now() + *judgement.retry_after;
      health.cooldown_until = std::max(until, health.cooldown_until.value_or(until));
      txn->set_health(s.locked.held.row.id, health);
    }
    txn->commit();
  });
}

Result<Rotated> give_up_uncertain(Sending& s, const Judgement& judgement) {
  s.attempt.outcome = Outcome::uncertain;
  s.attempt.error_code = judgement.code;
  s.attempt.finished_at = s.locked.engine.now();
  // If the database cannot be written either, the journal says it: `sent` without an answer.
  const auto held = Engine::guarded([&] { hold_uncertain(s.locked, s.attempt); });
  if (!held) s.locked.engine.log(LogLevel::warning, held.error().message);
  const Attempt& last = s.attempt;
  const LostAttempts lost =
      held ? lost_attempts(s.locked)
           : LostAttempts{1, last.started_at, last.pid, last.process, last.started_at, last.pid};
  Error error = explain_uncertain(s.locked, lost, next_replay(s.locked, lost, s.request.rejected));
  error.message += " (" + judgement.message + ")";
  const bool lives =
      access_token_lives(s.locked.held.row, s.request.rejected, s.locked.engine.now());
  if (!lives || s.request.force) return fail(std::move(error));
  return as_it_stands(s.locked, Action::cached, error.message);
}

Result<Rotated> give_up_rejected(Sending& s, LockedCredential& locked, const Judgement& judgement) {
  const LostAttempts lost = lost_attempts(s.locked);
  forget_attempt(s, judgement, Outcome::rejected);
  Judgement remembered;
  remembered.code = judgement.code;
  remembered.message = why_dead(s.locked, judgement, lost);
  locked.mark_dead(remembered);
  return fail(explain_rejected(s.locked, judgement, lost, s.request.profile));
}

Result<Rotated> give_up_unspent(Sending& s, const Judgement& judgement, Outcome outcome) {
  forget_attempt(s, judgement, outcome);
  return fail(explain_unspent(s.locked, judgement, s.request.profile));
}

Result<Rotated> give_up_not_sent(Sending& s, const Answer& answer) {
  auto given_up = give_up_unspent(s, s.endpoint.judge(answer), Outcome::not_sent);
  if (s.unmarked) return fail(*s.unmarked);
  return given_up;
}

Sending prepare(Locked& locked, const RotateRequest& request, TokenEndpoint& endpoint) {
  const Credential& row = locked.held.row;
  Sending s{locked, request, endpoint, {*row.refresh_hash, row.family, row.generation}, {}, {}};
  s.attempt = locked.engine.new_attempt(AttemptKind::refresh, request.profile);
  s.attempt.refresh_hash = row.refresh_hash;
  s.attempt.family = row.family;
  s.attempt.from_generation = row.generation;
  return s;
}

std::unique_ptr<TokenEndpoint> endpoint_of(const Locked& locked) {
  const Identity& identity = locked.held.row.identity;
  auto endpoint =
      locked.engine.options.endpoint_for ? locked.engine.options.endpoint_for(identity) : nullptr;
  if (endpoint) return endpoint;
  throw BackendError{
      {Errc::not_found,
       "\"" + identity.provider + "\" is no provider whose tokens authdb can refresh",
       "`authdb providers` lists those it can; a file in providers.d adds one."}};
}

}  // namespace

bool access_token_lives(const Credential& row, const std::string& rejected, Instant now) {
  return !row.access_fingerprint.empty() && row.access_fingerprint != rejected &&
         (!row.expires_at || *row.expires_at > now);
}

bool agent_key_lives(const Credential& row, const std::string& rejected, Instant now) {
  const bool refused = !rejected.empty() && row.agent_key_fingerprint == rejected;
  return row.has_agent_key && !refused && row.agent_key_expires_at &&
         *row.agent_key_expires_at > now;
}

std::optional<Instant> asked_to_wait_until(const Health& health) {
  return health.status == Status::ok ? health.cooldown_until : std::nullopt;
}

bool access_token_serves(const Credential& row, const RotateRequest& request, Instant now) {
  if (request.force || !access_token_lives(row, request.rejected, now)) return false;
  if (row.obtained_at && now < *row.obtained_at - kClockSlack) return false;
  if (row.refresh_at && *row.refresh_at <= now) return false;
  return !row.expires_at || *row.expires_at - now >= effective_min_ttl(row, request.min_ttl);
}

// The protocol, from the lock on. `this` holds the lock and has recovered (step 2 and half of step
// 3).
Result<Rotated> LockedCredential::rotate(const RotateRequest& request) {
  const PutOffCancellation unwinding_later;
  Locked& locked = *locked_;
  const auto body = [&]() -> Result<Rotated> {
    // 3. Somebody else may have rotated while we waited, or the token may not be ours to send.
    if (auto served = serve_without_sending(locked, request)) return std::move(*served);
    if (auto refused = refuse_to_send(locked, request)) return std::move(*refused);
    const auto endpoint = endpoint_of(locked);
    Sending s = prepare(locked, request, *endpoint);
    if (request.stop.stop_requested()) return fail(stopped_error());
    const std::shared_ptr<void> uninterrupted = shield();

    // 4. Without a durable intent nothing is sent.
    if (auto written = write_intent(s); !written) return fail(written.error());

    // 5. One POST. Whether it began is what the mark says, never what an error code suggests.
    const Answer answer = post(s);
    if (locked.journal.mark() != JournalMark::sent) return give_up_not_sent(s, answer);

    // 6. A 2xx answer is on disk before anybody looks at what it brought.
    const bool success = answer.http_status >= 200 && answer.http_status < 300;
    const JournalRecord answered = success ? answered_record(s, answer) : JournalRecord();
    const bool journalled = success && locked.journal.write_answered(answered).has_value();
    const Judgement judgement = judge(s, answer, journalled, answered);

    // 7 and 8. The row moves, then the journal is told.
    if (judgement.grant) return settle_grant(s, judgement, answer, journalled, answered);
    if (judgement.ruling == Ruling::rejected) return give_up_rejected(s, *this, judgement);
    if (judgement.ruling == Ruling::uncertain) return give_up_uncertain(s, judgement);
    return give_up_unspent(s, judgement, Outcome::rejected);
  };
  return Engine::guarded_result(body);
}

namespace {

Held load_under_lock(Engine& engine, const Uid& uid) {
  const auto view = engine.backend->view();
  engine.follow_keys(*view);
  return engine.load(*view, uid);
}

}  // namespace

Result<LockedCredential> lock_credential(const Store& store, const Uid& uid, Milliseconds wait,
                                         const std::stop_token& stop) {
  const PutOffCancellation unwinding_later;
  Engine& engine = store.engine();
  auto locked = Engine::guarded([&] {
    // Asked before the lock: a credential that is not there must not leave a journal behind.
    if (engine.load_sealed(*engine.backend->view(), uid).row.identity.auth_type ==
        AuthType::api_key) {
      throw BackendError{{Errc::usage, "an API key has nothing to refresh", ""}};
    }
    engine.require_writable();
    auto journal = value_or_throw(Journal::acquire(engine.files.directory, engine.files.store_id,
                                                   uid, wait, engine.self(), stop));
    Held held = load_under_lock(engine, uid);
    auto made =
        std::make_unique<Locked>(Locked{store, engine, std::move(journal), std::move(held)});
    made->gate_wait = wait;
    recover(*made);
    made->gate_wait = engine.options.lock_wait;
    return made;
  });
  if (!locked) return fail(std::move(locked.error()));
  return LockedCredential(std::move(*locked));
}

Result<std::vector<LockedCredential>> lock_credentials(const Store& store,
                                                       const std::set<Uid>& uids,
                                                       Milliseconds wait) {
  std::vector<LockedCredential> all;
  for (const Uid& uid : uids) {
    auto locked = lock_credential(store, uid, wait);
    if (!locked) return fail(std::move(locked.error()));
    all.push_back(std::move(*locked));
  }
  return all;
}

// The eight steps: 1 and 2 here, 3 to 8 in LockedCredential::rotate().
Result<Rotated> rotate(const Store& store, const Uid& uid, const RotateRequest& request) {
  const PutOffCancellation unwinding_later;
  return Engine::guarded_result([&]() -> Result<Rotated> {
    // 1. Read. A bearer that serves costs no lock and no write.
    auto held = store.unseal(uid);
    if (!held) return fail(std::move(held.error()));
    const Instant now = store.now();
    if (access_token_serves(held->row, request, now)) {
      return Rotated{std::move(*held), Action::cached, {}};
    }

    // 2. Lock. Whoever still has a live bearer does not wait for somebody else's refresh.
    const bool can_do_without =
        !request.force && access_token_lives(held->row, request.rejected, now) &&
        (!held->row.expires_at || *held->row.expires_at - now >= request.min_ttl);
    const Milliseconds wait = can_do_without ? Milliseconds(0) : store.lock_wait();
    auto locked = lock_credential(store, uid, wait, request.stop);
    if (!locked && can_do_without && locked.error().code == Errc::busy) {
      return Rotated{std::move(*held), Action::cached, {}};
    }
    if (!locked) return fail(std::move(locked.error()));
    RotateRequest informed = request;
    // The caller's own, if there is one: it may have looked before somebody rotated, and we after.
    if (informed.seen_generation == 0) informed.seen_generation = held->row.generation;
    return locked->rotate(informed);
  });
}

LockedCredential::LockedCredential(std::unique_ptr<Locked> locked) : locked_(std::move(locked)) {}
LockedCredential::LockedCredential(LockedCredential&&) noexcept = default;
LockedCredential& LockedCredential::operator=(LockedCredential&&) noexcept = default;
LockedCredential::~LockedCredential() = default;

const Held& LockedCredential::held() const { return locked_->held; }
bool LockedCredential::recovered() const { return locked_->recovered; }

std::shared_ptr<void> LockedCredential::shield() const {
  const auto& shield = locked_->engine.options.shield;
  return shield ? shield() : nullptr;
}

Result<void> LockedCredential::keep_agent_key(const AgentKey& key, Attempt attempt) {
  Locked& locked = *locked_;
  return Engine::guarded([&] {
    const SealedAgentKey sealed =
        locked.engine.seal_agent_key(locked.uid(), key, locked.held.row.generation);
    attempt.family = locked.held.row.family;
    attempt.from_generation = locked.held.row.generation;
    attempt.finished_at = locked.engine.now();
    {
      const auto txn = locked.begin_write();
      txn->put_agent_key(locked.held.row.id, sealed);
      txn->record(locked.held.row.id, attempt);
      txn->commit();
    }
    locked.reload();
  });
}

Attempt LockedCredential::begin_attempt(AttemptKind kind, const std::string& profile) const {
  return locked_->engine.new_attempt(kind, profile);
}

void LockedCredential::record(Attempt attempt) {
  Locked& locked = *locked_;
  attempt.family = locked.held.row.family;
  attempt.from_generation = locked.held.row.generation;
  (void)Engine::guarded([&] {
    attempt.finished_at = locked.engine.now();
    const auto txn = locked.begin_write();
    txn->record(locked.held.row.id, attempt);
    txn->commit();
  });
}

void LockedCredential::mark_dead(const Judgement& judgement) {
  Locked& locked = *locked_;
  Health health = locked.held.row.health;
  health.status = Status::dead;
  health.error_reason = judgement.code;
  health.error_message = judgement.message;
  const auto marked = Engine::guarded([&] {
    health.status_at = locked.engine.now();
    const auto txn = locked.begin_write();
    txn->set_health(locked.held.row.id, health);
    txn->commit();
  });
  if (!marked) locked.engine.log(LogLevel::warning, marked.error().message);
}

Result<void> LockedCredential::set_hold(const std::vector<LockedCredential*>& locked, Hold hold) {
  if (locked.empty()) return {};
  return Engine::guarded([&] {
    const auto txn = locked.front()->locked_->begin_write();
    for (const auto* one : locked) txn->set_hold(one->held().row.id, hold);
    txn->commit();
    for (auto* one : locked) one->locked_->held.row.hold = hold;
  });
}

}  // namespace authdb
