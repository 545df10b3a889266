// The neutral form that every reader yields: what one foreign file says, before anybody decides
// what to do with it. Holds secrets; nothing in here is printed but paths, labels and reasons.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "store/claims.h"
#include "store/credential.h"
#include "store/result.h"

namespace authdb::migrate {

// One credential as one place in a file shows it: a pool row, or a provider's block.
struct Row {
  std::string where;       // in the document: `credential_pool.nous[1]`, `providers.nous`
  bool singleton = false;  // a provider's block or a side file: there is one of it, without an id
  std::optional<std::int64_t> priority;  // lower comes first; unknown: after those that have one
  Identity identity;
  Grant grant;                   // an API key is its access token
  bool expires_derived = false;  // read from a time without offset
  std::optional<Claims> claims;  // of the access token, if it is a JWT
  std::optional<AgentKey> agent_key;
  Health health;
  // Set where the file names a secret that is kept elsewhere: what it said the secret's fingerprint
  // is.
  std::string secret_fingerprint;
  bool insecure_tls = false;  // the file wants its servers not to be verified
  Secret extra;               // JSON object: every field not modelled above; empty: none
  Secret original;            // JSON object: the place as the file has it, masked (imprint.h)
};

// A place that could not be read, and why. The rows beside it are not affected.
struct BadRow {
  std::string where;
  std::string field;  // empty: the row as a whole
  std::string reason;
  bool left_behind = false;  // a credential stays behind with it
};

// What the file says about a provider as a whole.
struct ForeignState {
  std::string provider;
  bool active = false;
  std::vector<std::string> suppressed_sources;
  Secret extra;  // JSON object: a block that holds no token; empty: none
};

struct Document {
  std::filesystem::path path;
  std::string sha256;   // hex, of the file's bytes
  std::string format;   // the reader's name
  std::string profile;  // whose file it is
  std::vector<Row> rows;
  std::vector<ForeignState> states;
  // Fingerprints of refresh tokens that the tool says it has spent (`sha256:` and 16 hex digits).
  std::vector<std::string> spent;
  Secret unknown;  // JSON object: what belongs to no row and no provider; empty: nothing
  std::vector<BadRow> bad_rows;
  std::vector<BadRow> notes;     // fields that were left out of rows that were read, or changed
  std::optional<Error> failure;  // nothing was taken from this file
};

}  // namespace authdb::migrate
