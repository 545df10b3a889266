// From the words on the command line to the credential they mean, with an answer for each way of
// being wrong.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/pool.h"
#include "store/store.h"
#include "tools/command.h"

namespace authdb::cli {

// Why `profile` has nothing to offer for `provider`: no such profile, no such provider (with the
// nearest names), or simply no credential of it. Always not_found.
Error why_nothing(Context& context, const Store& store, const std::string& profile,
                  const std::string& provider);

// not_found, with the nearest names, unless the store has the profile.
Result<void> check_profile(const Store& store, const std::string& profile);

// The id that `name` stands for: itself where credentials of the store have it, before an alias
// counts.
std::string provider_id(const Store& store, std::string_view name);
// That id. not_found, with the nearest names, if neither the registry nor the store has the
// provider.
Result<std::string> known_provider(Context& context, const Store& store, std::string_view provider);

// The pool, which is not empty.
Result<std::vector<PoolEntry>> usable_pool(Context& context, const Store& store,
                                           const std::string& profile, const std::string& provider);

// The credential that `target` names in the profile's pool; or one that no profile is bound to, if
// `target` is its whole uid or fingerprint. Its position is 0 then. What only others are bound to
// is not_found, and the error says whose it is.
Result<PoolEntry> find_target(Context& context, const Store& store, const std::string& profile,
                              const std::string& provider, std::string_view target);

// As find_target(), and a uid or a fingerprint finds whatever the store holds: for sharing it.
Result<PoolEntry> find_anywhere(Context& context, const Store& store, const std::string& profile,
                                const std::string& provider, std::string_view target);

// The credential that `target` names; without a target the next pick of the pool's strategy among
// those that `fits`, else the first that fits. not_found if none does.
Result<PoolEntry> find_or_pick(Context& context, const Store& store, const std::string& profile,
                               const std::string& provider, const std::string& target,
                               bool (*fits)(const Credential&));

// `nous credential #1 (a@example.org)`.
std::string described(const PoolEntry& entry);

// Which credential the profile's strategy would hand out now; nullptr if none can be used, or if
// the strategy leaves it to chance.
const PoolEntry* next_pick(const std::vector<PoolEntry>& pool, Strategy strategy, Instant now);

}  // namespace authdb::cli
