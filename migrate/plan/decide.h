// Decides what becomes of one family of copies, against what the store has of it.
#pragma once

#include <vector>

#include "migrate/plan/plan_builder.h"

namespace authdb::migrate {

// Writes the outcome into `builder`. `family` must outlive it. Throws StoreFailed.
void decide(const PlanInput& input, PlanBuilder& builder, const std::vector<std::size_t>& family);

}  // namespace authdb::migrate
