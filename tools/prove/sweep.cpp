#include "tools/prove/sweep.h"

#include "tools/prove/invariants.h"
#include "tools/prove/search.h"

namespace authdb::prove {
namespace {

std::string where(const Scenario& scenario, std::size_t point, const Call& call) {
  return scenario.name + ", killed before call " + std::to_string(point) + ", " + describe(call);
}

// The same calls in the same order as in the run that was counted, or the count means nothing.
void check_the_same(const std::vector<Call>& counted, const Traced& traced, Death& death) {
  const auto& calls = traced.calls;
  const bool same = calls.size() < counted.size() &&
                    std::equal(calls.begin(), calls.end(), counted.begin()) &&
                    *traced.killed_before == counted[calls.size()];
  death.expect(same, "the calls before it are not those of the run that was counted");
}

void check_the_portal(Death& death, int posts_before) {
  const bool posted = death.progress.posted;
  Stage& stage = death.stage;
  // A request that has left arrives, even if its sender is dead: wait until it has been processed.
  const bool settled = stage.portal().wait_until([&] {
    return stage.portal().counters().totals.token_posts == posts_before + (posted ? 1 : 0) &&
           stage.portal().in_flight() == 0;
  });
  death.expect(settled, posted ? "the request left and did not arrive"
                               : "a request arrived that had not been sent");
}

// All that the dead process has left, drafts and journals too. The tokens that the portal has just
// issued are known by what they begin with.
void check_for_secrets(const Scenario& scenario, Death& death) {
  SecretSearch search;
  for (const Tokens& login : scenario.logins) {
    search.add(login.access, "an access token");
    search.add(login.refresh, "a refresh token");
  }
  search.add(portal::kRefreshPrefix, "a refresh token");
  search.add(portal::kAgentKeyPrefix, "an agent key");
  const auto holds_them = [&](const std::filesystem::path& path) {
    return path == death.home.directory / "hermes/auth.json";  // the tool's own
  };
  for (const auto& found : search.found_below(death.home.directory, holds_them)) {
    death.violated("a secret in clear: " + found);
  }
}

void judge(const Scenario& scenario, Death& death, int posts_before) {
  check_for_secrets(scenario, death);
  if (scenario.talks) {
    death.expect(death.stage.portal_is_idle(), "a request does not end");
  } else {
    check_the_portal(death, posts_before);
  }
  scenario.afterwards(death);
  for (auto& violation : check_store(death.home)) death.violated(violation);
}

// Dies at one point. False: there is no such point.
bool die(Rehearsal& rehearsal, std::size_t point, const std::vector<Call>& counted,
         SweepResult& result) {
  const Home home = rehearsal.fresh_home();
  const int posts_before = rehearsal.stage().portal().counters().totals.token_posts;
  const Traced traced = trace(rehearsal.command(home), point);
  if (!traced.killed_before) return false;
  ++result.kills;
  Death death{rehearsal.stage(), home, progress_of(traced.calls), rehearsal.scenario().input};
  check_the_same(counted, traced, death);
  judge(rehearsal.scenario(), death, posts_before);
  result.lost += death.lost ? 1 : 0;
  result.recovered += death.recovered ? 1 : 0;
  result.replayed += death.replayed ? 1 : 0;
  for (const auto& violation : death.violations) {
    result.violations.push_back(where(rehearsal.scenario(), point, *traced.killed_before) + ": " +
                                violation);
  }
  if (!death.violations.empty()) {
    copy_home(home, {rehearsal.stage().directory() / ("died-" + std::to_string(point))});
  }
  return true;
}

}  // namespace

Rehearsal::Rehearsal(Scenario scenario, const std::filesystem::path& authdb,
                     const std::filesystem::path& directory)
    : scenario_(std::move(scenario)),
      stage_(authdb, directory / scenario_.name, scenario_.portal),
      template_(stage_.home("template")) {
  scenario_.prepare(scenario_, stage_, template_);
}

Home Rehearsal::fresh_home() {
  if (!scenario_.logins.empty()) {
    stage_.portal_is_idle();
    stage_.portal().reset();
  }
  for (const Tokens& login : scenario_.logins) {
    stage_.portal().adopt(
        {.refresh_token = login.refresh, .access_token = login.access, .scope = scenario_.scope});
  }
  const Home home = stage_.home("home");
  copy_home(template_, home);
  return home;
}

SweepResult sweep(Scenario scenario, const std::filesystem::path& authdb,
                  const std::filesystem::path& directory, std::size_t stride) {
  Rehearsal rehearsal(std::move(scenario), authdb, directory);
  SweepResult result{rehearsal.scenario().name};
  const Traced whole = trace(rehearsal.command(rehearsal.fresh_home()));
  result.points = whole.calls.size();
  if (whole.finished.code != rehearsal.scenario().exit_code || result.points == 0) {
    result.violations.push_back(result.scenario + ", not killed: exit " +
                                std::to_string(whole.finished.code) + ", " + whole.finished.err);
    return result;
  }
  for (std::size_t point = 1; point <= result.points; point += stride) {
    if (!die(rehearsal, point, whole.calls, result)) {
      result.violations.push_back(result.scenario + ": there is no call " + std::to_string(point));
    }
  }
  if (trace(rehearsal.command(rehearsal.fresh_home()), result.points + 1).killed_before) {
    result.violations.push_back(result.scenario + ": there are more calls than were counted");
  }
  return result;
}

}  // namespace authdb::prove
