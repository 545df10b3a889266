#include "migrate/plan/plan_builder.h"

#include <algorithm>
#include <unordered_set>

#include "migrate/formats/json_text.h"
#include "migrate/plan/merged_credential.h"
#include "store/env_source.h"
#include "store/shell_word.h"

namespace authdb::migrate {
namespace {

std::string text_of(const TokenHash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

// True if it was not so before.
bool set_text(nlohmann::json& extra, const char* name, const std::string& text) {
  const bool changes = extra.value(name, nlohmann::json()) != text;
  if (changes) extra[name] = text;
  return changes;
}

bool allow(nlohmann::json& extra, const Identity& identity) {
  return set_text(extra, kAllowedVariable, std::string(*variable_of(identity.source)));
}

std::string why_undecided(const PlanInput& input, const std::vector<Pair>& pairs) {
  std::string rivals;
  std::string commands;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    rivals += (i == 0 ? "" : i + 1 == pairs.size() ? " and " : ", ") + pairs[i].holder;
    if (pairs[i].copies.empty()) continue;
    commands +=
        (commands.empty() ? "" : " or ") + prefer_command(input.path_of(pairs[i].copies.front()));
  }
  return "nothing tells which of the pairs of " + rivals +
         " is the live one, so none is refreshed; decide with " + commands;
}

}  // namespace

void add_once(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

std::string prefer_command(const std::filesystem::path& source) {
  return "`authdb migrate --prefer " + shell_quoted(source.string()) + "`";
}

void PlanBuilder::set(std::size_t copy, Fate fate, const std::string& why) {
  fates[copy] = fate;
  why_skipped[copy] = why;
}

void PlanBuilder::set(const Pair& pair, Fate fate, const std::string& why) {
  for (const auto i : pair.copies) set(i, fate, why);
}

CredentialChange& PlanBuilder::change_of(Settled& settled) {
  auto& changes = plan.change.credentials;
  if (!settled.decision.change) {
    settled.decision.change = changes.size();
    CredentialChange& change = changes.emplace_back();
    if (settled.existing) {
      change.uid = settled.existing->uid;
      change.planned_against = settled.existing->generation;
    }
  }
  return changes[*settled.decision.change];
}

const std::string& PlanBuilder::first_provider(const TokenHash& refresh,
                                               const std::string& provider) {
  return provider_of_.emplace(text_of(refresh), provider).first->second;
}

void PlanBuilder::skip(Settled& settled, const std::string& reason) {
  settled.bind = false;
  settled.decision.action = "skipped";
  settled.decision.reason = reason;
  for (const auto i : *settled.family) set(i, Fate::skipped, reason);
  finish(settled);
}

void PlanBuilder::give(Settled& settled, const Pair& winner) {
  const Credit credit = by_credit(winner, *settled.family, input.copies);
  const Identity identity = merged_identity(credit);
  const Credential* existing = settled.existing;
  const bool same_pair = existing && winner.refresh && winner.refresh == existing->refresh_hash;
  CredentialChange& change = change_of(settled);
  Secret stored;
  if (!existing) {
    change.identity = identity;
    settled.decision.label = identity.label;
  } else if (!existing->removed_at) {
    stored = input.extra(existing->uid);
  }
  // What the store has is about another pair: where this one goes, its own copies say.
  if (existing && !same_pair) change.identity = with_ways_of(existing->identity, identity);
  change.grant = merged_grant(winner, input.copies, identity);
  if (same_pair) change.grant->refresh_token = Secret();  // the one in the store stays
  change.agent_key = merged_agent_key(winner, input.copies);
  change.health = merged_health(credit);
  change.extra = merged_extra(credit, input.documents, stored, same_pair);
  if (winner.retired) change.pardon.push_back(*winner.refresh);
  settled.current = winner.refresh;
  set(winner, Fate::merged);
  set(winner.copies.front(), Fate::imported);
}

void PlanBuilder::refer(Settled& settled) {
  Credit credit;
  for (const auto i : *settled.family) credit.copies.push_back(&input.copies[i]);
  credit.holders = 1;
  const Row& row = credit.first();
  CredentialChange& change = change_of(settled);
  change.identity = merged_identity(credit);
  change.grant.emplace();
  change.grant->expires_at = row.grant.expires_at;
  change.grant->bearer_kind = row.grant.bearer_kind;
  change.health = row.health;
  change.extra = merged_extra(credit, input.documents, Secret(), false);
  if (input.allows(*change.identity)) {
    nlohmann::json extra = open_text(*change.extra);
    allow(extra, *change.identity);
    change.extra = seal_text(std::move(extra));
  }
  set(settled.family->front(), Fate::imported);
}

bool PlanBuilder::refer_again(Settled& settled) {
  const Credential& existing = *settled.existing;
  const bool refers = input.known.referred.count(existing.uid) != 0;  // else the store has it
  if (!refers || !variable_of(existing.identity.source)) return false;
  const Secret stored = input.extra(existing.uid);
  const Secret placed = with_places(unread_copies(settled), input.documents, stored);
  nlohmann::json extra = open_text(placed.empty() ? stored : placed);
  const std::string& print = input.copies[settled.family->front()].fingerprint;
  bool changes = !print.empty() && set_text(extra, kSecretFingerprint, print);
  if (input.allows(existing.identity)) changes = allow(extra, existing.identity) || changes;
  Secret sealed = seal_text(std::move(extra));
  if (changes) change_of(settled).extra = std::move(sealed);
  return changes;
}

void PlanBuilder::adopt(Settled& settled, const Pair& winner, const std::string& reason) {
  settled.decision.action = "adopted";
  settled.decision.reason = reason;
  give(settled, winner);
  if (settled.existing->hold != Hold::none) change_of(settled).hold = Hold::none;
}

void PlanBuilder::lose(Settled& settled, const std::vector<Pair>& pairs, std::size_t winner) {
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i == winner) continue;
    set(pairs[i], pairs[i].refresh ? Fate::stale : Fate::merged);
    presume_spent(settled, pairs[i]);
  }
}

