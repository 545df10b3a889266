// The files that the store keeps supplied with access tokens, after a verb has changed one.
#pragma once

#include "store/store.h"
#include "tools/command.h"

namespace authdb::cli {

// Brings those that are behind up to date. Costs one query if none is; a failure is a warning, for
// whoever has a token in hand has what was asked for. Not for the path of a fresh token.
void update_projections(Context& context, Store& store);

}  // namespace authdb::cli
