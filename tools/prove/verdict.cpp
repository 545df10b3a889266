#include "tools/prove/verdict.h"

#include <iomanip>
#include <nlohmann/json.hpp>

namespace authdb::prove {
namespace {

using nlohmann::json;

constexpr std::size_t kShown = 20;  // violations on the page; the JSON has all

struct SweepTotals {
  std::uint64_t points = 0, kills = 0, recovered = 0, replayed = 0, lost = 0;
};

SweepTotals total(const std::vector<SweepResult>& sweeps) {
  SweepTotals all;
  for (const auto& one : sweeps) {
    all.points += one.points;
    all.kills += one.kills;
    all.recovered += one.recovered;
    all.replayed += one.replayed;
    all.lost += one.lost;
  }
  return all;
}

void print_sweep(std::ostream& out, const Verdict& verdict) {
  if (verdict.no_sweep) {
    out << "crash sweep     none: processes cannot be traced here (" << *verdict.no_sweep << ")\n";
    return;
  }
  const SweepTotals all = total(verdict.sweeps);
  out << "crash sweep     " << verdict.sweeps.size() << " scenarios, " << all.points << " points, "
      << all.kills << " kills\n"
      << "                " << all.recovered << " answers recovered, " << all.replayed
      << " uncertain tokens replayed,\n"
      << "                " << all.lost << " logins lost between request and answer, as the crash "
      << "table allows\n"
      << "waiting         " << verdict.waiting.kills << " kills while the portal was slow, "
      << verdict.waiting.lost << " lost likewise\n"
      << "journal damage  " << verdict.damage.cases
      << " bytes changed or cut off: " << verdict.damage.served << " served, "
      << verdict.damage.uncertain << " called uncertain, " << verdict.damage.refused
      << " refused\n";
}

void print_soak(std::ostream& out, const SoakResult& soak) {
  out << "soak            " << soak.actions << " actions, " << soak.kills << " kills, "
      << soak.stops << " stops, " << soak.forks << " forks, " << soak.faults << " portal faults\n"
      << "rotations       " << soak.rotations << ", and " << soak.mints << " keys minted, for "
      << soak.bearers << " bearers; " << soak.recovered << " recovered\n"
      << "replays         " << soak.replays
      << ", each of an attempt known to be uncertain or unspent\n"
      << "lost            " << soak.lost << " of " << soak.families
      << " logins explained by an answer that never arrived; " << soak.unexplained
      << " unexplained\n"
      << "reuse           " << soak.unexplained_reuse << " unexplained; at most "
      << soak.most_in_flight << " request in flight for one token\n";
}

json to_json(const SoakResult& s) {
  return {{"rounds", s.rounds},
          {"actions", s.actions},
          {"kills", s.kills},
          {"stops", s.stops},
          {"forks", s.forks},
          {"faults", s.faults},
          {"rotations", s.rotations},
          {"mints", s.mints},
          {"bearers", s.bearers},
          {"recovered", s.recovered},
          {"replays", s.replays},
          {"families", s.families},
          {"lost", s.lost},
          {"unexplained", s.unexplained},
          {"reuse", s.unexplained_reuse},
          {"most_in_flight", s.most_in_flight}};
}

json to_json(const SweepResult& s) {
  return {{"scenario", s.scenario},   {"points", s.points},     {"kills", s.kills},
          {"recovered", s.recovered}, {"replayed", s.replayed}, {"lost", s.lost}};
}

}  // namespace

std::vector<std::string> Verdict::violations() const {
  std::vector<std::string> all;
  const auto add = [&](const std::vector<std::string>& some) {
    all.insert(all.end(), some.begin(), some.end());
  };
  for (const auto& one : sweeps) add(one.violations);
  add(waiting.violations);
  add(damage.violations);
  if (soak) add(soak->violations);
  return all;
}

std::uint64_t Verdict::kills() const {
  return total(sweeps).kills + waiting.kills + (soak ? soak->kills : 0);
}

std::string Verdict::word() const {
  if (!proved()) return "NOT PROVED";
  return no_sweep || !soak || sweeps.empty() ? "partly proved" : "proved";
}

void print(std::ostream& out, const Verdict& verdict) {
  const Machine& machine = verdict.machine;
  out << "machine         " << machine.kernel << ", " << machine.processors << " processors\n"
      << "file system     " << machine.file_system << " at " << verdict.directory.string() << "; "
      << std::fixed << std::setprecision(2) << machine.fdatasync_ms << " ms for one fdatasync\n";
  if (verdict.no_sweep || !verdict.sweeps.empty()) print_sweep(out, verdict);
  if (verdict.soak) print_soak(out, *verdict.soak);
  const auto violations = verdict.violations();
  for (std::size_t i = 0; i < violations.size() && i < kShown; ++i) {
    out << (i == 0 ? "VIOLATIONS      " : "                ") << violations[i] << '\n';
  }
  if (violations.size() > kShown) {
    out << "                and " << violations.size() - kShown << " more (--json has all)\n";
  }
  if (!verdict.evidence.empty()) out << "evidence        " << verdict.evidence << '\n';
  out << "again           " << verdict.repeat << '\n'
      << "VERDICT         " << verdict.word() << ": " << verdict.kills() << " kills, "
      << violations.size() << " violations\n";
}

void print_json(std::ostream& out, const Verdict& verdict) {
  json sweeps = json::array();
  for (const auto& one : verdict.sweeps) sweeps.push_back(to_json(one));
  const json page = {
      {"verdict", verdict.word()},
      {"kills", verdict.kills()},
      {"seed", verdict.seed},
      {"repeat", verdict.repeat},
      {"machine",
       {{"kernel", verdict.machine.kernel},
        {"processors", verdict.machine.processors},
        {"file_system", verdict.machine.file_system},
        {"fdatasync_ms", verdict.machine.fdatasync_ms}}},
      {"directory", verdict.directory.string()},
      {"no_sweep", verdict.no_sweep ? json(*verdict.no_sweep) : json()},
      {"sweeps", sweeps},
      {"waiting", {{"kills", verdict.waiting.kills}, {"lost", verdict.waiting.lost}}},
      {"damage",
       {{"cases", verdict.damage.cases},
        {"served", verdict.damage.served},
        {"uncertain", verdict.damage.uncertain},
        {"refused", verdict.damage.refused}}},
      {"soak", verdict.soak ? to_json(*verdict.soak) : json()},
      {"evidence", verdict.evidence.empty() ? json() : json(verdict.evidence)},
      {"violations", verdict.violations()}};
  out << page.dump(2) << '\n';
}

}  // namespace authdb::prove
