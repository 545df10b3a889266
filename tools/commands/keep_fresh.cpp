// authdb keep-fresh: refreshes what will be due, before anybody asks for it.
#include "oauth/keep_fresh.h"

#include <algorithm>

#include "migrate/takeover/projection.h"
#include "store/scrub.h"
#include "tools/attention.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/projections.h"
#include "tools/render/duration.h"
#include "tools/render/freshness.h"
#include "tools/render/json.h"
#include "tools/render/text.h"
#include "tools/signals.h"
#include "tools/sql_text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Refreshes each access token some time before it expires (the provider's lead_s,
see `authdb providers`), a few at once, and up to a tenth of that time earlier:
tokens that expire together are not all asked for in one second. There is no need
for it where programs ask `authdb token`: that refreshes what is due. It is for
tools that only read a copy, for sessions that end when nobody uses them, and to
hear of a needed login early.

Runs until SIGINT, SIGTERM or SIGHUP, sleeping until the next token is due; what
is being refreshed then is finished first. --once does what is due now and ends:
for cron, or the systemd user timer that comes with authdb. What fails is tried
again after a minute, then two, up to an hour; while a token endpoint rests after
a failure, or as long as its Retry-After says, it is not asked at all. Dead and
held credentials are left alone, those that are cooling down are not. Agent keys
are minted when somebody asks for one. With --profile only what that profile may
use.

With --project the files that were cut over are looked after too: their access
tokens are replaced so early that their tools never find one within their own
skew, and what a tool did to a file is put right or warned of.

It warns of credentials that need a login, of those that have no bearer that works
and do not get one, of those that nothing here can renew, and of sessions that end
within a day whatever is refreshed. With --quiet only the exit code says so: leave it
out where nobody looks at that. In cron, `>/dev/null` keeps what went well from being
mailed, and the warnings come through.

Exit codes
  0 done, or told to stop   3 no such store or profile   7 refused
  with --once: 4 a login is needed   5 something that is due could not be refreshed
  now, has expired and is held, or cannot be renewed by anything here

Examples
  authdb keep-fresh --once
  authdb keep-fresh --project
  systemctl --user enable --now authdb-keep-fresh.timer
)man";

struct Options {
  bool once = false;
  bool project = false;
};

std::string name_of(const Credential& row) {
  return printable(row.identity.provider + " credential " + row.uid + " (" +
                   shortened(row.identity.label, kShownLabel) + ")");
}

// The providers in the store whose logins cannot be renewed here, as SQL has a list of them.
Result<std::string> unrenewable(const Store& store, const Outages& outages) {
  const auto rows =
      store.query("SELECT DISTINCT provider FROM credential WHERE removed_at IS NULL");
  if (!rows) return fail(rows.error());
  std::string names;
  for (std::size_t i = 0; i < rows->rows.size(); ++i) {
    const auto name = NamedRow(*rows, i).text("provider");
    if (!outages.obstacle(name)) continue;
    names += (names.empty() ? "" : ", ") + sql_literal(name);
  }
  return names;
}

// The rows of the view that may say what a person must know or do. Where they are few, all logins:
// each one's journal is looked at.
Result<QueryRows> wanting(Context& context, const Store& store, const Providers& providers) {
  const auto all = store.query("SELECT count(*) AS n FROM credential WHERE removed_at IS NULL");
  if (!all) return fail(all.error());
  const auto count = NamedRow(*all, 0).number("n").value_or(0);
  const Outages outages(store, providers, static_cast<std::size_t>(count), context.clock());
  std::string logins = "auth_type = 'oauth'";
  if (!outages.few()) {
    const auto obstructed = unrenewable(store, outages);
    if (!obstructed) return fail(obstructed.error());
    logins += " AND (NOT refreshable OR provider IN (" + *obstructed + "))";
  }
  std::string where =
      "(needs_login OR session_ends_at IS NOT NULL OR failures > 0 OR rejected OR hold IN "
      "('conflict', 'uncertain') OR " +
      logins + ")";
  if (const auto profile = context.chosen_profile()) {
    where += " AND uid IN (SELECT uid FROM pool WHERE profile = " + sql_literal(*profile) + ")";
  }
  return store.query("SELECT * FROM freshness WHERE " + where + " ORDER BY provider, label, uid");
}

// When the tokens in other tools' files must be replaced.
Result<std::map<Uid, Instant>> wanted_by_files(const Store& store) {
  const auto due = migrate::projections_due(store);
  if (!due) return fail(due.error());
  std::map<Uid, Instant> wanted;
  for (const auto& one : *due) wanted.emplace(one.uid, one.at);
  return wanted;
}

// One pass and what it leads to.
struct Round {
  oauth::FreshPass pass;
  std::vector<std::string> updated;   // files
  std::vector<std::string> warnings;  // of files, logins that are needed, and what stays expired
  bool needs_login = false;
  bool outage = false;  // there is a credential without a bearer that works, and it gets none
};

