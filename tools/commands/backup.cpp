// authdb backup: a copy of the database to keep.
#include "store/backup.h"

#include "tools/commands/commands.h"
#include "tools/progress.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Writes a copy of the database to FILE, while others go on using it: readable by
you alone, checked, and complete or not there at all. FILE must not exist.

Its secrets stay sealed, so it is worth nothing without the key file: keep a
copy of that too, in another place. Bring it back with `authdb restore`, never
by copying it over auth.db: its refresh tokens grow old as soon as one of them
is used.

Exit codes
  0 done   2 FILE exists   3 no such store   5 the disk is full: try later
  7 refused: the store is damaged or has been altered, or others could replace
    what is written there

Examples
  authdb backup ~/backups/auth-$(date +%F).db
)man";

Result<int> run(Context& context, const std::string& file) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) return fail(store.error());
  const auto done = [&] {
    const Progress progress(context, "copying the store");
    return back_up(*store, file);
  }();
  if (!done) return fail(done.error());
  if (context.globals.json) {
    print_json(context.out, {{"file", done->file.string()},
                             {"credentials", done->credentials},
                             {"bytes", done->bytes}});
    return kOk;
  }
  context.out << "Backed up " << counted(done->credentials, "credential") << " to "
              << printable(done->file.string()) << '\n';
  context.note("It opens only with the key file: keep a copy of that as well, in another place.");
  return kOk;
}

Run declare(Arguments& arguments) {
  auto file = std::make_shared<std::string>();
  arguments.positional("FILE", *file, "the copy; it must not exist");
  return [file](Context& context) { return run(context, *file); };
}

}  // namespace

const Command kBackup{"backup", Group::keep, "a copy of the store to keep", kManual, declare};

}  // namespace authdb::cli
