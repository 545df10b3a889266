// Steps 7 and 8 of a rotation: one write transaction with compare-and-swap moves the row, then the
// journal learns of it.
#include "store/locked.h"
#include "store/parcel.h"
#include "store/rotation.h"

namespace authdb {
namespace {

struct Move {
  Locked& locked;
  const SentToken& sent;
  const SealedTokens& fresh;
  const Credential& row;  // as it stands inside the transaction
  Txn& txn;
};

void retire_spent(const Move& move, const TokenHash& hash, std::int64_t generation) {
  // A server may hand the same token back; retiring it would refuse our own current one.
  if (move.fresh.refresh_hash && hash == *move.fresh.refresh_hash) return;
  move.txn.retire(move.row.id, hash, move.sent.family, generation, move.locked.engine.now(),
                  Retirement::spent);
}

// The database is older than its journals: somebody put back a copy. What it holds was spent long
// ago.
void overtake_old_row(const Move& move) {
  if (!move.txn.advance(move.row.id, move.row.refresh_hash, move.row.generation, move.fresh)) {
    throw BackendError{{Errc::unexpected, "the row moved inside its own transaction", ""}};
  }
  if (move.row.refresh_hash) retire_spent(move, *move.row.refresh_hash, move.row.generation);
  for (const auto& [hash, generation] : move.locked.journal.spent()) {
    retire_spent(move, hash, generation);
  }
  if (move.sent.hash != TokenHash{}) retire_spent(move, move.sent.hash, move.sent.generation);
}

SettleEnd settle_mismatch(const Move& move) {
  const Credential& row = move.row;
  if (row.refresh_hash == move.fresh.refresh_hash && row.generation == move.fresh.generation) {
    return SettleEnd::already;
  }
  if (row.family <= move.sent.family && row.generation <= move.sent.generation) {
    overtake_old_row(move);
    return SettleEnd::committed;
  }
  if (move.fresh.refresh_hash && row.refresh_hash != move.fresh.refresh_hash) {
    move.txn.retire(row.id, *move.fresh.refresh_hash, move.sent.family, move.fresh.generation,
                    move.locked.engine.now(), Retirement::superseded);
  }
  return row.family > move.sent.family ? SettleEnd::superseded : SettleEnd::theirs;
}

SettleEnd move_row(const Move& move) {
  if (move.fresh.refresh_hash)
    move.txn.pardon(*move.fresh.refresh_hash);  // the server just issued it
  if (!move.txn.advance(move.row.id, move.sent.hash, move.sent.generation, move.fresh)) {
    return settle_mismatch(move);
  }
  retire_spent(move, move.sent.hash, move.sent.generation);
  return SettleEnd::committed;
}

// What the answer said about the credential, where it said anything new.
void adopt_identity(Txn& txn, const Credential& row, const Grant& grant) {
  Identity identity = row.identity;
  bool changed = false;
  const auto adopt = [&](std::string& stored, const std::string& said) {
    if (said.empty() || said == stored) return;
    stored = said;
    changed = true;
  };
  adopt(identity.scope, grant.scope);
  adopt(identity.token_type, grant.token_type);
  adopt(identity.inference_base_url, grant.inference_base_url);
  if (changed) txn.set_identity(row.id, identity);
}

void record(Txn& txn, const Credential& row, SettleEnd end, std::int64_t to_generation,
            Attempt attempt) {
  if (end == SettleEnd::already) return;  // its owner wrote the ledger row with it
  if (end == SettleEnd::committed) {
    attempt.to_generation = to_generation;
  } else {
    attempt.outcome = Outcome::superseded;
  }
  txn.record(row.id, attempt);
}

}  // namespace

SettleEnd commit_grant(Locked& locked, const SentToken& sent, const Grant& grant, Attempt attempt) {
  Engine& engine = locked.engine;
  const SealedTokens fresh =
      engine.seal_grant(locked.uid(), locked.held.row.identity, grant, Origin::rotation,
                        sent.family, sent.generation + 1, &locked.held);
  SettleEnd end = SettleEnd::committed;
  {
    const auto txn = locked.begin_write();
    const Credential row = engine.load_sealed(*txn, locked.uid()).row;
    end = move_row({locked, sent, fresh, row, *txn});
    if (end == SettleEnd::committed) adopt_identity(*txn, row, grant);
    attempt.finished_at = engine.now();
    record(*txn, row, end, fresh.generation, std::move(attempt));
    txn->commit();
  }
  locked.reload();
  return end;
}

void mark_alive(Locked& locked) {
  const Health& was = locked.held.row.health;
  // A 401 was about the bearer that has just been replaced, and the token endpoint has answered
  // before the time that it asked for; any other cooldown is the account's.
  const bool refused = was.status == Status::exhausted && was.error_code == 401;
  if (was.status != Status::dead && !refused && !asked_to_wait_until(was)) return;
  Health health = was;
  health.status = Status::ok;
  health.status_at = locked.engine.now();
  health.cooldown_until.reset();
  health.error_code.reset();
  health.error_reason.clear();
  health.error_message.clear();
  const auto marked = Engine::guarded([&] {
    const auto txn = locked.begin_write();
    txn->set_health(locked.held.row.id, health);
    txn->commit();
  });
  if (marked) locked.held.row.health = health;
}

SettleEnd settle(Locked& locked, const SentToken& sent, const Grant& grant, Attempt attempt) {
  const SettleEnd end = commit_grant(locked, sent, grant, std::move(attempt));
  if (locked.held.row.refresh_hash != sent.hash) {
    locked.journal.add_spent(sent.hash, sent.generation);
  }
  journal_the_row(locked, sent.hash);
  return end;
}

void journal_the_row(Locked& locked, const std::optional<TokenHash>& predecessor) {
  const Held& held = locked.held;
  Grant grant;
  grant.access_token = held.access_token.clone();
  grant.refresh_token = held.refresh_token.clone();
  grant.obtained_at = held.row.obtained_at;
  grant.obtained_derived = held.row.obtained_derived;
  grant.expires_at = held.row.expires_at;
  grant.session_ends_at = held.row.session_ends_at;
  grant.bearer_kind = held.row.bearer_kind;
  JournalRecord record;
  record.family = held.row.family;
  record.generation = held.row.generation;
  record.hash = held.row.refresh_hash.value_or(TokenHash{});
  record.predecessor = predecessor.value_or(TokenHash{});
  record.boot_id = locked.engine.boot_id();
  record.started_at = locked.engine.now();
  record.payload = locked.engine.seal(pack(held.row.identity, grant), locked.uid(), kGrantColumn,
                                      held.row.generation);
  locked.journal.write_settled(std::move(record));
}

}  // namespace authdb
