// The randomised soak: processes that use one store in every way at once, and are killed, stopped
// and misled by the portal at random; then what the portal saw is held against what the store
// remembers.
//
// A soak is a row of rounds of 20 s, each with a new store, portal and seed (the first seed plus
// the number of the round): what one round shows, it shows again by its own seed, as far as chance
// in the kernel's scheduler allows.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace authdb::prove {

struct SoakOptions {
  std::filesystem::path authdb;
  std::filesystem::path worker;     // this executable: `worker worker …` is a library process
  std::filesystem::path directory;  // for stores and the logs of actions
  unsigned processes = 8;
  std::chrono::seconds time{20};
  std::uint64_t kills = 0;  // goes on beyond `time` until there were so many
  std::uint64_t seed = 1;
  std::function<void(const std::string&)> progress{};  // a line at the end of each round
};

struct SoakResult {
  std::uint64_t rounds = 0;
  std::uint64_t actions = 0;
  std::uint64_t kills = 0;
  std::uint64_t stops = 0;
  std::uint64_t faults = 0;
  std::uint64_t forks = 0;
  std::uint64_t rotations = 0;  // at the portal
  std::uint64_t mints = 0;
  std::uint64_t bearers = 0;  // handed out
  std::uint64_t recovered = 0;
  std::uint64_t replays = 0;
  std::uint64_t families = 0;
  std::uint64_t lost = 0;         // logins that ended, each with its reason
  std::uint64_t unexplained = 0;  // and those without
  std::uint64_t unexplained_reuse = 0;
  std::uint64_t most_in_flight = 0;  // for one token at one moment
  std::vector<std::string> violations{};
};

SoakResult soak(const SoakOptions& options);

}  // namespace authdb::prove
