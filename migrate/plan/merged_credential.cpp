#include "migrate/plan/merged_credential.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "migrate/formats/imprint.h"
#include "migrate/formats/json_text.h"

namespace authdb::migrate {
namespace {

using nlohmann::json;

constexpr std::array kNames{&Identity::label, &Identity::source, &Identity::foreign_id,
                            &Identity::account};
// Where the tokens go, and how.
constexpr std::array kWays{&Identity::client_id,       &Identity::scope,
                           &Identity::token_type,      &Identity::base_url,
                           &Identity::portal_base_url, &Identity::inference_base_url,
                           &Identity::ca_file};

// What a copy suffered, rather than what it is; never passes from one copy to another.
constexpr std::array<std::string_view, 4> kOwnTroubles{"last_auth_error", "failure_reason",
                                                       "model_cooldowns", "status_cleared_at"};

// Hermes labels a row by its source when nobody named it.
bool named(const Identity& id) { return !id.label.empty() && id.label != id.source; }

std::string label_of(const Credit& credit) {
  const Copy& first = *credit.copies.front();
  for (const Copy* copy : credit.copies) {
    if (copy->document == first.document && named(copy->row->identity)) {
      return copy->row->identity.label;
    }
  }
  for (const Copy* copy : credit.copies) {
    if (!copy->row->identity.label.empty()) return copy->row->identity.label;
  }
  for (const Copy* copy : credit.copies) {
    if (copy->row->claims && !copy->row->claims->email.empty()) return copy->row->claims->email;
  }
  const Identity& id = first.row->identity;
  return id.source.empty() || id.source == "manual" ? id.provider : id.source;
}

// What another copy has differently stays with its place.
void join(json& into, json&& from) {
  for (auto& [name, value] : from.items()) {
    const bool trouble =
        std::find(kOwnTroubles.begin(), kOwnTroubles.end(), name) != kOwnTroubles.end();
    if (!trouble && name != kImprints && !into.contains(name)) into[name] = std::move(value);
  }
  wipe_strings(from);
}

// Newer by what it says of itself; one that says nothing is never newer.
bool newer(const AgentKey& a, const AgentKey& b) {
  return a.obtained_at != b.obtained_at ? a.obtained_at > b.obtained_at
                                        : a.expires_at > b.expires_at;
}

AgentKey clone(const AgentKey& key) {
  return {key.secret.clone(), key.key_id, key.obtained_at, key.expires_at, key.reused};
}

}  // namespace

Credit by_credit(const Pair& winner, const std::vector<std::size_t>& family,
                 const std::vector<Copy>& copies) {
  const std::unordered_set<std::size_t> holders(winner.copies.begin(), winner.copies.end());
  const auto lead = copies[winner.copies.front()].document;
  std::vector<std::pair<int, const Copy*>> ranked;
  for (const auto i : family) {
    const Copy& copy = copies[i];
    const bool holds = holders.count(i) != 0;
    const int rank = (holds ? 0 : 4) + (copy.document == lead ? 0 : 2) + (copy.row->singleton);
    ranked.emplace_back(rank, &copy);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Credit credit;
  credit.holders = holders.size();
  for (const auto& [rank, copy] : ranked) credit.copies.push_back(copy);
  return credit;
}

Identity merged_identity(const Credit& credit) {
  Identity merged = credit.first().identity;
  for (std::size_t i = 0; i < credit.copies.size(); ++i) {
    const Identity& from = credit.copies[i]->row->identity;
    const auto fill = [&](auto fact) {
      if ((merged.*fact).empty()) merged.*fact = from.*fact;
    };
    std::for_each(kNames.begin(), kNames.end(), fill);
    if (i < credit.holders) std::for_each(kWays.begin(), kWays.end(), fill);
  }
  merged.label = label_of(credit);
  return merged;
}

Identity with_ways_of(Identity identity, const Identity& other) {
  for (const auto way : kWays) identity.*way = other.*way;
  if (identity.account.empty()) identity.account = other.account;
  return identity;
}

Grant merged_grant(const Pair& winner, const std::vector<Copy>& copies, const Identity& identity) {
  const Row& first = *copies[winner.copies.front()].row;
  Grant grant;
  grant.access_token = first.grant.access_token.clone();
  grant.refresh_token = first.grant.refresh_token.clone();
  grant.obtained_at = winner.evidence.obtained;
  grant.obtained_derived = winner.evidence.obtained && winner.evidence.derived;
  grant.expires_at = winner.evidence.expires ? winner.evidence.expires : winner.evidence.token_ends;
  grant.session_ends_at = first.grant.session_ends_at;
  grant.bearer_kind = first.grant.bearer_kind;
  for (const auto i : winner.copies) {
    // Only one of a provider's block and its pool row may name the scope that makes the difference.
    const bool bearer = copies[i].row->grant.bearer_kind == BearerKind::access_token;
    if (bearer && copies[i].access == winner.access) grant.bearer_kind = BearerKind::access_token;
  }
  grant.scope = identity.scope;
  grant.token_type = identity.token_type;
  grant.inference_base_url = identity.inference_base_url;
  return grant;
}

std::optional<AgentKey> merged_agent_key(const Pair& winner, const std::vector<Copy>& copies) {
  const AgentKey* best = nullptr;
  for (const auto i : winner.copies) {
    const auto& key = copies[i].row->agent_key;
    if (key && (!best || newer(*key, *best))) best = &*key;
  }
  if (!best) return std::nullopt;
  AgentKey merged = clone(*best);
  for (const auto i : winner.copies) {
    const auto& key = copies[i].row->agent_key;
    if (!key || key->secret.reveal() != merged.secret.reveal()) continue;
    if (merged.key_id.empty()) merged.key_id = key->key_id;
    if (!merged.obtained_at) merged.obtained_at = key->obtained_at;
    if (!merged.expires_at) merged.expires_at = key->expires_at;
    merged.reused = merged.reused || key->reused;
  }
  return merged;
}

Health merged_health(const Credit& credit) { return credit.first().health; }

Secret merged_extra(const Credit& credit, const std::vector<Document>& documents,
                    const Secret& stored, bool same_pair) {
  json merged = open_text(credit.first().extra);
  json places = json::array();
  for (std::size_t i = 0; i < credit.copies.size(); ++i) {
    const Copy& copy = *credit.copies[i];
    if (i > 0 && i < credit.holders) join(merged, open_text(copy.row->extra));
    places.push_back(imprint_json(documents[copy.document], *copy.row));
  }
  json before = open_text(stored);
  merged[kImprints] = merged_imprints(std::move(places), before.value(kImprints, json()));
  if (same_pair) join(merged, std::move(before));
  wipe_strings(before);
  for (const Copy* copy : credit.copies) {
    if (!copy->reference) return seal_text(std::move(merged));
  }
  // A reference: the fingerprint is all there is to know it by.
  const std::string& fingerprint = credit.copies.front()->fingerprint;
  if (!fingerprint.empty()) merged["secret_fingerprint"] = fingerprint;
  return seal_text(std::move(merged));
}

Secret with_places(const std::vector<const Copy*>& seen, const std::vector<Document>& documents,
                   const Secret& stored) {
  json places = json::array();
  for (const Copy* copy : seen) {
    places.push_back(imprint_json(documents[copy->document], *copy->row));
  }
  json extra = open_text(stored);
  json before = extra.value(kImprints, json());
  json after = merged_imprints(std::move(places), before);
  if (after == before) return {};
  extra[kImprints] = std::move(after);
  return seal_text(std::move(extra));
}

}  // namespace authdb::migrate
