// authdb export: a profile's credentials as another tool's file.
#include "migrate/export.h"

#include "migrate/takeover/hand_over.h"
#include "store/ownership.h"
#include "tools/commands/commands.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Prints the file that another tool would read, made from a profile's credentials.
What was imported from such a file goes back as it was, unknown fields included.

Without further options the file has no refresh tokens, in unknown fields neither:
it is a projection that works until its access tokens expire, and the tool has
nothing to spend.
--reveal-refresh puts them in, for a backup that you lock away: whoever uses
such a copy is a second spender, and the first of the two to refresh ends the
other's session. Every grant is settled first, so that the copy is the live one.

FORMAT is one of
  hermes               auth.json of Hermes Agent (default)
  hermes-anthropic     its .anthropic_oauth.json
  hermes-shared-nous   its shared/nous_auth.json
  codex                ~/.codex/auth.json
  claude               ~/.claude/.credentials.json
  qwen                 ~/.qwen/oauth_creds.json
  opencode             ~/.local/share/opencode/auth.json
Where a tool refuses a file without a refresh token, `held-by-authdb` stands in
its place.

--hand-over is the way back: the tool's own file gets the live pair, and from then
on the tool refreshes it and authdb does not (hold=handed_over). -o names that
file; without it it is every file that was cut over for the profile, or that it
was imported from. Each login goes to one file: where several show it the first
gets it and the others are warned of, and once it is handed over every other file
is refused. `authdb migrate` takes it back. Where the file cannot be written,
authdb goes on refreshing.

With -o the file is written with mode 0600, complete or not at all. A symbolic
link, or a file of another user, is not replaced, and neither is one with a
refresh token that the store has never seen: `authdb migrate` imports it first.
Nothing is written where other users could replace it.

Exit codes
  0 done   2 usage   3 no such store or profile, or nothing that such a file could hold
  5 disk full, or a grant in it is uncertain   6 busy   7 refused

Examples
  authdb export --profile atlas -o ~/.hermes/profiles/atlas/auth.json
  authdb export --format codex | jq .tokens.account_id
  authdb export --reveal-refresh -o /media/safe/auth.json
  authdb export --hand-over --profile atlas
)man";

struct Options {
  std::optional<std::string> format;
  std::optional<std::string> output;
  bool reveal_refresh = false;
  bool hand_over = false;
};

constexpr std::string_view kSecondSpender =
    "second_spender: this copy holds refresh tokens that the store holds as well. Lock it away and "
    "let nothing run on it: the first of the two to refresh ends the other's session.";

Result<migrate::ExportRequest> request_of(const Context& context, const Options& options) {
  if (options.output && options.output->empty()) {
    return fail(Errc::usage, "-o takes the name of a file");
  }
  migrate::ExportRequest request;
  request.profile = context.profile();
  request.format = options.format ? std::string_view(*options.format) : "hermes";
  request.with_refresh_tokens = options.reveal_refresh;
  if (auto known = migrate::check_format(request.format); !known) {
    return fail(std::move(known.error()));
  }
  return request;
}

Result<std::vector<std::filesystem::path>> files_to_hand_over(const Context& context,
                                                              const Store& store,
                                                              const Options& options) {
  if (options.output) return std::vector<std::filesystem::path>{*options.output};
  const auto profile = context.profile();
  auto files = migrate::files_of_profile(store, profile);
  if (files && files->empty()) {
    return fail(Errc::not_found, "no file of profile " + in_quotes(profile) + " is known",
                "Name the tool's file with -o.");
  }
  return files;
}

Json handed_over_json(const migrate::HandedOver& done) {
  auto credentials = Json::array();
  for (const auto& row : done.credentials) credentials.push_back(row.uid);
  return {{"path", done.path.string()}, {"credentials", std::move(credentials)}};
}

// One file after the other: each is whole, whatever becomes of the next.
Result<int> hand_over(Context& context, const Options& options) {
  if (options.reveal_refresh || options.format) {
    return fail(Errc::usage,
                "--hand-over writes the tool's own file: --format and "
                "--reveal-refresh have no say there");
  }
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto files = files_to_hand_over(context, *store, options);
  if (!files) return fail(files.error());
  auto json = Json::array();
  std::optional<Error> nothing;
  const auto given =
      options.output ? migrate::GivenElsewhere::refuse : migrate::GivenElsewhere::leave;
  for (const auto& file : *files) {
    const auto done = migrate::hand_over(*store, file, context.lock_wait, given);
    if (!done && done.error().code == Errc::not_found && !options.output) {
      if (!nothing) nothing = done.error();  // a source without a login, API keys for instance
      continue;
    }
    if (!done) return fail(done.error());
    for (const auto& warning : done->warnings) context.warn(printable(warning));
    if (done->credentials.empty()) {
      nothing = Error{Errc::refused, "every login that these files show is handed over already",
                      "Nothing was changed."};
      continue;
    }
    json.push_back(handed_over_json(*done));
    if (context.globals.json) continue;
    context.out << "Handed over " << counted(std::ssize(done->credentials), "login") << " to "
                << printable(file.string()) << "; `authdb migrate` takes them back\n";
  }
  if (json.empty()) return fail(*nothing);
  if (context.globals.json) print_json(context.out, json);
  return kOk;
}

Result<int> run(Context& context, const Options& options) {
  if (options.hand_over) return hand_over(context, options);
  const auto request = request_of(context, options);
  if (!request) return fail(request.error());
  if (options.output) {
    if (auto may = check_output(*options.output); !may) return fail(std::move(may.error()));
  }
  // Settling what another process left behind is a change.
  const auto store =
      open_store(context, request->with_refresh_tokens ? OpenMode::use : OpenMode::look);
  if (!store) return fail(store.error());
  const auto document = migrate::export_document(*store, *request);
  if (!document) return fail(document.error());
  if (request->with_refresh_tokens) context.warn(kSecondSpender);
  if (!options.output) {
    // dispatch() sees whether it arrived.
    if (!context.put_unchanged(document->reveal())) context.out.setstate(std::ios::badbit);
    return kOk;
  }
  const auto written = migrate::write_export(*store, *options.output, *document);
  if (!written) return fail(written.error());
  context.note("Wrote " + printable(*options.output));
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.option("--format", "FORMAT", options->format, "whose file; hermes if not given");
  arguments.option("-o,--output", "FILE", options->output, "write there, mode 0600, in one step");
  arguments.flag("--reveal-refresh", options->reveal_refresh,
                 "with refresh tokens: a copy for backup, and a second spender");
  arguments.flag("--hand-over", options->hand_over,
                 "let the tool refresh again: it gets the live pair, and authdb stops");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kExport{"export", Group::use, "credentials as another tool's file", kManual, declare};

}  // namespace authdb::cli