// What the store holds is not presumed anything: displacing it says what becomes of it.
void PlanBuilder::presume_spent(Settled& settled, const Pair& pair) {
  if (pair.refresh && !pair.held) presume_spent(settled, *pair.refresh);
}

void PlanBuilder::presume_spent(Settled& settled, const TokenHash& refresh) {
  losers_.emplace_back(&settled, refresh);
}

void PlanBuilder::undecided(Settled& settled, const std::vector<Pair>& pairs, std::size_t kept) {
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i != kept) set(pairs[i], Fate::skipped, "undecided: not taken over another pair");
  }
  set(pairs[kept], Fate::merged);
  const bool marked = settled.existing && settled.existing->hold != Hold::none && pairs[kept].held;
  if (!marked) change_of(settled).hold = Hold::conflict;
  settled.decision.action = marked ? "unchanged" : "conflict";
  settled.decision.reason = why_undecided(input, pairs);
  if (!settled.existing || !pairs[kept].held) set(pairs[kept].copies.front(), Fate::imported);
  conflicts.push_back(&settled);
}

std::vector<const Copy*> PlanBuilder::unread_copies(const Settled& settled) const {
  std::vector<const Copy*> unread;
  for (const auto i : *settled.family) {
    if (!input.was_read_before(i)) unread.push_back(&input.copies[i]);
  }
  return unread;
}

// A file may spell the same grant in another way, or have fields that it did not have before.
void PlanBuilder::remember_places(Settled& settled) {
  const Credential* existing = settled.existing;
  const auto& made = settled.decision.change;
  if (existing->removed_at || (made && plan.change.credentials[*made].extra)) return;
  const std::vector<const Copy*> seen = unread_copies(settled);
  if (seen.empty()) return;
  Secret extra = with_places(seen, input.documents, input.extra(existing->uid));
  if (!extra.empty()) change_of(settled).extra = std::move(extra);
}

void PlanBuilder::finish(Settled& settled) {
  const Credential* existing = settled.existing;
  if (existing && settled.decision.action != "skipped") remember_places(settled);
  if (!existing || settled.decision.action == "skipped") {
    if (existing && !existing->removed_at && existing->hold != Hold::handed_over) {
      settled.current = existing->refresh_hash;
    }
    return;
  }
  settled.decision.label = existing->identity.label;
  const auto& hold = settled.decision.change
                         ? plan.change.credentials[*settled.decision.change].hold
                         : std::optional<Hold>();
  if (hold.value_or(existing->hold) == Hold::handed_over) {
    settled.current.reset();
  } else if (!settled.current) {
    settled.current = existing->refresh_hash;
  }
}

void PlanBuilder::retire_losers() {
  std::unordered_set<std::string> kept;
  for (const Settled& settled : families) {
    if (settled.current) kept.insert(text_of(*settled.current));
  }
  for (auto& [settled, hash] : losers_) {
    if (!kept.insert(text_of(hash)).second) continue;
    if (input.index.by_refresh(hash) || input.retired(hash)) continue;
    change_of(*settled).retire.push_back({hash, Retirement::presumed});
  }
}

}  // namespace authdb::migrate
