#include "store/rejection.h"

#include "store/engine.h"

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
    Renewal renewal = row.renewal;
    renewal.rejected = bearer;
    renewal.rejections += 1;
    txn->put_renewal(row.id, renewal);
    txn->commit();
  });
}

}  // namespace authdb
