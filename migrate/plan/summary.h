// Tells what a plan does: rows counted by source, receipts, warnings, decisions.
#pragma once

#include "migrate/plan/plan_builder.h"

namespace authdb::migrate {

// Last: takes the decisions out of what is settled.
void summarise(const PlanInput& input, PlanBuilder& builder);

}  // namespace authdb::migrate
