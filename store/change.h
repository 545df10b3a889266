// A change of many credentials at once, prepared without locks and applied under them: what an
// import, a login or an `add` amounts to. Store::apply() does all of it or nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/attempt.h"
#include "store/credential.h"
#include "store/pool.h"

namespace authdb {

// A refresh token that must never be sent again, though it was never current here.
struct RetiredHash {
  TokenHash hash{};
  Retirement reason = Retirement::presumed;
};

// A place in a profile's pool. Positions need not be dense; lower comes first, ties keep their
// order.
struct Binding {
  std::string profile;
  std::optional<std::int64_t> position;  // unknown: at the end
};

// Adds a credential, or changes one that exists. What is absent stays as it is.
struct CredentialChange {
  Uid uid;                           // empty: a new credential, whose uid the store draws
  std::int64_t planned_against = 0;  // existing: the generation the plan saw
  std::optional<Identity> identity;  // required for a new one
  std::optional<Grant> grant;        // existing: displaces the current grant, generation + 1
  bool new_family = false;           // existing: the grant is a new login, not a newer copy
  Retirement displaced = Retirement::superseded;  // what becomes of the displaced refresh token
  Origin origin = Origin::import;
  AttemptKind kind = AttemptKind::import;
  std::optional<AgentKey> agent_key;
  std::optional<Health> health;
  std::optional<Hold> hold;
  std::optional<Secret> extra;  // one JSON object: every foreign field we do not model
  bool restore = false;         // existing and removed: take it back
  std::vector<RetiredHash> retire;
  std::vector<TokenHash> pardon;  // `presumed` retirements to lift; others stay
  std::vector<Binding> bindings;
};

// What a profile has set for one provider.
struct ProviderState {
  std::string profile;
  std::string provider;
  bool active = false;
  Strategy strategy = Strategy::fill_first;
  std::vector<std::string> suppressed_sources;
  Secret extra;  // JSON; empty: nothing
};

// That a source was read, so that one can tell later what came from where.
struct ImportReceipt {
  std::string path;
  std::string sha256;  // hex, of the file's bytes
  std::string format;
  std::string profile;
  std::int64_t rows = 0;
  std::int64_t imported = 0;
  Secret unknown;  // JSON: top-level fields of the file that belong to no credential; may be empty
};

struct Change {
  std::vector<CredentialChange> credentials;
  std::vector<std::string> profiles;  // created if absent, even if nothing is bound to them
  std::vector<ProviderState> states;
  std::vector<ImportReceipt> receipts;
};

struct Applied {
  bool stale_plan = false;  // a credential moved since it was planned against; nothing was written
  std::vector<Uid> uids;    // one for each of Change::credentials, in order
};

}  // namespace authdb
