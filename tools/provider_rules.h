// What migrate/ asks of oauth/: where a provider's tokens may go, and whether anybody here can
// renew them.
#pragma once

#include "migrate/migrate.h"
#include "tools/command.h"

namespace authdb::cli {

// `context` must outlive it. Of a provider that nobody knows every address is usable: nothing
// renews its tokens, and where they are of use only their file says.
migrate::ProviderRules provider_rules(Context& context);

}  // namespace authdb::cli
