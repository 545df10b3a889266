// authdb refresh: spends a refresh token now.
#include "store/words.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/projections.h"
#include "tools/render/bearer.h"
#include "tools/render/duration.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Refreshes one credential now, due or not, cooling down or not. Without TARGET it
is the one that the profile's strategy would pick. There is no need for it in
daily use: `authdb token` refreshes what is due.

If another process refreshes the same credential at this moment, its result is
taken over and nothing is sent twice. A refresh whose answer got lost is not
repeated while a bearer of the credential still works, because sending a spent
token again can end the whole session; --replay repeats it all the same.

The files of tools that the store keeps supplied are brought up to date, under
their tools' own locks. Where one of these is not free in time, it is refreshed
all the same, a warning names the file, and the exit code is 6.

Exit codes
  0 done   2 usage   3 no such store, profile, provider or target
  4 somebody must log in   5 try later   6 busy   7 refused

Examples
  authdb refresh nous
  authdb refresh codex work@example.org
  authdb refresh nous '#2' --json
)man";

struct Options {
  std::string provider;
  std::string target;
  bool replay = false;
};

bool can_refresh(const Credential& credential) { return credential.refresh_hash.has_value(); }

std::string sentence(const PoolEntry& entry, const Credential& after, const oauth::Bearer& bearer,
                     Instant now) {
  std::string text;
  switch (bearer.action) {
    case Action::refreshed:
    case Action::minted:
      text = "Refreshed ";
      break;
    case Action::adopted:
      text = "Adopted current tokens for ";
      break;
    case Action::recovered:
      text = "Recovered an answer that another process left behind for ";
      break;
    case Action::cached:
      text = "Nothing to refresh on ";
      break;
  }
  text += described(entry) + "; status: " + std::string(word(after.health.status));
  // What came just now may be in the journal alone, and the row still of before.
  if (const auto& ends = bearer.expires_at ? bearer.expires_at : after.expires_at) {
    const auto left = std::chrono::duration_cast<Seconds>(*ends - now);
    text += left > Seconds{0} ? "; expires in " + duration(left) : "; expired";
  }
  return text;
}

Result<int> run(Context& context, const Options& options) {
  auto store = open_store(context, OpenMode::use);
  if (!store) return fail(store.error());
  const auto profile = context.profile();
  const auto entry =
      find_or_pick(context, *store, profile, options.provider, options.target, can_refresh);
  if (!entry) return fail(entry.error());
  if (!can_refresh(entry->credential)) {
    const bool is_key = entry->credential.identity.auth_type == AuthType::api_key;
    return fail(is_key ? Errc::usage : Errc::login_needed,
                "the " + described(*entry) + " is not a refreshable OAuth credential",
                is_key ? "It is an API key." : "It has no refresh token: log in again.");
  }

  const auto bearer = oauth::BearerSource(*store, context.bearer_parts())
                          .refresh(entry->credential.uid, profile, options.replay);
  if (!bearer) return fail(bearer.error());

  for (const auto& warning : bearer->warnings) context.warn(warning);
  const bool all_free = update_projections(context, *store, store->lock_wait());
  const int code = all_free ? kOk : exit_code(Errc::busy);
  if (context.globals.json) {
    print_bearer_json(context.out, *bearer, context.clock(), Reveal::no);
    return code;
  }
  const auto after = store->find(entry->credential.uid);
  if (!after) return fail(after.error());
  context.out << sentence(*entry, *after, *bearer, context.clock()) << '\n';
  return code;
}

Run declare(Arguments& arguments) {
  auto options = std::make_shared<Options>();
  arguments.positional("PROVIDER", options->provider, "whose credential");
  arguments.positional("TARGET", options->target, "which one: uid, fingerprint, label or place",
                       Need::optional);
  arguments.flag("--replay", options->replay, "also if an earlier answer got lost");
  return [options](Context& context) { return run(context, *options); };
}

}  // namespace

const Command kRefresh{"refresh", Group::use, "refresh one credential now", kManual, declare};

}  // namespace authdb::cli
