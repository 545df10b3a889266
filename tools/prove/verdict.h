// The one page at the end: what was done, what came of it, and whether that is proof.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "tools/prove/damage.h"
#include "tools/prove/machine.h"
#include "tools/prove/soak.h"
#include "tools/prove/sweep.h"
#include "tools/prove/waiting.h"

namespace authdb::prove {

struct Verdict {
  Machine machine;
  std::filesystem::path directory;
  std::uint64_t seed = 0;
  std::string repeat;                   // the command line that does the same again
  std::optional<std::string> no_sweep;  // why nothing could be swept
  std::vector<SweepResult> sweeps{};
  DamageResult damage{};
  WaitingResult waiting{};
  std::optional<SoakResult> soak{};
  std::string evidence{};  // where it was kept; empty: removed

  std::vector<std::string> violations() const;
  std::uint64_t kills() const;
  bool proved() const { return violations().empty(); }
  std::string word() const;  // proved | partly proved | NOT PROVED
};

void print(std::ostream& out, const Verdict& verdict);
void print_json(std::ostream& out, const Verdict& verdict);

}  // namespace authdb::prove
