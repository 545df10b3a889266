#include "tools/prove/round.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "store/fingerprint.h"
#include "store/store.h"
#include "tools/prove/wire.h"

namespace authdb::prove {
namespace {

using namespace std::chrono_literals;

portal::Options short_lived() {
  return {.era = portal::Era::kBoth, .access_ttl = 2s, .agent_key_ttl = 2s};
}

void log_in(Stage& stage, const Home& home, const std::string& profile, const std::string& label) {
  const char* scope = label == "minter" ? "inference:mint_agent_key" : "inference:invoke";
  const auto grant = stage.portal().create_grant({.scope = scope, .account = label});
  stage.must(home, {"add", "nous", "--grant", "--label", label, "--profile", profile},
             expired_grant({grant.access_token, grant.refresh_token}, scope));
}

// ---- the last judgement ------------------------------------------------------------------------

std::vector<Credential> all_in(const Home& home, std::vector<std::string>& profiles) {
  StoreOptions options;
  options.path = home.store();
  options.key_file = home.key();
  const auto store = Store::open(std::move(options), OpenMode::look);
  if (!store) throw std::runtime_error(store.error().message);
  const auto rows = store->list({.provider = "nous"});
  if (!rows) throw std::runtime_error(rows.error().message);
  for (const auto& row : *rows) {
    const auto users = store->profiles_of(row.uid);
    profiles.push_back(users && !users->empty() ? users->front() : "");
  }
  return *rows;
}

bool ended_at_portal(const Credential& row, const portal::Counters& counters) {
  if (!row.refresh_hash) return true;
  const auto found = counters.tokens.find(fingerprint(*row.refresh_hash));
  return found != counters.tokens.end() &&
         (found->second.state == "reused" || found->second.state == "revoked");
}

std::string named(const Credential& row) { return row.identity.label + " (" + row.uid + ")"; }

void judge_login(Board& board, const Credential& row, const std::string& profile) {
  if (profile.empty() || row.hold == Hold::conflict) return;
  const Finished refresh = board.stage.authdb(
      board.home, {"refresh", "nous", row.uid, "--replay", "--profile", profile});
  if (refresh.code == 0) return;
  std::vector<std::string> ignored;
  for (const auto& now : all_in(board.home, ignored)) {
    if (now.uid != row.uid) continue;
    if (refresh.code == 4 && ended_at_portal(now, board.stage.portal().counters())) return;
    board.count(&SoakResult::unexplained);
    board.violated(named(row) +
                   " can be refreshed no more, and the portal has not ended it: exit " +
                   std::to_string(refresh.code) + ", " + refresh.err);
  }
}

void judge_wire(Board& board) {
  auto& portal = board.stage.portal();
  const Wire wire{portal.requests(), portal.counters(), ledger_of(board.home), board.all_killed(),
                  board.lost_answers()};
  const WireFindings found = check_wire(wire);
  const auto& totals = wire.counters.totals;
  const auto count = [&](std::uint64_t SoakResult::*what, auto by) {
    board.count(what, static_cast<std::uint64_t>(by));
  };
  count(&SoakResult::rotations, totals.rotations);
  count(&SoakResult::mints, totals.mints);
  count(&SoakResult::families, wire.counters.families.size());
  count(&SoakResult::most_in_flight, totals.max_in_flight_per_token);
  count(&SoakResult::replays, found.replays);
  count(&SoakResult::lost, found.lost);
  count(&SoakResult::unexplained, found.unexplained);
  count(&SoakResult::unexplained_reuse, found.unexplained_reuse);
  for (const LedgerRow& row : wire.ledger)
    count(&SoakResult::recovered, row.outcome == "recovered");
  for (const auto& violation : found.violations) board.violated(violation);
}

}  // namespace

// ---- the board ---------------------------------------------------------------------------------

const std::vector<Share>& shares() {
  static const std::vector<Share> all = {
      {"default", {"work-a", "work-b"}}, {"atlas", {"work-b", "work-c"}}, {"forge", {"minter"}}};
  return all;
}

void lay_out_round(Stage& stage, const Home& home) {
  log_in(stage, home, "default", "work-a");
  log_in(stage, home, "default", "work-b");
  log_in(stage, home, "atlas", "work-c");
  log_in(stage, home, "forge", "minter");
  stage.must(home, {"profile", "bind", "atlas", "nous", "work-b", "--profile", "default"});
  stage.must(home, {"profile", "strategy", "atlas", "nous", "round_robin"});
}

Board::Board(Stage& on_stage, Home in_home, const SoakOptions& chosen)
    : stage(on_stage), home(std::move(in_home)), options(chosen) {
  log_.open(stage.directory() / "actions.log");
}

void Board::count(std::uint64_t SoakResult::*what, std::uint64_t by) {
  const std::lock_guard lock(mutex_);
  result_.*what += by;
}

void Board::violated(const std::string& what) {
  const std::lock_guard lock(mutex_);
  result_.violations.push_back(what);
  log_ << "VIOLATION " << what << std::endl;
}

void Board::killed(std::int64_t pid) {
  const std::lock_guard lock(mutex_);
  killed_.insert(pid);
}

void Board::note(const std::string& line) {
  const std::lock_guard lock(mutex_);
  log_ << line << '\n';
}

void Board::keep_stale(const std::filesystem::path& file) {
  const std::lock_guard lock(mutex_);
  stale_.push_back(file);
}

std::vector<std::filesystem::path> Board::stale() const {
  const std::lock_guard lock(mutex_);
  return stale_;
}

std::set<std::int64_t> Board::all_killed() const {
  const std::lock_guard lock(mutex_);
  return killed_;
}

SoakResult Board::result() const {
  const std::lock_guard lock(mutex_);
  return result_;
}

// ---- the round ---------------------------------------------------------------------------------

void judge_round(Board& board) {
  board.stage.portal().clear_faults();
  board.stage.portal().release();
  board.stage.portal_is_idle();
  std::vector<std::string> profiles;
  const auto rows = all_in(board.home, profiles);
  for (std::size_t i = 0; i < rows.size(); ++i) judge_login(board, rows[i], profiles[i]);
  judge_wire(board);
  for (const auto& violation : check_store(board.home)) board.violated(violation);
}

SoakResult play_round(const SoakOptions& options, std::uint64_t seed,
                      std::chrono::milliseconds length) {
  Stage stage(options.authdb, options.directory / ("round-" + std::to_string(seed)), short_lived());
  Board board(stage, stage.home("home"), options);
  lay_out_round(stage, board.home);
  std::vector<std::thread> players;
  players.emplace_back([&] { play_portal(board, seed); });
  for (unsigned slot = 0; slot < options.processes; ++slot) {
    players.emplace_back([&board, seed, slot] { play(board, seed, slot); });
  }
  std::this_thread::sleep_for(length);
  board.over = true;
  for (auto& player : players) player.join();
  try {
    judge_round(board);
  } catch (const std::exception& error) {
    board.violated(std::string("the store cannot be judged: ") + error.what());
  }
  SoakResult result = board.result();
  if (result.violations.empty()) std::filesystem::remove_all(stage.directory());
  for (auto& violation : result.violations) {
    violation = "soak, seed " + std::to_string(seed) + ": " + violation;
  }
  return result;
}

}  // namespace authdb::prove
