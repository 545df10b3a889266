// What holds while a credential's lock is ours. Private to store/: lock.cpp takes it, recovery.cpp
// brings both sides together, rotation.cpp is the eight steps, settle.cpp ends an attempt, and this
// is what they hand each other.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "store/attempt.h"
#include "store/engine.h"
#include "store/journal.h"
#include "store/parcel.h"
#include "store/rotation.h"
#include "store/state.h"
#include "store/store.h"

namespace authdb {

struct Locked {
  Store store;
  Engine& engine;
  Journal journal;
  Held held;              // as it stands under the lock; kept up to date by whoever changes it
  CredentialState state;  // what the journal and the row together say
  // Whose pair it is, as far as earlier answers said so.
  std::string account;
  Subjects subject;
  // The revision that the database's row has, as it was read or committed last.
  // `held.row.renewal` may be ahead of it: writing it may have failed.
  std::int64_t mirrored = 0;
  bool recovered = false;  // taking the lock settled what another process had left
  // Why an answer that is in the journal could not be settled. Nothing is sent while this stands.
  std::optional<Error> unsettled;
  // How long it waits for the write gate: not at all for a caller who did not wait for the lock
  // either, the usual time once something has been sent.
  Milliseconds gate_wait = engine.options.lock_wait;

  const Uid& uid() const { return held.row.uid; }
  // True of a failure that says no more than that a caller in a hurry came at the wrong moment.
  // What another left is then left to the next: told to its journal alone, the ledger would miss
  // it.
  bool is_haste(const Error& error) const {
    return error.code == Errc::busy && gate_wait < engine.options.lock_wait;
  }
  std::unique_ptr<Txn> begin_write() {
    engine.require_writable();
    auto txn = engine.backend->begin_write(gate_wait);
    engine.follow_keys(*txn);
    return txn;
  }
  void reload();
};

// Takes the lock, reads both sides, lets the newer one count and recovers. The one way to a lock:
// LockedCredential::acquire() is its public face.
std::unique_ptr<Locked> acquire_lock(const Store& store, const Uid& uid, const LockPolicy& policy);

// The lock of a journal by itself, without recovery: for one whose credential the database does not
// know, and for those who only wait for whoever holds it. Throws.
Journal lock_journal(Engine& engine, const Uid& uid);

// Keeps a damaged journal under another name and puts a blank one in its place; its credential is
// held as uncertain, in the database first. Empty if nothing was wrong with it. Throws.
std::filesystem::path set_aside_journal(Engine& engine, const Uid& uid);

// ---- recovery (recovery.cpp) -------------------------------------------------------------------

// Opens the row's cells into `held`. Cells that do not open are mended where that is no guess: the
// journal has the very pair that the row says it has. Throws `refused` where it is one.
void open_cells(Locked& locked, const StoredCredential& stored);
// Reads both sides, and lets the newer one count: `state` and the row say the same afterwards.
void reconcile(Locked& locked);
// Concludes, or forgets, the attempt that the last holder left. Throws BackendError.
void recover(Locked& locked, const LockPolicy& policy);

// ---- changing (lock.cpp) -----------------------------------------------------------------------

// The revision of what is written next. A journal that was lost, or displaced by an older one, may
// have been ahead of the row, and may be put back: what follows it is numbered by the clock, in ms,
// which is far ahead of all numbers that were counted up one by one.
std::int64_t next_revision(const Locked& locked);

// The order in which a change becomes durable. First the database, in one write transaction: what
// `rows` writes (it may still change `next`) and the copy of `next`. Then the journal. Dying in
// between leaves a row that is one revision ahead, and then the row counts (newer_side()). Throws
// BackendError; then nothing has changed.
using Rows = std::function<void(Txn&, CredentialState& next)>;
void commit_state(Locked& locked, CredentialState next, const Rows& rows, bool durable = false);
// The two halves of that, for changes of several credentials in one transaction: the state that
// comes next, with its revision, and the copy that the row gets of it.
CredentialState prepare_state(const Locked& locked, Event what);
// The same where another pair stands in the row now.
CredentialState prepare_moved(const Locked& locked, const Credential& row);

// Those of several credentials whose tokens move in one transaction, in uid order: two that meet
// always wait for each other in the same order.
struct Moving {
  std::unique_ptr<Locked> locked;  // null for what has no journal, such as an API key
  CredentialState next;            // what the journal is told once the database has it
};
using MovingSet = std::map<Uid, Moving>;
// What the journal will say of a row as it stands now, and the row's copy of it.
void prepare(Moving& moving, Txn& txn);
// The change is committed: the journals learn of it, so that a database put back later is noticed.
// Nothing that fails here may make it look undone.
void tell_journals(MovingSet& all);

Renewal mirror_of(const CredentialState& state);
// `health` of a credential that is dead; and where only the journal knows that it was refused.
Health dead_since(Instant at, const std::string& reason, const std::string& message, Health health);
Health refused_since(Instant at, Health health);
// The row gets that copy. What only the copy does not know yet is no reason to fail, as a rule.
Result<void> refresh_mirror(Locked& locked);
// For what must not be lost though the database cannot be written: the journal, and the database if
// it can be had. The row is then a revision behind, until the next holder brings it up.
void record_state(Locked& locked, CredentialState next, const Rows& rows);
// A credential's first state goes into its journal, durably, and the row learns that there is one,
// so that its loss would be noticed. Nothing, where that has been done.
Result<void> begin_journal(Locked& locked);
// The same before a hold of a credential whose journal is blank, by a number that no journal of it
// had before: one that was deleted, and is put back, is then known to be older. If it cannot be
// written, what follows stands in the row alone.
void begin_line(Locked& locked);
// The journal alone, of a state that the database has already.
void tell_journal(Locked& locked, CredentialState next, bool durable);

// ---- the end of an attempt (settle.cpp) --------------------------------------------------------

enum class End {
  moved,      // the row has the new grant
  elsewhere,  // its refresh token is another credential's, or retired: the row has the access token
  misdirected,  // it is for another account: kept, sealed, never served
  half,         // a refresh token came without an access token, and is kept
  refused,      // the server has said no for good
  unspent,      // the server has not processed the request
  uncertain,    // it was sent, and what became of it is not known
};

// What an answer amounts to, made durable in the database and the journal. `attempt` is the ledger
// row, but for its outcome where it came to nothing. Throws BackendError where the database cannot
// take a grant; then the journal still has the answer.
End conclude(Locked& locked, const Judgement& judgement, Attempt attempt);

// The row takes what the answer said about the credential, where it said anything new.
void adopt_identity(Txn& txn, const Held& before, const Grant& grant);

// What is known of the owner, by earlier answers and by the access token that stands there.
void learn_owner(Locked& locked);
// True if the grant says that it is another account's than what is known of the credential's owner.
bool is_for_another_account(Locked& locked, const Grant& grant);

// False of what was wiped.
bool has_tokens(const Held& held);
// The pair as it stands in the row, sealed for the journal.
Sealed grant_of(Locked& locked);
// What is sealed in a journal's record: whose it is, and the current pair. Throws `refused` if
// there is none, or it cannot be read.
Parcel parcel_of(Engine& engine, const CredentialState& state, const Uid& uid);
// The answer that the state holds.
Answer answer_of(Locked& locked);
// The ledger row of the attempt that the state tells of.
Attempt attempt_of(const Locked& locked, Outcome outcome);

// ---- the replay rule (replay.cpp) --------------------------------------------------------------

// When an uncertain token may be sent again. Not while a bearer of the credential lives and is not
// the `rejected` one, unless the provider forgives a reuse this soon (reuse_grace_s); then with
// more and more time between. nullopt: not while its bearer lives, whose end is unknown.
std::optional<Instant> next_replay(const Locked& locked, const std::string& rejected);

// What a journal's sealed payloads are bound to.
inline constexpr std::string_view kAnswerColumn = "journal.answer";
inline constexpr std::string_view kGrantColumn = "journal.grant";

}  // namespace authdb
