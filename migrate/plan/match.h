// Which credential of the store the copies in the documents belong to.
#pragma once

#include <vector>

#include "migrate/plan/choice.h"
#include "migrate/plan/plan_input.h"

namespace authdb::migrate {

// The families of the documents. What they show as one grant may be several credentials in the
// store already; those stay apart.
std::vector<std::vector<std::size_t>> families_to_decide(const PlanInput& input);

// nullptr if the store has none. The strongest tie wins: current token, spent token, equal secret,
// row id, slot. `pairs` are the family's, with what is known of their retirement.
const Credential* find_credential(const PlanInput& input, const std::vector<std::size_t>& family,
                                  const std::vector<Pair>& pairs);

}  // namespace authdb::migrate
