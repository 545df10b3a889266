// authdb sql: questions of one's own.
#include <array>

#include "tools/commands/commands.h"
#include "tools/render/freshness.h"
#include "tools/render/text.h"
#include "tools/secret_input.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Runs one SELECT over the store, read-only. Sealed columns are refused and nothing
can be written, so a query can do no harm. It may take 60 s and 1 GiB of memory, its
answer included, and a value may be 1 MiB long. Without QUERY it is read from stdin.

The views, and their columns, are the contract; the tables below them are not:
  freshness  one row per credential: provider, label, profiles, state, obtained_at,
             expires_at, expires_in_s, needs_login, hold, cooldown_s, …
  pool       who may use what, in order, and why not: profile, provider, position,
             uid, label, selectable, why_not
  rotation   the ledger: at, provider, label, kind, outcome, http_status,
             error_code, process, pid, latency_ms, fingerprint, …
  family     every generation of refresh tokens: uid, family, generation, state, since
Times are ISO 8601 text in UTC; columns in _s are seconds.

The stock `sqlite3` shell reads the views as well; --examples prints queries to
begin with.

Exit codes
  0 done   2 no such column, not a SELECT, or refused   3 no such store   7 refused

Examples
  authdb sql 'SELECT provider, label, expires_in_s FROM freshness'
  authdb sql --csv < report.sql > report.csv
  authdb sql --examples
)man";

struct Example {
  std::string_view name;
  std::string_view sql;
};

constexpr std::array kExamples{
    Example{"needs a login",
            "SELECT provider, label, uid, last_outcome, last_attempt_at\n"
            "FROM freshness WHERE needs_login ORDER BY provider, label;"},
    Example{"expires within the hour and cannot refresh itself",
            "SELECT provider, label, expires_at FROM freshness\n"
            "WHERE NOT refreshable AND expires_in_s BETWEEN 0 AND 3600;"},
    Example{"how many of each state, also of a million",
            "SELECT provider, state, credentials FROM freshness_summary;"},
    Example{"held, and since when",
            "SELECT f.provider, f.label, f.hold, max(r.at) AS since, r.process, r.pid\n"
            "FROM freshness f LEFT JOIN rotation r ON r.uid = f.uid AND r.outcome = 'uncertain'\n"
            "WHERE f.hold IS NOT NULL GROUP BY f.uid;"},
    Example{"passed over, and why",
            "SELECT profile, provider, position, label, why_not\n"
            "FROM pool WHERE NOT selectable ORDER BY profile, provider, position;"},
    Example{
        "failures of the last day, by reason",
        "SELECT provider, kind, outcome, error_code, http_status, count(*) AS times\n"
        "FROM rotation\n"
        "WHERE outcome NOT IN ('committed', 'recovered') AND julianday(at) > julianday('now') - 1\n"
        "GROUP BY 1, 2, 3, 4, 5 ORDER BY times DESC;"},
    Example{"how often and how fast each credential is refreshed",
            "SELECT provider, label, count(*) AS refreshes, round(avg(latency_ms)) AS avg_ms,\n"
            "       max(latency_ms) AS worst_ms, max(at) AS last\n"
            "FROM rotation WHERE kind = 'refresh' AND outcome = 'committed' GROUP BY uid;"},
    Example{
        "which processes spend tokens",
        "SELECT process, provider, count(*) AS attempts, max(at) AS last\n"
        "FROM rotation WHERE kind IN ('refresh', 'mint') GROUP BY 1, 2 ORDER BY attempts DESC;"},
    Example{
        "credentials that more than one profile uses",
        "SELECT provider, label, profiles FROM freshness WHERE json_array_length(profiles) > 1;"},
    Example{
        "one refresh token sent more than once",
        "SELECT provider, label, fingerprint, count(*) AS sent, min(at) AS first, max(at) AS last\n"
        "FROM rotation WHERE kind = 'refresh' AND outcome <> 'not_sent'\n"
        "GROUP BY fingerprint HAVING count(*) > 1;"},
    Example{"the generations of every login",
            "SELECT uid, family, generation, state, since FROM family ORDER BY uid, family, "
            "generation;"},
};

struct Options {
  std::string query;
  bool csv = false;
  bool examples = false;
};

std::string cell_text(const Cell& cell) {
  if (std::holds_alternative<std::monostate>(cell)) return {};
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  return to_json(cell).dump();  // numbers, as JSON writes them
}

// RFC 4180: quoted where it must be, lines end in CR LF.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string field = "\"";
  for (const char c : text) {
    field += c;
    if (c == '"') field += c;
  }
  return field + "\"";
}

void print_csv(std::ostream& out, const QueryRows& rows) {
  const auto print_line = [&out](const std::vector<std::string>& fields) {
    for (std::size_t i = 0; i < fields.size(); ++i)
      out << (i == 0 ? "" : ",") << csv_field(fields[i]);
    out << "\r\n";
  };
  print_line(rows.columns);
  for (const auto& row : rows.rows) {
    std::vector<std::string> fields;
    for (const auto& cell : row) fields.push_back(cell_text(cell));
    print_line(fields);
  }
}

void print_table(Context& context, const QueryRows& rows) {
  Table table(rows.columns);
  for (const auto& row : rows.rows) {
    std::vector<TableCell> cells;
    for (const auto& cell : row) cells.push_back({cell_text(cell)});
    table.add(std::move(cells));
  }
  table.draw(context.out, context.colour());
}

int print_examples(Context& context) {
  auto json = Json::array();
  for (const auto& [name, sql] : kExamples) {
    if (context.globals.json) {
      json.push_back({{"name", name}, {"sql", sql}});
    } else {
      context.out << "-- " << name << '\n' << sql << "\n\n";
    }
  }
  if (context.globals.json) print_json(context.out, json);
  return kOk;
}

Result<std::string> query_text(Context& context, const Options& options) {
  if (!options.query.empty()) return options.query;
  if (context.ask) context.note("Type a query, and end it with Ctrl-D.");
  const auto text = read_all(context.in);
  if (!text) return fail(text.error());
  return std::string(text->reveal());
}

Result<int> run(Context& context, const Options& options) {
  if (options.csv && context.globals.json) {
    return fail(Errc::usage, "--csv and --json exclude each other");
  }
  if (options.examples) return print_examples(context);
  const auto store = open_store(context, OpenMode::look);
  if (!store) return fail(store.error());
  const auto query = query_text(context, options);
  if (!query) return fail(query.error());
  if (query->find_first_not_of(" \t\r\n;") == std::string::npos) {
    return fail(Errc::usage, "there is no query", "`authdb sql --examples` prints some.");
  }

  const auto rows = store->query(*query);
  if (!rows) return fail(rows.error());

  if (context.globals.json) {
    print_json(context.out, rows_json(*rows));
  } else if (options.csv) {
    print_csv(context.out, *rows);
  } else {
    print_table(context, *rows);
  }
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("QUERY", options->query, "one SELECT; without it stdin is read",
                       Need::optional);
  arguments.flag("--csv", options->csv, "comma-separated, with a header line");
  arguments.flag("--examples", options->examples, "print useful queries, and run none");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kSql{"sql", Group::look, "ask the store questions of your own", kManual, declare};

}  // namespace authdb::cli
