// Whether the sealed cells of a database, or of a copy of it, open as their rows say. A cell is
// bound to whose it is and to the generation in its row: one that does not open is damaged, or its
// row is. Private to store/.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "store/backend.h"
#include "store/engine.h"

namespace authdb {

struct DamagedCell {
  Uid uid;               // empty: of no credential
  bool removed = false;  // that credential is
  std::string what;      // `the sealed cell token_set.refresh_token of "work" (nous, 01...)`
};

// The first `most` of those that do not open. A cell whose key is not held is not among them. Opens
// every other one.
std::vector<DamagedCell> cells_that_do_not_open(View& view, const Sealer& sealer,
                                                std::string_view store_id, std::size_t most);
// True if the store's keys can be had; else nobody can tell what opens.
bool can_open_cells(Engine& engine, View& view);
// Of the store itself. None where its keys cannot be had: then nobody can tell.
std::vector<DamagedCell> cells_that_do_not_open(Engine& engine, std::size_t most);

}  // namespace authdb
