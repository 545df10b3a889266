// Approvals keeps the logins that wait for somebody to say yes: device codes (RFC 8628) until
// they are approved, and authorization codes (RFC 7636) until they are redeemed.
//
// A code buys a login exactly once. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "tools/portal/issuer.h"

namespace authdb::portal {

struct DeviceCode {
  std::string device_code;
  std::string user_code;
};

struct AuthorizationRequest {
  GrantRequest grant;
  std::string redirect_uri;
  std::string challenge;  // S256
  std::string state;      // what an exchange that names one must name
};

// What an exchange of a code must prove.
struct CodeProof {
  std::string verifier;
  std::string redirect_uri;
  std::string state;  // empty: the exchange names none
};

class Approvals {
 public:
  Approvals(const Options& options, const SimClock& clock);

  // `challenge` (S256) may be empty: then no verifier is asked for.
  DeviceCode start_device(const GrantRequest& request, const std::string& challenge = {});
  bool approve_device(const std::string& user_code, const std::string& account);  // false: unknown
  bool deny_device(const std::string& user_code);
  // Errors: authorization_pending, access_denied, expired_token, invalid_grant; all 400.
  Granted<GrantRequest> redeem_device(const std::string& device_code,
                                      const std::string& verifier = {});
  // The same by the code that the user sees.
  Granted<GrantRequest> redeem_user_code(const std::string& user_code, const std::string& verifier);

  std::string start_authorization(AuthorizationRequest request);  // the code
  // Error: invalid_grant, also when the proof does not match. The code is gone either way.
  Granted<GrantRequest> redeem_authorization(const std::string& code, const CodeProof& proof);
  void reset();

 private:
  enum class State { kPending, kApproved, kDenied };
  struct Device {
    GrantRequest grant;
    std::string user_code;
    std::int64_t expires_at = 0;
    State state = State::kPending;
    std::string challenge;
  };

  Granted<GrantRequest> redeem_locked(const std::string& device_code, const std::string& verifier);
  Device* find(const std::string& user_code);

  const Options& options_;
  const SimClock& clock_;
  std::mutex mutex_;  // guards all below
  std::map<std::string, Device> devices_;
  std::map<std::string, AuthorizationRequest> authorizations_;
};

}  // namespace authdb::portal
