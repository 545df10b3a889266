// Decides what becomes of one family of copies, against what the store has of it.
#pragma once

#include <vector>

#include "migrate/draft.h"

namespace authdb::migrate {

// Writes the outcome into `draft`. `family` must outlive it. Throws StoreFailed.
void settle(const Premises& premises, Draft& draft, const std::vector<std::size_t>& family);

}  // namespace authdb::migrate
