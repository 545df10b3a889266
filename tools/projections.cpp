#include "tools/projections.h"

#include "migrate/projection.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

// Hermes holds its lock during a refresh of its own, which takes 20 s at most.
constexpr Milliseconds kLockWait{25'000};

}  // namespace

void update_projections(Context& context, Store& store) {
  const auto done = migrate::project(store, kLockWait);
  if (!done) return context.warn(done.error().message);
  for (const auto& file : *done) {
    if (!file.warning.empty()) context.warn(printable(file.warning));
  }
}

}  // namespace authdb::cli
