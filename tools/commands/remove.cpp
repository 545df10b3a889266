// authdb remove: out of every pool, and logged out at the provider. `logout` is the same.
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

`authdb undo` takes the last one back within a day. To take it from one profile
only, use `authdb profile unbind`.

Exit codes
  0 done   2 ambiguous target   3 no such store, profile, provider or target
  6 busy   7 refused   8 removed here, but the session may live on at the provider

Examples
  authdb remove nous work@example.org
  authdb remove openrouter '#2'
  authdb logout openai-codex '#1' --keep-remote
)man";

struct Options {
  std::string provider;
  std::string target;
  bool keep_remote = false;
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

Result<int> run(Context& context, const Options& options) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto entry =
      find_target(context, *store, context.profile(), options.provider, options.target);
  if (!entry) return fail(entry.error());
  const auto& uid = entry->credential.uid;
  const auto& identity = entry->credential.identity;
  const auto profiles = store->profiles_of(uid);
  if (!profiles) return fail(profiles.error());

  const auto done =
      oauth::log_out(*store, context.bearer_parts(), uid, context.profile(), options.keep_remote);
  if (!done) return fail(done.error());

  if (context.globals.json) {
    print_json(context.out, {{"removed", uid},
                             {"provider", identity.provider},
                             {"label", identity.label},
                             {"profiles", *profiles},
                             {"remote", word(done->remote)}});
  } else {
    context.out << "Removed " << described(*entry) << '\n';
    if (!profiles->empty()) context.out << "It was used by: " << joined(*profiles) << '\n';
  }
  if (!context.globals.json || done->remote == Remote::failed) {
    tell_remote(context, identity.provider, *done);
  }
  return done->remote == Remote::failed ? exit_code(Errc::partly) : kOk;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place");
  arguments.flag("--keep-remote", options->keep_remote, "leave the session at the provider alone");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kRemove{"remove", Group::manage, "log out: remove a credential everywhere", kManual,
                      declare};
const Command kLogout{"logout", Group::manage, "the same as remove", kManual, declare};

}  // namespace authdb::cli
