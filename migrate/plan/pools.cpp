#include "migrate/plan/pools.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>

namespace authdb::migrate {
namespace {

using Pool = std::pair<std::string, std::string>;  // profile, provider

struct Place {
  std::int64_t priority;
  std::size_t copy;
  Settled* settled;
};

std::map<Pool, std::vector<Place>> places_of(const PlanInput& input, PlanBuilder& builder) {
  constexpr auto kLast = std::numeric_limits<std::int64_t>::max();
  constexpr auto kUnknown = kLast - 1;  // as Hermes sorts them: after those that have one
  std::map<Pool, std::vector<Place>> pools;
  for (Settled& settled : builder.families) {
    if (!settled.bind) continue;
    for (const auto i : *settled.family) {
      const Row& row = *input.copies[i].row;
      pools[{input.document_of(i).profile, settled.decision.provider}].push_back(
          {row.priority.value_or(row.singleton ? kLast : kUnknown), i, &settled});
    }
  }
  for (auto& [pool, places] : pools) {
    std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
      return std::tie(a.priority, a.copy) < std::tie(b.priority, b.copy);
    });
  }
  return pools;
}

std::set<Pool> used_pools(const StoreSnapshot& known) {
  std::set<Pool> used;
  for (const Credential& row : known.credentials) {
    const auto profiles = known.profiles_of.find(row.uid);
    if (row.removed_at || profiles == known.profiles_of.end()) continue;
    for (const auto& profile : profiles->second) used.emplace(profile, row.identity.provider);
  }
  return used;
}

// Also if a file that was read before has it: then somebody has unbound it since.
bool is_bound(const PlanInput& input, const Place& place, const std::string& profile) {
  const Credential* existing = place.settled->existing;
  if (!existing) return false;
  const auto profiles = input.known.profiles_of.find(existing->uid);
  const bool bound =
      profiles != input.known.profiles_of.end() && profiles->second.count(profile) != 0;
  return bound || (input.was_read_before(place.copy) && !existing->removed_at);
}

void bind_pool(const PlanInput& input, PlanBuilder& builder, const std::string& profile,
               const std::vector<Place>& places, bool used) {
  std::unordered_set<const Settled*> seen;
  for (const Place& place : places) {
    if (is_bound(input, place, profile)) continue;
    if (!seen.insert(place.settled).second) continue;
    // Behind those that the store has in this pool: their order is its user's.
    const auto position = static_cast<std::int64_t>(seen.size());
    builder.change_of(*place.settled)
        .bindings.push_back({profile, used ? std::nullopt : std::optional(position)});
    if (place.settled->decision.action == "unchanged") place.settled->decision.action = "bound";
  }
}

bool has_active(const PlanInput& input, const std::string& profile) {
  std::set<std::string> providers;
  for (const auto& row : input.known.credentials) providers.insert(row.identity.provider);
  for (const Document& document : input.documents) {
    for (const ForeignState& state : document.states) providers.insert(state.provider);
  }
  return std::any_of(providers.begin(), providers.end(), [&](const std::string& provider) {
    return input.state(profile, provider).active;
  });
}

// What the store's user has chosen there stays. False if nothing is new.
bool merge_stored(const PlanInput& input, ProviderState& state) {
  if (!input.known.state || input.known.profiles.count(state.profile) == 0) return true;
  ProviderState stored = input.state(state.profile, state.provider);
  state.strategy = stored.strategy;
  const bool active = stored.active || (state.active && !has_active(input, state.profile));
  bool news = active != stored.active || !state.extra.empty();
  state.active = active;
  for (const auto& source : state.suppressed_sources) {
    const auto& had = stored.suppressed_sources;
    news = news || std::find(had.begin(), had.end(), source) == had.end();
  }
  for (const auto& source : stored.suppressed_sources) add_once(state.suppressed_sources, source);
  if (state.extra.empty()) state.extra = std::move(stored.extra);
  return news;
}

void merge_foreign(ProviderState& state, const ForeignState& foreign) {
  state.active = state.active || foreign.active;
  for (const auto& source : foreign.suppressed_sources) add_once(state.suppressed_sources, source);
  if (state.extra.empty()) state.extra = foreign.extra.clone();
}

}  // namespace

void bind_profiles(const PlanInput& input, PlanBuilder& builder) {
  const auto used = used_pools(input.known);
  for (const auto& [pool, places] : places_of(input, builder)) {
    bind_pool(input, builder, pool.first, places, used.count(pool) != 0);
  }
}

void add_states(const PlanInput& input, PlanBuilder& builder) {
  Plan& plan = builder.plan;
  std::set<std::string> all;
  std::map<Pool, ProviderState> wanted;
  for (std::size_t d = 0; d < input.documents.size(); ++d) {
    const Document& document = input.documents[d];
    if (document.failure) continue;
    const bool fresh = all.insert(document.profile).second;
    if (fresh && input.known.profiles.count(document.profile) == 0) {
      plan.change.profiles.push_back(document.profile);
    }
    if (input.read_before[d]) continue;
    for (const ForeignState& foreign : document.states) {
      ProviderState& state = wanted[{document.profile, foreign.provider}];
      state.profile = document.profile;
      state.provider = foreign.provider;
      merge_foreign(state, foreign);
    }
  }
  plan.profiles = static_cast<std::int64_t>(all.size());
  for (auto& [pool, state] : wanted) {
    if (merge_stored(input, state)) plan.change.states.push_back(std::move(state));
  }
}

}  // namespace authdb::migrate
