// authdb mint: a new agent key now.
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/projections.h"
#include "tools/render/bearer.h"
#include "tools/render/duration.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Mints a new agent key from a credential's access token now, and refreshes the
access token first if that is due. Without TARGET it is the credential that the
profile's strategy would pick. There is no need for it in daily use: `authdb
token` mints what is missing or about to expire.

Exit codes
  0 done   2 usage   3 no such store, profile, provider or target
  4 somebody must log in   5 try later   6 busy   7 refused

Examples
  authdb mint nous
  authdb mint nous work@example.org --json
)man";

struct Options {
  std::string provider;
  std::string target;
};

bool can_mint(const Credential& credential) {
  return credential.bearer_kind == BearerKind::agent_key;
}

Result<int> run(Context& context, const Options& options) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto profile = context.profile();
  const auto entry =
      find_or_pick(context, *store, profile, options.provider, options.target, can_mint);
  if (!entry) return fail(entry.error());
  if (!can_mint(entry->credential)) {
    return fail(Errc::usage, "the " + described(*entry) + " has no agent keys",
                "`authdb token` returns its bearer.");
  }

  const auto bearer =
      oauth::BearerSource(*store, context.bearer_parts()).mint(entry->credential.uid, profile);
  if (!bearer) return fail(bearer.error());

  for (const auto& warning : bearer->warnings) context.warn(warning);
  update_projections(context, *store);
  if (context.globals.json) {
    print_bearer_json(context.out, *bearer, context.clock(), Reveal::no);
    return kOk;
  }
  context.out << "Minted " << bearer->fingerprint << " for " << described(*entry);
  if (bearer->expires_at) {
    const auto left = *bearer->expires_at - context.clock();
    context.out << "; expires in " << duration(std::chrono::duration_cast<Seconds>(left));
  }
  context.out << '\n';
  return kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place",
                       Need::optional);
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kMint{"mint", Group::use, "mint a new agent key now", kManual, declare};

}  // namespace authdb::cli
