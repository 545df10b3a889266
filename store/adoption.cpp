#include "store/adoption.h"

#include "store/engine.h"
#include "store/locked.h"
#include "store/parcel.h"
#include "store/rotation.h"

namespace authdb {
namespace {

// The credential of a journal that stands alone, as its last settled grant has it.
void bring_back(Engine& engine, const Journal& journal, const Uid& uid) {
  const auto& settled = journal.settled();
  if (!settled) return;  // never had a grant of its own: nothing to bring back
  const auto parcel = unpack(engine.open(settled->payload, uid, kGrantColumn, settled->generation));
  if (!parcel) {
    throw BackendError{{Errc::refused, "the journal of " + uid + " cannot be read",
                        "Log in again; its credential is not in the database."}};
  }
  const auto txn = engine.begin_write();
  const auto id = txn->insert(uid, parcel->identity, {}, engine.now());
  SealedTokens tokens = engine.seal_grant(uid, parcel->identity, parcel->grant, Origin::rotation,
                                          settled->family, settled->generation, nullptr);
  if (tokens.refresh_hash && txn->retired(*tokens.refresh_hash)) return;
  txn->insert_tokens(id, tokens);
  for (const auto& [hash, generation] : journal.spent()) {
    if (hash == tokens.refresh_hash) continue;
    txn->retire(id, hash, settled->family, generation, engine.now(), Retirement::spent);
  }
  Attempt attempt = engine.new_attempt(AttemptKind::import, {});
  attempt.outcome = Outcome::recovered;
  attempt.refresh_hash = tokens.refresh_hash;
  attempt.family = tokens.family;
  attempt.from_generation = tokens.generation - 1;
  attempt.to_generation = tokens.generation;
  attempt.finished_at = engine.now();
  txn->record(id, attempt);
  txn->commit();
}

// True if the credential's tokens moved.
bool adopt(Store& store, const Uid& uid) {
  Engine& engine = store.engine();
  const auto before = engine.backend->view()->load(uid);
  if (before && before->row.removed_at) return false;
  if (!before) {
    const Journal journal =
        value_or_throw(Journal::acquire(engine.files.directory, engine.files.store_id, uid,
                                        engine.options.lock_wait, engine.self()));
    engine.follow_keys(*engine.backend->view());
    if (!engine.backend->view()->load(uid)) bring_back(engine, journal, uid);
  }
  if (!engine.backend->view()->load(uid)) return false;
  const auto locked = value_or_throw(lock_credential(store, uid, engine.options.lock_wait));
  return !before || locked.held().row.generation != before->row.generation;
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
