#include "tools/prove/waiting.h"

#include <signal.h>

#include <algorithm>
#include <stdexcept>

#include "tools/prove/sweep.h"

namespace authdb::prove {
namespace {

using portal::Fault;
using portal::When;
using std::chrono::milliseconds;

constexpr milliseconds kLong{60'000};  // ended by release()

struct Wait {
  const char* name;
  bool rotates;  // the portal has processed the request, or will
  Fault fault;
  std::function<bool(portal::Portal&)> reached;
};

bool is_delayed(portal::Portal& portal) { return portal.delayed() == 1; }
bool is_answering(portal::Portal& portal) {
  const auto requests = portal.requests();
  return !requests.empty() && requests.back().status == 200;
}

std::vector<Wait> waits() {
  return {
      {"the request lies unread and is never processed",
       false,
       {.delay_before = kLong, .drop = When::kBefore},
       is_delayed},
      {"the request lies unread and is processed later", true, {.delay_before = kLong}, is_delayed},
      {"the portal has rotated and not yet answered", true, {.delay_after = kLong}, is_delayed},
      {"the answer comes byte by byte", true, {.drip = milliseconds(20)}, is_answering},
      {"the answer's bytes stop coming", true, {.endless = true}, is_answering},
  };
}

Scenario refresh_scenario() {
  auto all = crash_scenarios();
  return *std::find_if(all.begin(), all.end(),
                       [](const Scenario& scenario) { return scenario.name == "refresh"; });
}

void die_in(const Wait& wait, Rehearsal& rehearsal, WaitingResult& result) {
  const Home home = rehearsal.fresh_home();
  auto& portal = rehearsal.stage().portal();
  portal.add_fault(wait.fault);
  Child child(rehearsal.command(home));
  const bool reached = portal.wait_until([&] { return wait.reached(portal); });
  child.signal(SIGKILL);
  const Finished finished = child.finish();
  portal.release();
  rehearsal.stage().portal_is_idle();
  portal.clear_faults();

  Death death{rehearsal.stage(), home, {true, true, true, false}};
  death.expect(reached, "the portal did not get so far");
  death.expect(finished.code == 128 + SIGKILL, "it was not killed: " + finished.err);
  judge_refresh(death);
  death.expect(death.lost == wait.rotates,
               wait.rotates ? "nothing was lost" : "the login was lost");
  ++result.kills;
  result.lost += death.lost ? 1 : 0;
  for (const auto& violation : death.violations) {
    result.violations.push_back("killed while " + std::string(wait.name) + ": " + violation);
  }
}

}  // namespace

WaitingResult kill_while_waiting(const std::filesystem::path& authdb,
                                 const std::filesystem::path& directory) {
  Rehearsal rehearsal(refresh_scenario(), authdb, directory / "waiting");
  WaitingResult result;
  for (const Wait& wait : waits()) die_in(wait, rehearsal, result);
  return result;
}

}  // namespace authdb::prove
