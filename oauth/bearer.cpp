#include "oauth/bearer.h"

#include <algorithm>

#include "oauth/serve.h"
#include "oauth/token_endpoint.h"
#include "store/pool.h"

namespace authdb::oauth {
namespace {

bool may_try_next(Errc code) {
  return code == Errc::try_later || code == Errc::login_needed || code == Errc::not_found;
}

std::string named(const Credential& row) {
  return "\"" + row.identity.label + "\" (" + row.uid + ")";
}

tl::unexpected<Error> empty_pool(const BearerRequest& request) {
  return fail(
      Errc::not_found, "no credential for " + request.provider + " in profile " + request.profile,
      "Import what other tools have: authdb migrate. Or add one: authdb add " + request.provider);
}

// Every entry and what keeps it from being used.
tl::unexpected<Error> none_selectable(const std::vector<PoolEntry>& pool,
                                      const BearerRequest& request, const BearerParts& parts,
                                      Instant now) {
  std::string list;
  std::optional<Instant> soonest;
  for (const PoolEntry& entry : pool) {
    const Credential& row = entry.credential;
    const std::string_view reason = why_not(entry, now);
    list += (list.empty() ? "" : "; ") + named(row) + " is " + std::string(reason);
    if (reason != "cooling") continue;
    const Instant until = *row.health.cooldown_until;
    list += " for " + std::to_string(std::chrono::ceil<Seconds>(until - now).count()) + " s";
    soonest = soonest ? std::min(*soonest, until) : until;
  }
  std::string message = "no credential for " + request.provider + " in profile " + request.profile +
                        " can be used now: " + list;
  if (soonest) {
    return fail(Errc::try_later, std::move(message),
                "Try again in " +
                    std::to_string(std::chrono::ceil<Seconds>(*soonest - now).count()) +
                    " s, or lift it: authdb reset " + request.provider);
  }
  const std::string_view first = why_not(pool.front(), now);
  if (first == "handed_over") {
    return fail(Errc::try_later, std::move(message),
                "Another tool refreshes it now; authdb migrate takes it back.");
  }
  if (first == "conflict") {
    return fail(Errc::login_needed, std::move(message),
                "Say which copy is the live one: authdb migrate --prefer PATH");
  }
  return fail(Errc::login_needed, std::move(message), login_hint(parts, request.provider));
}

bool owns(const Credential& row, const std::string& bearer) {
  return row.access_fingerprint == bearer || row.agent_key_fingerprint == bearer;
}

// Whose bearer was rejected goes first, so that it is replaced whatever the strategy.
void owner_first(std::vector<const PoolEntry*>& order, const std::string& rejected) {
  if (rejected.empty()) return;
  std::stable_partition(order.begin(), order.end(),
                        [&](const PoolEntry* entry) { return owns(entry->credential, rejected); });
}

}  // namespace

EndpointFor endpoints(BearerParts parts, Clock clock) {
  return [parts = std::move(parts), clock = std::move(clock),
          discoveries = std::make_shared<Discoveries>()](
             const Identity& identity) -> std::unique_ptr<TokenEndpoint> {
    const Provider* provider = parts.registry().find(identity.provider);
    if (provider == nullptr) return nullptr;
    return std::make_unique<OAuthTokenEndpoint>(
        TokenEndpointParts{provider, identity, parts.http, parts.environment, clock, discoveries});
  };
}

BearerSource::BearerSource(Store store, BearerParts parts)
    : store_(std::move(store)), parts_(std::move(parts)) {}

Result<Bearer> BearerSource::bearer(const BearerRequest& request) {
  const Serving serving(store_, parts_, request);
  if (!request.credential.empty()) {
    const auto row = store_.find(request.credential);
    if (!row) return fail(row.error());
    if (row->health.status == Status::dead) {
      return none_selectable({PoolEntry{*row}}, request, parts_, store_.now());
    }
    return serving.serve(*row);
  }
  const auto pool = store_.pool(request.profile, request.provider);
  if (!pool) return fail(pool.error());
  if (pool->empty()) return empty_pool(request);
  const auto state = store_.provider_state(request.profile, request.provider);
  if (!state) return fail(state.error());

  const Instant now = store_.now();
  std::minstd_rand random;
  if (state->strategy == Strategy::random) random.seed(std::random_device{}());
  auto order = in_order(*pool, state->strategy, now, random);
  if (order.empty()) return none_selectable(*pool, request, parts_, now);
  owner_first(order, request.rejected);

  std::optional<Error> first;
  for (const PoolEntry* entry : order) {
    auto bearer = serving.serve(entry->credential);
    if (!bearer) {
      if (!may_try_next(bearer.error().code)) return bearer;
      if (!first) first = bearer.error();
      continue;
    }
    if (first) bearer->warnings.insert(bearer->warnings.begin(), first->message);
    if (state->strategy == Strategy::round_robin || state->strategy == Strategy::least_used) {
      (void)store_.touch(entry->credential.uid);  // only a counter: never worth a bearer
    }
    return bearer;
  }
  return fail(std::move(*first));
}

Result<Bearer> BearerSource::refresh(const Uid& credential, const std::string& profile,
                                     bool replay) {
  const auto row = store_.find(credential);
  if (!row) return fail(row.error());
  BearerRequest request;
  request.provider = row->identity.provider;
  request.profile = profile;
  return Serving(store_, parts_, request).refresh(*row, replay);
}

Result<Bearer> BearerSource::mint(const Uid& credential, const std::string& profile) {
  const auto row = store_.find(credential);
  if (!row) return fail(row.error());
  BearerRequest request;
  request.provider = row->identity.provider;
  request.profile = profile;
  return Serving(store_, parts_, request).mint(*row);
}

}  // namespace authdb::oauth
