#include "tools/prove/scenario.h"

#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "tools/prove/invariants.h"

namespace authdb::prove {
namespace {

using nlohmann::json;

constexpr const char* kInvoke = "inference:invoke";
constexpr const char* kMint = "inference:mint_agent_key";
constexpr std::size_t kMakingStore = 3;  // its many deaths are much alike
constexpr std::size_t kPolling = 8;      // each waits a second for the device's turn
constexpr std::size_t kRebuilding = 9;   // most of its calls look, and lock to do it
constexpr int kAttention = 5;            // of doctor: the session of these logins ends within days
constexpr std::int64_t kMarkAt = 1024;   // store/journal.h: the layout
constexpr std::int64_t kSlotAt = 12288;  // the two slots, each of which takes a record
constexpr std::int64_t kOtherSlotAt = 22528;

Tokens new_login(Stage& stage, const std::string& scope) {
  const auto grant = stage.portal().create_grant({.client_id = "hermes-cli", .scope = scope});
  return {grant.access_token, grant.refresh_token};
}

// ---- asking ------------------------------------------------------------------------------------

// One question for the bearer, and what it cost at the portal.
struct Asked {
  Finished finished;
  std::string bearer{};  // empty if there was none
  std::string kind{};    // of the bearer
  int posts = 0;         // refresh requests
  int reuses = 0;
};

Asked ask(Death& death, const std::vector<std::string>& words = {"token", "nous", "--json"}) {
  const auto before = death.stage.portal().counters().totals;
  Asked asked;
  asked.finished = death.stage.authdb(death.home, words);
  const auto answer = json::parse(asked.finished.out, nullptr, false);
  if (answer.is_object()) {
    asked.bearer = answer.value("token", "");
    asked.kind = answer.value("kind", "");
  }
  const auto after = death.stage.portal().counters().totals;
  asked.posts = after.token_posts - before.token_posts;
  asked.reuses = after.reuse_detected - before.reuse_detected;
  return asked;
}

bool brought_live_bearer(Death& death, const Asked& asked) {
  return asked.finished.code == 0 && death.stage.is_live(asked.bearer);
}

void expect_live(Death& death, const Asked& asked, const std::string& when) {
  death.expect(brought_live_bearer(death, asked), when + ": no live bearer; exit " +
                                                      std::to_string(asked.finished.code) + ", " +
                                                      asked.finished.err);
}

void expect_posts(Death& death, const Asked& asked, int posts, const std::string& when) {
  death.expect(asked.posts == posts, when + ": the next process sent " +
                                         std::to_string(asked.posts) + " refresh requests, not " +
                                         std::to_string(posts));
}

void expect_no_reuse(Death& death) {
  const auto totals = death.stage.portal().counters().totals;
  death.expect(totals.reuse_detected == 0, "the portal saw a spent token");
  death.expect(totals.max_in_flight_per_token <= 1, "two requests with one token were in flight");
}

bool ledger_says(const Home& home, const std::string& outcome) {
  for (const LedgerRow& row : ledger_of(home)) {
    if (row.kind == "refresh" && row.outcome == outcome) return true;
  }
  return false;
}

// ---- verdicts ----------------------------------------------------------------------------------

// Row "after the mark, before the answer is on disk": replayed, because nothing else is live.
void judge_uncertain(Death& death) {
  const Asked asked = ask(death);
  death.replayed = true;
  expect_posts(death, asked, 1, "uncertain");
  death.expect(ledger_says(death.home, "uncertain"), "uncertain: the ledger does not say so");
  if (!death.progress.posted || asked.reuses == 0) {
    expect_live(death, asked, "uncertain");
    expect_no_reuse(death);
    return;
  }
  // The portal had rotated, and nobody can know the successor: the one loss that is allowed.
  death.lost = true;
  death.expect(asked.finished.code == 4, "lost: exit " + std::to_string(asked.finished.code));
  death.expect(asked.finished.err.find("answer") != std::string::npos,
               "lost: not told that it was our own lost answer: " + asked.finished.err);
  const Asked again = ask(death);
  death.expect(again.finished.code == 4 && again.posts == 0, "lost: the dead token was sent again");
}

// As judge_uncertain(), at a provider that gives a spent token its successor again for a while.
void judge_graceful(Death& death) {
  const Asked asked = ask(death, {"token", "graceful", "--json"});
  death.replayed = death.progress.marked && !death.progress.answered;
  expect_live(death, asked, "within the grace");
  expect_posts(death, asked, death.progress.answered ? 0 : 1, "within the grace");
  expect_no_reuse(death);
}

// As judge_refresh(), and the bearer is an agent key, minted anew unless the dead process had it.
void judge_mint(Death& death) {
  judge_refresh(death);
  if (death.lost) return;
  death.expect(ask(death).kind == "agent_key", "the bearer is no agent key");
}

// A refresh that was asked for while the old bearer lives.
void judge_forced(Death& death) {
  const Asked asked = ask(death);
  expect_live(death, asked, "forced refresh");
  expect_posts(death, asked, 0, "forced refresh");
  const Asked refresh = ask(death, {"refresh", "nous", "--json"});
  if (death.progress.marked && !death.progress.answered) {
    death.expect(refresh.finished.code == 5, "uncertain: refresh ended with " +
                                                 std::to_string(refresh.finished.code) + ", not 5");
    expect_posts(death, refresh, 0, "uncertain, with a live bearer");
  } else {
    death.expect(refresh.finished.code == 0, "refresh afterwards: " + refresh.finished.err);
  }
  expect_no_reuse(death);
}

// Nothing was sent: either the command has happened or it has not, and doing it again makes it so.
void judge_repeatable(Death& death, const std::vector<std::string>& words,
                      const std::string& input) {
  const Finished looked = death.stage.authdb(death.home, {"status"});
  death.expect(looked.code == 0 || looked.code == 3,
               "status ended with " + std::to_string(looked.code) + ": " + looked.err);
  const Finished again = death.stage.authdb(death.home, words, input);
  death.expect(again.code == 0,
               words[0] + " again ended with " + std::to_string(again.code) + ": " + again.err);
  const Asked asked = ask(death);
  expect_live(death, asked, words[0]);
  death.expect(asked.posts <= 1, words[0] + ": more than one refresh request");
  expect_no_reuse(death);
}

void judge_removed(Death& death) {
  const Asked asked = ask(death);
  if (asked.finished.code != 3) expect_live(death, asked, "not yet removed");
  const Finished again = death.stage.authdb(death.home, {"remove", "nous", "work"});
  death.expect(again.code == (asked.finished.code == 3 ? 3 : 0),
               "remove again ended with " + std::to_string(again.code) + ": " + again.err);
  death.expect(ask(death).finished.code == 3, "it is still there after its removal");
  expect_no_reuse(death);
}

// A change of the seal key was cut short: every cell and journal still opens, and the change can be
// completed.
void judge_rekeyed(Death& death) {
  const auto must = [&](const std::vector<std::string>& words) {
    const Finished done = death.stage.authdb(death.home, words);
    death.expect(done.code == 0, words[0] + " " + words[1] + " ended with " +
                                     std::to_string(done.code) + ": " + done.err);
    const Asked asked = ask(death);
    expect_live(death, asked, "after " + words[0] + " " + words[1]);
  };
  const Asked asked = ask(death);
  expect_live(death, asked, "with two keys");
  expect_posts(death, asked, 0, "with two keys");
  must({"key", "rotate"});
  must({"key", "prune"});
  must({"refresh", "nous"});  // its journal opens too
  expect_no_reuse(death);
}

// A backup is whole, or not there.
void judge_backed_up(Death& death) {
  const auto copy = death.home.directory / "copy.db";
  if (std::filesystem::exists(copy)) {
    const std::string checked = quick_check(copy);
    death.expect(checked == "ok", "the backup is not whole: " + checked);
  }
  const Asked asked = ask(death);
  expect_live(death, asked, "after a backup");
  expect_posts(death, asked, 0, "after a backup");
  const auto second = (death.home.directory / "second.db").string();
  const Finished again = death.stage.authdb(death.home, {"backup", second});
  death.expect(again.code == 0,
               "backup ended with " + std::to_string(again.code) + ": " + again.err);
  expect_no_reuse(death);
}

// The one login of a home has a journal under its uid.
std::string uid_in(const Home& home) {
  for (const auto& folder : std::filesystem::directory_iterator(home.journals())) {
    if (!folder.is_directory()) continue;
    for (const auto& journal : std::filesystem::directory_iterator(folder)) {
      return journal.path().filename();
    }
  }
  return {};
}

// Doing it again finishes it, and the login is there with the token it had.
void judge_rebuilt(Death& death) {
  const auto must = [&](const std::vector<std::string>& words, int code = 0) {
    const Finished done = death.stage.authdb(death.home, words);
    death.expect(done.code == code, words[0] + " " + words[1] + " ended with " +
                                        std::to_string(done.code) + ": " + done.err);
  };
  must({"doctor", "--repair"}, kAttention);
  must({"profile", "add", "default"});
  must({"profile", "bind", "default", "nous", uid_in(death.home)});
  const Asked asked = ask(death);
  expect_live(death, asked, "made anew");
  expect_posts(death, asked, 0, "made anew");
  must({"refresh", "nous"});
  expect_no_reuse(death);
}

// ---- homes -------------------------------------------------------------------------------------

// A login that was added long ago.
void lay_out_login(Scenario& scenario, Stage& stage, const Home& home, const char* scope) {
  scenario.scope = scope;
  scenario.logins = {new_login(stage, scope)};
  stage.must(home, {"add", "nous", "--grant", "--label", "work"},
             expired_grant(scenario.logins[0], scope));
}

// The same, one rotation later: the journal is there, and holds a settled grant. The new access
// token has expired too if `expired`.
void lay_out_rotated(Scenario& scenario, Stage& stage, const Home& home, const char* scope,
                     bool expired) {
  lay_out_login(scenario, stage, home, scope);
  if (expired) stage.portal().add_fault({.merge = {{"expires_in", 1}}});
  stage.must(home, {"refresh", "nous"});
  if (expired)
    std::this_thread::sleep_for(
        std::chrono::milliseconds(1100));  // the command's clock is the real one
  scenario.logins = tokens_in(home);
}

// Its successor waits in the journal: a process died between answer and commit.
void lay_out_answered(Scenario& scenario, Stage& stage, const Home& home) {
  lay_out_login(scenario, stage, home, kInvoke);
  for (std::size_t point = 1;; ++point) {
    const Home tried = stage.home("tried");
    copy_home(home, tried);
    stage.portal().reset();
    stage.portal().adopt({.refresh_token = scenario.logins[0].refresh});
    const Traced traced = trace(stage.command(tried, {"token", "nous"}), point);
    if (!traced.killed_before) throw std::runtime_error("no refresh was seen to be answered");
    if (!progress_of(traced.calls).answered) continue;
    copy_home(tried, home);
    scenario.logins.clear();  // the portal goes on with what it has just issued
    return;
  }
}

std::string auth_json(const Stage& stage, const Tokens& tokens, const std::string& obtained_at,
                      const std::string& expires_at) {
  const json nous = {{"portal_base_url", stage.portal_url()},
                     {"inference_base_url", stage.portal_url() + "/v1"},
                     {"client_id", "hermes-cli"},
                     {"scope", kInvoke},
                     {"token_type", "Bearer"},
                     {"access_token", tokens.access},
                     {"refresh_token", tokens.refresh},
                     {"obtained_at", obtained_at},
                     {"expires_at", expires_at},
                     {"label", "work"}};
  return json{{"version", 1}, {"providers", {{"nous", nous}}}}.dump(2);
}

void lay_out_file(Scenario& scenario, Stage& stage, const Home& home) {
  scenario.logins = {new_login(stage, kInvoke)};
  write_file(home.directory / "hermes/auth.json",
             auth_json(stage, scenario.logins[0], "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z"));
}

// The tool that the file belongs to has refreshed since its first import.
void lay_out_second_file(Scenario& scenario, Stage& stage, const Home& home) {
  lay_out_file(scenario, stage, home);
  stage.must(home, {"migrate"});
  scenario.logins = {new_login(stage, kInvoke)};
  write_file(home.directory / "hermes/auth.json",
             auth_json(stage, scenario.logins[0], "2026-02-01T00:00:00Z", "2026-02-01T00:15:00Z"));
}

// Nothing but the journals is left.
void lay_out_without_database(Scenario& scenario, Stage& stage, const Home& home) {
  lay_out_rotated(scenario, stage, home, kInvoke, false);
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(home.store().string() + suffix);
  }
}

void lay_out_graceful(Scenario& scenario, Stage& stage, const Home& home) {
  scenario.logins = {new_login(stage, kInvoke)};
  const json provider = {{"id", "graceful"},
                         {"client_id", "hermes-cli"},
                         {"token_endpoint", stage.portal_url() + "/oauth/token"},
                         {"reuse_grace_s", 600}};
  write_file(home.directory / "config/authdb/providers.d/graceful.json", provider.dump());
  stage.must(home, {"add", "graceful", "--grant", "--label", "work"},
             expired_grant(scenario.logins[0], kInvoke));
}

// ---- the list ----------------------------------------------------------------------------------

std::vector<Scenario> refreshing() {
  return {
      {.name = "first-refresh",
       .about = "a refresh that makes the journal",
       .words = {"token", "nous"},
       .prepare = [](auto& s, auto& stage,
                     const auto& home) { lay_out_login(s, stage, home, kInvoke); },
       .afterwards = judge_refresh},
      {.name = "refresh",
       .about = "a refresh of a token that has been rotated before",
       .words = {"token", "nous"},
       .prepare = [](auto& s, auto& stage,
                     const auto& home) { lay_out_rotated(s, stage, home, kInvoke, true); },
       .afterwards = judge_refresh},
      {.name = "forced-refresh",
       .about = "a refresh while the old bearer lives",
       .words = {"refresh", "nous"},
       .prepare = [](auto& s, auto& stage,
                     const auto& home) { lay_out_rotated(s, stage, home, kInvoke, false); },
       .afterwards = judge_forced},
      {.name = "graceful-refresh",
       .about = "a refresh at a provider with reuse_grace_s",
       .words = {"token", "graceful"},
       .portal = {.era = portal::Era::kBoth, .reuse_grace = std::chrono::seconds(600)},
       .prepare = lay_out_graceful,
       .afterwards = judge_graceful},
      {.name = "mint",
       .about = "a refresh and the agent key minted after it",
       .words = {"token", "nous"},
       .prepare = [](auto& s, auto& stage,
                     const auto& home) { lay_out_rotated(s, stage, home, kMint, true); },
       .afterwards = judge_mint},
      {.name = "recovery",
       .about = "settling the answer that a dead process left in its journal",
       .words = {"token", "nous"},
       .prepare = lay_out_answered,
       .afterwards =
           [](Death& death) {
             death.progress = {true, true, true, true};  // its predecessor's
             judge_refresh(death);
           }},
  };
}

Scenario adding(const std::string& name, const std::string& about, bool store_exists) {
  const std::vector<std::string> words = {"add", "nous", "--grant", "--label", "work"};
  Scenario scenario{.name = name,
                    .about = about,
                    .words = words,
                    .sample = store_exists ? std::size_t{1} : kMakingStore};
  scenario.prepare = [store_exists](Scenario& s, Stage& stage, const Home& home) {
    if (store_exists) stage.must(home, {"add", "openrouter"}, "sk-or-v1-FAKE-0123456789");
    s.logins = {new_login(stage, kInvoke)};
    s.input = expired_grant(s.logins[0], kInvoke);
  };
  return scenario;
}

std::vector<Scenario> arriving() {
  return {
      adding("first-login", "a login's grant added, and the store made for it", false),
      adding("login", "a login's grant added to a store", true),
      {.name = "device-login",
       .about = "a login by device code, of an account that is there already",
       .words = {"login", "nous", "--no-browser", "--label", "work"},
       .sample = kPolling,
       .talks = true,
       .portal = {.era = portal::Era::kBoth, .auto_approve_device = true},
       .prepare = [](auto& s, auto& stage,
                     const auto& home) { lay_out_login(s, stage, home, kInvoke); }},
      {.name = "first-migrate",
       .about = "an auth.json imported, and the store made for it",
       .words = {"migrate"},
       .sample = kMakingStore,
       .prepare = lay_out_file},
      {.name = "migrate",
       .about = "a newer auth.json imported into the store",
       .words = {"migrate"},
       .prepare = lay_out_second_file},
  };
}

void lay_out_second_key(Scenario& scenario, Stage& stage, const Home& home) {
  lay_out_rotated(scenario, stage, home, kInvoke, false);
  stage.must(home, {"key", "rotate"});
}

std::vector<Scenario> upkeep() {
  const auto lay_out = [](Scenario& scenario, Stage& stage, const Home& home) {
    lay_out_rotated(scenario, stage, home, kInvoke, false);
  };
  return {{.name = "key-rotate",
           .about = "the store sealed with a new key",
           .words = {"key", "rotate"},
           .prepare = lay_out,
           .afterwards = judge_rekeyed},
          {.name = "key-prune",
           .about = "the old key dropped",
           .words = {"key", "prune"},
           .prepare = lay_out_second_key,
           .afterwards = judge_rekeyed},
          {.name = "backup",
           .about = "the database copied",
           .words = {"backup", "HOME/copy.db"},
           .prepare = lay_out,
           .afterwards = judge_backed_up},
          {.name = "rebuild",
           .about = "a lost database made anew from the journals",
           .words = {"doctor", "--repair"},
           .exit_code = kAttention,
           .sample = kRebuilding,
           .prepare = lay_out_without_database,
           .afterwards = judge_rebuilt}};
}

std::vector<Scenario> leaving() {
  return {{.name = "remove",
           .about = "a login removed",
           .words = {"remove", "nous", "work"},
           .prepare = [](auto& s, auto& stage,
                         const auto& home) { lay_out_rotated(s, stage, home, kInvoke, false); },
           .afterwards = judge_removed}};
}

}  // namespace

