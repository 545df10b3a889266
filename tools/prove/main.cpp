// authdb-prove: the proof, on the user's own machine and file system.
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <random>

#include "store/store.h"
#include "tools/prove/verdict.h"
#include "tools/prove/worker.h"

namespace {

namespace fs = std::filesystem;
using namespace authdb::prove;

constexpr int kProved = 0;
constexpr int kNotProved = 1;
constexpr int kUsage = 2;
constexpr int kCannotRun = 7;
constexpr std::size_t kSample = 61;  // of the journal's bytes, unless all are asked for

constexpr const char* kAbout =
    R"(authdb-prove: does authdb keep its promises on this machine and file system?

Kills the authdb command before each system call that writes, locks, syncs or sends, damages its
journals, and lets many processes fight over one store while they are killed, stopped and misled at
random; then holds what a simulated portal saw against what the store remembers. Everything happens
in a scratch directory under DIR, with stores and keys of its own, and on loopback. Your store, your
keys and your logins are not touched.)";

constexpr const char* kManual = R"(
DIR is where your store is or shall be; by default, beside the default store. It may be on a file
system that authdb refuses: once this has passed there, AUTHDB_ALLOW_FILESYSTEM=1 lets authdb use it.

It ends with one page: machine, file system, points, kills, rotations, replays, logins lost (explained:
killed between request and answer, or the portal kept the answer; unexplained: a defect) and a verdict.
"partly proved": processes may not be traced here (containers forbid ptrace), so that only the soak
ran; or only a part was asked for. What was violated is kept, and the page says where.

Examples:
  authdb-prove                             about two minutes
  authdb-prove /mnt/data --seconds 60
  authdb-prove --long --kills 1000         every point, every byte, and at least 1,000 kills in the soak
  authdb-prove --only soak --seed 7 --seconds 20

Exit codes: 0 proved (or partly), 1 not proved, 2 usage, 7 cannot run here.)";

struct Settings {
  std::string directory;
  std::string authdb;
  std::string only;
  unsigned seconds = 20;
  unsigned processes = 8;
  std::uint64_t kills = 0;
  std::optional<std::uint64_t> seed;
  bool every = false;
  bool json = false;
  WorkerOptions worker;
  unsigned life_ms = 1000;
};

// The nearest that exists: nothing of the store's own path is made here.
fs::path beside_default_store() {
  fs::path directory = fs::absolute(authdb::default_store_path()).parent_path();
  while (!fs::is_directory(directory)) directory = directory.parent_path();
  return directory;
}

fs::path this_executable() { return fs::read_symlink("/proc/self/exe"); }

void say(const Settings& settings, const std::string& line) {
  if (!settings.json) std::cerr << line << std::endl;
}

void run_sweeps(const Settings& settings, const fs::path& scratch, Verdict& verdict) {
  for (const Scenario& scenario : crash_scenarios()) {
    const std::size_t stride = settings.every ? 1 : scenario.sample;
    verdict.sweeps.push_back(sweep(scenario, settings.authdb, scratch, stride));
    const SweepResult& result = verdict.sweeps.back();
    say(settings, "swept " + result.scenario + " (" + scenario.about +
                      "): " + std::to_string(result.kills) + " kills, " +
                      std::to_string(result.violations.size()) + " violations");
  }
  verdict.waiting = kill_while_waiting(settings.authdb, scratch);
  for (const JournalAt state : kJournalStates) {
    add_up(verdict.damage, damage_journal(state, settings.authdb, scratch / "damage",
                                          settings.every ? 1 : kSample));
    say(settings, std::string("damaged the journal: ") + name_of(state));
  }
}

void run_soak(const Settings& settings, const fs::path& scratch, Verdict& verdict) {
  SoakOptions options;
  options.authdb = settings.authdb;
  options.worker = this_executable();
  options.directory = scratch;
  options.processes = settings.processes;
  options.time = std::chrono::seconds(settings.seconds);
  options.kills = settings.kills;
  options.seed = verdict.seed;
  options.progress = [&](const std::string& line) { say(settings, line); };
  verdict.soak = soak(options);
}

