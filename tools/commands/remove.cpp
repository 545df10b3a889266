// authdb remove: out of every pool, and logged out at the provider. `logout` is the same.
#include <algorithm>

#include "oauth/revocation.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/json.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

using oauth::Remote;

constexpr std::string_view kManual =
    R"man(Removes one credential from the store, and with it from every profile that uses
it, and ends its session at the provider where that offers revocation (RFC 7009).
Its refresh token is retired: it will not come back with the next `migrate`.

The credential goes first, whatever the provider answers. If the session could
not be ended there, this is said, and the exit code is 8: take it back with
`authdb undo` and remove it again to try once more. Agent keys and tokens that are
in use elsewhere may live on until they expire.

`authdb undo` takes the last one back within a day. Where other profiles use it as
well, this is said first, and at a terminal asked: to take it from one profile
only, use `authdb profile unbind`.

`authdb logout PROVIDER` without a target ends all that the profile has of that
provider, after asking; --yes answers.

Exit codes
  0 done   2 usage, or ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused, or a person said no   8 removed here, but the session may live
  on at the provider

Examples
  authdb remove nous work@example.org
  authdb remove openrouter '#2'
  authdb logout openai-codex '#1' --keep-remote
  authdb logout nous --yes
)man";

struct Options {
  std::string provider;
  std::string target;
  bool keep_remote = false;
  bool yes = false;
};

std::string_view word(Remote remote) {
  switch (remote) {
    case Remote::revoked:
      return "revoked";
    case Remote::kept:
      return "kept";
    case Remote::not_offered:
      return "not_offered";
    case Remote::failed:
      return "failed";
  }
  return "failed";
}

void tell_remote(Context& context, const std::string& provider, const oauth::LoggedOut& done) {
  if (done.remote == Remote::revoked) context.out << "Its session at the provider is ended.\n";
  if (done.remote == Remote::not_offered) {
    context.note(provider + " offers no revocation: the session there ends when it expires.");
  }
  if (done.remote == Remote::failed) {
    context.warn("the session at " + provider + " may live on: " + done.message);
    context.note("To try again: authdb undo, and remove it once more.");
  }
}

// Ok where nobody is there to be asked, too: what they were told stands above.
Result<void> ask(Context& context, const std::string& question, const Options& options) {
  if (options.yes || !context.ask) return {};
  const auto answer = context.ask(question + " [y/N] ");
  if (!answer) return fail(answer.error());
  const std::string_view said = answer->reveal();
  if (said.starts_with('y') || said.starts_with('Y')) return {};
  return fail(Errc::refused, "nothing was removed: the answer was no");
}

// Who else loses it.
Result<void> warn_others(Context& context, const Store& store, const PoolEntry& entry,
                         const Options& options) {
  auto others = store.profiles_of(entry.credential.uid);
  if (!others) return fail(others.error());
  std::erase(*others, context.profile());
  if (others->empty()) return {};
  context.note("Other profiles use " + described(entry) + " too: " + joined(*others) +
               ". To take it from one only: authdb profile unbind NAME " +
               entry.credential.identity.provider + " " + entry.credential.uid);
  return ask(context, "Remove it from all of them?", options);
}

// One that is gone, and what became of its session.
struct Gone {
  PoolEntry entry;
  std::vector<std::string> profiles;
  oauth::LoggedOut done;
};

Result<Gone> remove(Context& context, Store& store, const PoolEntry& entry,
                    const Options& options) {
  const auto& uid = entry.credential.uid;
  auto profiles = store.profiles_of(uid);
  if (!profiles) return fail(profiles.error());
  auto done =
      oauth::log_out(store, context.bearer_parts(), uid, context.profile(), options.keep_remote);
  if (!done) return fail(done.error());
  return Gone{entry, std::move(*profiles), std::move(*done)};
}

Json to_json(const Gone& gone) {
  const auto& identity = gone.entry.credential.identity;
  return {{"removed", gone.entry.credential.uid},
          {"provider", identity.provider},
          {"label", identity.label},
          {"profiles", gone.profiles},
          {"remote", word(gone.done.remote)}};
}

void tell(Context& context, const Gone& gone) {
  if (!context.globals.json) {
    context.out << "Removed " << described(gone.entry) << '\n';
    if (!gone.profiles.empty()) context.out << "It was used by: " << joined(gone.profiles) << '\n';
  }
  if (!context.globals.json || gone.done.remote == Remote::failed) {
    tell_remote(context, gone.entry.credential.identity.provider, gone.done);
  }
}

int status_of(const Gone& gone) {
  return gone.done.remote == Remote::failed ? exit_code(Errc::partly) : kOk;
}

Result<int> run(Context& context, const Options& options) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto entry =
      find_target(context, *store, context.profile(), options.provider, options.target);
  if (!entry) return fail(entry.error());
  if (auto agreed = warn_others(context, *store, *entry, options); !agreed) {
    return fail(agreed.error());
  }
  const auto gone = remove(context, *store, *entry, options);
  if (!gone) return fail(gone.error());
  if (context.globals.json) print_json(context.out, to_json(*gone));
  tell(context, *gone);
  return status_of(*gone);
}

Result<int> run_all(Context& context, const Options& options) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto pool =
      usable_pool(context, *store, context.profile(), provider_id(*store, options.provider));
  if (!pool) return fail(pool.error());
  const std::string what = "all " + std::to_string(pool->size()) + " of " + options.provider;
  if (!options.yes && !context.ask) {
    return fail(Errc::usage, "without a TARGET, logout ends " + what,
                "Name the one that is meant, or say --yes.");
  }
  for (const PoolEntry& entry : *pool) context.note("  " + described(entry));
  if (auto agreed = ask(context, "Log out of " + what + "?", options); !agreed) {
    return fail(agreed.error());
  }
  int worst = kOk;
  Json all = Json::array();
  for (const PoolEntry& entry : *pool) {
    const auto gone = remove(context, *store, entry, options);
    if (!gone) return fail(gone.error());
    all.push_back(to_json(*gone));
    tell(context, *gone);
    worst = std::max(worst, status_of(*gone));
  }
  if (context.globals.json) print_json(context.out, all);
  return worst;
}

void declare_others(Arguments& arguments, Options& options) {
  arguments.flag("--keep-remote", options.keep_remote, "leave the session at the provider alone");
  arguments.flag("--yes", options.yes, "do not ask");
}

Run declare_remove(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place");
  declare_others(arguments, *options);
  return [options](Context& context) { return run(context, *options); };
}

Run declare_logout(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one; none: all of the provider",
                       Need::optional);
  declare_others(arguments, *options);
  return [options](Context& context) {
    return options->target.empty() ? run_all(context, *options) : run(context, *options);
  };
}

}  // namespace

const Command kRemove{"remove", Group::manage, "log out: remove a credential everywhere", kManual,
                      declare_remove};
const Command kLogout{"logout", Group::manage, "the same as remove; of all of a provider, too",
                      kManual, declare_logout};

}  // namespace authdb::cli
