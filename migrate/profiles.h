// What the profiles get: places in their pools, and the states of their providers.
#pragma once

#include "migrate/draft.h"

namespace authdb::migrate {

// Places in the pools, from the priorities of each profile's files. When all families are settled.
void bind_profiles(const Premises& premises, Draft& draft);

// New profiles, and what the files say of a provider as a whole. Throws StoreFailed.
void add_states(const Premises& premises, Draft& draft);

}  // namespace authdb::migrate
