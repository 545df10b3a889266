// authdb status: how fresh every credential is, and what needs a person.
#include "tools/attention.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/provider_rules.h"
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
refresh token behind it is nothing to worry about, as long as its renewal does
not fail: it is refreshed when somebody asks for it.

With --profile only what that profile may use. --json prints the rows of the
view `freshness`; `authdb sql` asks it your own questions.

Exit codes
  0 done   3 no such store, profile or provider   7 refused
  with --check: 0 all is well, 4 something needs a login, 5 something else needs
  attention (held, cooling down, expired while its renewal fails, rejected and not
  replaced, nothing here can renew it, or the session ends within a day), 7 the
  store's key cannot be had

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

int verdict(const Store& store, const QueryRows& rows, Instant now, const Providers& providers) {
  const Outages outages(store, providers, rows.rows.size(), now);
  int worst = kOk;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const NamedRow row(rows, i);
    if (row.truth("needs_login")) return exit_code(Errc::login_needed);
    const auto hold = row.text("hold");
    if (hold == "conflict" || hold == "uncertain" || row.number("cooldown_s").value_or(0) > 0 ||
        session_ends_soon(row, now) || !outages.of(row).empty()) {
      worst = exit_code(Errc::try_later);
    }
  }
  return worst;
}

void print(Context& context, const Store& store, const QueryRows& rows) {
  if (context.globals.json) {
    print_json(context.out, freshness_json(rows));
    return;
  }
  if (rows.rows.empty()) {
    context.note(
        "There are no credentials. `authdb migrate`, `authdb login` and `authdb add` bring some.");
    return;
  }
  freshness_table(rows).draw(context.out, context.colour());
  if (context.globals.quiet) return;
  const auto findings =
      attention(store, rows, context.clock(), providers_of(context), provider_rules(context));
  if (!findings.empty()) context.out << '\n';
  for (const auto& finding : findings) {
    context.out << toned("!", Tone::caution, context.colour()) << ' ' << finding.message << '\n';
  }
}

Result<int> run(Context& context, const Options& options) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) return fail(store.error());
  const auto rows = fetch(context, *store, options);
  if (!rows) return fail(rows.error());
  if (!options.check || !context.globals.quiet) print(context, *store, *rows);
  if (!options.check) return kOk;
  // Without its key the store has nothing to give, however fresh.
  if (const auto keys = store->check_keys(); !keys && !rows->rows.empty())
    return fail(keys.error());
  return verdict(*store, *rows, context.clock(), providers_of(context));
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
