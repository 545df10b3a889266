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
// the server answers is in the ledger. From the request's first byte on the credential is dead, so
// that nobody tries it if it is taken back; a server that says it has not done it makes it as it
// was.
//
// Errors: those of Store::remove(); then nothing was changed.
Result<LoggedOut> log_out(Store& store, const BearerParts& parts, const Uid& uid,
                          const std::string& profile, bool keep_remote);

}  // namespace authdb::oauth
