// What the profiles get: places in their pools, and the states of their providers.
#pragma once

#include "migrate/plan/plan_builder.h"

namespace authdb::migrate {

// Places in the pools, from the priorities of each profile's files. When all families are settled.
void bind_profiles(const PlanInput& input, PlanBuilder& builder);

// New profiles, and what the files say of a provider as a whole. Throws StoreFailed.
void add_states(const PlanInput& input, PlanBuilder& builder);

}  // namespace authdb::migrate
