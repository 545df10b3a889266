#include "tools/choice.h"

#include <algorithm>

#include "oauth/env_key.h"
#include "oauth/login_hint.h"
#include "store/env_source.h"
#include "store/fingerprint.h"
#include "store/target.h"
#include "tools/render/text.h"

namespace authdb::cli {
namespace {

std::string did_you_mean(const std::string& wanted, const std::vector<std::string>& names,
                         std::string otherwise) {
  const auto close = nearest(wanted, names);
  return close.empty() ? otherwise : "Did you mean " + joined(close, " or ") + "?";
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_named(const Credential& credential, std::string_view target) {
  if (target.empty()) return false;
  return credential.uid == target || credential.access_fingerprint == target ||
         credential.agent_key_fingerprint == target ||
         (credential.refresh_hash && fingerprint(*credential.refresh_hash) == target);
}

// A uid or a fingerprint names one credential of the store; a label or a place one of a pool.
Result<std::optional<Credential>> find_named(const Store& store, const std::string& provider,
                                             std::string_view target) {
  auto all = store.list({provider, {}, false});
  if (!all) return fail(std::move(all).error());
  for (auto& credential : *all) {
    if (is_named(credential, target)) return std::optional(std::move(credential));
  }
  return std::optional<Credential>();
}

// Said of a label, or the like, that names a credential in the pools of others only.
std::optional<Error> named_by_others(const Store& store, const std::string& profile,
                                     const std::string& provider, std::string_view target) {
  const auto names = store.profiles();
  std::vector<std::string> users;
  Uid uid;
  for (const auto& name : names ? *names : std::vector<std::string>()) {
    const auto pool = name == profile ? fail(Error{}) : store.pool(name, provider);
    const auto picked = pool ? pick_target(*pool, target) : fail(Error{});
    // A place is one in each pool: nothing is known about what was meant.
    if (!picked || (*picked)->credential.identity.label != target) continue;
    users.push_back(name);
    uid = (*picked)->credential.uid;
  }
  if (users.empty()) return std::nullopt;
  return Error{Errc::not_found,
               "profile " + in_quotes(profile) + " does not use " + printable(provider) +
                   " credential " + in_quotes(target),
               "It is for: " + joined(users) + ". Use `--profile " + printable(users.front()) +
                   "`, or its uid (" + uid + ") with `authdb profile bind`."};
}

// What no profile is bound to is everybody's; what others are bound to is theirs.
Result<PoolEntry> find_elsewhere(const Store& store, const std::string& profile,
                                 const std::string& provider, std::string_view target) {
  auto named = find_named(store, provider, target);
  if (!named) return fail(std::move(named).error());
  if (!*named) {
    const auto pool = store.pool(profile, provider);
    if (!pool) return fail(pool.error());
    return fail(named_by_others(store, profile, provider, target)
                    .value_or(pick_target(*pool, target).error()));
  }
  const auto users = store.profiles_of((*named)->uid);
  if (!users) return fail(users.error());
  if (users->empty()) return PoolEntry{std::move(**named), 0};
  return fail(Errc::not_found,
              "profile " + in_quotes(profile) + " does not use " + printable(provider) +
                  " credential " + printable(std::string(target)),
              "It is for: " + joined(*users) +
                  ". Use --profile, or share it with `authdb profile "
                  "bind " +
                  printable(profile) + " " + provider + " " + (*named)->uid + "`.");
}

Error unknown_provider(Context& context, const std::vector<std::string>& stored,
                       const std::string& provider) {
  if (provider.empty()) {
    return {Errc::not_found, "the name of the provider is empty", "`authdb providers` lists them."};
  }
  auto names = stored;
  for (const auto& known : context.registry().all()) {
    names.push_back(known.id);
    names.insert(names.end(), known.aliases.begin(), known.aliases.end());
  }
  return {Errc::not_found, "there is no provider " + in_quotes(provider),
          did_you_mean(provider, names, "`authdb providers` lists them.")};
}

// What `target` names in the pool, or elsewhere, as things stand.
Result<PoolEntry> find_now(const Store& store, const std::vector<PoolEntry>& pool,
                           const std::string& profile, const std::string& provider,
                           std::string_view target) {
  if (!pool.empty()) {
    const auto picked = pick_target(pool, target);
    if (picked) return **picked;
    if (picked.error().code != Errc::not_found) return fail(picked.error());
  }
  return find_elsewhere(store, profile, provider, target);
}

// The credential of `provider` that had this bearer once.
std::optional<Uid> owner_since(const Store& store, const std::string& provider,
                               std::string_view target) {
  if (!is_fingerprint(target)) return std::nullopt;
  const auto owner = store.owner_of_bearer(std::string(target));
  if (!owner || !*owner) return std::nullopt;
  const auto row = store.find(**owner);
  return row && row->identity.provider == provider ? *owner : std::nullopt;
}

// The API key out of the environment that has this fingerprint now: the store has no copy of it.
std::optional<PoolEntry> key_with(Context& context, const Store& store,
                                  const std::vector<PoolEntry>& pool, std::string_view target) {
  if (!is_fingerprint(target)) return std::nullopt;
  for (const PoolEntry& entry : pool) {
    const Credential& row = entry.credential;
    if (!row.access_fingerprint.empty() || !variable_of(row.identity.source)) continue;
    const auto extra = store.unseal_extra(row.uid);
    if (!extra) continue;
    const auto key = oauth::env_key({row, *extra, context.registry().find(row.identity.provider),
                                     context.env, row.identity.label});
    if (key && fingerprint(*key) == target) return entry;
  }
  return std::nullopt;
}

}  // namespace

Result<void> check_profile(const Store& store, const std::string& profile) {
  const auto names = store.profiles();
  if (!names) return fail(names.error());
  if (contains(*names, profile)) return {};
  return fail(Errc::not_found, "there is no profile " + in_quotes(profile),
              did_you_mean(profile, *names,
                           "`authdb profile list` lists them, `authdb profile add` adds."));
}

std::string provider_id(const Store& store, std::string_view name) {
  std::string id = oauth::ProviderRegistry::canonical_id(name);
  if (id == name) return id;
  const auto rows = store.list({.provider = std::string(name), .profile = {}});
  return rows && !rows->empty() ? std::string(name) : id;
}

Result<std::string> known_provider(Context& context, const Store& store,
                                   std::string_view provider) {
  const auto stored = store.providers();
  if (!stored) return fail(stored.error());
  const auto id = provider_id(store, provider);
  if (contains(*stored, id) || context.registry().find(id) != nullptr) return id;
  return fail(unknown_provider(context, *stored, id));
}

Error why_nothing(Context& context, const Store& store, const std::string& profile,
                  const std::string& provider) {
  const auto known = known_provider(context, store, provider);
  if (!known) return known.error();
  if (auto checked = check_profile(store, profile); !checked) return checked.error();

  Error error{Errc::not_found,
              "profile " + in_quotes(profile) + " has no credential of " + in_quotes(*known),
              oauth::way_to_get_one(context.registry().find(*known), *known, profile) + "."};
  std::vector<std::string> others;
  if (const auto all = store.list({*known, {}, false})) {
    for (const auto& credential : *all) {
      const auto users = store.profiles_of(credential.uid);
      const bool unbound = users && users->empty();
      if (unbound && !contains(others, "nobody")) others.emplace_back("nobody");
      if (users) others.insert(others.end(), users->begin(), users->end());
    }
  }
  std::sort(others.begin(), others.end());
  others.erase(std::unique(others.begin(), others.end()), others.end());
  if (!others.empty()) {
    error.hint = "There are some for: " + joined(others) +
                 ". Use --profile, or share one with `authdb profile bind " + printable(profile) +
                 " " + *known + " UID`.";
  }
  return error;
}

Result<std::vector<PoolEntry>> usable_pool(Context& context, const Store& store,
                                           const std::string& profile,
                                           const std::string& provider) {
  auto pool = store.pool(profile, provider_id(store, provider));
  if (pool && pool->empty()) return fail(why_nothing(context, store, profile, provider));
  return pool;
}

Result<PoolEntry> find_target(Context& context, const Store& store, const std::string& profile,
                              const std::string& provider, std::string_view target) {
  const auto id = provider_id(store, provider);
  const auto pool = store.pool(profile, id);
  if (!pool) return fail(pool.error());
  auto found = find_now(store, *pool, profile, id, target);
  if (found || found.error().code != Errc::not_found) return found;
  // A bearer that was replaced since names its credential as surely as the one that is there now.
  if (const auto owner = owner_since(store, std::string(id), target)) {
    return find_now(store, *pool, profile, id, *owner);
  }
  if (auto entry = key_with(context, store, *pool, target)) return *std::move(entry);
  if (pool->empty()) return fail(why_nothing(context, store, profile, provider));
  return found;
}

Result<PoolEntry> find_anywhere(Context& context, const Store& store, const std::string& profile,
                                const std::string& provider, std::string_view target) {
  const auto named = find_named(store, provider_id(store, provider), target);
  if (!named) return fail(named.error());
  if (*named) return PoolEntry{**named, 0};
  return find_target(context, store, profile, provider, target);
}

Result<PoolEntry> find_or_pick(Context& context, const Store& store, const std::string& profile,
                               const std::string& provider, const std::string& target,
                               bool (*fits)(const Credential&)) {
  if (!target.empty()) return find_target(context, store, profile, provider, target);
  const auto pool = usable_pool(context, store, profile, provider);
  if (!pool) return fail(pool.error());
  const auto state = store.provider_state(profile, pool->front().credential.identity.provider);
  if (!state) return fail(state.error());

  std::vector<PoolEntry> fitting;
  for (const auto& entry : *pool) {
    if (fits(entry.credential)) fitting.push_back(entry);
  }
  if (fitting.empty()) {
    return fail(
        Errc::not_found,
        "profile " + in_quotes(profile) + " has no " + in_quotes(provider) +
            " credential that this could be done with",
        "`authdb list` shows what there is; an API key, and a login without a refresh token, is "
        "neither refreshed nor minted.");
  }
  const auto* next = next_pick(fitting, state->strategy, context.clock());
  return next != nullptr ? *next : fitting.front();
}

std::string described(const PoolEntry& entry) {
  const auto& identity = entry.credential.identity;
  auto text = identity.provider + " credential ";
  text += entry.position > 0 ? "#" + std::to_string(entry.position) : entry.credential.uid;
  return printable(text + " (" + identity.label + ")");
}

const PoolEntry* next_pick(const std::vector<PoolEntry>& pool, Strategy strategy, Instant now) {
  if (strategy == Strategy::random) return nullptr;
  std::minstd_rand unused;
  const auto order = in_order(pool, strategy, now, unused);
  return order.empty() ? nullptr : order.front();
}

}  // namespace authdb::cli
