// authdb report: what an inference call said about its credential.
#include "store/words.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/duration.h"
#include "tools/render/json.h"
#include "tools/render/number.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Tells the store how an inference call went, so that every program that shares it
knows. After 429, 402, 403 or 5xx the credential cools down and the next one of
the pool is used; --reset-at says until when, if the answer said so. A 2xx clears
the mark. Tokens are never touched.

For a 401 use `authdb token PROVIDER --rejected FINGERPRINT`, which gets a new
bearer.

T is a time like 2026-04-14T08:00:00Z or epoch seconds; 30m is in half an hour.

Exit codes
  0 done   2 usage, or ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused

Examples
  authdb report openrouter '#1' --status 429
  authdb report codex work@example.org --status 429 --reset-at 2h
)man";

struct Options {
  std::string provider;
  std::string target;
  std::optional<std::string> status;
  std::optional<std::string> reset_at;
};

Result<Report> read_report(const Options& options, Instant now) {
  Report report;
  if (!options.status) return fail(Errc::usage, "--status is missing");
  const auto status = parse_number(*options.status, 100, 599);
  if (!status) return fail(Errc::usage, "--status is an HTTP status, 100 to 599");
  report.http_status = static_cast<int>(*status);
  if (options.reset_at) {
    report.reset_at = parse_instant(*options.reset_at, now, Towards::future);
    if (!report.reset_at) {
      return fail(Errc::usage, "--reset-at is a time like 2026-04-14T08:00:00Z, or like 30m");
    }
  }
  return report;
}

Result<int> run(Context& context, const Options& options) {
  const auto report = read_report(options, context.clock());
  if (!report) return fail(report.error());
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto entry =
      find_target(context, *store, context.profile(), options.provider, options.target);
  if (!entry) return fail(entry.error());
  const auto& uid = entry->credential.uid;

  if (auto reported = store->report(uid, *report); !reported) return fail(reported.error());

  const auto after = store->find(uid);
  if (!after) return fail(after.error());
  const auto& health = after->health;
  if (context.globals.json) {
    print_json(context.out, {{"provider", after->identity.provider},
                             {"credential", uid},
                             {"label", after->identity.label},
                             {"status", word(health.status)},
                             {"cooldown_until", to_json(health.cooldown_until)}});
    return kOk;
  }
  context.out << "Reported " << report->http_status << " for " << described(*entry)
              << "; status: " << word(health.status);
  if (health.cooldown_until && *health.cooldown_until > context.clock()) {
    const auto left = *health.cooldown_until - context.clock();
    context.out << ", cooling down for " << duration(std::chrono::duration_cast<Seconds>(left));
  }
  context.out << '\n';
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place");
  arguments.option("--status", "N", options->status, "the HTTP status of the call");
  arguments.option("--reset-at", "T", options->reset_at, "when the provider will serve it again");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kReport{"report", Group::use, "tell the store how an inference call went", kManual,
                      declare};

}  // namespace authdb::cli
