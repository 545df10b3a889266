#include "oauth/bearer.h"

#include <algorithm>

#include "oauth/discovery.h"
#include "oauth/login_hint.h"
#include "oauth/serve.h"
#include "oauth/token_endpoint.h"
#include "store/pool.h"
#include "store/scrub.h"
#include "store/timestamp.h"

namespace authdb::oauth {
namespace {

// refused: its journal may be damaged, which is nothing to the others.
bool may_try_next(Errc code) {
  return code == Errc::try_later || code == Errc::login_needed || code == Errc::not_found ||
         code == Errc::busy || code == Errc::refused;
}

std::string named(const Credential& row) {
  return "\"" + shortened(row.identity.label, kShownLabel) + "\" (" + row.uid + ")";
}

// As a sentence goes on after "is".
std::string in_words(std::string_view why_not) {
  if (why_not == "conflict") return "in conflict";
  return why_not == "handed_over" ? "handed over" : std::string(why_not);
}

tl::unexpected<Error> empty_pool(const BearerRequest& request, const BearerParts& parts) {
  const Provider* known = parts.registry ? parts.registry().find(request.provider) : nullptr;
  return fail(Errc::not_found,
              "no credential for " + request.provider + " in profile " + request.profile,
              "`authdb migrate` imports what other tools have; " +
                  way_to_get_one(known, request.provider, request.profile) + ".");
}

// Every entry and what keeps it from being used.
tl::unexpected<Error> none_selectable(const std::vector<PoolEntry>& pool,
                                      const BearerRequest& request, const BearerParts& parts,
                                      const Store& store) {
  const Instant now = store.now();
  std::string list;
  std::optional<Instant> soonest;
  for (const PoolEntry& entry : pool) {
    const Credential& row = entry.credential;
    const std::string_view reason = why_not(entry, now);
    list += (list.empty() ? "" : "; ") + named(row) + " is " + in_words(reason);
    if (reason == "dead" && !row.health.error_message.empty()) {
      list += " (" + row.health.error_message + ")";
    }
    if (reason != "cooling") continue;
    const Instant until = cooling_until(entry, now).value_or(now);
    list += " until " + format_iso(until);
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
  if (first == "conflict" && pool.front().credential.refresh_hash) {
    return fail(Errc::login_needed, std::move(message),
                "Say which copy is the live one: authdb migrate --prefer PATH");
  }
  return fail(Errc::login_needed, std::move(message),
              login_hint(parts, store, pool.front().credential));
}

// A grant has the bearers that the store gave it. An API key may be kept elsewhere, so of those
// only what the ledger knows was one before.
bool was_replaced(const Store& store, const Credential& row, const std::string& bearer) {
  if (owns_bearer(row, bearer)) return false;
  const auto owner = store.owner_of_bearer(bearer);
  if (owner && *owner == row.uid) return true;
  if (!row.refresh_hash) return false;
  // Nobody has heard of it: it may be in an answer that waits, which the lock settles.
  const auto lock = LockedCredential::acquire(store, row.uid, {store.lock_wait()});
  return lock && !owns_bearer(lock->held().row, bearer);
}

// Whose bearer was rejected, if it is one of the pool that is not to be served from now. The order
// begins with the owner of that bearer if it is in there at all.
const Credential* owner_not_chosen(const Selection& selection, const std::string& rejected) {
  if (rejected.empty()) return nullptr;
  const auto owns = [&](const PoolEntry& entry) { return owns_bearer(entry.credential, rejected); };
  const auto it = std::find_if(selection.pool.begin(), selection.pool.end(), owns);
  const bool chosen = !selection.order.empty() && owns(*selection.order.front());
  return it == selection.pool.end() || chosen ? nullptr : &it->credential;
}

// By rendezvous hashing (Thaler and Ravishankar, 1998): where one rests, its sessions alone move,
// each to the next of its own order, and come back afterwards. Nothing is written.
Result<Selection> select_for_session(const Store& store, const BearerRequest& request) {
  auto pool = store.pool(request.profile, request.provider);
  if (!pool) return fail(std::move(pool.error()));
  Selection selection;
  selection.pool = std::move(*pool);
  std::vector<std::pair<TokenHash, const PoolEntry*>> ranked;
  for (const PoolEntry& entry : selection.pool) {
    if (!why_not(entry, store.now()).empty()) continue;
    ranked.emplace_back(token_hash(request.session + '\0' + entry.credential.uid), &entry);
  }
  std::sort(ranked.begin(), ranked.end());
  for (const auto& [rank, entry] : ranked) selection.order.push_back(entry);
  owner_first(selection.order, request.rejected);
  return selection;
}

}  // namespace

EndpointFor endpoints(BearerParts parts, Clock clock) {
  auto discovery = std::make_shared<Discovery>(parts.http, parts.environment, clock);
  return [parts = std::move(parts), clock = std::move(clock), discovery = std::move(discovery)](
             const Identity& identity) -> std::unique_ptr<TokenEndpoint> {
    const Provider* provider = parts.registry().find_oauth(identity.provider);
    if (provider == nullptr) return nullptr;
    return std::make_unique<OAuthTokenEndpoint>(
        TokenEndpointParts{provider, identity, parts.http, parts.environment, clock, discovery});
  };
}

BearerSource::BearerSource(Store store, BearerParts parts)
    : store_(std::move(store)), parts_(std::move(parts)) {}

Result<Bearer> BearerSource::bearer(const BearerRequest& request) {
  const Serving serving(store_, parts_, request);
  if (!request.credential.empty()) {
    auto row = store_.find(request.credential);
    if (row && row->health.status == Status::dead && !request.rejected.empty()) {
      // Whoever has a bearer of it may know more than a database that was put back.
      serving.remember_rejected(*row);
      row = store_.find(request.credential);
    }
    if (!row) return fail(row.error());
    if (row->health.status == Status::dead) {
      return none_selectable({PoolEntry{*row}}, request, parts_, store_);
    }
    return serving.serve(*row);
  }
  const auto selection = request.session.empty()
                             ? store_.select(request.profile, request.provider, request.rejected)
                             : select_for_session(store_, request);
  if (!selection) return fail(selection.error());
  if (selection->pool.empty()) return empty_pool(request, parts_);
  // Of one that is not chosen nobody replaces it now, and nobody may get it when its rest is over.
  if (const Credential* owner = owner_not_chosen(*selection, request.rejected)) {
    serving.remember_rejected(*owner);
  }
  if (selection->order.empty()) {
    return none_selectable(selection->pool, request, parts_, store_);
  }

  std::optional<Error> first;
  for (const PoolEntry* entry : selection->order) {
    auto bearer = serving.serve(entry->credential);
    if (!bearer) {
      if (!may_try_next(bearer.error().code)) return bearer;
      if (!first) first = bearer.error();
      continue;
    }
    if (first) bearer->warnings.insert(bearer->warnings.begin(), first->message);
    const bool counts =
        selection->strategy == Strategy::round_robin || selection->strategy == Strategy::least_used;
    // The first was counted when it was chosen. Only a counter: never worth a bearer.
    if (counts && entry != selection->order.front()) (void)store_.touch(entry->credential.uid);
    return bearer;
  }
  return fail(std::move(*first));
}

Result<Reported> BearerSource::report(const Uid& credential, const std::string& bearer,
                                      const Report& report) {
  const auto row = store_.find(credential);
  if (!row) return fail(row.error());
  const bool about_bearer = report.http_status == 401 && !bearer.empty();
  if (about_bearer && was_replaced(store_, *row, bearer))
    return Reported{ReportEnd::replaced_before};
  const bool is_oauth = row->identity.auth_type == AuthType::oauth;
  if (about_bearer && is_oauth && row->health.status != Status::dead) {
    BearerRequest request;
    request.provider = row->identity.provider;
    request.profile = report.profile;
    request.credential = credential;
    request.rejected = bearer;
    request.want_base_url = false;
    auto served = Serving(store_, parts_, request).serve(*row);
    if (served) return Reported{ReportEnd::renewed, std::move(served->warnings)};
  }
  if (auto noted = store_.report(credential, report); !noted) return fail(noted.error());
  return Reported{};
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
