// The files that the store keeps supplied with access tokens, after a verb has changed one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/store.h"
#include "tools/command.h"

namespace authdb::cli {

// Brings those that are behind up to date. Costs one query if none is; a failure is a warning, for
// whoever has a token in hand has what was asked for. Not for the path of a fresh token.
void update_projections(Context& context, Store& store);

// One round of keeping them fresh: what they need is refreshed, sooner than the store itself would,
// every file is looked into and brought up to date, and what a person should know is a warning, the
// same text each time. Returns when there is something to do again; what failed is tried again
// after a minute. nullopt: there is nothing projected that could be refreshed.
struct ProjectionRound {
  std::vector<std::string> warnings;
  std::optional<Instant> next_at;
};
Result<ProjectionRound> keep_projections_fresh(Context& context, Store& store);

}  // namespace authdb::cli
