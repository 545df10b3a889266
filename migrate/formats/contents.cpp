#include "migrate/formats/contents.h"

#include <algorithm>

#include "migrate/formats/json_text.h"
#include "store/pool.h"
#include "store/rotation.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

// As it stands, or as it stands once whatever was under way is settled.
Result<Held> read_held(const Store& store, const Uid& uid, const ExportRequest& request,
                       AuthType type) {
  if (!request.with_refresh_tokens || type == AuthType::api_key) return store.unseal(uid);
  const auto locked = LockedCredential::acquire(store, uid, {request.lock_wait});
  if (!locked) return fail(locked.error());
  return locked->held().clone();
}

Result<Shown> read_shown(const Store& store, const Credential& row, const ExportRequest& request) {
  auto held = read_held(store, row.uid, request, row.identity.auth_type);
  if (!held) return fail(std::move(held.error()));
  drop_rejected(*held);
  doubt_times(held->row, store.now());
  const auto extra = store.unseal_extra(row.uid);
  if (!extra) return fail(extra.error());
  Shown shown{std::move(*held), open_text(*extra), {}};
  for (Imprint& place : imprints_in(shown.extra)) {
    if (place.profile == request.profile && place.format == request.format) {
      shown.places.push_back(std::move(place));
    }
  }
  return shown;
}

Result<void> read_pools(const Store& store, const ExportRequest& request, Contents& contents) {
  const auto rows = store.list({.profile = request.profile});
  if (!rows) return fail(rows.error());
  for (const Credential& row : *rows) contents.pools[row.identity.provider];
  for (auto& [provider, pool] : contents.pools) {
    const auto entries = store.pool(request.profile, provider);
    if (!entries) return fail(entries.error());
    for (const PoolEntry& entry : *entries) {
      auto shown = read_shown(store, entry.credential, request);
      if (!shown) return fail(shown.error());
      pool.push_back(std::move(*shown));
    }
  }
  return {};
}

}  // namespace

Result<Contents> contents_for(const Store& store, const ExportRequest& request) {
  const auto profiles = store.profiles();
  if (!profiles) return fail(profiles.error());
  if (std::find(profiles->begin(), profiles->end(), request.profile) == profiles->end()) {
    return fail(Errc::not_found, "There is no profile " + request.profile,
                "`authdb profile list` shows those there are.");
  }
  Contents contents;
  contents.now = store.now();
  contents.with_refresh = request.with_refresh_tokens;
  if (const auto read = read_pools(store, request, contents); !read) return fail(read.error());
  auto states = store.provider_states(request.profile);
  if (!states) return fail(std::move(states.error()));
  contents.states = std::move(*states);
  const auto unknown = store.last_unknown(request.profile, request.format);
  if (!unknown) return fail(unknown.error());
  contents.unknown = open_text(*unknown);
  return contents;
}

const Shown* only_login(const Contents& contents, const std::string& provider) {
  const auto pool = contents.pools.find(provider);
  if (pool == contents.pools.end()) return nullptr;
  const Shown* first = nullptr;
  for (const Shown& shown : pool->second) {
    if (!shown.places.empty()) return &shown;
    const bool login =
        shown.identity().auth_type == AuthType::oauth && !shown.held.row.access_fingerprint.empty();
    if (!first && login) first = &shown;
  }
  return first;
}

const Shown* only_key(const Contents& contents, const std::string& provider) {
  const auto pool = contents.pools.find(provider);
  if (pool == contents.pools.end()) return nullptr;
  const Shown* first = nullptr;
  for (const Shown& shown : pool->second) {
    if (shown.held.access_token.empty()) continue;
    if (!shown.places.empty()) return &shown;
    if (!first) first = &shown;
  }
  return first;
}

tl::unexpected<Error> nothing_for(const ExportRequest& request, const std::string& what) {
  return fail(Errc::not_found,
              "Profile " + request.profile + " has no " + what + " that a " +
                  std::string(request.format) + " file could hold",
              "`authdb list --profile " + request.profile + "` shows what it has.");
}

json rest_of(const Contents& contents) {
  json rest = contents.unknown;
  rest.erase(kNotImported);
  return rest;
}

json block_of(const Contents& contents, const Shown& shown, const Spelling& spelling, json fresh) {
  const bool known = !shown.places.empty();
  json block = std::move(fresh);
  if (known) block = shown.places.front().as;
  write_grant(block, spelling, shown.held, {.with_refresh = contents.with_refresh, .anew = !known});
  return block;
}

Result<json> flat_tree(const Contents& contents, const ExportRequest& request, const char* provider,
                       const Spelling& spelling, json fresh) {
  const Shown* shown = only_login(contents, provider);
  if (!shown) return nothing_for(request, std::string(provider) + " login");
  json root = block_of(contents, *shown, spelling, std::move(fresh));
  root.update(rest_of(contents));
  return root;
}

}  // namespace authdb::migrate
