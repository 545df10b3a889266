// What holds while a credential's lock is ours. Private to store/: rotation.cpp, settle.cpp and
// recovery.cpp are the protocol, and this is what they hand each other.
#pragma once

#include "store/attempt.h"
#include "store/engine.h"
#include "store/journal.h"
#include "store/store.h"

namespace authdb {

struct Locked {
  Store store;
  Engine& engine;
  Journal journal;
  Held held;               // as it stands under the lock; kept up to date by whoever changes it
  bool recovered = false;  // taking the lock settled what another process had left
  // How long it waits for the write gate: not at all for a caller who did not wait for the lock
  // either, the usual time once something has been sent.
  Milliseconds gate_wait = engine.options.lock_wait;

  const Uid& uid() const { return held.row.uid; }
  std::unique_ptr<Txn> begin_write() {
    engine.require_writable();
    return engine.backend->begin_write(gate_wait);
  }
  void reload() {
    const auto view = engine.backend->view();
    held = engine.load(*view, held.row.uid);
  }
};

// The token that an attempt sent: what the compare-and-swap compares with.
struct SentToken {
  TokenHash hash{};
  std::int64_t family = 0;
  std::int64_t generation = 0;
};

enum class SettleEnd {
  committed,   // the row moved to the new grant
  superseded,  // a newer login stands there; our grant was good and is not needed
  theirs,      // another grant of this family is further on
  already,     // the row has this very grant: its owner died between commit and journal
};

// Step 7. Moves the row to `grant` if it still stands at `sent`, retires what it replaces and
// writes the ledger row, in one write transaction. Throws BackendError; then the journal still has
// the answer.
SettleEnd commit_grant(Locked& locked, const SentToken& sent, const Grant& grant, Attempt attempt);

// Steps 7 and 8: then tells the journal.
SettleEnd settle(Locked& locked, const SentToken& sent, const Grant& grant, Attempt attempt);

// A success is proof against whatever the credential was accused of. Never fails the caller.
void mark_alive(Locked& locked);

// Tells the journal that the row as it stands is the newest there is.
void journal_the_row(Locked& locked, const std::optional<TokenHash>& predecessor);

// Step 3: does what the journal says is still to be done. Throws BackendError.
void recover(Locked& locked);

// Puts the credential on hold because `attempt` was sent and never answered, and says so in the
// ledger.
void hold_uncertain(Locked& locked, const Attempt& attempt);

// What the ledger knows of answers to the current token that never came.
LostAttempts lost_attempts(const Locked& locked);

// When an uncertain token may be sent again. Not while a bearer of the credential lives and is not
// the `rejected` one, unless the provider forgives a reuse this soon (reuse_grace_s); then with
// more and more time between. nullopt: not while its bearer lives, whose end is unknown.
std::optional<Instant> next_replay(const Locked& locked, const LostAttempts& lost,
                                   const std::string& rejected);

// An answer that could be written neither to its journal nor to the database: the last resort is a
// sealed file in $XDG_RUNTIME_DIR/authdb, which recovery reads too.
bool write_rescue(Locked& locked, const JournalRecord& answered);
std::optional<JournalRecord> read_rescue(Locked& locked);
void remove_rescue(Locked& locked);

// What a journal's sealed payload is bound to.
inline constexpr std::string_view kAnswerColumn = "journal.answer";
inline constexpr std::string_view kGrantColumn = "journal.grant";

// The answer that a journal record holds.
Answer answer_of(Locked& locked, const JournalRecord& record);

}  // namespace authdb
