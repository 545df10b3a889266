#include "tools/prove/soak.h"

#include <signal.h>

#include <algorithm>
#include <thread>

#include "tools/prove/round.h"

namespace authdb::prove {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRound{20'000};
constexpr std::chrono::milliseconds kShortest{2'000};

void add_up(SoakResult& all, const SoakResult& round) {
  ++all.rounds;
  all.actions += round.actions;
  all.kills += round.kills;
  all.stops += round.stops;
  all.faults += round.faults;
  all.forks += round.forks;
  all.rotations += round.rotations;
  all.mints += round.mints;
  all.bearers += round.bearers;
  all.recovered += round.recovered;
  all.replays += round.replays;
  all.families += round.families;
  all.lost += round.lost;
  all.unexplained += round.unexplained;
  all.unexplained_reuse += round.unexplained_reuse;
  all.most_in_flight = std::max(all.most_in_flight, round.most_in_flight);
  all.violations.insert(all.violations.end(), round.violations.begin(), round.violations.end());
}

std::string summary(std::uint64_t seed, const SoakResult& round) {
  return "seed " + std::to_string(seed) + ": " + std::to_string(round.actions) + " actions, " +
         std::to_string(round.kills) + " kills, " + std::to_string(round.rotations) +
         " rotations, " + std::to_string(round.lost) + " lost and explained, " +
         std::to_string(round.violations.size()) + " violations";
}

}  // namespace

SoakResult soak(const SoakOptions& options) {
  SoakResult all;
  const auto end = steady_clock::now() + options.time;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    const bool enough = all.kills >= options.kills;
    if (enough && all.rounds > 0 && left < kShortest) return all;
    const auto length = enough ? std::clamp(left, kShortest, kRound) : kRound;
    const std::uint64_t seed = options.seed + all.rounds;
    const SoakResult round = play_round(options, seed, length);
    add_up(all, round);
    if (options.progress) options.progress(summary(seed, round));
  }
}

}  // namespace authdb::prove
