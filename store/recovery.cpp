// The first thing under a credential's lock: which side is newer, and what the last holder left
// behind. Each branch is a row of the crash table in docs/design.md.
#include "store/locked.h"
#include "store/rescue.h"

namespace authdb {
namespace {

// ---- the newer side counts ---------------------------------------------------------------------

bool same_tokens(const CredentialState& state, const Credential& row) {
  return state.family == row.family && state.generation == row.generation &&
         state.hash == row.refresh_hash;
}

// True if it is byte for byte the pair of which the row says that it has it.
bool is_pair_of(const Credential& row, const Grant& grant) {
  const auto hash =
      grant.refresh_token.empty() ? std::nullopt : std::optional(token_hash(grant.refresh_token));
  const auto bearer = grant.access_token.empty() ? "" : fingerprint(grant.access_token);
  return hash == row.refresh_hash && bearer == row.access_fingerprint;
}

// The row's cells as the journal has them. False: it does not have this pair.
bool mend_cells(Locked& locked, const StoredCredential& stored) {
  Engine& engine = locked.engine;
  const Credential& row = stored.row;
  const CredentialState& state = locked.journal.state();
  if (state.revision == 0 || row.removed_at || !same_tokens(state, row)) return false;
  const auto parcel = Engine::guarded([&] { return parcel_of(engine, state, row.uid); });
  if (!parcel || !is_pair_of(row, parcel->grant)) return false;
  StoredCredential key{row, {}};
  key.cells.agent_key = stored.cells.agent_key;
  key.cells.agent_key_generation = stored.cells.agent_key_generation;
  const bool key_opens = Engine::guarded([&] { (void)engine.unseal(std::move(key)); }).has_value();
  SealedTokens tokens = engine.seal_grant(row.uid, row.identity, parcel->grant, row.origin,
                                          row.family, row.generation, nullptr);
  tokens.bearer_kind = row.bearer_kind;
  tokens.obtained_at = row.obtained_at;
  tokens.obtained_derived = row.obtained_derived;
  tokens.expires_at = row.expires_at;
  tokens.refresh_at = row.refresh_at;
  tokens.session_ends_at = row.session_ends_at;
  tokens.hold = row.hold;
  const auto txn = locked.begin_write();
  if (!txn->advance(row.id, row.refresh_hash, row.generation, tokens)) return false;
  if (!key_opens) txn->drop_agent_key(row.id);  // another one is minted
  txn->commit();
  engine.log(LogLevel::warning, "the sealed cells of " + name_of(row) +
                                    " were damaged: took its tokens from its journal");
  return true;
}

// A row may be dead for reasons that the journal knows nothing of.
bool same_verdict(const CredentialState& state, const Credential& row) {
  const bool is_dead = row.health.status == Status::dead;
  return state.renewal.refused ? is_dead : !is_dead || !row.renewal.refused;
}

void retire_spent(Locked& locked, Txn& txn, const TokenHash& hash, std::int64_t generation) {
  if (locked.state.hash && hash == *locked.state.hash) return;
  if (txn.owner_of(hash)) return;  // current here or elsewhere
  txn.retire(locked.held.row.id, hash, locked.state.family, generation, locked.engine.now(),
             Retirement::spent);
}

// The row takes the journal's pair. What it holds was spent long ago.
void move_row(Locked& locked, Txn& txn, const Parcel& parcel) {
  const Credential& row = locked.held.row;
  const Grant& grant = parcel.grant;
  const CredentialState& state = locked.state;
  if (row.removed_at) txn.take_back(row.id, state.hash);
  if (state.hash) {
    txn.pardon(*state.hash);
    // An answer gave it to another credential while this database did not know whose it is.
    const auto owner = txn.owner_of(*state.hash);
    if (owner && *owner != row.id) txn.clear_refresh_hash(*owner);
  }
  SealedTokens tokens = locked.engine.seal_grant(row.uid, parcel.identity, grant, Origin::rotation,
                                                 state.family, state.generation, nullptr);
  tokens.hold = state.hold;
  if (!state.hash) tokens.refresh_hash.reset();
  const auto stands = txn.load(row.uid)->row.refresh_hash;
  if (!txn.advance(row.id, stands, row.generation, tokens)) {
    throw BackendError{{Errc::unexpected, "the row moved inside its own transaction", ""}};
  }
  if (row.refresh_hash) retire_spent(locked, txn, *row.refresh_hash, row.generation);
  if (state.removed_at && !grant.refresh_token.empty()) {
    txn.retire(row.id, token_hash(grant.refresh_token), state.family, state.generation,
               locked.engine.now(), Retirement::removed);
  }
  for (const auto& [hash, generation] : locked.journal.spent()) {
    retire_spent(locked, txn, hash, generation);
  }
  // Whose the pair is, and where it goes, comes with it.
  txn.set_identity(row.id, parcel.identity);
  adopt_identity(txn, locked.held, grant);
}

void put_removal(Locked& locked, Txn& txn) {
  const Credential row = txn.load(locked.uid())->row;
  if (row.removed_at.has_value() == locked.state.removed_at.has_value()) return;
  if (!locked.state.removed_at) return txn.take_back(row.id, locked.state.hash);
  txn.set_removed(row.id, locked.state.removed_at);
  txn.clear_refresh_hash(row.id);
  if (row.refresh_hash) {
    txn.retire(row.id, *row.refresh_hash, row.family, row.generation, locked.engine.now(),
               Retirement::removed);
  }
}

// A verdict is about a grant: what an older row says of another one does not count. That the server
// said no is in the journal too; what it said was in the row that was lost.
void put_verdict(Locked& locked, Txn& txn, bool moves) {
  const Health& before = locked.held.row.health;
  const bool refused = locked.state.renewal.refused;
  const bool is_dead = before.status == Status::dead;
  const bool lifted = moves || locked.held.row.renewal.refused;
  if (refused == is_dead || (is_dead && !lifted)) return;
  const Instant now = locked.engine.now();
  Health health;
  health.status_at = now;
  health.request_count = before.request_count;
  health.last_used_at = before.last_used_at;
  if (refused) health = refused_since(now, health);
  txn.set_health(locked.held.row.id, health);
}

// The database is older than the journal: it was put back, or the journal's last word had not
// reached it. The row becomes what the journal says.
void bring_row_up(Locked& locked) {
  const Credential before = locked.held.row;
  const CredentialState& state = locked.state;
  // What is removed in an older database may have been wiped there.
  const bool wiped = !has_tokens(locked.held) && !state.grant.empty();
  const bool moves = state.generation > before.generation || wiped;
  const Parcel parcel = moves ? parcel_of(locked.engine, state, locked.uid()) : Parcel();
  {
    const auto txn = locked.begin_write();
    if (moves) {
      move_row(locked, *txn, parcel);
      Attempt attempt = attempt_of(locked, Outcome::recovered);
      attempt.refresh_hash = state.hash;
      const Secret& bearer = parcel.grant.access_token;
      if (!bearer.empty()) attempt.bearer = fingerprint(bearer);
      attempt.from_generation = state.generation - 1;
      attempt.to_generation = state.generation;
      attempt.finished_at = locked.engine.now();
      txn->record(before.id, attempt);
    }
    put_removal(locked, *txn);
    if (!state.hash && before.refresh_hash && !state.removed_at && !moves) {
      txn->clear_refresh_hash(before.id);
      retire_spent(locked, *txn, *before.refresh_hash, before.generation);
    }
    txn->set_hold(before.id, state.hold);
    put_verdict(locked, *txn, moves);
    txn->put_renewal(before.id, mirror_of(state));
    txn->commit();
  }
  locked.reload();
  locked.recovered = moves;
  locked.engine.log(LogLevel::warning, "the database is older than the journal of " +
                                           name_of(before) +
                                           ": took what is newer from the journal");
}

void follow_journal(Locked& locked) {
  locked.state = locked.journal.state();
  if (locked.state.legacy) {
    locked.state.hold = locked.held.row.hold;
    locked.state.removed_at = locked.held.row.removed_at;
  }
  const Credential& row = locked.held.row;
  const bool same = same_tokens(locked.state, row) && locked.state.hold == row.hold &&
                    locked.state.removed_at.has_value() == row.removed_at.has_value() &&
                    same_verdict(locked.state, row);
  if (!same) return bring_row_up(locked);
  const bool behind = mirror_of(locked.state).revision != row.renewal.revision;
  if (behind && locked.state.phase == Phase::idle) {
    (void)refresh_mirror(locked);
    return;
  }
  locked.held.row.renewal = mirror_of(locked.state);
}

// What the row has no copy of is taken from the journal, if it is of the same pair.
void follow_row(Locked& locked) {
  const CredentialState& journal = locked.journal.state();
  locked.state = state_of(locked.held.row);
  locked.state.grant = grant_of(locked);
  const bool same_pair = journal.revision > 0 && journal.family == locked.state.family &&
                         journal.generation == locked.state.generation;
  if (!same_pair) return;
  locked.state.answer = journal.answer;
  locked.state.answer_size = journal.answer_size;
  if (!locked.held.row.renewal.waiting || journal.phase != Phase::answered) return;
  locked.state.phase = Phase::answered;
  locked.state.attempt = journal.attempt;
}

// Whether the token was sent is not known any more: taken for sent. The journal is told first: one
// that knows of nothing must not be left behind by whoever dies in between.
void doubt(Locked& locked) {
  Attempt attempt = attempt_of(locked, Outcome::uncertain);
  attempt.error_code = "journal_lost";
  std::unique_ptr<Txn> txn;
  const auto begun = Engine::guarded([&] { txn = locked.begin_write(); });
  if (!begun && locked.is_haste(begun.error())) throw BackendError{begun.error()};
  tell_journal(locked, prepare_state(locked, event::Doubted{}), /*durable=*/true);
  const auto recorded = !begun ? begun : Engine::guarded([&] {
    attempt.finished_at = locked.engine.now();
    txn->set_hold(locked.held.row.id, locked.state.hold);
    txn->put_renewal(locked.held.row.id, mirror_of(locked.state));
    txn->record(locked.held.row.id, attempt);
    txn->commit();
  });
  if (!recorded) locked.engine.log(LogLevel::warning, recorded.error().message);
  locked.held.row.hold = locked.state.hold;
}

}  // namespace

void open_cells(Locked& locked, const StoredCredential& stored) {
  auto opened = Engine::guarded([&] { return locked.engine.unseal(stored); });
  if (opened) {
    locked.held = std::move(*opened);
    return;
  }
  if (opened.error().code != Errc::refused || !mend_cells(locked, stored)) {
    throw BackendError{std::move(opened.error())};
  }
  locked.reload();
}

void reconcile(Locked& locked) {
  const CredentialState& journal = locked.journal.state();
  const Side side = newer_side(journal, locked.held.row);
  switch (side) {
    case Side::same:
      if (journal.revision == 0) {
        follow_row(locked);
      } else {
        follow_journal(locked);
      }
      break;
    case Side::journal:
      follow_journal(locked);
      break;
    case Side::row:
    case Side::row_and_lost:
      follow_row(locked);
      break;
  }
  const bool nothing_under_way =
      locked.state.phase == Phase::idle || locked.state.phase == Phase::intent;
  const bool lost =
      side == Side::row_and_lost || (locked.journal.lost_its_last_word() && nothing_under_way);
  const bool may_be_sent =
      locked.state.hash || (locked.state.removed_at && !locked.held.refresh_token.empty());
  if (lost && may_be_sent && locked.state.hold == Hold::none) return doubt(locked);
  if (side == Side::row_and_lost) locked.state.revision = next_revision(locked);
  if (side == Side::row || side == Side::row_and_lost) {
    tell_journal(locked, locked.state, /*durable=*/false);
  }
}

// ---- what the last holder left -----------------------------------------------------------------

namespace {

// The answer of the attempt that the journal calls unanswered.
void read_rescue(Locked& locked) {
  const JournalPlace place = locked.engine.place(locked.uid());
  for (const auto& path : rescue_files(place, locked.state.attempt.rescue)) {
    const auto rescued = read_rescue_file(path);
    // A server may hand the same token back: its hash alone does not tell one answer from the next.
    const CredentialState& state = locked.state;
    const bool ours = rescued && !state.removed_at && rescued->hash == state.hash &&
                      rescued->generation == state.generation;
    if (!ours) continue;
    locked.state.phase = Phase::answered;
    locked.state.attempt = rescued->attempt;
    locked.state.answer = rescued->answer;
    locked.state.answer_size = rescued->answer_size;
  }
}

void remove_rescue(const Locked& locked, const std::string& named) {
  for (const auto& path : rescue_files(locked.engine.place(locked.uid()), named)) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
}

// Died after the answer was journalled: concluded as its owner would have.
void settle_answer(Locked& locked) {
  const Identity& identity = locked.held.row.identity;
  const auto& endpoint_for = locked.engine.options.endpoint_for;
  const auto endpoint = endpoint_for ? endpoint_for(identity) : nullptr;
  if (!endpoint) {
    throw BackendError{{Errc::refused,
                        "a rotated token of " + name_of(locked.held.row) +
                            " waits in its journal, and the provider \"" + identity.provider +
                            "\" is not known here",
                        "Put its file back into providers.d, then try again. The token is safe."}};
  }
  const Judgement judgement = endpoint->judge(answer_of(locked));
  const End end = conclude(locked, judgement, attempt_of(locked, Outcome::recovered));
  locked.recovered = end == End::moved;
}

}  // namespace

void recover(Locked& locked, const LockPolicy& policy) {
  const std::string named = locked.state.attempt.rescue;
  if (locked.state.phase != Phase::answered) read_rescue(locked);
  if (locked.state.phase == Phase::answered && locked.state.removed_at) return;  // it is no use now
  switch (recovery_of(locked.state, locked.engine.boot_id())) {
    case Recovery::nothing:
      break;
    case Recovery::forget:
      locked.state = decide(locked.state, event::Forgotten{}, locked.engine.now());
      break;
    case Recovery::call_lost:
      conclude(locked, Judgement{}, attempt_of(locked, Outcome::uncertain));
      break;
    case Recovery::settle:
      const auto settled = Engine::guarded([&] { settle_answer(locked); });
      if (!settled && !policy.unsettled_too) throw BackendError{settled.error()};
      if (!settled) locked.unsettled = settled.error();
      break;
  }
  if (!locked.unsettled) remove_rescue(locked, named);
}

}  // namespace authdb
