#include "store/rejection.h"

#include "store/engine.h"
#include "store/state.h"

namespace authdb {

Result<void> note_rejected_in_row(const Store& store, const Uid& uid, const std::string& bearer) {
  Engine& engine = store.engine();
  return Engine::guarded([&] {
    const auto txn = engine.begin_write();
    const auto stored = txn->load(uid);
    if (!stored) return;
    const Credential& row = stored->row;
    const bool is_current = bearer == row.access_fingerprint || bearer == row.agent_key_fingerprint;
    if (bearer.empty() || !is_current || row.renewal.rejected == bearer) return;
    txn->put_renewal(row.id, decide(state_of(row), event::Rejected{bearer}, engine.now()).renewal);
    txn->commit();
  });
}

}  // namespace authdb