Progress progress_of(const std::vector<Call>& calls) {
  Progress progress;
  bool opened = false;
  for (const Call& call : calls) {
    const bool in_journal = call.name == "pwrite64" && call.target == "journal";
    const bool record = in_journal && (call.offset == kSlotAt || call.offset == kOtherSlotAt);
    if (record && !progress.intended) {
      progress.intended = true;
    } else if (in_journal && call.offset == kMarkAt) {
      // The first one belongs to the intent, and says that nothing has left yet.
      progress.marked = std::exchange(opened, true);
    } else if (progress.marked && call.name.starts_with("send") && call.target == "socket") {
      progress.posted = true;
    } else if (record && progress.posted) {
      progress.answered = true;
    }
  }
  return progress;
}

std::vector<Scenario> crash_scenarios() {
  std::vector<Scenario> all;
  for (auto part : {arriving(), refreshing(), upkeep(), leaving()}) {
    for (auto& scenario : part) all.push_back(std::move(scenario));
  }
  for (Scenario& scenario : all) {
    if (scenario.afterwards) continue;
    // By value: the scenario itself moves on, and its input is filled in when it is prepared.
    scenario.afterwards = [words = scenario.words](Death& death) {
      judge_repeatable(death, words, death.input);
    };
  }
  return all;
}

Command command_of(const Scenario& scenario, const Stage& stage, const Home& home) {
  auto words = scenario.words;
  for (auto& word : words) {
    if (word.starts_with("HOME/")) word.replace(0, 4, home.directory.string());
  }
  return stage.command(home, std::move(words), scenario.input);
}

void judge_refresh(Death& death) {
  const Progress& progress = death.progress;
  if (progress.marked && !progress.answered) {
    judge_uncertain(death);
    return;
  }
  const Asked asked = ask(death);
  expect_live(death, asked, progress.answered ? "answered" : "not sent");
  expect_posts(death, asked, progress.answered ? 0 : 1,
               progress.answered ? "answered" : "not sent");
  expect_no_reuse(death);
  if (!progress.answered) return;
  death.recovered = ledger_says(death.home, "recovered");
}

}  // namespace authdb::prove
