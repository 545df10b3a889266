#include "migrate/plan.h"

#include <algorithm>

#include "migrate/draft.h"
#include "migrate/match.h"
#include "migrate/premises.h"
#include "migrate/profiles.h"
#include "migrate/report.h"
#include "migrate/settle.h"
#include "store/env_source.h"

namespace authdb::migrate {
namespace {

bool prefers_none(const Premises& premises) {
  return std::none_of(premises.preferred.begin(), premises.preferred.end(),
                      [](bool preferred) { return preferred; });
}

// No name is quoted: it may be a key that somebody typed in the wrong place.
Result<void> check_allowed_variables(const Premises& premises) {
  for (const std::string& name : premises.allow_env) {
    if (!may_hold_key(name)) {
      return fail(Errc::usage, "--allow-env takes the name of a variable that holds an API key",
                  "A name that a shell takes, and none of authdb's own.");
    }
    const auto is_kept_there = [&](const Copy& copy) {
      const Identity& id = copy.row->identity;
      return copy.reference && id.auth_type == AuthType::api_key && variable_of(id.source) == name;
    };
    if (std::none_of(premises.copies.begin(), premises.copies.end(), is_kept_there)) {
      return fail(Errc::usage,
                  "--allow-env names a variable that no API key of these files is kept in",
                  "`authdb migrate --dry-run` shows where keys are kept: env:NAME.");
    }
  }
  return {};
}

}  // namespace

Result<Plan> plan_against(const std::vector<Document>& documents, const Known& known,
                          const MigrateOptions& options) {
  const Premises premises(documents, known, options);
  if (options.prefer && prefers_none(premises)) {
    return fail(Errc::usage, options.prefer->string() + " is none of the sources",
                "--prefer takes the path of a source, or of a directory that holds it.");
  }
  if (auto checked = check_allowed_variables(premises); !checked) return fail(checked.error());
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
