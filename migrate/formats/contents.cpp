#include "migrate/formats/contents.h"

#include <algorithm>

#include "migrate/formats/json_text.h"
#include "migrate/formats/slots.h"
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
    if (place.profile == request.profile && place.format == name_of(request.format)) {
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
  const auto unknown = store.last_unknown(request.profile, name_of(request.format));
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

}  // namespace authdb::migrate
