#include "tools/projections.h"

#include "migrate/takeover/projection.h"
#include "tools/render/text.h"

namespace authdb::cli {

bool update_projections(Context& context, Store& store, Milliseconds wait) {
  const auto done = migrate::project(store, wait);
  if (!done) {
    context.warn(done.error().message);
    return true;
  }
  bool all_free = true;
  for (const auto& file : *done) {
    if (!file.warning.empty()) context.warn(printable(file.warning));
    all_free = all_free && !file.locked;
  }
  return all_free;
}

}  // namespace authdb::cli
