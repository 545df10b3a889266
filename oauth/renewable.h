// What keeps a login from being renewed that a request would not have to find out: a provider that
// is not known here, or a client that is not complete. Asks nobody; thread-safe as `environment`
// is.
#pragma once

#include <optional>
#include <string>

#include "oauth/provider.h"
#include "store/credential.h"
#include "store/result.h"

namespace authdb::oauth {

// Of each login of the provider: its description is gone or cannot be read (not_found, naming the
// file), or its client secret is not set (try_later, naming the variable). nullopt: nothing.
std::optional<Error> obstacle_to_renewal(const ProviderRegistry& registry,
                                         const std::string& provider,
                                         const Environment& environment);

// Of this one: the above, no client id (try_later), or a token endpoint that its tokens may not go
// to (refused).
std::optional<Error> obstacle_to_renewal(const ProviderRegistry& registry, const Identity& identity,
                                         const Environment& environment);

}  // namespace authdb::oauth
