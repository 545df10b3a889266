// Minting: a short-lived inference key for an access token (Nous era E1). Pure but for the
// environment; the exchange itself is the caller's.
#pragma once

#include <optional>
#include <string>

#include "oauth/http.h"
#include "oauth/provider.h"
#include "store/credential.h"
#include "store/result.h"
#include "store/token_endpoint.h"

namespace authdb::oauth {

// Errors: refused if the access token must not go to the endpoint; usage if there is none.
Result<HttpRequest> mint_request(const Provider& provider, const Identity& identity,
                                 const Environment& environment, const Secret& access_token,
                                 Milliseconds min_ttl);

struct MintAnswer {
  int http_status = 0;
  std::optional<AgentKey> key;
  std::string warning;  // the key's life is a guess
  // Without a key:
  FailureClass failure = FailureClass::transient;  // login: the access token was refused
  bool may_be_the_token = false;                   // a 401 that another access token may mend
  std::optional<Seconds> retry_after;
  std::string code;
  std::string message;  // scrubbed
};

// Total: any answer yields one. `access_token` is only there to be kept out of messages.
MintAnswer read_mint(const Answer& answer, const Provider& provider, const Secret& access_token);

}  // namespace authdb::oauth
