// Chance that repeats: the same seed draws the same numbers with every compiler and library, which
// std::uniform_int_distribution does not promise.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

namespace authdb::prove {

class Dice {
 public:
  Dice(std::uint64_t seed, std::uint64_t player) : engine_(seed * 0x9E3779B97F4A7C15U + player) {}

  std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  bool percent(unsigned chance) { return below(100) < chance; }
  std::chrono::milliseconds up_to(std::chrono::milliseconds limit) {
    return std::chrono::milliseconds(below(static_cast<std::uint64_t>(limit.count()) + 1));
  }
  template <typename T>
  const T& one_of(const std::vector<T>& all) {
    return all.at(below(all.size()));
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace authdb::prove
