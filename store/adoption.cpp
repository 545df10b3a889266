#include "store/adoption.h"

#include "store/locked.h"
#include "store/parcel.h"

namespace authdb {
namespace {

Parcel parcel_of(Engine& engine, const CredentialState& state, const Uid& uid) {
  auto parcel = unpack(engine.open(state.grant, uid, kGrantColumn, state.generation));
  if (parcel) return std::move(*parcel);
  throw BackendError{{Errc::refused, "the journal of " + uid + " cannot be read",
                      "Log in again; its credential is not in the database."}};
}

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
  Attempt attempt = engine.new_attempt(AttemptKind::import, {});
  attempt.outcome = Outcome::recovered;
  attempt.refresh_hash = state.hash;
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

// True if the credential moved.
bool adopt(Store& store, const Uid& uid) {
  Engine& engine = store.engine();
  const auto before = engine.backend->view()->load(uid);
  if (!before) {
    const Journal journal = lock_journal(engine, uid);
    if (!engine.backend->view()->load(uid)) bring_back(engine, journal, uid);
  }
  if (!engine.backend->view()->load(uid)) return false;
  LockPolicy policy{engine.options.lock_wait};
  policy.removed_too = true;
  const auto locked = acquire_lock(store, uid, policy);
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

}  // namespace authdb
