// Issuer is the part of the portal that cannot be argued with: it makes tokens, rotates refresh
// tokens strictly once, and revokes a whole family when one of its tokens comes back spent.
//
// Thread-safe: of two concurrent refreshes with one token exactly one rotates.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tools/portal/oauth_error.h"
#include "tools/portal/options.h"
#include "tools/portal/sim_clock.h"

namespace authdb::portal {

// A login. Empty fields take the portal's defaults.
struct GrantRequest {
  std::string client_id{};  // when given, only this client may refresh the grant
  std::string scope{};
  std::string account{};
  std::optional<std::chrono::seconds> access_ttl{};
};

struct Grant {
  std::string family;
  std::string access_token;
  std::string refresh_token;
  std::string scope;
  std::int64_t expires_in = 0;
};

// Tokens made elsewhere (a fixture's auth.json) that the portal shall treat as one live family.
struct Adoption {
  std::string refresh_token{};
  std::string access_token{};
  std::string agent_key{};
  std::vector<std::string> spent{};  // older refresh tokens of the family, oldest first
  std::optional<std::chrono::seconds> access_expires_in{};  // default: the portal's lifetimes
  std::optional<std::chrono::seconds> agent_key_expires_in{};
  std::string scope{};
};

struct AgentKey {
  std::string api_key;
  std::string key_id;
  std::int64_t expires_at_ms = 0;
  std::int64_t expires_in = 0;
};

struct FamilyState {
  std::string account;
  int generation = 1;
  int rotations = 0;
  int reuse_detected = 0;
  bool revoked = false;
};

struct TokenState {
  std::string family;
  int generation = 0;
  std::string state;  // current | spent | reused | revoked | unknown
};

class Issuer {
 public:
  // Both must outlive the issuer.
  Issuer(const Options& options, const SimClock& clock);

  Grant create(const GrantRequest& request);
  std::string adopt(const Adoption& adoption);  // the family; a token known already is re-homed

  // Errors, all 400 invalid_grant: unknown token; the first reuse, which revokes the family; any
  // token of a revoked family. Within the grace the spent predecessor of the current token gets
  // the same successor again. A foreign client is refused and nothing is spent. Without `rotate`
  // only the access token is new.
  Granted<Grant> refresh(const std::string& refresh_token, const std::string& client_id,
                         bool rotate = true);

  Granted<AgentKey> mint(const std::string& access_token);  // error: 401 invalid_token
  bool may_infer(const std::string& bearer) const;

  bool revoke(const std::string& family);                 // false: no such family
  std::string family_of(const std::string& token) const;  // any kind of token; empty: unknown

  std::map<std::string, FamilyState> families() const;
  std::map<std::string, TokenState> refresh_tokens() const;  // by fingerprint
  int mints() const;
  void reset();

 private:
  struct Family {
    FamilyState shown;
    std::string client_id;
    std::string scope;
    std::int64_t access_ttl_ms = 0;
    std::string current_refresh;
    std::string current_access;
    std::int64_t access_expires_at = 0;
    std::int64_t rotated_at = 0;
  };
  struct Refresh {
    std::string family;
    int generation = 0;
    bool reused = false;
  };
  struct Bearer {
    std::string family;
    bool agent_key = false;
    std::int64_t expires_at = 0;
  };

  std::string new_family(Family family);
  Granted<Grant> spend(const std::string& id, Family& family);
  Granted<Grant> renew(const std::string& id, Family& family);
  Granted<Grant> reuse(Family& family, Refresh& token);
  bool within_grace(const Family& family, const Refresh& token) const;
  void issue(const std::string& id, Family& family);
  void issue_access(const std::string& id, Family& family);
  std::string new_access_token(const Family& family) const;
  Grant grant(const std::string& id, const Family& family) const;
  TokenState state_of_locked(const Refresh& token) const;
  const Bearer* live(const std::string& bearer) const;
  std::string default_scope() const;

  const Options& options_;
  const SimClock& clock_;
  mutable std::mutex mutex_;  // guards all below
  int last_family_ = 0;
  int mints_ = 0;
  std::unordered_map<std::string, Family> families_;
  std::unordered_map<std::string, Refresh> refresh_;
  std::unordered_map<std::string, Bearer> bearers_;
};

}  // namespace authdb::portal
