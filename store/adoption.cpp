#include "store/adoption.h"

#include <algorithm>

#include "store/locked.h"
#include "store/parcel.h"

namespace authdb {
namespace {

void insert_tokens(Engine& engine, Txn& txn, std::int64_t id, const Uid& uid,
                   const CredentialState& state, const Parcel& parcel) {
  SealedTokens tokens = engine.seal_grant(uid, parcel.identity, parcel.grant, Origin::rotation,
                                          state.family, state.generation, nullptr);
  tokens.hold = state.hold;
  const auto hash = tokens.refresh_hash;
  // Removed, spent, or known to this database as retired: it does not become current again.
  if (!state.hash || (hash && (txn.retired(*hash) || txn.owner_of(*hash)))) {
    tokens.refresh_hash.reset();
  }
  txn.insert_tokens(id, tokens);
  if (state.removed_at) {
    txn.set_removed(id, state.removed_at);
    if (hash && !txn.owner_of(*hash)) {
      txn.retire(id, *hash, state.family, state.generation, engine.now(), Retirement::removed);
    }
  }
}

// The credential of a journal that stands alone, as its state has it.
void bring_back(Engine& engine, const Journal& journal, const Uid& uid) {
  const CredentialState& state = journal.state();
  if (state.grant.empty()) return;  // never had a grant of its own: nothing to bring back
  const Parcel parcel = parcel_of(engine, state, uid);
  const auto txn = engine.begin_write();
  const auto id = txn->insert(uid, parcel.identity, {}, engine.now());
  insert_tokens(engine, *txn, id, uid, state, parcel);
  for (const auto& [hash, generation] : journal.spent()) {
    if (txn->owner_of(hash)) continue;
    txn->retire(id, hash, state.family, generation, engine.now(), Retirement::spent);
  }
  if (!state.legacy) txn->put_renewal(id, mirror_of(state));
  if (state.renewal.refused) txn->set_health(id, refused_since(engine.now(), {}));
  Attempt attempt = engine.new_attempt(AttemptKind::import, {});
  attempt.outcome = Outcome::recovered;
  attempt.refresh_hash = state.hash;
  const Secret& bearer = parcel.grant.access_token;
  if (!bearer.empty()) attempt.bearer = fingerprint(bearer);
  attempt.family = state.family;
  attempt.from_generation = state.generation - 1;
  attempt.to_generation = state.generation;
  attempt.finished_at = engine.now();
  txn->record(id, attempt);
  txn->commit();
}

bool differs(const Credential& a, const Credential& b) {
  const bool other_hold = a.hold != b.hold && b.hold != Hold::uncertain;
  return a.generation != b.generation || other_hold ||
         a.removed_at.has_value() != b.removed_at.has_value();
}

// Of what was removed only the grant still has the token. One that cannot be opened says nothing.
std::optional<TokenHash> removed_token(Engine& engine, const CredentialState& state,
                                       const Uid& uid) {
  if (!state.removed_at || state.hash || state.grant.empty()) return std::nullopt;
  const auto parcel = Engine::guarded([&] { return parcel_of(engine, state, uid); });
  if (!parcel || parcel->grant.refresh_token.empty()) return std::nullopt;
  return token_hash(parcel->grant.refresh_token);
}

bool knows_one_of(Engine& engine, const Journal& journal, const Uid& uid,
                  const std::set<TokenHash>& hashes) {
  const auto& spent = journal.spent();
  const auto& current = journal.state().hash;
  if (current && hashes.contains(*current)) return true;
  if (std::any_of(spent.begin(), spent.end(),
                  [&](const auto& entry) { return hashes.contains(entry.first); })) {
    return true;
  }
  const auto removed = removed_token(engine, journal.state(), uid);
  return removed && hashes.contains(*removed);
}

// True if the credential moved.
bool adopt(const Store& store, const Uid& uid) {
  Engine& engine = store.engine();
  const auto before = engine.backend->view()->load(uid);
  if (!before) {
    const Journal journal = lock_journal(engine, uid);
    if (!engine.backend->view()->load(uid)) bring_back(engine, journal, uid);
  }
  if (!engine.backend->view()->load(uid)) return false;
  const auto locked =
      acquire_lock(store, uid, {.wait = engine.options.lock_wait, .removed_too = true});
  return !before || differs(before->row, locked->held.row);
}

}  // namespace

Adoption adopt_journals(Store& store) {
  Adoption adoption;
  for (const Uid& uid : Journal::all(store.engine().files.directory)) {
    auto moved = Engine::guarded([&] { return adopt(store, uid); });
    if (!moved) adoption.left.push_back(std::move(moved.error()));
    if (moved && *moved) ++adoption.adopted;
  }
  return adoption;
}

void adopt_what_knows(const Store& store, const std::set<TokenHash>& hashes) {
  Engine& engine = store.engine();
  for (const Uid& uid : Journal::all(engine.files.directory)) {
    const auto journal = Journal::look(engine.place(uid));
    if (!journal) continue;  // damaged: doctor tells
    if (knows_one_of(engine, *journal, uid, hashes)) adopt(store, uid);
  }
}

bool another_journal_knows(Engine& engine, const Uid& except, const TokenHash& hash) {
  const std::vector<Uid> uids = Journal::all(engine.files.directory);
  return std::any_of(uids.begin(), uids.end(), [&](const Uid& uid) {
    if (uid == except) return false;
    const auto journal = Journal::look(engine.place(uid));
    return journal && knows_one_of(engine, *journal, uid, {hash});
  });
}

}  // namespace authdb
