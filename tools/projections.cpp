#include "tools/projections.h"

#include <algorithm>

#include "migrate/projection.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

// Hermes holds its lock during a refresh of its own, which takes 20 s at most.
constexpr Milliseconds kLockWait{25'000};

constexpr Seconds kTryAgain{60};

}  // namespace

void update_projections(Context& context, Store& store) {
  const auto done = migrate::project(store, kLockWait);
  if (!done) return context.warn(done.error().message);
  for (const auto& file : *done) {
    if (!file.warning.empty()) context.warn(printable(file.warning));
  }
}

Result<ProjectionRound> keep_projections_fresh(Context& context, Store& store) {
  const auto due = migrate::projections_due(store);
  if (!due) return fail(due.error());
  ProjectionRound round;
  oauth::BearerSource source(store, context.bearer_parts());
  for (const auto& [at, uid] : *due) {
    if (at > store.now()) break;  // soonest first
    const auto refreshed = source.refresh(uid, context.profile(), /*replay=*/false);
    if (refreshed) continue;
    round.warnings.push_back(refreshed.error().message);
    round.next_at = store.now() + kTryAgain;
  }
  const auto files = migrate::project_all(store, kLockWait);
  if (!files) return fail(files.error());
  for (const auto& file : *files) {
    if (!file.warning.empty()) round.warnings.push_back(printable(file.warning));
  }
  const auto then = migrate::projections_due(store);
  if (!then) return fail(then.error());
  for (const auto& [at, uid] : *then) {
    if (at <= store.now()) continue;  // it failed just now
    round.next_at = round.next_at ? std::min(*round.next_at, at) : at;
    break;
  }
  return round;
}

}  // namespace authdb::cli
