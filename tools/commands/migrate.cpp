// authdb migrate: the credential files of other tools, into the store.
#include "migrate/migrate.h"

#include <algorithm>
#include <map>
#include <set>

#include "migrate/takeover/cutover.h"
#include "tools/commands/commands.h"
#include "tools/progress.h"
#include "tools/provider_rules.h"
#include "tools/render/json.h"
#include "tools/render/table.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Imports the credential files of Hermes (root and profiles), Codex, Claude Code,
opencode, pi and Qwen Code. Without PATH the well-known places are read. Without
--cutover the files are not written; the network is never used; running it again
changes nothing.

Copies of one grant become one credential, shared by the profiles that had them.
Of a grant that was copied and refreshed in one place only the newest pair is
live, and the others are retired, so that they are never sent. Where that cannot
be decided the grant is kept with hold=conflict until you say --prefer PATH.

As long as a file keeps a refresh token that the store holds too, two programs
may spend it: that is warned of as second_spender. A grant of a provider that
authdb does not know stays with its tool, which goes on refreshing it: not_renewed.

--cutover ends it. Under the tools' own locks everything is imported, then each
file is kept as <name>.migrated-<time> and replaced by one that has access tokens
only. authdb keeps those fresh from then on (`authdb keep-fresh --project`), so
that unmodified tools go on working while only authdb spends. It is refused as
long as programs have files open in those directories, because they remember the
old tokens; --running does it all the same, and says what to restart. `authdb
export --hand-over` is the way back.

An API key that a file says is in the environment (its source is env:NAME) is not
kept, but read from NAME at use: if NAME holds the key that was imported, or,
where the file had no fingerprint, if NAME is one of the provider's own variables
(`authdb providers PROVIDER` shows them as api_key_env). With --allow-env NAME the
keys of these files that are kept there are whatever NAME holds from then on; say
so when you have changed the key yourself.

A file is a tool's if it proves it: by a key that only this tool has, a token's
own issuer, or the place where the tool keeps it. --as says it for a file that
does not.

Exit codes
  0 done   2 usage   3 nothing to import   6 busy   7 refused, or every source failed
  8 some sources failed, or a credential could not be read; the others are imported

Examples
  authdb migrate --dry-run
  authdb migrate
  authdb migrate ~/.hermes ~/.codex/auth.json
  authdb migrate --prefer ~/.hermes/profiles/forge/auth.json
  authdb migrate --allow-env OPENROUTER_API_KEY
  authdb migrate --cutover
)man";

struct Options {
  std::vector<std::string> paths;
  bool dry_run = false;
  bool cutover = false;
  bool running = false;
  std::optional<std::string> prefer;
  std::optional<std::string> as;
  bool include_env = false;
  std::vector<std::string> allow_env;
};

std::int64_t failures(const migrate::Plan& plan) {
  return std::count_if(plan.sources.begin(), plan.sources.end(),
                       [](const auto& source) { return source.failure.has_value(); });
}

bool all_failed(const std::vector<migrate::Document>& documents) {
  return std::all_of(documents.begin(), documents.end(),
                     [](const auto& document) { return document.failure.has_value(); });
}

// Plans without writing. There may be no store yet; that is what a dry run is for.
Result<migrate::Plan> preview(Context& context, const std::vector<migrate::Document>& documents,
                              const migrate::MigrateOptions& options) {
  const auto store = open_store(context, OpenMode::look);
  if (!store && store.error().code != Errc::not_found) return fail(store.error());
  return migrate::plan(documents, store ? &*store : nullptr, options);
}

Result<migrate::Plan> import(Context& context, const std::vector<migrate::Document>& documents,
                             const migrate::MigrateOptions& options) {
  // Nothing will come of it: no reason to leave an empty store behind.
  if (all_failed(documents)) return preview(context, documents, options);
  auto store = open_store(context, OpenMode::create);
  if (!store) return fail(store.error());
  return migrate::apply(*store, documents, options);
}

Json source_json(const migrate::SourceReport& source) {
  auto skipped = Json::array();
  for (const auto& one : source.skipped) {
    skipped.push_back({{"row", one.row}, {"reason", one.reason}});
  }
  Json json{{"path", source.path.string()}, {"sha256", or_null(source.sha256)},
            {"profile", source.profile},    {"rows", source.rows},
            {"imported", source.imported},  {"merged", source.merged},
            {"stale", source.stale},        {"skipped", std::move(skipped)}};
  if (source.failure) {
    json["error"] = {{"code", static_cast<int>(source.failure->code)},
                     {"message", source.failure->message},
                     {"hint", source.failure->hint}};
  }
  return json;
}

