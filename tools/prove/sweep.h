// The crash sweep: a scenario's command is killed before its first counted call, before its second,
// and so on until there is none left; after each death the next process is asked for the bearer.
#pragma once

#include <string>
#include <vector>

#include "tools/prove/scenario.h"

namespace authdb::prove {

struct SweepResult {
  std::string scenario;
  std::size_t points = 0;  // counted in a run to the end
  std::size_t kills = 0;   // that happened; one for each point, or each `stride`-th
  std::size_t recovered = 0;
  std::size_t replayed = 0;
  std::size_t lost = 0;  // as the crash table allows
  std::vector<std::string> violations{};
};

// Sweeps one scenario, dying at every `stride`-th call, in a directory of its own under
// `directory`. A home in which something was violated is kept there, and named in the violation.
SweepResult sweep(Scenario scenario, const std::filesystem::path& authdb,
                  const std::filesystem::path& directory, std::size_t stride = 1);

// The scenario's command in a home made for one run; counts its calls.
class Rehearsal {
 public:
  Rehearsal(Scenario scenario, const std::filesystem::path& authdb,
            const std::filesystem::path& directory);

  // A fresh copy of the scenario's home; the portal has forgotten all but its logins.
  Home fresh_home();
  Command command(const Home& home) const { return command_of(scenario_, stage_, home); }
  const Scenario& scenario() const { return scenario_; }
  Stage& stage() { return stage_; }

 private:
  Scenario scenario_;
  Stage stage_;
  Home template_;
};

}  // namespace authdb::prove
