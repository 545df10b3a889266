// authdb restore: the way back from a backup.
#include "migrate/takeover/projection.h"
#include "store/backup.h"
#include "store/shell_word.h"
#include "tools/commands/commands.h"
#include "tools/progress.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Brings back what a backup has: labels, profiles and their pools, strategies,
cooldowns, credentials that were removed since. Tokens never go backwards: where
the store or a credential's journal has a newer one, that one stays. Nothing is
removed, and what only the store has stays. All of it is restored or nothing.

Where auth.db is missing or damaged it is made anew from the backup; a damaged
one is kept beside it as auth.db.damaged-TIME. Restart gateways that were
running meanwhile. Files that were cut over after the backup are then not kept
up to date any more: it names those in the places that it knows.

A grant whose newest token nobody can know, because its journal is gone or older
than the backup, is held as `uncertain`: its bearer is served while it lives,
and its refresh token is sent when nothing else is left. `authdb login` ends
that.

Exit codes
  0 done   3 no such file   5 the disk is full: try later   6 busy
  7 refused: no backup of this store, damaged, altered, of a newer version, or
    sealed with a key that is not in the key file
  8 done, but some journals could not be read

Examples
  authdb restore ~/backups/auth-2026-04-12.db
)man";

Json to_json(const Restored& done, const std::vector<std::string>& forgotten) {
  auto left = Json::array();
  for (const Error& error : done.left) {
    left.push_back({{"message", error.message}, {"hint", error.hint}});
  }
  return {{"rebuilt", done.rebuilt},
          {"set_aside", or_null(done.set_aside.string())},
          {"credentials", done.credentials},
          {"back", done.back},
          {"newer_here", done.newer},
          {"adopted_from_journals", done.adopted},
          {"held", done.held},
          {"forgotten", forgotten},
          {"left", std::move(left)}};
}

void print(Context& context, const Restored& done) {
  context.out << "Restored " << counted(done.credentials, "credential") << '\n';
  const auto line = [&](std::int64_t n, const char* what) {
    if (n > 0) context.out << "  " << n << ' ' << what << '\n';
  };
  line(done.back, "had been removed, and are back");
  line(done.newer, "have newer tokens here, and keep them");
  line(done.adopted, "got their newest tokens from their journals");
  line(done.held, "are held: nobody can know whether their token is the newest (`authdb status`)");
  if (!done.set_aside.empty()) {
    context.note("What was there instead is kept as " + printable(done.set_aside.string()) + ".");
  }
  if (done.rebuilt) context.note("Restart programs that have been using the store.");
}

// What only a database that was made anew can have forgotten: a merge keeps what the store has.
std::vector<std::string> forgotten_files(Context& context, const Restored& done) {
  if (!done.rebuilt) return {};
  const auto store = open_store(context, OpenMode::look);
  auto forgotten = store ? migrate::forgotten_projections(*store)
                         : Result<std::vector<std::string>>(fail(store.error()));
  if (!forgotten) context.warn(forgotten.error().message);
  return forgotten ? std::move(*forgotten) : std::vector<std::string>();
}

Result<int> run(Context& context, const std::string& file) {
  const auto done = [&] {
    const Progress progress(context, "restoring");
    return restore(store_options(context), file);
  }();
  if (!done) return fail(done.error());
  const auto forgotten = forgotten_files(context, *done);
  if (context.globals.json) {
    print_json(context.out, to_json(*done, forgotten));
  } else {
    print(context, *done);
  }
  for (const std::string& path : forgotten) {
    context.warn(printable(path) +
                 " is not kept up to date any more: the backup knows of no cut-over of it. "
                 "`authdb migrate --cutover " +
                 printable(shell_quoted(path)) + "` does it again");
  }
  for (const Error& error : done->left) cli::report(context, error);
  return done->left.empty() ? kOk : exit_code(Errc::partly);
}

Run declare(Arguments& arguments) {
  auto file = std::make_shared<std::string>();
  arguments.positional("FILE", *file, "what `authdb backup` wrote");
  return [file](Context& context) { return run(context, *file); };
}

}  // namespace

const Command kRestore{"restore", Group::keep, "bring back what a backup has", kManual, declare};

}  // namespace authdb::cli
