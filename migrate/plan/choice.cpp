#include "migrate/plan/choice.h"

#include <algorithm>
#include <unordered_map>

namespace authdb::migrate {
namespace {

Evidence evidence_of(const Row& row, std::optional<Instant> latest) {
  Evidence evidence;
  const auto& obtained = row.grant.obtained_at;
  if (obtained && (!latest || *obtained <= *latest)) {
    evidence.obtained = obtained;
    evidence.derived = row.grant.obtained_derived;
  }
  evidence.expires = row.grant.expires_at;
  if (row.claims) {
    evidence.issued = row.claims->issued_at;
    evidence.token_ends = row.claims->expires_at;
  }
  return evidence;
}

std::string name_of(const Copy& copy) {
  const auto& token = copy.refresh ? copy.refresh : copy.access;
  // An agent key alone: every such row is a pair of its own.
  if (!token) return "row " + copy.row->where + " " + std::to_string(copy.document);
  return {reinterpret_cast<const char*>(token->data()), token->size()};
}

// Puts the copy with the newest access token first. What one copy knows of a token holds for every
// other copy of it.
void order(Pair& pair, const std::vector<Copy>& copies, std::optional<Instant> latest) {
  std::vector<Evidence> evidence;
  std::unordered_map<std::string, std::size_t> first;  // access token -> place in `evidence`
  std::vector<std::size_t> shown;
  for (const auto i : pair.copies) {
    const auto& access = copies[i].access;
    const std::string token =
        access ? std::string(reinterpret_cast<const char*>(access->data()), access->size()) : "";
    const auto [it, fresh] = first.emplace(token, evidence.size());
    if (fresh) {
      evidence.push_back(evidence_of(*copies[i].row, latest));
      shown.push_back(i);
    } else {
      complete(evidence[it->second], evidence_of(*copies[i].row, latest));
    }
  }
  std::size_t best = 0;
  for (std::size_t e = 1; e < evidence.size(); ++e) {
    const bool better = compare(evidence[e], evidence[best]) == Age::newer;
    if ((better && copies[shown[e]].access) || !copies[shown[best]].access) best = e;
  }
  pair.evidence = evidence[best];
  pair.access = copies[shown[best]].access;
  std::stable_partition(pair.copies.begin(), pair.copies.end(),
                        [&](std::size_t i) { return copies[i].access == pair.access; });
}

}  // namespace

std::vector<Pair> pairs_of(const std::vector<std::size_t>& family, const std::vector<Copy>& copies,
                           std::optional<Instant> latest) {
  std::vector<Pair> pairs;
  std::unordered_map<std::string, std::size_t> place;
  for (const auto i : family) {
    if (copies[i].reference) continue;
    const auto [it, fresh] = place.emplace(name_of(copies[i]), pairs.size());
    if (fresh) pairs.emplace_back();
    Pair& pair = pairs[it->second];
    pair.refresh = copies[i].refresh;
    pair.copies.push_back(i);
  }
  for (Pair& pair : pairs) order(pair, copies, latest);
  return pairs;
}

Choice choose(const std::vector<Pair>& pairs) {
  const bool asked = std::any_of(pairs.begin(), pairs.end(), [](auto& p) { return p.preferred; });
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (asked && !pairs[i].preferred) continue;
    if (!best || compare(pairs[i].evidence, pairs[*best].evidence) == Age::newer) best = i;
  }
  Choice choice;
  choice.winner = *best;
  const Pair& winner = pairs[choice.winner];
  if (asked) {
    choice.decided = true;
    choice.reason = winner.holder + "'s pair was preferred";
    return choice;
  }
  choice.decided = true;
  // The runner-up says most: newer than it is newer than all.
  const Pair* runner_up = nullptr;
  for (const Pair& pair : pairs) {
    if (&pair == &winner) continue;
    if (compare(winner.evidence, pair.evidence) != Age::newer) choice.decided = false;
    if (!runner_up || compare(pair.evidence, runner_up->evidence) == Age::newer) runner_up = &pair;
  }
  if (choice.decided && runner_up) {
    choice.reason = winner.holder + "'s pair is the newest: " +
                    reason(winner.evidence, runner_up->evidence, runner_up->holder);
  }
  return choice;
}

}  // namespace authdb::migrate
