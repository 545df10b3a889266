// A POST by a provider's client to one of its endpoints: client authentication (RFC 6749 section
// 2.3), the provider's own headers and the body's encoding. Pure but for `environment`.
#pragma once

#include <string>
#include <string_view>

#include "oauth/form.h"
#include "oauth/http.h"
#include "oauth/provider.h"
#include "store/credential.h"
#include "store/result.h"

namespace authdb::oauth {

// The credential's client, else the provider's; usage, naming where to put it, if there is none.
Result<std::string> known_client_id(const Provider& provider, const Identity& identity,
                                    const Environment& environment);

// Empty for a client that needs none; usage, naming the variable, if it is not set.
Result<Secret> client_secret(const Provider& provider, const Environment& environment);

// `fields` without client_id, which is put second; `body` is form or json. usage if there is no
// client_id, or no secret for a client that needs one.
Result<HttpRequest> client_request(const Provider& provider, const Identity& identity,
                                   const Environment& environment, std::string url,
                                   FormFields fields, std::string_view body);

}  // namespace authdb::oauth
