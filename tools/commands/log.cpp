// authdb log: the ledger of refreshes, mints, logins and imports.
#include <array>

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
    R"man(Shows who refreshed, minted, added or imported what, when, and how it went, the
oldest first. No token is in it; tokens are named by fingerprint.

An outcome is `committed`, `recovered` (a later process settled an answer that
its owner had written down), `superseded` (an answer that is not used: its token
is current elsewhere, it is another account's, or a login took its place while
it waited), `rejected`, `not_sent`, or `uncertain` (sent, and no usable answer
came).

T is a time like 2026-04-14T08:00:00Z, or how long ago: 2h, 30m, 7d.

Exit codes
  0 done   2 usage   3 no such store, provider or target   7 refused

Examples
  authdb log
  authdb log nous work@example.org --since 7d
  authdb log --failures --json
)man";

struct Options {
  std::string provider;
  std::string target;
  bool failures = false;
  std::optional<std::string> since;
};

// A removed credential has a past too; it is named by its uid.
Result<Uid> find_past_or_present(Context& context, const Store& store, const std::string& provider,
                                 const std::string& target) {
  const auto entry = find_target(context, store, context.profile(), provider, target);
  if (entry) return entry->credential.uid;
  const auto all = store.list({provider, {}, true});
  if (!all) return fail(all.error());
  for (const auto& credential : *all) {
    if (credential.uid == target) return credential.uid;
  }
  return fail(entry.error());
}

Result<std::string> condition(Context& context, const Store& store, const Options& options) {
  std::string where = "1";
  if (!options.provider.empty()) {
    const auto provider = known_provider(context, store, options.provider);
    if (!provider) return fail(provider.error());
    where += " AND provider = " + sql_literal(*provider);
    if (!options.target.empty()) {
      const auto uid = find_past_or_present(context, store, *provider, options.target);
      if (!uid) return fail(uid.error());
      where += " AND uid = " + sql_literal(*uid);
    }
  }
  if (const auto profile = context.chosen_profile()) {
    where += " AND profile = " + sql_literal(*profile);
  }
  if (options.failures) where += " AND outcome IN ('rejected', 'not_sent', 'uncertain')";
  if (options.since) {
    const auto since = parse_instant(*options.since, context.clock(), Towards::past);
    if (!since) {
      return fail(Errc::usage, "--since is a time like 2026-04-14T08:00:00Z, or like 2h or 7d");
    }
    // Compared as numbers: as text, 08:00:00.5Z would come before 08:00:00Z.
    where += " AND julianday(at) >= julianday(" + sql_literal(format_iso(*since)) + ")";
  }
  return where;
}

std::string generations(const NamedRow& row) {
  const auto from = row.number("from_generation").value_or(0);
  const auto to = row.number("to_generation");
  return to ? std::to_string(from) + "→" + std::to_string(*to) : std::to_string(from);
}

TableCell outcome(const NamedRow& row) {
  const auto word = row.text("outcome");
  if (word == "committed" || word == "recovered") return {word, Tone::good};
  return {word, word == "rejected" ? Tone::bad : Tone::caution};
}

std::string detail(const NamedRow& row) {
  std::string text;
  if (const auto status = row.number("http_status")) text = std::to_string(*status);
  if (const auto code = row.text("error_code"); !code.empty())
    text += (text.empty() ? "" : " ") + code;
  return text;
}

void draw(Context& context, const QueryRows& rows) {
  Table table({"AT", "PROVIDER", "LABEL", "KIND", "OUTCOME", "GEN", "ANSWER", "TOOK", "PROFILE",
               "PROCESS", "TOKEN"});
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    const auto took = row.number("latency_ms");
    table.add({{row.text("at")},
               {row.text("provider")},
               {row.text("label")},
               {row.text("kind")},
               outcome(row),
               {generations(row)},
               {detail(row)},
               {took ? std::to_string(*took) + " ms" : ""},
               {row.text("profile")},
               {row.text("process") + " (" + std::to_string(row.number("pid").value_or(0)) + ")"},
               {row.text("fingerprint"), Tone::faint}});
  }
  table.draw(context.out, context.colour());
}

Result<int> run(Context& context, const Options& options) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) return fail(store.error());
  const auto where = condition(context, *store, options);
  if (!where) return fail(where.error());
  const auto rows = store->query("SELECT * FROM rotation WHERE " + *where +
                                 " ORDER BY julianday(at), to_generation");
  if (!rows) return fail(rows.error());

  if (context.globals.json) {
    print_json(context.out, rows_json(*rows));
  } else if (rows->rows.empty()) {
    context.note("The ledger has no such entry.");
  } else {
    draw(context, *rows);
  }
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "only its credentials", Need::optional);
  arguments.positional("TARGET", options->target, "only this one; also a removed one, by its uid",
                       Need::optional);
  arguments.flag("--failures", options->failures, "only what did not work");
  arguments.option("--since", "T", options->since, "only what began at T or later");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kLog{"log", Group::look, "who refreshed what, when, and how it went", kManual,
                   declare};

}  // namespace authdb::cli
