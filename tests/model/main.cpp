// authdb-model: random histories against the store, judged by the promises. README.md has the rest.
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

#include "tests/model/draw.h"
#include "tests/model/history.h"
#include "tests/model/shrink.h"

namespace authdb::model {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

constexpr int kHistorySteps = 60;
constexpr unsigned kHangSeconds = 60;  // for a whole history, the steps of all of its shrinking not

struct Options {
  std::uint64_t seed = 0;
  std::uint64_t seeds = 0;  // 0: as many as time and steps allow
  std::int64_t steps = 0;
  int seconds = 0;
  int length = kHistorySteps;
  std::string history;
  std::string replay;
  std::vector<std::string> only;
  std::vector<std::string> never;
  std::vector<std::string> allow;
  std::vector<std::string> want;
  bool no_shrink = false;
  bool keep_going = false;
  bool trace = false;
};

std::set<std::string> set_of(const std::vector<std::string>& words) {
  return {words.begin(), words.end()};
}

class Directory {
 public:
  Directory() {
    const char* base = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    std::string pattern = std::string(base) + "/authdb-model-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string g_running;  // what a hang is reported with
extern "C" void hangs(int) {
  [[maybe_unused]] ssize_t n = ::write(2, "a history hangs: ", 17);
  n = ::write(2, g_running.data(), g_running.size());
  n = ::write(2, "\n", 1);
  ::_exit(1);
}

volatile sig_atomic_t g_stopped = 0;
extern "C" void stops(int) { g_stopped = 1; }

class Session {
 public:
  explicit Session(const Options& options) : options_(options) {
    setting_.home = directory_.path();
    setting_.allowed = set_of(options.allow);
    setting_.wanted = set_of(options.want);
    setting_.coverage = &coverage_;
    setting_.trace = options.trace;
    menu_.only = set_of(options.only);
    menu_.never = set_of(options.never);
    ::signal(SIGALRM, hangs);
    for (const int signal : {SIGINT, SIGTERM}) ::signal(signal, stops);  // the history is finished
  }

  int replay(const History& history) {
    const Ran ran = run(history, setting_);
    if (!ran.failure) {
      std::cout << "it holds\n";
      return 0;
    }
    std::cout << ran.failure->kind << " at step " << ran.steps << ": " << ran.failure->what << '\n';
    return 1;
  }

  int search() {
    int status = 0;
    for (std::uint64_t seed = options_.seed; !over(seed); ++seed) {
      if (!one(seed)) continue;
      status = 1;
      if (!options_.keep_going) break;
    }
    summary();
    return status;
  }

 private:
  bool over(std::uint64_t seed) const {
    const auto spent = std::chrono::duration<double>(SteadyClock::now() - began_).count();
    if (g_stopped != 0) return true;
    if (options_.seeds > 0 && seed >= options_.seed + options_.seeds) return true;
    if (options_.steps > 0 && steps_ >= options_.steps) return true;
    return options_.seconds > 0 && spent >= options_.seconds;
  }

  // True if the history of this seed fails.
  bool one(std::uint64_t seed) {
    const History history = draw(seed, options_.length, menu_);
    g_running = "--seed " + std::to_string(seed) + " --seeds 1";
    ::alarm(kHangSeconds);
    const Ran ran = run(history, setting_);
    ::alarm(0);
    steps_ += static_cast<std::int64_t>(ran.steps);
    for (const auto& [kind, times] : ran.tolerated) tolerated_[kind] += times;
    if (!ran.failure) return false;
    report(seed, history, ran);
    return true;
  }

  void report(std::uint64_t seed, History history, const Ran& ran) {
    std::cout << ran.failure->kind << ": seed " << seed << ", step " << ran.steps << " (step "
              << steps_ << " of this run): " << ran.failure->what << '\n';
    std::cout.flush();
    if (options_.no_shrink) return;
    history.resize(std::min(history.size(), ran.steps));
    const auto fails = [&](const History& candidate) {
      return replayed(candidate).starts_with(ran.failure->kind);
    };
    if (!fails(history)) {
      std::cout << "it does not fail again: threads were at work. The whole history:\n";
    } else {
      history = shrink(std::move(history), fails);
    }
    for (const Step& step : history) std::cout << "  " << text_of(step) << '\n';
    std::cout << "# " << replayed(history) << std::endl;
  }

  // What a process of its own says of it, as it will to whoever plays it again.
  std::string replayed(const History& history) const {
    const auto file = directory_.path() / "candidate";
    {
      std::ofstream out(file);
      for (const Step& step : history) out << text_of(step) << '\n';
    }
    std::string command =
        fs::read_symlink("/proc/self/exe").string() + " --replay " + file.string();
    for (const std::string& kind : options_.allow) command += " --allow " + kind;
    for (const std::string& kind : options_.want) command += " --want " + kind;
    FILE* const said = ::popen(command.c_str(), "r");
    if (said == nullptr) return {};
    std::array<char, 4096> line{};
    const bool any = std::fgets(line.data(), line.size(), said) != nullptr;
    ::pclose(said);
    return any ? std::string(line.data(), std::strcspn(line.data(), "\n")) : std::string();
  }

  void summary() const {
    const auto spent = std::chrono::duration<double>(SteadyClock::now() - began_).count();
    std::cout << steps_ << " steps in " << spent << " s: " << static_cast<double>(steps_) / spent
              << " steps/s\n";
    for (const auto& [name, times] : coverage_) std::cout << "  " << name << ": " << times << '\n';
    for (const auto& [kind, times] : tolerated_)
      std::cout << "  allowed " << kind << ": " << times << '\n';
  }

  Options options_;
  Directory directory_;
  Setting setting_;
  Menu menu_;
  std::map<std::string, int> coverage_;
  std::map<std::string, int> tolerated_;
  std::int64_t steps_ = 0;
  SteadyClock::time_point began_ = SteadyClock::now();
};

void declare(CLI::App& app, Options& options) {
  app.add_option("--seed", options.seed, "the first history; default: a new one each time");
  app.add_option("--seeds", options.seeds, "how many histories");
  app.add_option("--steps", options.steps, "stop after so many steps");
  app.add_option("--seconds", options.seconds, "stop after so long")
      ->envname("AUTHDB_MODEL_SECONDS");
  app.add_option("--length", options.length, "steps in a history");
  app.add_option("--only", options.only, "draw only these actions, replies, clothes, twists")
      ->delimiter(',');
  app.add_option("--never", options.never, "draw all but these")->delimiter(',');
  app.add_option("--allow", options.allow, "kinds of failure that are known")->delimiter(',');
  app.add_option("--want", options.want, "look for these kinds of failure only")->delimiter(',');
  app.add_option("--history", options.history, "run this one: steps with ; between them");
  app.add_option("--replay", options.replay, "run the one in this file");
  app.add_flag("--no-shrink", options.no_shrink, "print a failure as it is found");
  app.add_flag("--trace", options.trace, "each step on stderr");
  app.add_flag("--keep-going", options.keep_going, "go on after a failure");
}

// Forks are cheaper on one core, and so are databases that are opened and closed all the time
// without statistics and without memory for pages that they will never read.
void be_quick() {
  ::sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  ::sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 0);
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &cores);
  ::sched_setaffinity(0, sizeof(cores), &cores);
}

std::string text_in(const std::string& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

int start(int argc, char** argv) {
  Options options;
  CLI::App app("random histories against the store");
  declare(app, options);
  CLI11_PARSE(app, argc, argv);
  if (!options.history.empty() || !options.replay.empty()) {
    const auto history =
        history_of(options.replay.empty() ? options.history : text_in(options.replay));
    if (!history) {
      std::cerr << "that is no history\n";
      return 2;
    }
    return Session(options).replay(*history);
  }
  be_quick();
  if (options.seed == 0) options.seed = std::random_device{}();
  if (options.seconds == 0 && options.steps == 0 && options.seeds == 0) options.seconds = 180;
  std::cout << "seed " << options.seed << std::endl;
  return Session(options).search();
}

}  // namespace
}  // namespace authdb::model

int main(int argc, char** argv) { return authdb::model::start(argc, argv); }
