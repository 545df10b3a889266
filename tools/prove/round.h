// One round of the soak: a store with a few logins and profiles, and the players that use and hurt
// it.
#pragma once

#include <atomic>
#include <fstream>
#include <mutex>
#include <set>

#include "tools/prove/dice.h"
#include "tools/prove/soak.h"
#include "tools/prove/stage.h"

namespace authdb::prove {

// The logins that a round begins with, and the profiles that may use them.
struct Share {
  std::string profile;
  std::vector<std::string> labels;
};
const std::vector<Share>& shares();

// Lays out the store of a round.
void lay_out_round(Stage& stage, const Home& home);

// What the players of a round share. Thread-safe.
class Board {
 public:
  Board(Stage& on_stage, Home in_home, const SoakOptions& chosen);

  void count(std::uint64_t SoakResult::*what, std::uint64_t by = 1);
  void violated(const std::string& what);
  void killed(std::int64_t pid);
  void note(const std::string& line);
  void keep_stale(const std::filesystem::path& file);
  std::vector<std::filesystem::path> stale() const;
  std::uint64_t lost_answers() const { return lost_answers_; }
  void answer_lost() { ++lost_answers_; }
  std::set<std::int64_t> all_killed() const;
  SoakResult result() const;
  std::uint64_t serial() { return ++serial_; }  // 1, 2, 3: for names

  Stage& stage;
  const Home home;
  const SoakOptions& options;
  std::atomic<bool> over{false};

 private:
  mutable std::mutex mutex_;  // guards all below but the atomics
  SoakResult result_;
  std::set<std::int64_t> killed_;
  std::vector<std::filesystem::path> stale_;
  std::ofstream log_;
  std::atomic<std::uint64_t> serial_{0};
  std::atomic<std::uint64_t> lost_answers_{0};
};

// Does one thing after the other until the round is over, each as the dice say.
void play(Board& board, std::uint64_t seed, unsigned slot);
// Lays traps at the portal until the round is over.
void play_portal(Board& board, std::uint64_t seed);
// When all is quiet: every login can still be refreshed, or there is a reason why not.
void judge_round(Board& board);

SoakResult play_round(const SoakOptions& options, std::uint64_t seed,
                      std::chrono::milliseconds length);

}  // namespace authdb::prove
