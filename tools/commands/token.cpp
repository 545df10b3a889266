// authdb token: a live bearer on stdout, and nothing else there.
#include "store/env_source.h"
#include "store/target.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/projections.h"
#include "tools/render/bearer.h"
#include "tools/render/duration.h"
#include "tools/render/json.h"
#include "tools/render/text.h"
#include "tools/secret_input.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Prints a bearer that works now, as one bare line. A fresh one costs about a
millisecond and no request. One that is due is refreshed or minted first, by
one process for all that ask. The profile's strategy chooses the credential;
--credential names one.

With --min-ttl a bearer that would end sooner is renewed first, if it has lived half
its life: a token that is shorter than what you ask for would be spent on each
call. What you get may end sooner all the same, and then a warning says when.

When a server answers 401 to a bearer of yours, say so with --rejected: if the
store has another by now you get that one, else it is refreshed once for
everybody who asks. `--rejected -` reads the refused bearer itself from stdin,
so that it shows up in no process list.

In scripts keep the line in a variable first, and go on only if that succeeded, as
below: the failure of a command among another's arguments is not seen by the shell.

--session gives the same credential of the pool for the same KEY, any text, as long as
it can be used, whatever the strategy: prompt caches of a provider stay warm.

TARGET is a uid, a fingerprint, a label, a place in the pool (1 or #1) or the id
that another tool gave it.

Exit codes
  0 a bearer   2 usage   3 no such store, profile, provider or target
  4 somebody must log in   5 try later   6 busy   7 refused

Examples
  header=$(authdb token nous --format header) &&
    printf '%s\n' "$header" | curl -H @- https://example.org/v1/models
  OPENROUTER_API_KEY=$(authdb token openrouter) && export OPENROUTER_API_KEY
  line=$(authdb token openrouter --format env=KEY) && eval "export $line"
  authdb token nous --min-ttl 10m --json
  authdb token nous --rejected sha256:0123456789abcdef
  authdb token openrouter --session "$CONVERSATION"
)man";

struct Options {
  std::string provider;
  std::optional<std::string> credential;
  std::optional<std::string> min_ttl;
  std::optional<std::string> rejected;
  std::optional<std::string> format;
  std::optional<std::string> session;
};

Result<std::string> rejected_fingerprint(Context& context, const Options& options) {
  if (!options.rejected) return std::string();
  if (is_fingerprint(*options.rejected)) return *options.rejected;
  if (*options.rejected != "-") {
    return fail(Errc::usage, "--rejected takes a fingerprint, `sha256:` and 16 hex digits",
                "Never a bearer itself: arguments are visible to every process of this machine. "
                "Pipe the bearer in, with `--rejected -`.");
  }
  const auto bearer = read_secret(context, "Rejected bearer: ");
  if (!bearer) return fail(bearer.error());
  return fingerprint(*bearer);
}

Result<std::string> checked_format(const Context& context, const Options& options) {
  const auto format = options.format.value_or("raw");
  if (context.globals.json && options.format) {
    return fail(Errc::usage, "--format and --json exclude each other");
  }
  if (format == "raw" || format == "header") return format;
  if (format.starts_with("env=") && is_variable_name(std::string_view(format).substr(4)))
    return format;
  return fail(Errc::usage, "--format is raw, header or env=NAME, with a NAME that a shell takes");
}

// 'it'\''s': safe between a shell's single quotes, whatever is in the token.
void print_shell_quoted(std::ostream& out, std::string_view text) {
  out << '\'';
  for (const char c : text) {
    if (c == '\'') {
      out << "'\\''";
    } else {
      out << c;
    }
  }
  out << '\'';
}

// A token that has not lived half its life is not renewed, however much was asked for.
void warn_if_short(Context& context, const oauth::Bearer& bearer, Milliseconds wanted) {
  if (wanted == Milliseconds{0} || !bearer.expires_at) return;
  const auto left = *bearer.expires_at - context.clock();
  if (left >= wanted) return;
  context.warn("the bearer lives " + duration(std::chrono::duration_cast<Seconds>(left)) +
               " more, shorter than the " + duration(std::chrono::duration_cast<Seconds>(wanted)) +
               " of --min-ttl: a bearer is not renewed before half its life");
}

void print(Context& context, const oauth::Bearer& bearer, std::string_view format) {
  if (context.globals.json) {
    print_bearer_json(context.out, bearer, context.clock(), Reveal::yes);
  } else if (format == "raw") {
    context.out << bearer.token.reveal() << '\n';
  } else if (format == "header") {
    context.out << "Authorization: Bearer " << bearer.token.reveal() << '\n';
  } else {
    context.out << format.substr(4) << '=';
    print_shell_quoted(context.out, bearer.token.reveal());
    context.out << '\n';
  }
}

Result<int> run(Context& context, const Options& options) {
  oauth::BearerRequest request;
  request.profile = context.profile();
  request.want_base_url =
      context.globals.json;  // only --json shows it, and it costs reading providers
  const auto format = checked_format(context, options);
  if (!format) return fail(format.error());
  if (options.min_ttl) {
    const auto ttl = parse_duration(*options.min_ttl);
    if (!ttl) return fail(Errc::usage, "--min-ttl is a number of seconds, or like `10m`");
    request.min_ttl = *ttl;
  }
  auto rejected = rejected_fingerprint(context, options);
  if (!rejected) return fail(rejected.error());
  request.rejected = *std::move(rejected);

  request.session = options.session.value_or("");

  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  request.provider = provider_id(*store, options.provider);
  if (options.credential) {
    const auto entry =
        find_target(context, *store, request.profile, request.provider, *options.credential);
    if (!entry) return fail(entry.error());
    request.credential = entry->credential.uid;
  }
  const auto bearer = oauth::BearerSource(*store, context.bearer_parts()).bearer(request);
  if (!bearer) {
    // The pool's own "nothing there" cannot know about neighbours and spellings.
    const auto pool = store->pool(request.profile, request.provider);
    if (bearer.error().code == Errc::not_found && pool && pool->empty()) {
      return fail(why_nothing(context, *store, request.profile, request.provider));
    }
    return fail(bearer.error());
  }
  for (const auto& warning : bearer->warnings) context.warn(warning);
  warn_if_short(context, *bearer, request.min_ttl);
  print(context, *bearer, *format);
  if (bearer->action != Action::cached) {
    context.out.flush();  // the caller has its token before a tool's lock is waited for
    update_projections(context, *store);
  }
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose bearer, for instance nous");
  arguments.option("--credential", "TARGET", options->credential, "this one and no other");
  arguments.option("--min-ttl", "S", options->min_ttl,
                   "renew it first if it lives shorter: seconds, or like 10m; see above");
  arguments.option("--rejected", "FINGERPRINT|-", options->rejected,
                   "the bearer that got a 401; - reads the bearer itself from stdin");
  arguments.option("--session", "KEY", options->session,
                   "the pool's same credential for the same KEY, while it can be used");
  arguments.option("--format", "raw|header|env=NAME", options->format,
                   "the bare token (default), an Authorization header, or a shell assignment");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kToken{"token", Group::use, "a live bearer on stdout, refreshed if it is due",
                     kManual, declare};

}  // namespace authdb::cli
