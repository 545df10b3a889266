#include "migrate/newer_pair.h"

#include <algorithm>
#include <map>

#include "migrate/formats/format.h"
#include "migrate/plan/store_snapshot.h"
#include "store/ownership.h"

namespace authdb::migrate {
namespace {

// Of the files that were read and are still their tools': what they had then.
std::map<std::string, ImportReceipt> last_readings(std::vector<ImportReceipt> receipts,
                                                   const std::vector<Projection>& projections) {
  std::map<std::string, ImportReceipt> last;
  for (ImportReceipt& receipt : receipts) {
    if (receipt.format.starts_with(kHandedOver)) continue;
    last.insert_or_assign(receipt.path, std::move(receipt));
  }
  for (const Projection& projection : projections) last.erase(projection.path);
  return last;
}

std::vector<Document> changed_sources(const std::map<std::string, ImportReceipt>& readings) {
  std::vector<Document> changed;
  for (const auto& [path, receipt] : readings) {
    if (!check_loadable(path)) continue;
    Document document = read_document(path, receipt.profile);
    if (!document.failure && document.sha256 != receipt.sha256) {
      changed.push_back(std::move(document));
    }
  }
  return changed;
}

// What migrate() would do about the changed files. nullopt: none has changed.
Result<std::optional<Plan>> look(const Store& store, const ProviderRules& providers) {
  auto receipts = store.receipts();
  if (!receipts) return fail(std::move(receipts.error()));
  const auto projections = store.projections();
  if (!projections) return fail(projections.error());
  const auto changed = changed_sources(last_readings(std::move(*receipts), *projections));
  if (changed.empty()) return std::nullopt;
  auto planned = plan(changed, &store, {.providers = providers, .leave_handed_over = true});
  if (!planned) return fail(std::move(planned.error()));
  return std::move(*planned);
}

// A login that its file merely renewed; not what a person decided otherwise, a new login, or one
// that is back from the dead.
bool is_newer_pair(const Decision& decision, const Plan& plan) {
  if (decision.action != "adopted" || !decision.change || decision.uid.empty()) return false;
  const CredentialChange& change = plan.change.credentials[*decision.change];
  return change.grant && !change.grant->refresh_token.empty() && !change.new_family &&
         !change.restore && change.hold.value_or(Hold::none) == Hold::none;
}

NewerPair told(const Decision& decision) {
  return {decision.uid, decision.sources.front(), decision.reason};
}

}  // namespace

Result<std::vector<NewerPair>> newer_pairs(const Store& store, const ProviderRules& providers) {
  const auto plan = look(store, providers);
  if (!plan) return fail(plan.error());
  std::vector<NewerPair> found;
  if (!*plan) return found;
  for (const Decision& decision : (*plan)->decisions) {
    if (is_newer_pair(decision, **plan)) found.push_back(told(decision));
  }
  return found;
}

Result<std::optional<NewerPair>> adopt_newer_pair(const Store& store, const Uid& uid,
                                                  const ProviderRules& providers) {
  const auto row = store.find(uid);
  if (!row) return fail(row.error());
  if (row->origin != Origin::import || !row->refresh_hash) return std::nullopt;
  auto plan = look(store, providers);
  if (!plan) return fail(std::move(plan.error()));
  if (!*plan) return std::nullopt;
  const auto& decisions = (*plan)->decisions;
  const auto found = std::find_if(decisions.begin(), decisions.end(), [&](const Decision& one) {
    return one.uid == uid && is_newer_pair(one, **plan);
  });
  if (found == decisions.end()) return std::nullopt;
  Change change;
  change.credentials.push_back(std::move((*plan)->change.credentials[*found->change]));
  change.credentials.front().bindings.clear();
  const auto applied = Store(store).apply(change);
  if (!applied) return fail(applied.error());
  if (applied->stale_plan) return std::nullopt;  // somebody else has moved it: it is looked at anew
  return told(*found);
}

}  // namespace authdb::migrate
