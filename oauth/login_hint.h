// What to do about a login that is gone: what `authdb login` can do, and where it cannot, whoever
// can.
#pragma once

#include <string>
#include <vector>

#include "oauth/bearer.h"

namespace authdb::oauth {

// True if `authdb login` knows a way to log in to it.
bool can_log_in(const Provider& provider);

// Whole sentences, for an error's hint.
std::string login_hint(const BearerParts& parts, const Store& store, const Credential& row);

// Within a sentence that says a login is needed: "`authdb login nous --label work`", or "with the
// tool that owns it, then `authdb migrate`". As store/login_command.h has it.
std::string way_to_log_in(const ProviderRegistry& registry, const std::string& provider,
                          const std::string& label, const std::vector<std::string>& profiles);

// Within a sentence, for whoever has no credential of it yet: "`authdb login nous` gets one",
// "`authdb add openrouter` adds one". `profile`: the one that lacks it.
std::string way_to_get_one(const Provider* provider, const std::string& id,
                           const std::string& profile);

}  // namespace authdb::oauth
