// The players of a round: what they do, and how they are hurt while they do it.
#include <signal.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "store/store.h"
#include "tools/prove/round.h"

namespace authdb::prove {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kStuck = 60s;  // twice the deadline for a lock: nobody may take so long

struct Action {
  std::vector<std::string> words;
  std::set<int> expected{0};  // exit codes
  std::string input{};
  bool is_worker = false;  // a worker instead of the command
};

std::string text_of(const Action& action) {
  std::string text;
  for (const auto& word : action.words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// What becomes of a running action.
struct Harm {
  enum class Kind { none, kill, stop, stop_and_kill } kind = Kind::none;
  milliseconds after{0};
  milliseconds held{0};
};

Harm draw_harm(Dice& dice, bool is_worker) {
  static const std::vector<milliseconds> kReach = {5ms, 30ms, 150ms};
  Harm harm;
  harm.after = dice.up_to(is_worker ? 800ms : dice.one_of(kReach));
  harm.held = dice.up_to(400ms);
  const auto drawn = dice.below(100);
  if (drawn < 40) harm.kind = Harm::Kind::kill;
  if (drawn >= 40 && drawn < 50) harm.kind = Harm::Kind::stop;
  if (drawn >= 50 && drawn < 55) harm.kind = Harm::Kind::stop_and_kill;
  return harm;
}

std::string scope_of(const std::string& label) {
  return label == "minter" ? "inference:mint_agent_key" : "inference:invoke";
}

std::string to_json(const portal::Grant& grant) {
  return json{{"access_token", grant.access_token},
              {"refresh_token", grant.refresh_token},
              {"scope", grant.scope},
              {"token_type", "Bearer"},
              {"expires_in", grant.expires_in}}
      .dump();
}

// A player; one thread.
class Player {
 public:
  Player(Board& board, std::uint64_t seed, unsigned slot)
      : board_(board), slot_(slot), dice_(seed, slot) {}

  void play() {
    for (int turn = 1; !board_.over; ++turn) {
      const Action action = draw();
      const Harm harm = draw_harm(dice_, action.is_worker);
      if (action.words.empty()) continue;
      const std::string name =
          "slot " + std::to_string(slot_) + " #" + std::to_string(turn) + " " + text_of(action);
      const auto began = system_now();
      const Finished finished = perform(action, harm);
      board_.note(std::to_string(to_millis(began)) + " to " +
                  std::to_string(to_millis(system_now())) + " process " + std::to_string(pid_) +
                  " " + name + (harm.kind == Harm::Kind::none ? "" : " (harmed)") + " -> " +
                  std::to_string(finished.code) + (finished.err.empty() ? "" : ": ") +
                  finished.err);
      judge(action, harm, name, finished);
    }
  }

 private:
  // ---- what to do ------------------------------------------------------------------------------

  Action draw() {
    const Share& share = dice_.one_of(shares());
    const std::string& label = dice_.one_of(share.labels);
    const auto drawn = dice_.below(100);
    if (drawn < 40) return token(share);
    if (drawn < 52) return on(share, {"refresh", "nous", label}, {0, 2, 3, 4, 5});
    if (drawn < 58) return on(share, {"mint", "nous", label}, {0, 2, 3, 4, 5});
    if (drawn < 66) return worker(share);
    if (drawn < 70) return snapshot();
    if (drawn < 76) return stale_import();
    if (drawn < 82) return login(share, label);
    if (drawn < 85) return on(share, {"reset", "nous"}, {0, 3});
    if (drawn < 88) return report(share, label);
    if (drawn < 92) return look();
    return upkeep();
  }

  static Action on(const Share& share, std::vector<std::string> words, std::set<int> expected) {
    words.insert(words.end(), {"--profile", share.profile});
    return {std::move(words), std::move(expected)};
  }

  Action token(const Share& share) {
    Action action = on(share, {"token", "nous"}, {0, 3, 4, 5});
    if (dice_.percent(20)) action.words.insert(action.words.end(), {"--min-ttl", "1"});
    return action;
  }

  Action worker(const Share& share) {
    return {
        {"worker", "--profile", share.profile, "--life-ms", std::to_string(200 + dice_.below(1000)),
         "--seed", std::to_string(dice_.below(1U << 30U))},
        {0},
        {},
        true};
  }

  // An auth.json of a pair that is live now and will be stale soon.
  Action snapshot() {
    const auto all = tokens_in(board_.home);
    if (all.empty()) return {};
    const Tokens& tokens = dice_.one_of(all);
    const auto file =
        board_.home.directory / ("stale-" + std::to_string(board_.serial()) + "/auth.json");
    const json nous = {{"access_token", tokens.access},
                       {"refresh_token", tokens.refresh},
                       {"client_id", "hermes-cli"},
                       {"scope", "inference:invoke"},
                       {"portal_base_url", board_.stage.portal_url()},
                       {"obtained_at", "2026-06-01T00:00:00Z"},
                       {"expires_at", "2026-06-01T00:15:00Z"}};
    write_file(file, json{{"version", 1}, {"providers", {{"nous", nous}}}}.dump());
    board_.keep_stale(file);
    return {};
  }

  Action stale_import() {
    const auto files = board_.stale();
    if (files.empty()) return {};
    return {{"migrate", dice_.one_of(files).string(), "--quiet"}, {0, 6, 7}};
  }

  // A new family: for a login that has ended, as a person would; else another one beside it.
  Action login(const Share& share, const std::string& label) {
    const bool again = has_ended(label);
    if (!again && !dice_.percent(20)) return token(share);
    const std::string name = again ? label : "more-" + std::to_string(board_.serial());
    const auto grant =
        board_.stage.portal().create_grant({.scope = scope_of(label), .account = name});
    Action action = on(share, {"add", "nous", "--grant", "--label", name}, {0, 2, 6, 7});
    action.input = to_json(grant);
    return action;
  }

  bool has_ended(const std::string& label) const {
    StoreOptions options;
    options.path = board_.home.store();
    options.key_file = board_.home.key();
    const auto store = Store::open(std::move(options), OpenMode::look);
    const auto rows = store ? store->list({.provider = "nous"}) : fail(store.error());
    if (!rows) {
      board_.violated("cannot look: " + rows.error().message);
      return false;
    }
    return std::any_of(rows->begin(), rows->end(), [&](const Credential& row) {
      return row.identity.label == label && row.health.status == Status::dead;
    });
  }

  static Action report(const Share& share, const std::string& label) {
    return on(share, {"report", "nous", label, "--status", "500"}, {0, 2, 3});
  }

  Action look() {
    static const std::vector<std::vector<std::string>> kLooks = {
        {"status"},
        {"list"},
        {"log"},
        {"sql", "SELECT count(*) FROM freshness"},
        {"status", "--json"}};
    return {dice_.one_of(kLooks)};
  }

  Action upkeep() {
    const auto backup = board_.home.directory / ("backup-" + std::to_string(board_.serial()));
    switch (dice_.below(4)) {
      case 0:
        return {{"key", "rotate"}};
      case 1:
        return {{"key", "prune"}};
      case 2:
        return {{"backup", backup.string()}};
      default:  // one of the logins that came beside the first ones
        return {{"remove", "nous", "more-" + std::to_string(1 + dice_.below(20))}, {0, 2, 3}};
    }
  }

  // ---- doing it, and being hurt ----------------------------------------------------------------

  Finished perform(const Action& action, const Harm& harm) {
    Command command = board_.stage.command(board_.home, action.words, action.input);
    if (action.is_worker) command.words.front() = board_.options.worker;
    board_.count(&SoakResult::actions);
    Child child(command);
    const std::int64_t pid = pid_ = child.pid();
    if (harm.kind != Harm::Kind::none && !child.ended_within(harm.after)) hurt(child, harm);
    if (!child.ended_within(kStuck)) {
      board_.violated("stuck for " + std::to_string(kStuck.count() / 1000) +
                      " s: " + text_of(action));
      child.signal(SIGKILL);
    }
    Finished finished = child.finish();
    if (finished.code == 128 + SIGKILL) mourn(pid, finished);
    if (action.is_worker) count_library(finished);
    return finished;
  }

  void hurt(Child& child, const Harm& harm) {
    if (harm.kind != Harm::Kind::kill) {
      board_.count(&SoakResult::stops);
      child.signal(SIGSTOP);
      std::this_thread::sleep_for(harm.held);
      if (harm.kind == Harm::Kind::stop) child.signal(SIGCONT);
    }
    if (harm.kind != Harm::Kind::stop) child.signal(SIGKILL);
  }

  // The killed process, and the children that died with it.
  void mourn(std::int64_t pid, const Finished& finished) {
    board_.count(&SoakResult::kills);
    board_.killed(pid);
    for_each_number(finished.out, "pid", [&](std::int64_t child) { board_.killed(child); });
  }

  void count_library(const Finished& finished) {
    for_each_number(finished.out, "pid", [&](std::int64_t) { board_.count(&SoakResult::forks); });
    for_each_number(finished.out, "bearers", [&](std::int64_t number) {
      board_.count(&SoakResult::bearers, static_cast<std::uint64_t>(number));
    });
  }

  template <typename F>
  static void for_each_number(const std::string& out, const std::string& wanted, F&& use) {
    std::istringstream words(out);
    std::string word;
    std::int64_t number = 0;
    while (words >> word >> number) {
      if (word == wanted) use(number);
    }
  }

  void judge(const Action& action, const Harm& harm, const std::string& name,
             const Finished& finished) {
    const bool killed = finished.code == 128 + SIGKILL && harm.kind != Harm::Kind::none &&
                        harm.kind != Harm::Kind::stop;
    if (!killed && !action.expected.contains(finished.code)) {
      board_.violated(name + " ended with " + std::to_string(finished.code) + ": " + finished.err);
    }
    if (finished.code == 0 && action.words.front() == "token") board_.count(&SoakResult::bearers);
  }

  Board& board_;
  const unsigned slot_;
  Dice dice_;
  std::int64_t pid_ = 0;  // of the last action
};

// ---- the portal
// ----------------------------------------------------------------------------------

struct Trap {
  portal::Fault fault;
  bool loses_answer = false;
};

Trap draw_trap(Dice& dice) {
  using portal::When;
  const milliseconds wait = dice.up_to(250ms);
  switch (dice.below(10)) {
    case 0:
      return {{.drop = When::kAfter}, true};
    case 1:
      return {{.status = 504, .when = When::kAfter}, true};
    case 2:
      return {{.cut_after = -20}, true};
    case 3:
      return {{.drop = When::kBefore}, true};
    case 4:
      return {{.status = 429, .retry_after = "1"}, false};
    case 5:
      return {{.status = 503}, false};
    case 6:
      return {{.delay_after = wait, .malformed = true}, true};
    case 7:
      return {{.delay_before = wait}, false};
    default:
      return {{.delay_after = wait}, false};
  }
}

}  // namespace

void play(Board& board, std::uint64_t seed, unsigned slot) {
  try {
    Player(board, seed, slot).play();
  } catch (const std::exception& error) {
    board.violated("slot " + std::to_string(slot) + ": " + error.what());
  }
}

void play_portal(Board& board, std::uint64_t seed) {
  Dice dice(seed, 1'000'000);
  while (!board.over) {
    const Trap trap = draw_trap(dice);
    if (trap.loses_answer) board.answer_lost();
    board.count(&SoakResult::faults);
    board.stage.portal().clear_faults();
    board.stage.portal().add_fault(trap.fault);
    std::this_thread::sleep_for(100ms + dice.up_to(400ms));
  }
}

}  // namespace authdb::prove
