#include "tools/portal/world.h"

#include <algorithm>

namespace authdb::portal {

Counters World::counters() const {
  Counters all;
  const auto wire = ledger.totals();
  all.totals.token_posts = wire.token_posts;
  all.totals.inference_ok = wire.inference_ok;
  all.totals.inference_rejected = wire.inference_rejected;
  all.totals.mints = issuer.mints();
  for (const auto& [id, family] : issuer.families()) {
    all.families[id] = {family.account,        family.generation, family.rotations,
                        family.reuse_detected, family.revoked,    ledger.family_max_in_flight(id)};
    all.totals.rotations += family.rotations;
    all.totals.reuse_detected += family.reuse_detected;
  }
  for (const auto& [name, token] : issuer.refresh_tokens()) {
    all.tokens[name] = {0, 0, token.family, token.generation, token.state};
  }
  for (const auto& [name, count] : ledger.tokens()) {
    auto& token = all.tokens[name];
    token.posts = count.posts;
    token.max_in_flight = count.max_in_flight;
    auto& most = all.totals.max_in_flight_per_token;
    most = std::max(most, count.max_in_flight);
  }
  return all;
}

void World::reset() {
  faults.clear();
  approvals.reset();
  issuer.reset();
  ledger.reset();
  clock.reset();
}

nlohmann::json nous_answer(const World& world, const Grant& grant) {
  return {{"access_token", grant.access_token},
          {"refresh_token", grant.refresh_token},
          {"expires_in", grant.expires_in},
          {"token_type", "Bearer"},
          {"scope", grant.scope},
          {"inference_base_url", world.base_url + "/v1"}};
}

}  // namespace authdb::portal
