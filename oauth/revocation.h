// Logging out: a credential leaves the store, and its session ends at the server where that offers
// revocation (RFC 7009).
//
// Thread-safe.
#pragma once

#include <string>

#include "oauth/bearer.h"
#include "store/result.h"
#include "store/store.h"

namespace authdb::oauth {

// What became of the session at the server.
enum class Remote {
  revoked,
  kept,         // as wanted; or there is none: an API key
  not_offered,  // the provider has no such endpoint
  failed,       // it may live on
};

struct LoggedOut {
  Remote remote = Remote::kept;
  std::string message;  // failed: why, scrubbed
};

// Under the credential's lock: recovers, so that it is the newest token that is revoked; removes
// the credential, for good if this process dies now; then asks the server to end the session. What
// the server answers is in the ledger, and a revoked credential is dead: if it is taken back,
// nobody tries it. A server that fails undoes nothing.
//
// Errors: those of Store::remove(); then nothing was changed.
Result<LoggedOut> log_out(Store& store, const BearerParts& parts, const Uid& uid,
                          const std::string& profile, bool keep_remote);

}  // namespace authdb::oauth
