#include "tools/projections.h"

#include "migrate/takeover/projection.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

// Whoever asked for a bearer does not wait until a tool has done its own refresh, which takes 20 s
// at most: a file that is left behind is brought up to date at the next occasion.
constexpr Milliseconds kLockWait{1'000};

}  // namespace

void update_projections(Context& context, Store& store) {
  const auto done = migrate::project(store, kLockWait);
  if (!done) return context.warn(done.error().message);
  for (const auto& file : *done) {
    if (!file.warning.empty()) context.warn(printable(file.warning));
  }
}

}  // namespace authdb::cli
