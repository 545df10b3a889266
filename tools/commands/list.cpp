// authdb list: the pools of a profile, in order.
#include "store/words.h"
#include "tools/choice.h"
#include "tools/commands/commands.h"
#include "tools/render/duration.h"
#include "tools/render/json.h"
#include "tools/render/table.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

constexpr std::string_view kManual =
    R"man(Shows what a profile may use: one pool per provider, in the order in which its
credentials are tried. `←` is the one that the next `authdb token` would use; it
is absent when none can be used, and when the strategy is `random`.

The number is a TARGET for other commands, and so are uid and label.

Exit codes
  0 done   3 no such store, profile or provider   7 refused

Examples
  authdb list
  authdb list nous --profile atlas
  authdb list --json
)man";

struct Pool {
  std::string provider;
  Strategy strategy = Strategy::fill_first;
  std::vector<PoolEntry> entries;
  const PoolEntry* next = nullptr;
};

Result<std::vector<std::string>> wanted_providers(Context& context, const Store& store,
                                                  const std::string& only) {
  if (only.empty()) return store.providers();
  auto known = known_provider(context, store, only);
  if (!known) return fail(std::move(known).error());
  return std::vector<std::string>{*std::move(known)};
}

Result<Pool> read_pool(const Store& store, const std::string& profile, const std::string& provider,
                       Instant now) {
  auto entries = store.pool(profile, provider);
  if (!entries) return fail(std::move(entries).error());
  const auto state = store.provider_state(profile, provider);
  if (!state) return fail(state.error());
  Pool pool{provider, state->strategy, *std::move(entries), nullptr};
  pool.next = next_pick(pool.entries, pool.strategy, now);
  return pool;
}

// `rate-limited usage_limit_reached (429) (14h 34m left)`, as Hermes shows it.
TableCell status_cell(const Credential& credential, Instant now) {
  const auto& health = credential.health;
  const auto reason = health.error_reason.empty() ? "" : " " + health.error_reason;
  const auto code = health.error_code ? " (" + std::to_string(*health.error_code) + ")" : "";
  if (credential.hold != Hold::none)
    return {"held: " + std::string(word(credential.hold)), Tone::caution};
  if (health.status == Status::dead)
    return {"auth failed" + reason + code + " (login needed)", Tone::bad};
  if (health.status == Status::ok) return {};
  const bool refused = health.error_code == 401 || health.error_code == 403;
  if (refused) return {"auth failed" + reason + code + " (re-auth may be required)", Tone::caution};
  const auto verb = health.error_code == 429 ? "rate-limited" : "exhausted";
  const bool waiting = health.cooldown_until && *health.cooldown_until > now;
  const auto rest =
      waiting ? " (" + duration(std::chrono::duration_cast<Seconds>(*health.cooldown_until - now)) +
                    " left)"
              : " (ready to retry)";
  return {verb + reason + code + rest, Tone::caution};
}

void print_pool(Context& context, const Pool& pool) {
  const auto now = context.clock();
  context.out << printable(pool.provider) << " ("
              << counted(std::ssize(pool.entries), "credential");
  if (pool.strategy != Strategy::fill_first) context.out << ", " << word(pool.strategy);
  context.out << "):\n";
  Table table({});
  for (const auto& entry : pool.entries) {
    const auto& identity = entry.credential.identity;
    auto source = identity.source;
    if (source.starts_with("manual:")) source.erase(0, 7);
    auto status = status_cell(entry.credential, now);
    // Nothing marked it, and still it is passed over: without a token, for instance.
    if (status.text.empty()) status = {std::string(why_not(entry, now)), Tone::caution};
    table.add({{"  #" + std::to_string(entry.position)},
               {identity.label},
               {std::string(word(identity.auth_type))},
               {"id=" + entry.credential.uid, Tone::faint},
               {source},
               status,
               {&entry == pool.next ? "←" : "", Tone::good}});
  }
  table.draw(context.out, context.colour());
}

Json pool_json(const Pool& pool, const std::string& profile, Instant now) {
  auto credentials = Json::array();
  for (const auto& entry : pool.entries) {
    const auto& credential = entry.credential;
    credentials.push_back({{"position", entry.position},
                           {"uid", credential.uid},
                           {"label", credential.identity.label},
                           {"auth_type", word(credential.identity.auth_type)},
                           {"source", or_null(credential.identity.source)},
                           {"account", or_null(credential.identity.account)},
                           {"bearer_kind", word(credential.bearer_kind)},
                           {"fingerprint", or_null(credential.access_fingerprint)},
                           {"expires_at", to_json(credential.expires_at)},
                           {"hold", or_null(std::string(word(credential.hold)))},
                           {"status", word(credential.health.status)},
                           {"cooldown_until", to_json(credential.health.cooldown_until)},
                           {"why_not", or_null(std::string(why_not(entry, now)))},
                           {"next", &entry == pool.next}});
  }
  return {{"profile", profile},
          {"provider", pool.provider},
          {"strategy", word(pool.strategy)},
          {"credentials", std::move(credentials)}};
}

void mention_others(Context& context, const Store& store, const std::string& profile) {
  const auto names = store.profiles();
  std::vector<std::string> others;
  for (const auto& name : names ? *names : std::vector<std::string>()) {
    if (name != profile) others.push_back(name);
  }
  if (!others.empty()) context.note("Other profiles: " + joined(others) + " (--profile NAME).");
}

Result<int> run(Context& context, const std::string& only) {
  const auto store = open_store(context, OpenMode::look);
  if (!store) return fail(store.error());
  const auto profile = context.profile();
  const auto providers = wanted_providers(context, *store, only);
  if (!providers) return fail(providers.error());

  const auto now = context.clock();
  auto pools = std::vector<Pool>();
  for (const auto& provider : *providers) {
    auto pool = read_pool(*store, profile, provider, now);
    if (!pool) return fail(std::move(pool).error());
    if (!pool->entries.empty()) pools.push_back(*std::move(pool));
  }
  if (pools.empty()) {
    if (!only.empty()) return fail(why_nothing(context, *store, profile, only));
    if (auto checked = check_profile(*store, profile); !checked) return fail(checked.error());
  }

  if (context.globals.json) {
    auto json = Json::array();
    for (const auto& pool : pools) json.push_back(pool_json(pool, profile, now));
    print_json(context.out, json);
    return kOk;
  }
  for (const auto& pool : pools) {
    if (&pool != &pools.front()) context.out << '\n';
    print_pool(context, pool);
  }
  if (pools.empty()) context.note("Profile " + in_quotes(profile) + " has no credentials.");
  mention_others(context, *store, profile);
  return kOk;
}

Run declare(Arguments& arguments) {
  auto provider = std::make_shared<std::string>();
  arguments.positional("PROVIDER", *provider, "only its pool", Need::optional);
  return [provider](Context& context) { return run(context, *provider); };
}

}  // namespace

const Command kList{"list", Group::look, "what a profile may use, in order", kManual, declare};

}  // namespace authdb::cli