Json decision_json(const migrate::Decision& decision) {
  return {{"credential", or_null(decision.uid)},
          {"provider", decision.provider},
          {"label", decision.label},
          {"action", decision.action},
          {"reason", decision.reason},
          {"sources", decision.sources},
          {"profiles", decision.profiles}};
}

Json plan_json(const migrate::Plan& plan, bool dry_run) {
  Json json;
  json["sources"] = Json::array();
  for (const auto& source : plan.sources) json["sources"].push_back(source_json(source));
  json["credentials"] = plan.credentials;
  json["profiles"] = plan.profiles;
  json["families"] = plan.families;
  json["conflicts"] = Json::array();
  for (const auto& conflict : plan.conflicts) json["conflicts"].push_back(decision_json(conflict));
  json["warnings"] = Json::array();
  for (const auto& [code, message] : plan.warnings) {
    json["warnings"].push_back({{"code", code}, {"message", message}});
  }
  json["decisions"] = Json::array();
  for (const auto& decision : plan.decisions) json["decisions"].push_back(decision_json(decision));
  json["dry_run"] = dry_run;
  return json;
}

void print_sources(Context& context, const migrate::Plan& plan) {
  for (const auto& source : plan.sources) {
    if (source.failure) continue;
    context.out << printable(source.path.string());
    if (!source.profile.empty()) context.out << " (profile " << printable(source.profile) << ")";
    context.out << ": " << counted(source.rows, "row") << ", " << source.imported << " imported, "
                << source.merged << " merged, " << source.stale << " stale\n";
    for (const auto& one : source.skipped) {
      context.out << "  skipped " << printable(one.row) << ": " << printable(one.reason) << '\n';
    }
  }
}

void print_decisions(Context& context, const migrate::Plan& plan) {
  if (plan.decisions.empty()) return;
  Table table({"PROVIDER", "LABEL", "", "PROFILES", "WHY"});
  for (const auto& decision : plan.decisions) {
    const auto tone = decision.action == "conflict" ? Tone::bad : Tone::plain;
    table.add({{decision.provider},
               {decision.label},
               {decision.action, tone},
               {joined(decision.profiles)},
               {decision.reason}});
  }
  context.out << '\n';
  table.draw(context.out, context.colour());
}

// What came of it in one line: what was imported, and how much was not.
std::string summary(const migrate::Plan& plan, bool dry_run) {
  std::int64_t imported = 0;
  std::map<std::string, std::int64_t> left;
  std::set<std::string> profiles;
  for (const auto& decision : plan.decisions) {
    if (decision.action == "unchanged" || decision.action == "skipped") {
      ++left[decision.action];
      continue;
    }
    ++imported;
    profiles.insert(decision.profiles.begin(), decision.profiles.end());
  }
  std::string rest;
  for (const char* action : {"unchanged", "skipped"}) {
    if (left[action] == 0) continue;
    rest += (rest.empty() ? "" : ", ") + std::to_string(left[action]) + " " + action;
  }
  if (imported == 0) return "Nothing new" + (rest.empty() ? "" : ": " + rest);
  const std::string what =
      (dry_run ? "Would import " : "Imported ") + counted(imported, "credential");
  if (!rest.empty()) {
    return what + " for " + counted(std::ssize(profiles), "profile") + "; " + rest;
  }
  return what + " (" + counted(plan.families, "OAuth grant") + ") for " +
         counted(plan.profiles, "profile");
}

void print_plan(Context& context, const migrate::Plan& plan, bool dry_run) {
  print_sources(context, plan);
  print_decisions(context, plan);
  context.out << '\n' << summary(plan, dry_run) << '\n';
  if (!plan.conflicts.empty()) {
    context.out << counted(std::ssize(plan.conflicts), "grant")
                << " in conflict: `authdb migrate --prefer PATH` decides, with the PATH whose pair "
                   "works\n";
  }
}

// A credential stays in its file because it could not be read there.
bool leaves_behind(const migrate::Plan& plan) {
  return std::any_of(plan.sources.begin(), plan.sources.end(), [](const auto& source) {
    return std::any_of(source.skipped.begin(), source.skipped.end(),
                       [](const auto& one) { return one.left_behind; });
  });
}

// What `run` and `cut_over` have in common: results, complaints, and the verdict.
int conclude(Context& context, const migrate::Plan& plan, Json json, bool dry_run) {
  const auto failed = failures(plan);
  const bool nothing = failed == std::ssize(plan.sources);
  if (context.globals.json) {
    print_json(context.out, json);
  } else if (!nothing) {
    print_plan(context, plan, dry_run);
  }
  for (const auto& source : plan.sources) {
    if (!source.failure) continue;
    Error failure = *source.failure;
    failure.message = printable(failure.message);  // a path may have line ends
    report(context, failure);
  }
  for (const auto& warning : plan.warnings)
    context.warn(warning.code + ": " + printable(warning.message));
  if (nothing) return exit_code(Errc::refused);
  return failed > 0 || leaves_behind(plan) ? exit_code(Errc::partly) : kOk;
}

