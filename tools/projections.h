// The files that the store keeps supplied with access tokens, after a verb has changed one.
#pragma once

#include "store/store.h"
#include "tools/command.h"

namespace authdb::cli {

// Whoever asked for a bearer does not wait until a tool has done its own refresh, which takes 20 s
// at most: a file that is left behind is brought up to date at the next occasion.
inline constexpr Milliseconds kBriefly{1'000};

// Brings those that are behind up to date. Costs one query if none is; a failure is a warning, for
// whoever has a token in hand has what was asked for. `wait` is for the tools' locks. False if one
// of these was not free by then. Not for the path of a fresh token.
bool update_projections(Context& context, Store& store, Milliseconds wait = kBriefly);

}  // namespace authdb::cli
