// The endpoints that an issuer publishes (RFC 8414, else OpenID Connect Discovery 1.0), for what a
// provider's file does not state. Asked when something must be sent there: never for a fresh
// token, never by `authdb providers`. No token travels with the question, so it may fail and be
// asked again.
//
// Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "oauth/http.h"
#include "oauth/provider.h"
#include "store/clock.h"
#include "store/credential.h"
#include "store/result.h"

namespace authdb::oauth {

// What the document said, in the names of RFC 8414, which are those of providers.json.
struct ServerMetadata {
  std::map<std::string, std::string, std::less<>> endpoints;
  bool iss_in_answers = false;  // RFC 9207: an authorization answer names the issuer
};

class Discovery {
 public:
  Discovery(std::shared_ptr<HttpTransport> http, Environment environment, Clock clock);

  // The URL of `field` as the provider states it, else as its issuer publishes it. Errors: usage,
  // if neither has one; refused, if a token must not go there, or the document is another issuer's;
  // try_later, if the issuer did not answer.
  Result<std::string> endpoint(const Provider& provider, const Identity& identity,
                               std::string_view field);

  // The provider with the endpoints that its file leaves to its issuer, for the login that
  // login_flow() chooses. Asks only if one is missing that this login cannot do without. Errors as
  // endpoint().
  Result<Provider> completed(const Provider& provider, bool in_browser);

  // Kept for a day, and beyond if the issuer does not answer then. usage if the provider names no
  // issuer.
  Result<ServerMetadata> metadata(const Provider& provider, const Identity& identity);

 private:
  struct Known {
    ServerMetadata metadata;
    Instant read_at{};
  };

  Result<ServerMetadata> ask(const Provider& provider, const Identity& identity,
                             const std::string& issuer) const;

  const std::shared_ptr<HttpTransport> http_;
  const Environment environment_;
  const Clock clock_;
  std::mutex mutex_;                    // guards all below
  std::map<std::string, Known> known_;  // by issuer
};

}  // namespace authdb::oauth
