#include "migrate/plan/plan.h"

#include <algorithm>

#include "migrate/plan/decide.h"
#include "migrate/plan/match.h"
#include "migrate/plan/plan_builder.h"
#include "migrate/plan/plan_input.h"
#include "migrate/plan/pools.h"
#include "migrate/plan/summary.h"
#include "store/env_source.h"

namespace authdb::migrate {
namespace {

bool prefers_none(const PlanInput& input) {
  return std::none_of(input.preferred.begin(), input.preferred.end(),
                      [](bool preferred) { return preferred; });
}

// No name is quoted: it may be a key that somebody typed in the wrong place.
Result<void> check_allowed_variables(const PlanInput& input) {
  for (const std::string& name : input.allow_env) {
    if (!may_hold_key(name)) {
      return fail(Errc::usage, "--allow-env takes the name of a variable that holds an API key",
                  "A name that a shell takes, and none of authdb's own.");
    }
    const auto is_kept_there = [&](const Copy& copy) {
      const Identity& id = copy.row->identity;
      return copy.reference && id.auth_type == AuthType::api_key && variable_of(id.source) == name;
    };
    if (std::none_of(input.copies.begin(), input.copies.end(), is_kept_there)) {
      return fail(Errc::usage,
                  "--allow-env names a variable that no API key of these files is kept in",
                  "`authdb migrate --dry-run` shows where keys are kept: env:NAME.");
    }
  }
  return {};
}

}  // namespace

Result<Plan> plan_against(const std::vector<Document>& documents, const StoreSnapshot& known,
                          const MigrateOptions& options) {
  const PlanInput input(documents, known, options);
  if (options.prefer && prefers_none(input)) {
    return fail(Errc::usage, options.prefer->string() + " is none of the sources",
                "--prefer takes the path of a source, or of a directory that holds it.");
  }
  if (auto checked = check_allowed_variables(input); !checked) return fail(checked.error());
  const auto families = families_to_decide(input);
  PlanBuilder builder(input);
  try {
    for (const auto& family : families) {
      decide(input, builder, family);
      if (options.progress)
        options.progress("credentials planned", builder.families.size(), families.size());
    }
    builder.retire_losers();
    bind_profiles(input, builder);
    add_states(input, builder);
  } catch (StoreFailed& failed) {
    return fail(std::move(failed.error));
  }
  summarise(input, builder);
  return std::move(builder.plan);
}

Result<Plan> plan(const std::vector<Document>& documents, const Store* store,
                  const MigrateOptions& options) {
  const auto known = read_snapshot(store);
  if (!known) return fail(known.error());
  return plan_against(documents, *known, options);
}

}  // namespace authdb::migrate
