// One refresh, mint, login, import or revocation, as the ledger remembers it. No token is in here.
#pragma once

#include <optional>
#include <string>

#include "store/clock.h"
#include "store/credential.h"

namespace authdb {

// Stored as these words: never rename.
enum class AttemptKind { refresh, mint, login, import, revoke };
//   committed   the store moved
//   rejected    the server said no, or was not able to; nothing moved
//   not_sent    the request never left
//   uncertain   it left and no usable answer came
//   recovered   a later process settled an answer its owner had journalled
//   superseded  the answer was good and a newer grant already stood in its place
enum class Outcome { committed, rejected, not_sent, uncertain, recovered, superseded };

struct Attempt {
  AttemptKind kind = AttemptKind::refresh;
  Outcome outcome = Outcome::committed;
  std::optional<TokenHash> refresh_hash;  // the token that was spent or would have been
  std::string bearer;  // fingerprint of the access token or agent key that it brought
  std::int64_t family = 0;
  std::int64_t from_generation = 0;
  std::optional<std::int64_t> to_generation;
  std::int64_t pid = 0;
  std::string boot_id;
  std::string host;
  std::string process;
  std::string profile;
  Instant started_at{};
  std::optional<Instant> finished_at;
  std::optional<int> http_status;
  std::string error_code;
};

}  // namespace authdb
