// The API key of a credential that keeps it in a variable of the environment (`env:VARIABLE`).
//
// Such a credential came out of a file, which may name any variable of this process and any server
// beside it. So a variable is only read as the key if it holds what was imported (by its
// fingerprint), or is one of the provider's own where the file had no fingerprint, or was allowed
// by the user; and only if the credential's base URL is one that the provider's keys may go to.
#pragma once

#include <string>

#include "oauth/provider.h"
#include "store/credential.h"
#include "store/result.h"

namespace authdb::oauth {

struct EnvKeyRequest {
  const Credential& row;     // its source is `env:...`
  const Secret& extra;       // the row's, unsealed: what was imported, what the user allowed
  const Provider* provider;  // the row's; nullptr: nobody knows it
  const Environment& environment;
  std::string name;  // of the row, for messages
};

// The key, which may still be no token text. A variable that must not be read is not. Errors, none
// of which quotes a value: not_found if the variable is not set; refused if it must not be read, is
// longer than a key or not the one that was imported, or if the key must not go where the
// credential says. Thread-safe.
Result<Secret> env_key(const EnvKeyRequest& request);

}  // namespace authdb::oauth
