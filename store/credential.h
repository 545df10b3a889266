// What a credential is: values without behaviour. Nothing in here is secret except the members of
// type Secret. Empty text and empty optionals mean "unknown".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/clock.h"
#include "store/fingerprint.h"
#include "store/secret.h"

namespace authdb {

// Twelve lower-case base32 characters, drawn by the store, never reused. What everything outside
// the database calls a credential.
using Uid = std::string;

// Stored as these words: never rename.
enum class AuthType { oauth, api_key };
// How the credential is presented: the access token itself, an agent key minted from it, or an API
// key.
enum class BearerKind { access_token, agent_key, api_key };
// A held grant is never sent, except by the replay rule.
//   conflict     copies disagree about which pair is live, and nobody has decided yet
//   uncertain    it was sent once and the answer never arrived
//   handed_over  another tool spends it now
enum class Hold { none, conflict, uncertain, handed_over };
enum class Status { ok, exhausted, dead };
// How the store came by the current token set. What it rotated itself is never displaced on
// timestamps alone.
enum class Origin { import, login, rotation };
// Why a refresh token is never sent again. `spent` is proven, `presumed` is our best guess.
enum class Retirement { spent, presumed, superseded, removed };

// Who a credential is and where it belongs.
struct Identity {
  std::string provider;
  std::string label;
  AuthType auth_type = AuthType::oauth;
  std::string source;  // Hermes's word for where it came from: `device_code`, `manual`, `env:VAR`
  std::string foreign_id;  // the row id another tool gave it; no key, clones share it
  std::string account;
  std::string client_id;
  std::string scope;
  std::string token_type;
  std::string base_url;
  std::string portal_base_url;
  std::string inference_base_url;
  std::string ca_file;  // PEM: the authorities that its servers' certificates must be from
};

// Who somebody is, by each place that says so. Some issuers have another name for him in each
// (pairwise subjects), so a name is only ever compared with one from the same place.
struct Subjects {
  std::string access;  // `sub` of the access token
  std::string id;      // `sub` of the id token
  std::string stated;  // `sub` of the answer itself

  bool empty() const { return access.empty() && id.empty() && stated.empty(); }
  // Of the access token if it has one, else of the id token, else stated.
  const std::string& first() const {
    if (!access.empty()) return access;
    return id.empty() ? stated : id;
  }
};

// An access token and its refresh token, as a login, a rotation or an import yields them.
struct Grant {
  Secret access_token;  // may be empty: an answer may bring a refresh token and nothing else
  Secret
      refresh_token;  // empty: the answer had none; the one in the store stays (RFC 6749 section 6)
  std::optional<Instant> obtained_at;
  bool obtained_derived = false;  // computed as expires_at - expires_in, or read from a naive time
  std::optional<Instant> expires_at;
  bool lifetime_cut_off = false;  // it was to be said, but did not arrive: a refresh is due soon
  std::optional<Instant> session_ends_at;  // when the provider ends the session whatever we do
  BearerKind bearer_kind = BearerKind::access_token;
  // What the answer said about the credential; empty leaves the stored value as it is.
  std::string scope;
  std::string token_type;
  std::string inference_base_url;
  // Whose grant it is, as far as the answer says so: OpenAI's account id, and the subjects. Only
  // compared, never stored.
  std::string account;
  Subjects subject;

  Grant clone() const {
    return {access_token.clone(),
            refresh_token.clone(),
            obtained_at,
            obtained_derived,
            expires_at,
            lifetime_cut_off,
            session_ends_at,
            bearer_kind,
            scope,
            token_type,
            inference_base_url,
            account,
            subject};
  }
};

struct AgentKey {
  Secret secret;
  std::string key_id;
  std::optional<Instant> obtained_at;
  std::optional<Instant> expires_at;
  bool reused = false;
};

// Volatile facts. Never written in one statement with tokens, so that a lost status never loses
// one.
struct Health {
  Status status = Status::ok;
  std::optional<Instant> status_at;
  std::optional<int> error_code;  // HTTP status
  std::string error_reason;
  std::string error_message;  // scrubbed
  std::optional<Instant> cooldown_until;
  std::int64_t request_count = 0;
  std::optional<Instant> last_used_at;
};

// Attempts with the current refresh token that left this machine and were never answered.
struct Losses {
  int count = 0;
  // The first one: its answer may have been the successor.
  Instant first_at{};
  std::int64_t pid = 0;
  std::string process;
  Instant last_at{};  // what the next replay waits after
};

// How the renewal of a credential goes. Its journal has it and decides; the database has a copy for
// those who only look.
struct Renewal {
  std::int64_t revision = 0;  // of the journal record that this copy mirrors; 0: there is none
  Losses losses;
  int failures = 0;  // in a row, since the last answer that brought a grant
  std::optional<Instant> failing_since;
  // The token endpoint is left alone between these.
  std::optional<Instant> rest_since;
  std::optional<Instant> rest_until;
  int refusals = 0;  // since the last grant: 4xx answers whose meaning nobody knows
  std::optional<Instant> refused_since;
  bool refused = false;  // the server has refused the current refresh token for good
  bool waiting = false;  // an answer is in the journal that the row could not take yet
  // Fingerprint of a bearer that a resource server refused: the current one, or the one that the
  // current one replaced. How many were refused in a row.
  std::string rejected;
  int rejections = 0;
};

// One credential as one looks at it: everything but the secrets.
struct Credential {
  std::int64_t id = 0;  // the database's own; never shown
  Uid uid;
  Identity identity;
  Instant created_at{};
  std::optional<Instant> removed_at;

  std::int64_t family = 1;      // one login; the next login is the next family
  std::int64_t generation = 1;  // every rotation adds one; never restarts
  BearerKind bearer_kind = BearerKind::access_token;
  std::string access_fingerprint;  // empty: there is no access token
  std::optional<TokenHash> refresh_hash;
  Origin origin = Origin::import;
  std::optional<Instant> obtained_at;
  bool obtained_derived = false;
  std::optional<Instant> expires_at;
  std::optional<Instant> refresh_at;  // when a refresh is due
  std::optional<Instant> session_ends_at;
  Hold hold = Hold::none;

  bool has_agent_key = false;
  std::string agent_key_fingerprint;
  std::optional<Instant> agent_key_obtained_at;
  std::optional<Instant> agent_key_expires_at;

  Health health;
  Renewal renewal;
};

// A credential with its seals opened.
struct Held {
  Credential row;
  Secret access_token;  // an API key lives here too
  Secret refresh_token;
  Secret agent_key;

  Held clone() const {
    return {row, access_token.clone(), refresh_token.clone(), agent_key.clone()};
  }
};

// One place in a profile's pool of a provider.
struct PoolEntry {
  Credential credential;
  std::int64_t position = 0;  // 1-based, as `#n` on the command line
  bool suppressed = false;    // the profile does not want credentials from this source
};

}  // namespace authdb
