// authdb status: how fresh every credential is, and what needs a person.
#include <algorithm>

#include "migrate/migrate.h"
#include "store/timestamp.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/duration.h"
#include "tools/render/freshness.h"
#include "tools/render/text.h"
#include "tools/sql_text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Shows the life of every token: when it was obtained, when it expires, who may
use it and what it needs. Looking is free: it never touches the network, never
spends a token and never changes the store. An expired access token with a
refresh token behind it is nothing to worry about: it is refreshed when somebody
asks for it.

With --profile only what that profile may use. --json prints the rows of the
view `freshness`; `authdb sql` asks it your own questions.

Exit codes
  0 done   3 no such store, profile or provider   7 refused
  with --check: 0 all is well, 4 something needs a login, 5 something else needs
  attention (held, cooling down, or the session ends within a day)

Examples
  authdb status
  authdb status nous --json
  authdb status --check --quiet || notify-send 'a login is needed'
)man";

struct Options {
  std::string provider;
  bool check = false;
};

std::string condition(const Context& context, const std::string& provider) {
  std::string where = "1";
  if (!provider.empty()) where += " AND provider = " + sql_literal(provider);
  if (const auto profile = context.chosen_profile()) {
    where += " AND uid IN (SELECT uid FROM pool WHERE profile = " + sql_literal(*profile) + ")";
  }
  return where;
}

Result<QueryRows> fetch(Context& context, const Store& store, const Options& options) {
  std::string provider;
  if (!options.provider.empty()) {
    auto known = known_provider(context, store, options.provider);
    if (!known) return fail(std::move(known).error());
    provider = *std::move(known);
  }
  if (const auto profile = context.chosen_profile()) {
    if (auto checked = check_profile(store, *profile); !checked) {
      return fail(std::move(checked).error());
    }
  }
  auto rows = store.query("SELECT * FROM freshness WHERE " + condition(context, provider) +
                          " ORDER BY provider, label, uid");
  if (rows && rows->rows.empty() && !provider.empty()) {
    return fail(why_nothing(context, store, context.profile(), provider));
  }
  return rows;
}

// Since when a grant is uncertain and which process left it so: the first attempt with its present
// token whose answer never came. No row if the ledger has forgotten.
QueryRows lost_answers(const Store& store, const NamedRow& credential) {
  auto rows = store.query(
      "SELECT at, process, pid FROM rotation WHERE uid = " + sql_literal(credential.text("uid")) +
      " AND outcome = 'uncertain' AND kind = 'refresh' AND from_generation = " +
      std::to_string(credential.number("generation").value_or(0)) + " ORDER BY julianday(at)");
  return rows ? *std::move(rows) : QueryRows{};
}

std::string held_since(const Store& store, const NamedRow& credential) {
  const QueryRows lost = lost_answers(store, credential);
  if (lost.rows.empty()) return {};
  const NamedRow first(lost, 0);
  std::string text = " since " + first.text("at") + ", when " + printable(first.text("process")) +
                     " (pid " + std::to_string(first.number("pid").value_or(0)) +
                     ") sent its refresh token";
  if (lost.rows.size() > 1) {
    text += ", one of " + std::to_string(lost.rows.size()) + " times,";
  }
  return text;
}

// The same for programs: `freshness` has no room for it.
void add_lost_answers(Json& array, const Store& store, const QueryRows& rows) {
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    if (row.text("hold") != "uncertain") continue;
    const QueryRows lost = lost_answers(store, row);
    if (lost.rows.empty()) continue;
    const NamedRow first(lost, 0);
    array[i]["hold_since"] = first.text("at");
    array[i]["hold_process"] = first.text("process");
    array[i]["hold_pid"] = first.number("pid").value_or(0);
  }
}

std::string explain_hold(const Store& store, const NamedRow& row) {
  const auto target = row.text("provider") + " " + row.text("uid");
  const auto hold = row.text("hold");
  if (hold == "uncertain") {
    return name_of(row) + " is uncertain" + held_since(store, row) +
           " and no answer came. It is sent again when no bearer of it works any more; `authdb "
           "refresh " +
           target + " --replay` sends it now.";
  }
  if (hold == "conflict") {
    return name_of(row) +
           " is in conflict: its copies disagree about which pair is live. Decide with `authdb "
           "migrate --prefer PATH`.";
  }
  return name_of(row) +
         " is handed over: another tool spends its refresh token. `authdb migrate` "
         "takes it back.";
}

// Sources that still hold a refresh token of ours: their owner may spend it (DESIGN 8).
void add_second_spenders(const Store& store, std::vector<std::string>& warnings) {
  const auto receipts = store.receipts();
  if (!receipts || receipts->empty()) return;
  migrate::MigrateOptions sources;
  for (const auto& receipt : *receipts) {
    std::error_code ignored;
    const std::filesystem::path path(receipt.path);
    const bool known =
        std::find(sources.paths.begin(), sources.paths.end(), path) != sources.paths.end();
    if (!known && std::filesystem::exists(path, ignored)) sources.paths.push_back(path);
  }
  if (sources.paths.empty()) return;
  const auto documents = migrate::read_sources(sources);
  if (!documents) return;
  const auto plan = migrate::plan(*documents, &store, sources);
  if (!plan) return;  // without the key there is nothing to compare with
  for (const auto& warning : plan->warnings) {
    const bool theirs = warning.code == "second_spender" || warning.code == "logged_in_again";
    if (theirs) warnings.push_back(warning.message);
  }
}

std::vector<std::string> collect_warnings(const Store& store, const QueryRows& rows, Instant now) {
  std::vector<std::string> warnings;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    if (auto warning = login_warning(row, now); !warning.empty()) {
      warnings.push_back(std::move(warning));
    }
    if (!row.text("hold").empty()) warnings.push_back(explain_hold(store, row));
  }
  add_second_spenders(store, warnings);
  return warnings;
}

int verdict(const QueryRows& rows, Instant now) {
  int worst = kOk;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    if (row.truth("needs_login")) return exit_code(Errc::login_needed);
    const auto hold = row.text("hold");
    if (hold == "conflict" || hold == "uncertain" || row.number("cooldown_s").value_or(0) > 0 ||
        session_ends_soon(row, now)) {
      worst = exit_code(Errc::try_later);
    }
  }
  return worst;
}

void print(Context& context, const Store& store, const QueryRows& rows) {
  if (context.globals.json) {
    auto array = freshness_json(rows);
    add_lost_answers(array, store, rows);
    print_json(context.out, array);
    return;
  }
  if (rows.rows.empty()) {
    context.note("There are no credentials. `authdb migrate` and `authdb add` bring some.");
    return;
  }
  freshness_table(rows).draw(context.out, context.colour());
  if (context.globals.quiet) return;
  const auto warnings = collect_warnings(store, rows, context.clock());
  if (!warnings.empty()) context.out << '\n';
  for (const auto& warning : warnings) {
    context.out << toned("!", Tone::caution, context.colour()) << ' ' << warning << '\n';
  }
}

Result<int> run(Context& context, const Options& options) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) return fail(store.error());
  const auto rows = fetch(context, *store, options);
  if (!rows) return fail(rows.error());
  if (!options.check || !context.globals.quiet) print(context, *store, *rows);
  return options.check ? verdict(*rows, context.clock()) : kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "only its credentials", Need::optional);
  arguments.flag("--check", options->check,
                 "say with the exit code whether something is needed; with --quiet only so");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kStatus{"status", Group::look, "how fresh every credential is, and what needs you",
                      kManual, declare};

}  // namespace authdb::cli
