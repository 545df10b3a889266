// The way to a credential's lock, and the order in which a change under it becomes durable.
#include <algorithm>

#include "store/locked.h"
#include "store/parcel.h"

namespace authdb {

namespace fs = std::filesystem;

namespace {

// Removed ones too: that is for the journal to say.
StoredCredential load_stored(View& view, const Uid& uid) {
  auto stored = view.load(uid);
  if (stored) return std::move(*stored);
  throw BackendError{{Errc::not_found, "there is no credential " + uid + " in this store", ""}};
}

}  // namespace

Health dead_since(Instant at, const std::string& reason, const std::string& message,
                  Health health) {
  health.status = Status::dead;
  health.status_at = at;
  health.error_reason = reason;
  health.error_message = message;
  return health;
}

Health refused_since(Instant at, Health health) {
  return dead_since(at, "refused",
                    "the provider has ended its session, or refused its refresh token for good",
                    std::move(health));
}

Renewal mirror_of(const CredentialState& state) {
  Renewal renewal = state.renewal;
  // The numbers of an older format are no revisions: a row that had one would call its journal put
  // back.
  renewal.revision = state.legacy ? 0 : state.revision;
  renewal.waiting = state.phase == Phase::answered;
  return renewal;
}

Result<void> refresh_mirror(Locked& locked) {
  auto done = Engine::guarded([&] {
    const auto txn = locked.begin_write();
    txn->put_renewal(locked.held.row.id, mirror_of(locked.state));
    txn->commit();
    locked.mirrored = mirror_of(locked.state).revision;
  });
  if (!done) locked.engine.log(LogLevel::debug, done.error().message);
  locked.held.row.renewal = mirror_of(locked.state);
  return done;
}

void Locked::reload() {
  const auto view = engine.backend->view();
  auto stored = view->load(held.row.uid);
  if (!stored) throw BackendError{{Errc::not_found, "the credential is gone", ""}};
  mirrored = stored->row.renewal.revision;
  held = engine.unseal(std::move(*stored));
}

Attempt attempt_of(const Locked& locked, Outcome outcome) {
  const CredentialState& state = locked.state;
  Attempt attempt = locked.engine.new_attempt(AttemptKind::refresh, state.attempt.profile);
  attempt.outcome = outcome;
  attempt.refresh_hash = state.hash;
  attempt.family = state.family;
  attempt.from_generation = state.generation;
  if (state.attempt.pid != 0) {
    attempt.pid = state.attempt.pid;
    attempt.boot_id = state.attempt.boot_id;
    attempt.process = state.attempt.process;
    attempt.started_at = state.attempt.started_at;
  }
  if (state.attempt.http_status != 0) attempt.http_status = state.attempt.http_status;
  return attempt;
}

bool has_tokens(const Held& held) {
  return !held.access_token.empty() || !held.refresh_token.empty();
}

Sealed grant_of(Locked& locked) {
  const Held& held = locked.held;
  if (!has_tokens(held)) return {};
  Grant grant;
  grant.access_token = held.access_token.clone();
  grant.refresh_token = held.refresh_token.clone();
  grant.obtained_at = held.row.obtained_at;
  grant.obtained_derived = held.row.obtained_derived;
  grant.expires_at = held.row.expires_at;
  grant.session_ends_at = held.row.session_ends_at;
  grant.bearer_kind = held.row.bearer_kind;
  grant.account = locked.account;
  grant.subject = locked.subject;
  return locked.engine.seal(pack(held.row.identity, grant), locked.uid(), kGrantColumn,
                            held.row.generation);
}

Parcel parcel_of(Engine& engine, const CredentialState& state, const Uid& uid) {
  auto parcel = state.grant.empty()
                    ? std::nullopt
                    : unpack(engine.open(state.grant, uid, kGrantColumn, state.generation));
  if (parcel) return std::move(*parcel);
  throw BackendError{{Errc::refused, "what the journal of " + uid + " has sealed cannot be read",
                      "Its token is not sent. Log this credential in again."}};
}

Answer answer_of(Locked& locked) {
  const CredentialState& state = locked.state;
  Answer answer;
  answer.http_status = state.attempt.http_status;
  answer.complete = state.attempt.complete;
  answer.started_at = state.attempt.started_at;
  answer.sent = locked.held.refresh_token.clone();
  answer.body = locked.engine.open(state.answer, locked.uid(), kAnswerColumn, state.generation);
  return answer;
}

fs::path set_aside_journal(Engine& engine, const Uid& uid) {
  const auto hold = [&] {
    const auto txn = engine.begin_write();
    const auto stored = txn->load(uid);
    if (!stored) return;
    const Credential& row = stored->row;
    if (row.refresh_hash && row.hold == Hold::none) txn->set_hold(row.id, Hold::uncertain);
    // So far ahead of a blank journal that whoever meets one knows that it was lost.
    Renewal renewal = row.renewal;
    renewal.revision += 2;
    txn->put_renewal(row.id, renewal);
    txn->commit();
  };
  return value_or_throw(
      Journal::set_aside(engine.place(uid), engine.options.lock_wait, engine.self(), hold));
}

Journal lock_journal(Engine& engine, const Uid& uid) {
  auto journal =
      value_or_throw(Journal::acquire(engine.place(uid), engine.options.lock_wait, engine.self()));
  engine.follow_keys(*engine.backend->view());
  return journal;
}

namespace {

// The journal under its lock. Where what is in it does not matter any more, a damaged one is set
// aside.
Journal lock_journal(Engine& engine, const Uid& uid, const LockPolicy& policy) {
  const auto acquire = [&] {
    return Journal::acquire(engine.place(uid), policy.wait, engine.self(), policy.stop);
  };
  auto journal = acquire();
  if (!journal && journal.error().code == Errc::refused && policy.damaged_too) {
    engine.log(LogLevel::warning, journal.error().message + "; it is kept as " +
                                      set_aside_journal(engine, uid).string());
    journal = acquire();
  }
  return value_or_throw(std::move(journal));
}

// What the row and the journal say, as far as it can be read. Where nobody needs to, because it all
// makes way, the row alone counts, and nothing is sent.
void unless_damaged(Locked& locked, const LockPolicy& policy, const std::function<void()>& body) {
  const auto done = Engine::guarded([&] { body(); });
  if (done) return;
  if (!policy.damaged_too || done.error().code != Errc::refused) throw BackendError{done.error()};
  locked.state = state_of(locked.held.row);
  locked.unsettled = done.error();
}

}  // namespace

std::unique_ptr<Locked> acquire_lock(const Store& store, const Uid& uid, const LockPolicy& policy) {
  Engine& engine = store.engine();
  // Asked before the lock: a credential that is not there must not leave a journal behind.
  if (load_stored(*engine.backend->view(), uid).row.identity.auth_type == AuthType::api_key) {
    throw BackendError{{Errc::usage, "an API key has nothing to refresh", ""}};
  }
  engine.require_writable();
  Journal journal = lock_journal(engine, uid, policy);
  auto locked = std::unique_ptr<Locked>(new Locked{store, engine, std::move(journal), {}, {}});
  locked->gate_wait = policy.wait;
  StoredCredential stored;
  {
    const auto view = engine.backend->view();
    engine.follow_keys(*view);
    stored = load_stored(*view, uid);
  }
  locked->held.row = stored.row;
  locked->mirrored = stored.row.renewal.revision;
  unless_damaged(*locked, policy, [&] { open_cells(*locked, stored); });
  learn_owner(*locked);
  unless_damaged(*locked, policy, [&] { reconcile(*locked); });
  if (locked->held.row.removed_at && !policy.removed_too) {
    throw BackendError{{Errc::not_found, "there is no credential " + uid + " in this store",
                        "It was removed; `authdb undo` takes that back."}};
  }
  if (!locked->unsettled) recover(*locked, policy);
  locked->gate_wait = engine.options.lock_wait;
  return locked;
}

// ---- the order of durability -------------------------------------------------------------------

std::int64_t next_revision(const Locked& locked) {
  const auto next =
      revision_after(std::max(locked.journal.newest_revision(), locked.state.revision));
  const Side side = newer_side(locked.journal.state(), locked.held.row);
  return side == Side::row_and_lost ? std::max(next, to_millis(locked.engine.now())) : next;
}

namespace {

void write_rows(Locked& locked, CredentialState& next, const Rows& rows) {
  next.revision = next_revision(locked);
  const auto txn = locked.begin_write();
  rows(*txn, next);
  txn->put_renewal(locked.held.row.id, mirror_of(next));
  txn->commit();
  locked.mirrored = mirror_of(next).revision;
}

}  // namespace

CredentialState prepare_state(const Locked& locked, Event what) {
  CredentialState next = decide(locked.state, std::move(what), locked.engine.now());
  next.revision = next_revision(locked);
  return next;
}

CredentialState prepare_moved(const Locked& locked, const Credential& row) {
  // The same pair: what was lost with it, and what waits, still counts.
  const bool same = row.family == locked.state.family && row.generation == locked.state.generation;
  CredentialState next =
      same ? prepare_state(locked, event::OnHold{row.hold})
           : prepare_state(
                 locked,
                 event::Moved{row.family, row.generation, row.refresh_hash, row.hold, {}, false});
  if (!same) follow_rejection(next.renewal, locked.held.row, row.access_fingerprint);
  next.hash = row.refresh_hash;
  next.removed_at = row.removed_at;
  return next;
}

void prepare(Moving& moving, Txn& txn) {
  const Credential row = txn.load(moving.locked->uid())->row;
  moving.next = prepare_moved(*moving.locked, row);
  txn.put_renewal(row.id, mirror_of(moving.next));
}

void tell_journals(MovingSet& all) {
  for (auto& [uid, moving] : all) {
    if (!moving.locked || moving.next.revision == 0) continue;
    Locked& locked = *moving.locked;
    const auto told = Engine::guarded([&, &next = moving.next] {
      locked.reload();
      tell_journal(locked, std::move(next), /*durable=*/false);
    });
    if (!told) locked.engine.log(LogLevel::warning, told.error().message);
  }
}

void tell_journal(Locked& locked, CredentialState next, bool durable) {
  // Another pair is committed: the token that the journal had is spent, or displaced. Only now, for
  // where nothing could be written nobody knows its successor.
  const CredentialState& known =
      locked.journal.state().revision > 0 ? locked.journal.state() : locked.state;
  if (known.hash && known.hash != next.hash && known.generation < next.generation) {
    locked.journal.add_spent(*known.hash, known.generation);
  }
  if (next.grant.empty()) next.grant = grant_of(locked);
  locked.held.row.renewal = mirror_of(next);
  locked.state = next;
  const auto told = locked.journal.write(std::move(next), durable);
  if (!told) locked.engine.log(LogLevel::warning, told.error().message);
  if (told) locked.state.revision = locked.journal.state().revision;
}

Result<void> begin_journal(Locked& locked) {
  if (locked.mirrored >= kFirstRevision) return {};
  CredentialState first = locked.state;
  first.legacy = false;
  first.revision = std::max(kFirstRevision, locked.journal.newest_revision() + 1);
  tell_journal(locked, std::move(first), /*durable=*/true);
  if (locked.journal.state().revision != locked.state.revision) return {};  // nor will the intent
  return refresh_mirror(locked);
}

void begin_line(Locked& locked) {
  if (locked.journal.state().revision != 0) return;
  CredentialState first = locked.state;
  first.legacy = false;
  first.revision = std::max({kFirstRevision, locked.journal.newest_revision() + 1,
                             locked.state.revision + 1, to_millis(locked.engine.now())});
  tell_journal(locked, std::move(first), /*durable=*/true);
  if (locked.journal.state().revision == locked.state.revision) (void)refresh_mirror(locked);
}

void commit_state(Locked& locked, CredentialState next, const Rows& rows, bool durable) {
  write_rows(locked, next, rows);
  // Should it fail, the row is ahead of the journal by what was committed. Where the row cannot be
  // read anyway, nobody needs to.
  const auto reread = Engine::guarded([&] { locked.reload(); });
  if (!reread && !locked.unsettled) throw BackendError{reread.error()};
  tell_journal(locked, std::move(next), durable);
}

void record_state(Locked& locked, CredentialState next, const Rows& rows) {
  const auto written = Engine::guarded([&] { write_rows(locked, next, rows); });
  if (!written && locked.is_haste(written.error())) throw BackendError{written.error()};
  if (!written) {
    locked.engine.log(LogLevel::warning, "what was learnt of " + name_of(locked.held.row) +
                                             " is in its journal alone, until its next refresh: " +
                                             written.error().message);
  }
  locked.held.row.hold = next.hold;
  locked.held.row.refresh_hash = next.hash;
  tell_journal(locked, std::move(next), /*durable=*/true);
}

}  // namespace authdb
