// authdb reset: forget that a credential was told to cool down.
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Clears cooldowns and error marks, so that the credential is picked again. Without
TARGET that of the whole pool. Tokens are not touched, and a session that the
provider has ended stays ended.

Exit codes
  0 done   2 ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused

Examples
  authdb reset openrouter
  authdb reset codex work@example.org
)man";

struct Options {
  std::string provider;
  std::string target;
};

Result<std::vector<PoolEntry>> wanted(Context& context, const Store& store,
                                      const Options& options) {
  const auto profile = context.profile();
  if (options.target.empty()) return usable_pool(context, store, profile, options.provider);
  auto entry = find_target(context, store, profile, options.provider, options.target);
  if (!entry) return fail(std::move(entry).error());
  return std::vector<PoolEntry>{*std::move(entry)};
}

Result<int> run(Context& context, const Options& options) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto entries = wanted(context, *store, options);
  if (!entries) return fail(entries.error());

  auto uids = Json::array();
  for (const auto& entry : *entries) {
    if (auto reset = store->reset(entry.credential.uid); !reset) return fail(reset.error());
    uids.push_back(entry.credential.uid);
  }

  const auto& provider = entries->front().credential.identity.provider;
  if (context.globals.json) {
    print_json(context.out, {{"provider", provider}, {"reset", std::move(uids)}});
  } else if (options.target.empty()) {
    context.out << "Reset status on " << entries->size() << ' ' << printable(provider)
                << " credentials\n";
  } else {
    context.out << "Reset status on " << described(entries->front()) << '\n';
  }
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credentials");
  arguments.positional("TARGET", options->target, "which one; without it the whole pool",
                       Need::optional);
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kReset{"reset", Group::manage, "clear cooldowns and error marks", kManual, declare};

}  // namespace authdb::cli
