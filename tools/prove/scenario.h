// The scenarios of the crash sweep: what the command is doing when it dies, and what must hold for
// the process that comes after it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/prove/stage.h"
#include "tools/prove/tracer.h"

namespace authdb::prove {

// How far the protocol had come when the process died: what its calls show from outside. The rows
// of the crash table (docs/design.md).
struct Progress {
  bool intended = false;  // the intent is in the journal
  bool marked = false;    // the `sent` mark is in the journal
  bool posted = false;    // the refresh request left
  bool answered = false;  // the answer is in the journal
};

Progress progress_of(const std::vector<Call>& calls);

// One death and what came of it.
struct Death {
  Stage& stage;
  const Home& home;
  Progress progress;
  std::string input{};     // what the dead command got on stdin
  bool lost = false;       // the login is gone, as its row of the crash table allows
  bool recovered = false;  // the next process settled the dead one's answer
  bool replayed = false;   // the token was sent a second time, as the replay rule says
  std::vector<std::string> violations{};

  void violated(const std::string& what) { violations.push_back(what); }
  void expect(bool holds, const std::string& what) {
    if (!holds) violated(what);
  }
};

struct Scenario {
  std::string name;
  std::string about;
  std::vector<std::string> words{};        // the command that dies; HOME stands for its directory
  int exit_code = 0;                       // what it ends with where nobody kills it
  std::string input{};                     // what it gets on stdin
  std::size_t sample = 1;                  // the short form dies at every so-many-th call
  bool talks = false;                      // sends requests that are no refresh
  std::vector<Tokens> logins{};            // what the portal takes for live before each run
  std::string scope = "inference:invoke";  // theirs
  portal::Options portal{.era = portal::Era::kBoth};

  // Lays out the home that every run begins with a copy of. May fill in `input` and `logins`.
  std::function<void(Scenario&, Stage&, const Home&)> prepare;
  // Asks for the bearer as the next process, and judges.
  std::function<void(Death&)> afterwards;
};

// All of them, in the order of a login's life.
std::vector<Scenario> crash_scenarios();

// The command of a run in `home`.
Command command_of(const Scenario& scenario, const Stage& stage, const Home& home);

// The verdicts that scenarios share; each asks for the bearer anew.
//
// After a refresh, by the crash table: not marked, it rotates; marked and unanswered, it is
// uncertain and replayed, which the portal takes for reuse if the request had arrived; answered,
// the token is recovered and nothing is sent.
void judge_refresh(Death& death);

}  // namespace authdb::prove
