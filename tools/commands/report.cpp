// authdb report: what an inference call said about its credential.
#include <array>

#include "store/cooldown.h"
#include "store/reset_time.h"
#include "store/target.h"
#include "store/words.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/projections.h"
#include "tools/render/duration.h"
#include "tools/render/json.h"
#include "tools/render/number.h"
#include "tools/render/text.h"
#include "tools/secret_input.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Tells the store how an inference call went, so that every program that shares it
knows. After 429, 402, 403 or 5xx the credential cools down and the next one of
the pool is used. A 2xx clears the mark.

It rests as long as the provider says. Where that is not said, a limit of the
account (usage, spending, billing, entitlement; 402) rests it for an hour, and
any other 429 or 403 for a minute at first, then 4, 16 and 60, as long as no 2xx
is reported between. Server trouble, load and a limit of concurrent calls are
nobody's own: seconds, a minute at most. 400, 404, 408, 413, 499 and their like
are the request's fault and change nothing. No report shortens a rest that is
under way. A pool's only live credential rests for a minute instead of an hour,
unless the account is what was refused.

The fingerprint of the bearer that was used is the surest TARGET: the report is
about that one, whatever the store holds by now, and it is known for as long as
the ledger goes back. After a 401 of a grant's bearer it is replaced at once, by
one process for all that ask, and only if that fails does the credential cool
down; of one that has been replaced since, a 401 is no news and changes nothing.
With any other TARGET a 401 cools it down.

--reset-at says until when the provider refuses, as it said it itself: a time
like 2026-04-14T08:00:00Z, an HTTP date, epoch seconds or milliseconds, `30m`, or
a text like `resets in 2hr 5min`; what cannot be read is warned of, and the call
is reported without it. `--body -` reads the answer's body from stdin and takes
time, reason and message out of it. --reason is the provider's word for it, such
as usage_limit_reached or billing_unverified.

Exit codes
  0 done   2 usage, or ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused

Examples
  authdb report openrouter '#1' --status 429
  authdb report codex work@example.org --status 429 --reset-at 2h
  authdb report nous sha256:0123456789abcdef --status 401
  authdb report codex '#1' --status 429 --body - < answer.json
)man";

struct Options {
  std::string provider;
  std::string target;
  std::optional<std::string> status;
  std::optional<std::string> reset_at;
  std::optional<std::string> reason;
  std::optional<std::string> body;
};

// What the answer itself says, in the two shapes that error bodies have.
Result<void> read_body(Context& context, Report& report) {
  const auto body = read_all(context.in);
  if (!body) return fail(body.error());
  report.reset_at = reset_time(body->reveal(), context.clock());
  const auto tree = Json::parse(body->reveal(), nullptr, false);
  if (!tree.is_object()) return {};
  const auto text = [](const Json& object, const char* key) {
    const auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  const bool nested = tree.contains("error") && tree["error"].is_object();
  const Json& error = nested ? tree["error"] : tree;
  for (const char* key : {"code", "type", "error"}) {
    if (report.reason.empty()) report.reason = text(error, key);
  }
  for (const char* key : {"message", "error_description"}) {
    if (report.message.empty()) report.message = text(error, key);
  }
  return {};
}

std::optional<Instant> reset_at(const std::string& said, Instant now) {
  if (const auto at = parse_instant(said, now, Towards::future)) return at;
  return reset_time(said, now);
}

Result<Report> read_report(Context& context, const Options& options) {
  Report report;
  report.profile = context.profile();
  if (!options.status) return fail(Errc::usage, "--status is missing");
  const auto status = parse_number(*options.status, 100, 599);
  if (!status) return fail(Errc::usage, "--status is an HTTP status, 100 to 599");
  report.http_status = static_cast<int>(*status);
  if (options.body && *options.body != "-") {
    return fail(Errc::usage, "--body takes `-` and nothing else: the body comes on stdin");
  }
  const auto now = context.clock();
  const auto until = options.reset_at ? reset_at(*options.reset_at, now) : std::nullopt;
  if (options.reset_at && !until) {  // the failure is news all the same
    context.warn(
        "--reset-at is no time like 2026-04-14T08:00:00Z, nor like 30m: reported without it");
  }
  if (options.body) {
    if (auto read = read_body(context, report); !read) return fail(read.error());
  }
  if (until) report.reset_at = until;
  if (options.reason) report.reason = *options.reason;
  return report;
}

void print(Context& context, const PoolEntry& entry, const Report& report, oauth::ReportEnd end,
           const Credential& after) {
  const auto& health = after.health;
  if (context.globals.json) {
    constexpr std::array kEnds{"noted", "renewed", "replaced_before"};
    print_json(context.out, {{"provider", after.identity.provider},
                             {"credential", after.uid},
                             {"label", after.identity.label},
                             {"end", kEnds.at(static_cast<std::size_t>(end))},
                             {"status", word(health.status)},
                             {"cooldown_until", to_json(health.cooldown_until)}});
    return;
  }
  context.out << "Reported " << report.http_status << " for " << described(entry)
              << "; status: " << word(health.status);
  if (fault_of(report) == Fault::request && report.http_status >= 400) {
    context.out << ": that was the request's own fault";
  }
  if (end == oauth::ReportEnd::renewed) context.out << ", with a new bearer";
  if (end == oauth::ReportEnd::replaced_before) {
    context.out << "; that bearer has been replaced since, so there is nothing to do";
  }
  if (health.cooldown_until && *health.cooldown_until > context.clock()) {
    const auto left = *health.cooldown_until - context.clock();
    context.out << ", cooling down for " << duration(std::chrono::duration_cast<Seconds>(left));
  }
  context.out << '\n';
}

Result<int> run(Context& context, const Options& options) {
  const auto report = read_report(context, options);
  if (!report) return fail(report.error());
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto entry =
      find_target(context, *store, context.profile(), options.provider, options.target);
  if (!entry) return fail(entry.error());
  const auto& uid = entry->credential.uid;
  const auto& refresh = entry->credential.refresh_hash;
  const bool by_bearer =
      is_fingerprint(options.target) && !(refresh && fingerprint(*refresh) == options.target);

  const auto end = oauth::BearerSource(*store, context.bearer_parts())
                       .report(uid, by_bearer ? options.target : "", *report);
  if (!end) return fail(end.error());
  for (const std::string& warning : end->warnings) context.warn(warning);
  if (end->end == oauth::ReportEnd::renewed) update_projections(context, *store);
  const auto after = store->find(uid);
  if (!after) return fail(after.error());
  print(context, *entry, *report, end->end, *after);
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place");
  arguments.option("--status", "N", options->status, "the HTTP status of the call");
  arguments.option("--reset-at", "T", options->reset_at, "when the provider will serve it again");
  arguments.option("--reason", "WORD", options->reason, "the provider's word for what is wrong");
  arguments.option("--body", "-", options->body, "read the answer's body from stdin");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kReport{"report", Group::use, "tell the store how an inference call went", kManual,
                      declare};

}  // namespace authdb::cli
