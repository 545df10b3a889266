// authdb priority: the order of a pool.
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/json.h"
#include "tools/render/number.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Moves a credential to place N of its pool; the others move over. 1 is tried
first, and a number beyond the end means the end. Other profiles that use the
same credential keep their order.

Exit codes
  0 done   2 usage, or ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused

Examples
  authdb priority nous work@example.org 1
  authdb priority openrouter '#3' 2 --profile atlas
)man";

struct Options {
  std::string provider;
  std::string target;
  std::string place;
};

Result<int> run(Context& context, const Options& options) {
  const auto place = parse_place(options.place);
  if (!place) return fail(Errc::usage, "N is a place in the pool: 1, 2, 3, …");
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto profile = context.profile();
  const auto entry = find_target(context, *store, profile, options.provider, options.target);
  if (!entry) return fail(entry.error());
  const auto& credential = entry->credential;
  if (entry->position == 0) {
    return fail(Errc::not_found,
                "profile " + in_quotes(profile) + " does not use the " + described(*entry),
                "`authdb profile bind` lets it.");
  }

  if (auto moved = store->set_place(profile, credential.uid, *place); !moved) {
    return fail(moved.error());
  }

  const auto after =
      find_target(context, *store, profile, credential.identity.provider, credential.uid);
  if (!after) return fail(after.error());
  if (context.globals.json) {
    print_json(context.out, {{"provider", credential.identity.provider},
                             {"credential", credential.uid},
                             {"label", credential.identity.label},
                             {"profile", profile},
                             {"position", after->position}});
    return kOk;
  }
  context.out << "Set " << printable(credential.identity.provider) << " credential "
              << in_quotes(credential.identity.label) << " to place " << after->position << '\n';
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose pool");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place");
  arguments.positional("N", options->place, "its new place");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kPriority{"priority", Group::manage, "move a credential within its pool", kManual,
                        declare};

}  // namespace authdb::cli
