// World is all a portal knows: one place that the OAuth endpoints, the control API and the C++
// face work on. Every member is thread-safe by itself.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/portal/approvals.h"
#include "tools/portal/counters.h"
#include "tools/portal/fault.h"
#include "tools/portal/issuer.h"
#include "tools/portal/ledger.h"
#include "tools/portal/options.h"
#include "tools/portal/pauses.h"
#include "tools/portal/sim_clock.h"

namespace authdb::portal {

struct World {
  World(const Options& chosen, std::string url)
      : options(chosen), base_url(std::move(url)), clock(options.clock_ms) {}

  Counters counters() const;
  void reset();  // as started, except that requests under way go on

  const Options options;
  const std::string base_url;
  SimClock clock;
  Issuer issuer{options, clock};
  Approvals approvals{options, clock};
  FaultPlan faults;
  Pauses pauses;
  Ledger ledger;
};

// How the Nous token endpoint answers a refresh or a login.
nlohmann::json nous_answer(const World& world, const Grant& grant);

}  // namespace authdb::portal
