// Tells what a plan does: rows counted by source, receipts, warnings, decisions.
#pragma once

#include "migrate/draft.h"

namespace authdb::migrate {

// Last: takes the decisions out of what is settled.
void report(const Premises& premises, Draft& draft);

}  // namespace authdb::migrate