std::string repeat_of(const Settings& settings, std::uint64_t seed) {
  std::string line = "authdb-prove " + settings.directory + " --seed " + std::to_string(seed) +
                     " --processes " + std::to_string(settings.processes) + " --seconds " +
                     std::to_string(settings.seconds);
  if (settings.kills != 0) line += " --kills " + std::to_string(settings.kills);
  if (settings.every) line += " --long";
  if (!settings.only.empty()) line += " --only " + settings.only;
  return line;
}

int prove(Settings settings) {
  if (settings.authdb.empty()) settings.authdb = this_executable().parent_path() / "authdb";
  if (::access(settings.authdb.c_str(), X_OK) != 0) {
    std::cerr << "authdb-prove: " << settings.authdb << " cannot be executed\n"
              << "  It is the command that is put to the test: name it with --authdb PATH.\n";
    return kCannotRun;
  }
  if (settings.directory.empty()) settings.directory = beside_default_store();
  if (!fs::is_directory(settings.directory)) {
    std::cerr << "authdb-prove: " << settings.directory << " is no directory\n"
              << "  Name the one where your store is or shall be.\n";
    return kUsage;
  }
  Scratch scratch(settings.directory);
  Verdict verdict{look_at_machine(scratch.path()), settings.directory};
  verdict.seed = settings.seed ? *settings.seed : std::random_device{}() % 1'000'000;
  verdict.repeat = repeat_of(settings, verdict.seed);
  if (settings.only != "soak") {
    verdict.no_sweep = why_no_tracing();
    if (!verdict.no_sweep) run_sweeps(settings, scratch.path(), verdict);
  }
  if (settings.only != "sweep") run_soak(settings, scratch.path(), verdict);
  if (!verdict.proved()) {
    scratch.keep();
    verdict.evidence = scratch.path();
  }
  settings.json ? print_json(std::cout, verdict) : print(std::cout, verdict);
  return verdict.proved() ? kProved : kNotProved;
}

void add_options(CLI::App& app, Settings& settings) {
  app.add_option("DIR", settings.directory, "where the scratch stores are made");
  app.add_option("--seconds", settings.seconds, "how long the soak goes on")->capture_default_str();
  app.add_option("--processes", settings.processes, "processes of the soak at one moment")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--seed", settings.seed, "the chance of the soak; default: drawn, and printed");
  app.add_option("--kills", settings.kills, "the soak goes on until it has killed so many");
  app.add_flag("--long", settings.every, "sweep every point and damage every byte");
  app.add_option("--only", settings.only, "sweep or soak")->check(CLI::IsMember({"sweep", "soak"}));
  app.add_option("--authdb", settings.authdb,
                 "the command to put to the test; default: beside this");
  app.add_flag("--json", settings.json, "the page as JSON");
}

// How the soak starts its library processes.
CLI::App* add_worker(CLI::App& app, Settings& settings) {
  auto* worker = app.add_subcommand("worker")->group("");
  worker->add_option("--profile", settings.worker.profile);
  worker->add_option("--life-ms", settings.life_ms);
  worker->add_option("--seed", settings.worker.seed);
  return worker;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what throws outside the try is out of memory
int main(int argc, char** argv) {
  CLI::App app(kAbout, "authdb-prove");
  app.footer(kManual);
  Settings settings;
  add_options(app, settings);
  const auto* worker = add_worker(app, settings);
  try {
    app.parse(argc, argv);
    if (worker->parsed()) {
      settings.worker.life = std::chrono::milliseconds(settings.life_ms);
      return work(settings.worker);
    }
    return prove(settings);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::cerr << "authdb-prove: " << error.what() << "\n  See authdb-prove --help.\n";
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << "authdb-prove: " << error.what() << "\n  Nothing was proved.\n";
    return kCannotRun;
  }
}
