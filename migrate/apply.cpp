#include "migrate/migrate.h"

namespace authdb::migrate {
namespace {

constexpr int kReplans = 3;

bool is_empty(const Change& change) {
  return change.credentials.empty() && change.profiles.empty() && change.states.empty() &&
         change.receipts.empty();
}

void name(std::vector<Decision>& decisions, const Applied& applied) {
  for (Decision& decision : decisions) {
    if (decision.change) decision.uid = applied.uids[*decision.change];
  }
}

}  // namespace

Result<Plan> apply(Store& store, const std::vector<Document>& documents,
                   const MigrateOptions& options) {
  for (int attempt = 0; attempt <= kReplans; ++attempt) {
    auto planned = plan(documents, &store, options);
    if (!planned || is_empty(planned->change)) return planned;
    const auto applied = store.apply(planned->change, [&](std::size_t written) {
      if (options.progress)
        options.progress("credentials written", written, planned->change.credentials.size());
    });
    if (!applied) return fail(applied.error());
    if (applied->stale_plan) continue;
    name(planned->decisions, *applied);
    name(planned->conflicts, *applied);
    return planned;
  }
  return fail(Errc::busy, "The store changed each time the migration was planned",
              "Nothing was imported; migrate again when the gateways are quieter.");
}

}  // namespace authdb::migrate
