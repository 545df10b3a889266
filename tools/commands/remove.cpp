// authdb remove: out of every pool, for good. `logout` is the same.
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Removes one credential from the store, and with it from every profile that uses
it. Its refresh token is retired: it will not come back with the next `migrate`.
The provider is not told, and tokens that are in use elsewhere live on until
they expire.

To take it from one profile only, use `authdb profile unbind`.

Exit codes
  0 done   2 ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused

Examples
  authdb remove nous work@example.org
  authdb remove openrouter '#2'
)man";

struct Options {
  std::string provider;
  std::string target;
};

Result<int> run(Context& context, const Options& options) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto entry =
      find_target(context, *store, context.profile(), options.provider, options.target);
  if (!entry) return fail(entry.error());
  const auto& uid = entry->credential.uid;
  const auto profiles = store->profiles_of(uid);
  if (!profiles) return fail(profiles.error());

  if (auto removed = store->remove(uid); !removed) return fail(removed.error());

  if (context.globals.json) {
    print_json(context.out, {{"removed", uid},
                             {"provider", entry->credential.identity.provider},
                             {"label", entry->credential.identity.label},
                             {"profiles", *profiles}});
    return kOk;
  }
  context.out << "Removed " << described(*entry) << '\n';
  if (!profiles->empty()) context.out << "It was used by: " << joined(*profiles) << '\n';
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kRemove{"remove", Group::manage, "remove a credential from every profile", kManual,
                      declare};
const Command kLogout{"logout", Group::manage, "the same as remove", kManual, declare};

}  // namespace authdb::cli