// Brings the files up to date; what is wrong with one is a warning.
void look_after_files(Store& store, Round& round) {
  constexpr Milliseconds kLockWait{25'000};  // a tool's own refresh, under its lock
  const auto done = migrate::project_all(store, kLockWait);
  if (!done) {
    round.warnings.push_back(done.error().message);
    return;
  }
  for (const auto& file : *done) {
    if (!file.warning.empty()) round.warnings.push_back(printable(file.warning));
    if (file.written) round.updated.push_back(file.path);
  }
}

Result<Round> do_round(Context& context, Store& store, oauth::KeepFresh& keeper,
                       const Options& options) {
  auto pass = keeper.pass();
  if (!pass) return fail(pass.error());
  Round round{*std::move(pass), {}, {}};
  for (const auto& one : round.pass.renewals) {
    if (one.rests_until) round.warnings.push_back(printable(one.error.message));
  }
  if (options.project) {
    look_after_files(store, round);
  } else if (!round.pass.renewals.empty()) {
    update_projections(context, store);
  }
  const Providers providers = providers_of(context);
  const auto rows = wanting(context, store, providers);
  if (!rows) return fail(rows.error());
  const Outages outages(store, providers, rows->rows.size(), context.clock());
  for (std::size_t i = 0; i < rows->rows.size(); ++i) {
    const NamedRow row(*rows, i);
    round.needs_login = round.needs_login || row.truth("needs_login");
    if (auto warning = login_warning(row, context.clock(), providers.registry); !warning.empty()) {
      round.warnings.push_back(std::move(warning));
    }
    if (auto warning = outages.of(row); !warning.empty()) {
      round.outage = true;
      round.warnings.push_back(std::move(warning));
    }
  }
  return round;
}

Json as_json(const Round& round) {
  Json refreshed = Json::array();
  Json failed = Json::array();
  for (const auto& one : round.pass.renewals) {
    Json entry{{"provider", one.row.identity.provider},
               {"credential", one.row.uid},
               {"label", one.row.identity.label}};
    if (one.now) {
      entry["generation"] = one.now->generation;
      entry["expires_at"] = to_json(one.now->expires_at);
      refreshed.push_back(std::move(entry));
    } else {
      entry["exit_code"] = exit_code(one.error.code);
      entry["message"] = one.error.message;
      entry["rests_until"] = to_json(one.rests_until);
      failed.push_back(std::move(entry));
    }
  }
  return {{"refreshed", std::move(refreshed)},
          {"failed", std::move(failed)},
          {"updated", round.updated},
          {"warnings", round.warnings},
          {"next_at", to_json(std::optional(round.pass.next_at))}};
}

void say_renewal(Context& context, const oauth::Renewal& one) {
  if (one.rests_until) return;  // among the warnings
  if (!one.now) {
    context.warn(one.error.message + (one.error.hint.empty() ? "" : "\n  " + one.error.hint));
    return;
  }
  if (!one.warning.empty()) context.warn(one.warning);
  context.out << "Refreshed " << name_of(one.row);
  if (one.now->expires_at) {
    const auto left = *one.now->expires_at - context.clock();
    context.out << "; expires in " << duration(std::chrono::duration_cast<Seconds>(left));
  }
  context.out << '\n';
}

// Says what is new: a loop does not repeat its warnings.
void say(Context& context, const Round& round, std::vector<std::string>& said) {
  if (context.globals.json) {
    context.out << as_json(round).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    for (const auto& one : round.pass.renewals) say_renewal(context, one);
    for (const auto& path : round.updated) context.out << "Updated " << printable(path) << '\n';
    for (const auto& warning : round.warnings) {
      if (std::find(said.begin(), said.end(), warning) == said.end()) context.warn(warning);
    }
  }
  said = round.warnings;
  context.out.flush();
}

int verdict(const Round& round) {
  bool failed = round.outage;
  for (const auto& one : round.pass.renewals) {
    if (!one.now && one.error.code == Errc::login_needed) return exit_code(Errc::login_needed);
    failed = failed || !one.now;
  }
  if (round.needs_login) return exit_code(Errc::login_needed);
  return failed ? exit_code(Errc::try_later) : kOk;
}

Result<int> run(Context& context, const Options& options) {
  StopSignals stop;
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto profile = context.chosen_profile();
  if (profile) {
    if (auto known = check_profile(*store, *profile); !known) return fail(known.error());
  }
  context.registry();  // read before several threads ask for it
  oauth::KeepFreshOptions keep{profile.value_or(""), [] { return StopSignals::arrived(); }, {}};
  if (options.project) keep.wanted = [&store] { return wanted_by_files(*store); };
  oauth::KeepFresh keeper(*store, context.bearer_parts(), std::move(keep));
  std::vector<std::string> said;
  for (;;) {
    const auto round = do_round(context, *store, keeper, options);
    if (!round) return fail(round.error());
    say(context, *round, said);
    if (options.once) {
      if (const auto keys = store->check_keys(); !keys) return fail(keys.error());
      return verdict(*round);
    }
    const Milliseconds nap =
        std::max<Milliseconds>(round->pass.next_at - context.clock(), Seconds{1});
    if (stop.wait(nap)) return kOk;
  }
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.flag("--once", options->once, "do what is due now, and end");
  arguments.flag("--project", options->project, "look after the files that were cut over, too");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kKeepFresh{"keep-fresh", Group::use, "refresh what will be due, ahead of time",
                         kManual, declare};

}  // namespace authdb::cli
