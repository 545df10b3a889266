#include "migrate/plan.h"

#include <algorithm>

#include "migrate/draft.h"
#include "migrate/match.h"
#include "migrate/premises.h"
#include "migrate/profiles.h"
#include "migrate/report.h"
#include "migrate/settle.h"

namespace authdb::migrate {
namespace {

bool prefers_none(const Premises& premises) {
  return std::none_of(premises.preferred.begin(), premises.preferred.end(),
                      [](bool preferred) { return preferred; });
}

}  // namespace

Result<Plan> plan_against(const std::vector<Document>& documents, const Known& known,
                          const MigrateOptions& options) {
  const Premises premises(documents, known, options);
  if (options.prefer && prefers_none(premises)) {
    return fail(Errc::usage, options.prefer->string() + " is none of the sources",
                "--prefer takes the path of a source, or of a directory that holds it.");
  }
  const auto families = families_to_settle(premises);
  Draft draft(premises);
  try {
    for (const auto& family : families) {
      settle(premises, draft, family);
      if (options.progress)
        options.progress("credentials planned", draft.families.size(), families.size());
    }
    draft.retire_losers();
    bind_profiles(premises, draft);
    add_states(premises, draft);
  } catch (StoreFailed& failed) {
    return fail(std::move(failed.error));
  }
  report(premises, draft);
  return std::move(draft.plan);
}

Result<Plan> plan(const std::vector<Document>& documents, const Store* store,
                  const MigrateOptions& options) {
  const auto known = read_known(store);
  if (!known) return fail(known.error());
  return plan_against(documents, *known, options);
}

}  // namespace authdb::migrate
