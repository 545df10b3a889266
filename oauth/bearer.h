// bearer(): the one way to a token. Chooses a credential from the profile's pool, refreshes and
// mints what is due, and returns what goes into `Authorization:` now (DESIGN 6).
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "oauth/http.h"
#include "oauth/provider.h"
#include "store/rotation.h"
#include "store/store.h"

namespace authdb::oauth {

struct BearerRequest {
  std::string provider;  // canonical id
  std::string profile = "default";
  Uid credential;  // only this one; empty: the pool decides
  // Any text. One pool gives the same credential for the same session, whatever its strategy, as
  // long as it can be used: what the provider has cached for it stays of use. Empty: the strategy.
  std::string session = {};
  Milliseconds min_ttl{0};
  std::string rejected;       // fingerprint of a bearer that a resource server refused (401)
  bool want_base_url = true;  // false: Bearer::base_url stays empty, and no provider file is read
  // Ends the waiting for locks, and is looked at before anything is sent (error: stopped). A token
  // that has been sent is seen through to its settlement all the same.
  std::stop_token stop = {};
};

struct Bearer {
  std::string provider;
  Uid credential;
  std::string label;
  std::string profile;
  BearerKind kind = BearerKind::access_token;
  Secret token;
  std::string token_type = "Bearer";
  std::string fingerprint;
  std::optional<Instant> obtained_at;
  std::optional<Instant> expires_at;
  std::string base_url;
  Action action = Action::cached;
  std::vector<std::string> warnings;  // for stderr
};

// What bearers are made with. The registry is asked for only when something must be refreshed,
// minted or named, so that a fresh token costs no file.
struct BearerParts {
  std::function<const ProviderRegistry&()> registry;
  std::shared_ptr<HttpTransport> http;
  Environment environment;
};

// The store's way to token endpoints: put this into StoreOptions::endpoint_for.
EndpointFor endpoints(BearerParts parts, Clock clock);

// What a report came to.
enum class ReportEnd {
  noted,            // Store::report() has it
  renewed,          // a 401, and the bearer has been replaced: nothing else is wrong
  replaced_before,  // a 401 of a bearer that was replaced since: nothing to do
};

struct Reported {
  ReportEnd end = ReportEnd::noted;
  std::vector<std::string> warnings = {};  // of the renewal, for stderr
};

// Thread-safe; any number of sources may share a store. How calls end early, by a stop request or
// an exception out of what the caller gave: store/rotation.h.
class BearerSource {
 public:
  BearerSource(Store store, BearerParts parts);

  // A live bearer. Errors: not_found (nothing in the pool), login_needed, try_later, busy, refused,
  // stopped.
  Result<Bearer> bearer(const BearerRequest& request);

  // How a call with `bearer` (a fingerprint; empty: not known which it was) of this credential
  // went. A 401 of a grant's bearer is met by replacing the bearer, once for everybody; the
  // credential rests only if that fails.
  Result<Reported> report(const Uid& credential, const std::string& bearer, const Report& report);

  // Refreshes one credential now. Cooldowns do not count. `replay` also sends an uncertain token.
  // The bearer that results is returned (for an agent-key credential: the access token's own
  // state).
  Result<Bearer> refresh(const Uid& credential, const std::string& profile, bool replay);

  // Mints one agent key now, refreshing first if the access token is due.
  Result<Bearer> mint(const Uid& credential, const std::string& profile);

 private:
  Store store_;
  BearerParts parts_;
};

}  // namespace authdb::oauth