Json cutover_json(const migrate::CutOver& done) {
  auto files = Json::array();
  for (const auto& file : done.files) {
    files.push_back({{"path", file.path.string()},
                     {"profile", file.profile},
                     {"kept", or_null(file.kept.string())},
                     {"left_alone", file.left_alone}});
  }
  auto restart = Json::array();
  for (const auto& process : done.running) {
    restart.push_back({{"pid", process.pid}, {"process", process.name}, {"file", process.file}});
  }
  return {{"files", std::move(files)}, {"restart", std::move(restart)}};
}

void print_cutover(Context& context, const migrate::CutOver& done) {
  for (const auto& file : done.files) {
    if (!file.kept.empty()) {
      context.out << "Replaced " << printable(file.path.string()) << "; as it was it is kept in "
                  << printable(file.kept.filename().string()) << '\n';
    }
    for (const auto& why : file.left_alone) {
      context.warn(printable(file.path.string()) + ": " + printable(why));
    }
  }
  for (const auto& process : done.running) {
    context.out << "Restart " << printable(process.name) << " (pid " << process.pid
                << "): it remembers what was in these files\n";
  }
  context.note("Run `authdb keep-fresh --project`: it keeps the access tokens in them alive.");
}

Result<int> cut_over(Context& context, migrate::CutOverOptions options) {
  auto done = [&]() -> Result<migrate::CutOver> {
    Progress progress(context, "Importing");
    options.migrate.progress = progress.counter();
    auto store = open_store(context, OpenMode::create);
    if (!store) return fail(store.error());
    return migrate::cut_over(*store, options);
  }();
  if (!done) return fail(std::move(done).error());
  // What was a second spender at the time of the import is none any more.
  std::erase_if(done->plan.warnings, [&](const auto& warning) {
    return std::any_of(done->files.begin(), done->files.end(), [&](const auto& file) {
      return file.left_alone.empty() && warning.message.starts_with(file.path.string());
    });
  });
  auto json = plan_json(done->plan, false);
  json["cutover"] = cutover_json(*done);
  const int status = conclude(context, done->plan, std::move(json), false);
  for (const auto& file : done->files) {
    if (!file.warning.empty()) context.warn(printable(file.warning));
  }
  if (!context.globals.json) print_cutover(context, *done);
  return status;
}

Result<int> run(Context& context, const Options& options) {
  migrate::MigrateOptions request;
  request.paths.assign(options.paths.begin(), options.paths.end());
  if (options.prefer) request.prefer = *options.prefer;
  if (options.as && (options.paths.empty() || options.cutover)) {
    return fail(Errc::usage, "--as goes with a PATH, and without --cutover",
                "A file that does not show whose it is cannot be kept supplied.");
  }
  request.as = options.as.value_or("");
  request.include_env = options.include_env;
  request.allow_env = options.allow_env;
  request.now = context.clock();
  request.providers = provider_rules(context);
  if (options.running && !options.cutover)
    return fail(Errc::usage, "--running goes with --cutover");
  if (options.cutover && !options.dry_run) {
    return cut_over(context, {std::move(request), options.running, context.lock_wait});
  }

  auto plan = [&]() -> Result<migrate::Plan> {
    Progress progress(context, options.dry_run ? "Planning" : "Importing");
    request.progress = progress.counter();
    const auto documents = migrate::read_sources(request);
    if (!documents) return fail(documents.error());
    return options.dry_run ? preview(context, *documents, request)
                           : import(context, *documents, request);
  }();
  if (!plan) return fail(std::move(plan).error());
  return conclude(context, *plan, plan_json(*plan, options.dry_run), options.dry_run);
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.rest("PATH", options->paths, "files, or Hermes roots; else the well-known places");
  arguments.flag("--dry-run", options->dry_run, "show what would be done, and do nothing");
  arguments.flag("--cutover", options->cutover,
                 "then take the refresh tokens out of the files, so that only authdb spends");
  arguments.flag("--running", options->running, "cut over although programs use the files");
  arguments.option("--prefer", "PATH", options->prefer,
                   "the file whose pair is the live one, whatever the times say");
  arguments.option("--as", "FORMAT", options->as,
                   "take the PATHs for this tool's, though they do not show it");
  arguments.flag("--include-env", options->include_env,
                 "also keep keys that came from environment variables");
  arguments.option("--allow-env", "NAME", options->allow_env,
                   "the key of rows that name this variable is whatever it holds");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kMigrate{"migrate", Group::setup, "import the credential files of other tools",
                       kManual, declare};

}  // namespace authdb::cli
