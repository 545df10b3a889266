#include "migrate/plan/store_snapshot.h"

#include <algorithm>

#include "migrate/formats/fields.h"
#include "migrate/formats/json_text.h"
#include "store/env_source.h"

namespace authdb::migrate {
namespace {

std::string_view bytes(const TokenHash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

bool holds_nothing(const Credential& row) {
  return row.access_fingerprint.empty() && !row.refresh_hash && !row.removed_at;
}

// Both name an account, and not the same.
bool other_account(const Credential& known, const Copy& copy) {
  const std::string& account = known.identity.account;
  if (account.empty() || copy.principal.empty()) return false;
  const Claims& claims = *copy.row->claims;
  return account != claims.account && account != claims.email && account != claims.subject &&
         account != copy.row->identity.account;
}

bool disproved(const Credential& known, const Copy& copy) {
  return other_account(known, copy) || other_issuer(known.identity, copy.row->identity);
}

bool share_a_fact(const Identity& a, const Identity& b) {
  const auto facts = facts_of(a);
  const auto others = facts_of(b);
  return std::find_first_of(facts.begin(), facts.end(), others.begin(), others.end()) !=
         facts.end();
}

std::string foreign_key(const Identity& id) { return key_of({id.provider, id.foreign_id}); }

std::string slot_key(const Identity& id, const std::string& profile, bool singleton) {
  return key_of({profile, id.provider, id.source, singleton ? "" : id.label});
}

}  // namespace

std::unordered_map<Uid, std::string> places_of_hand_overs(
    const std::vector<ImportReceipt>& receipts) {
  std::unordered_map<Uid, std::string> places;
  for (const ImportReceipt& receipt : receipts) {
    if (!receipt.format.starts_with(kHandedOver)) continue;
    places[receipt.format.substr(kHandedOver.size())] = receipt.path;
  }
  return places;
}

Result<StoreSnapshot> read_snapshot(const Store* store) {
  StoreSnapshot known;
  if (!store) return known;
  known.now = store->now();
  auto credentials = store->list({.provider = {}, .profile = {}, .include_removed = true});
  if (!credentials) return fail(std::move(credentials.error()));
  known.credentials = std::move(*credentials);
  const auto profiles = store->profiles();
  if (!profiles) return fail(profiles.error());
  for (const std::string& profile : *profiles) {
    known.profiles.insert(profile);
    const auto bound = store->list({.provider = {}, .profile = profile, .include_removed = false});
    if (!bound) return fail(bound.error());
    for (const Credential& row : *bound) known.profiles_of[row.uid].insert(profile);
  }
  auto receipts = store->receipts();
  if (!receipts) return fail(std::move(receipts.error()));
  known.receipts = std::move(*receipts);

  auto projections = store->projections();
  if (!projections) return fail(std::move(projections.error()));
  known.projections = std::move(*projections);

  known.retired = [store](const TokenHash& hash) { return store->retired(hash); };
  known.state = [store](const std::string& profile, const std::string& provider) {
    return store->provider_state(profile, provider);
  };
  known.extra = [store](const Uid& uid) { return store->unseal_extra(uid); };
  known.owner_of_bearer = [store](const std::string& fingerprint) {
    return store->owner_of_bearer(fingerprint);
  };
  for (const Credential& row : known.credentials) {
    if (!holds_nothing(row)) continue;
    const auto sealed = store->unseal_extra(row.uid);
    if (!sealed) return fail(sealed.error());
    const nlohmann::json extra = open_text(*sealed);
    known.referred[row.uid] = has_text(extra, kSecretFingerprint)
                                  ? extra[kSecretFingerprint].get<std::string>()
                                  : std::string();
  }
  return known;
}

SnapshotIndex::SnapshotIndex(const StoreSnapshot& known) : known_(known) {
  for (const Credential& row : known.credentials) {
    const Identity& id = row.identity;
    uids_.emplace(row.uid, &row);
    if (row.refresh_hash) refresh_[std::string(bytes(*row.refresh_hash))].push_back(&row);
    if (row.refresh_hash)
      secret_[key_of({id.provider, fingerprint(*row.refresh_hash)})].push_back(&row);
    if (!row.access_fingerprint.empty()) {
      secret_[key_of({id.provider, row.access_fingerprint})].push_back(&row);
    } else if (row.has_agent_key) {
      secret_[key_of({id.provider, row.agent_key_fingerprint})].push_back(&row);
    }
    const auto referred = known.referred.find(row.uid);
    if (referred != known.referred.end()) {
      // A reference without a fingerprint is known by its source.
      const std::string& secret = referred->second.empty() ? id.source : referred->second;
      secret_[key_of({id.provider, secret})].push_back(&row);
      if (variable_of(id.source)) variable_[key_of({id.provider, id.source})].push_back(&row);
    }
    if (!id.foreign_id.empty() && id.auth_type == AuthType::oauth) {
      foreign_[foreign_key(id)].push_back(&row);
    }
    if (!id.foreign_id.empty() && id.auth_type == AuthType::api_key && !row.removed_at) {
      foreign_key_[key_of({id.provider, id.source, id.foreign_id})].push_back(&row);
    }
    // Of these nothing is left to tell one key from the next.
    if (row.removed_at && id.auth_type == AuthType::api_key && variable_of(id.source)) {
      removed_variable_[key_of({id.provider, id.source})].push_back(&row);
    }
    const auto profiles = known.profiles_of.find(row.uid);
    if (row.removed_at || profiles == known.profiles_of.end() || !id.foreign_id.empty() ||
        id.auth_type != AuthType::oauth) {
      continue;
    }
    for (const std::string& profile : profiles->second) {
      slot_[slot_key(id, profile, true)].push_back(&row);
      slot_[slot_key(id, profile, false)].push_back(&row);
    }
  }
  add_projected(known);
}

void SnapshotIndex::add_projected(const StoreSnapshot& known) {
  for (const Projection& projection : known.projections) {
    for (const ProjectedToken& token : projection.tokens) {
      const Credential* row = by_uid(token.credential);
      if (row == nullptr || token.fingerprint == row->access_fingerprint) continue;
      secret_[key_of({row->identity.provider, token.fingerprint})].push_back(row);
    }
  }
}

const Credential* SnapshotIndex::only(const Map& map, const std::string& key) {
  const auto it = map.find(key);
  return it != map.end() && it->second.size() == 1 ? it->second.front() : nullptr;
}

const Credential* SnapshotIndex::by_uid(const Uid& uid) const {
  const auto it = uids_.find(uid);
  return it == uids_.end() ? nullptr : it->second;
}

const Credential* SnapshotIndex::by_refresh(const TokenHash& hash) const {
  return only(refresh_, std::string(bytes(hash)));
}

const Credential* SnapshotIndex::by_secret(const Copy& copy) const {
  const Identity& id = copy.row->identity;
  std::vector<std::string> secrets;
  if (copy.access) secrets.push_back(fingerprint(*copy.access));
  if (!copy.fingerprint.empty()) secrets.push_back(copy.fingerprint);
  if (copy.reference && copy.fingerprint.empty()) secrets.push_back(id.source);
  for (const std::string& secret : secrets) {
    const auto it = secret_.find(key_of({id.provider, secret}));
    if (it == secret_.end()) continue;
    for (const Credential* row : it->second) {
      if (!row->removed_at) return row;
    }
    return it->second.front();
  }
  if (const auto* earlier = by_earlier_bearer(copy)) return earlier;
  if (!copy.reference || !in_variable(copy).empty()) return nullptr;
  const auto removed = removed_variable_.find(key_of({id.provider, id.source}));
  return removed == removed_variable_.end() ? nullptr : removed->second.front();
}

// A file that was kept up to date, and then was not, shows one beside no refresh token.
const Credential* SnapshotIndex::by_earlier_bearer(const Copy& copy) const {
  if (!copy.access || copy.refresh || !known_.owner_of_bearer) return nullptr;
  if (copy.row->identity.auth_type != AuthType::oauth) return nullptr;
  const auto owner = known_.owner_of_bearer(fingerprint(*copy.access));
  const Credential* row = owner && *owner ? by_uid(**owner) : nullptr;
  return row != nullptr && row->identity.provider == copy.row->identity.provider ? row : nullptr;
}

const std::vector<const Credential*>& SnapshotIndex::in_variable(const Copy& copy) const {
  static const std::vector<const Credential*> kNone;
  const auto it = variable_.find(key_of({copy.row->identity.provider, copy.row->identity.source}));
  return it == variable_.end() ? kNone : it->second;
}

const Credential* SnapshotIndex::by_foreign_id(const Copy& copy) const {
  const Identity& id = copy.row->identity;
  if (id.foreign_id.empty() || id.auth_type != AuthType::oauth) return nullptr;
  const auto it = foreign_.find(foreign_key(id));
  if (it == foreign_.end()) return nullptr;
  const Credential* found = nullptr;
  for (const Credential* row : it->second) {
    if (disproved(*row, copy) || !share_a_fact(row->identity, id)) continue;
    if (found && row->identity.label != id.label && found->identity.label == id.label) continue;
    if (found && (row->identity.label == id.label) == (found->identity.label == id.label)) {
      return nullptr;  // an id that several have tells nothing
    }
    found = row;
  }
  return found;
}

const Credential* SnapshotIndex::key_by_foreign_id(const Copy& copy) const {
  const Identity& id = copy.row->identity;
  return only(foreign_key_, key_of({id.provider, id.source, id.foreign_id}));
}

const Credential* SnapshotIndex::by_slot(const Copy& copy, const std::string& profile) const {
  const Identity& id = copy.row->identity;
  if (copy.reference || !id.foreign_id.empty() || id.auth_type != AuthType::oauth) return nullptr;
  const Credential* found = only(slot_, slot_key(id, profile, copy.row->singleton));
  return found && !disproved(*found, copy) ? found : nullptr;
}

}  // namespace authdb::migrate
