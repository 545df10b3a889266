// authdb key: a new seal key, and the end of old ones.
#include "store/key_rotation.h"
#include "tools/commands/commands.h"
#include "tools/progress.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(The secrets in the store are sealed with a key from the key file
($AUTHDB_KEY_FILE, else ~/.config/authdb/seal.key).

  authdb key rotate   draw a new key, put it on top of the file and seal
                      everything with it; the old keys stay in the file
  authdb key prune    take out the keys that nothing is sealed with any more

Gateways go on working meanwhile: they take up the new key by themselves.
Rotating may be cut short at any time; `authdb key rotate` again finishes it
before it draws another key. After a prune, copies and backups from before the
rotation cannot be opened: keep a copy of the old key file with them.

Exit codes
  0 done   3 no such store   5 the disk is full: try later
  6 a credential was at work until the deadline; the others are done, run it again
  7 refused: no key, a key file that cannot be written, a damaged journal
  8 some cells could not be opened and stay as they are

Examples
  authdb key rotate && authdb key prune
)man";

int exit_status(const KeyRotation& report) {
  if (report.left.empty()) return kOk;
  for (const Error& error : report.left) {
    if (error.code == Errc::busy) return exit_code(Errc::busy);
  }
  return exit_code(Errc::partly);
}

Json errors_json(const std::vector<Error>& errors) {
  auto json = Json::array();
  for (const Error& error : errors) {
    json.push_back({{"message", error.message}, {"hint", error.hint}});
  }
  return json;
}

Result<int> rotate(Context& context, Store& store) {
  const auto report = [&] {
    const Progress progress(context, "sealing with a new key");
    return rotate_key(store);
  }();
  if (!report) return fail(report.error());
  if (context.globals.json) {
    print_json(context.out, {{"key", report->key},
                             {"resumed", report->resumed},
                             {"cells", report->cells},
                             {"journals", report->journals},
                             {"left", errors_json(report->left)}});
  } else {
    context.out << (report->resumed ? "Finished an earlier rotation: key " : "Key ") << report->key
                << " seals now; " << counted(report->cells, "cell") << " and "
                << counted(report->journals, "journal") << " sealed anew\n";
  }
  for (const Error& error : report->left) cli::report(context, error);
  if (report->left.empty()) {
    context.note("The old keys are still in the key file; `authdb key prune` takes them out.");
  }
  return exit_status(*report);
}

Result<int> prune(Context& context, Store& store) {
  const auto report = prune_keys(store);
  if (!report) return fail(report.error());
  if (context.globals.json) {
    auto kept = Json::array();
    for (const auto& [key, why] : report->kept) kept.push_back({{"key", key}, {"why", why}});
    print_json(context.out, {{"dropped", report->dropped}, {"kept", std::move(kept)}});
    return kOk;
  }
  for (const auto& key : report->dropped) context.out << "Dropped key " << key << '\n';
  for (const auto& [key, why] : report->kept)
    context.out << "Kept key " << key << ": " << why << '\n';
  return kOk;
}

Result<int> run(Context& context, const std::string& action) {
  if (action != "rotate" && action != "prune") {
    return fail(Errc::usage, "there is no `key " + printable(action) + "`",
                "There are rotate and prune.");
  }
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  return action == "rotate" ? rotate(context, *store) : prune(context, *store);
}

Run declare(Arguments& arguments) {
  auto action = std::make_shared<std::string>();
  arguments.positional("ACTION", *action, "rotate or prune");
  return [action](Context& context) { return run(context, *action); };
}

}  // namespace

const Command kKey{"key", Group::keep, "a new seal key, and the end of old ones", kManual, declare};

}  // namespace authdb::cli
