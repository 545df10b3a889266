#include "migrate/plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <unordered_set>

#include "migrate/choice.h"
#include "migrate/families.h"
#include "migrate/merge.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

namespace fs = std::filesystem;

// What becomes of one row; every row has exactly one.
enum class Fate { imported, merged, stale, skipped };

// What becomes of one family.
struct Settled {
  const std::vector<std::size_t>* family = nullptr;
  const Credential* existing = nullptr;
  Decision decision;
  std::optional<TokenHash> current;  // the refresh token that the store will hold and may send
  bool bind = true;                  // the profiles that had a copy get the credential
};

// Errors of the store are rare and end the plan: an exception inside this file, a Result outside.
struct StoreFailed {
  Error error;
};

template <typename T>
T checked(Result<T> result) {
  if (!result) throw StoreFailed{std::move(result.error())};
  return std::move(*result);
}

std::string text_of(const TokenHash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

std::string day(Instant at) { return format_iso(std::chrono::floor<Seconds>(at)); }

std::string quoted(const fs::path& path) {
  std::string text = path.string();
  const bool plain = text.find_first_of(" \t\n'\"\\$`&;()<>|*?[]#~!{}") == std::string::npos;
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void add_once(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

class Planner {
 public:
  Planner(const std::vector<Document>& documents, const Known& known, const MigrateOptions& options)
      : documents_(documents),
        known_(known),
        options_(options),
        index_(known),
        copies_(copies_of(documents, options.include_env)),
        fates_(copies_.size(), Fate::skipped),
        why_skipped_(copies_.size()),
        preferred_(documents.size()),
        read_before_(documents.size()) {}

  Result<Plan> run() {
    look_at_documents();
    if (options_.prefer &&
        std::none_of(preferred_.begin(), preferred_.end(), [](bool p) { return p; })) {
      return fail(Errc::usage, options_.prefer->string() + " is none of the sources",
                  "--prefer takes the path of a source, or of a directory that holds it.");
    }
    for (const auto& family : families_of(documents_, copies_)) {
      for (auto& part : by_credential(family)) parts_.push_back(std::move(part));
    }
    settled_.reserve(parts_.size());
    for (const auto& part : parts_) settle(part);
    retire_losers();
    bind();
    states();
    report();
    return std::move(plan_);
  }

 private:
  // Preparation ---------------------------------------------------------------------------------

  void look_at_documents() {
    std::unordered_set<std::string> receipts;
    const auto key = [](const std::string& path, const std::string& sha, const std::string& who) {
      return path + '\0' + sha + '\0' + who;
    };
    for (const auto& r : known_.receipts) receipts.insert(key(r.path, r.sha256, r.profile));
    for (std::size_t d = 0; d < documents_.size(); ++d) {
      const Document& document = documents_[d];
      read_before_[d] = receipts.count(key(document.path, document.sha256, document.profile)) != 0;
      preferred_[d] = options_.prefer && !document.failure && is_preferred(document.path);
    }
  }

  bool is_preferred(const fs::path& path) const {
    std::error_code error;
    const fs::path wanted = fs::weakly_canonical(*options_.prefer, error);
    const fs::path source = fs::weakly_canonical(path, error);
    const auto [end, unused] =
        std::mismatch(wanted.begin(), wanted.end(), source.begin(), source.end());
    return end == wanted.end();
  }

  // What the sources show as one grant may be several credentials in the store already; those stay.
  std::vector<std::vector<std::size_t>> by_credential(const std::vector<std::size_t>& family) {
    std::vector<std::vector<std::size_t>> parts(1);
    std::map<const Credential*, std::size_t> place;
    for (const auto i : family) {
      const Credential* row = copies_[i].refresh ? index_.by_refresh(*copies_[i].refresh) : nullptr;
      std::size_t part = 0;
      if (row) {
        const auto [it, fresh] = place.emplace(row, place.size());
        part = it->second;
        if (part == parts.size()) parts.emplace_back();
      }
      parts[part].push_back(i);
    }
    return parts;
  }

  std::optional<RetiredToken> retired(const TokenHash& hash) {
    if (!known_.retired) return std::nullopt;
    return checked(known_.retired(hash));
  }

  // The strongest tie wins: current token, spent token, equal secret, row id, slot.
  const Credential* find(const std::vector<std::size_t>& family, const std::vector<Pair>& pairs) {
    for (const Pair& pair : pairs) {
      const Credential* row = pair.refresh ? index_.by_refresh(*pair.refresh) : nullptr;
      if (row) return row;
    }
    for (const Pair& pair : pairs) {
      const Credential* row = pair.retired ? index_.by_uid(pair.retired->uid) : nullptr;
      if (row) return row;
    }
    const auto first = [&](auto look) {
      const Credential* found = nullptr;
      for (const auto i : family) {
        if ((found = look(copies_[i]))) break;
      }
      return found;
    };
    if (const auto* row = first([&](const Copy& c) { return index_.by_secret(c); })) return row;
    if (const auto* row = first([&](const Copy& c) { return index_.by_foreign_id(c); })) return row;
    return first([&](const Copy& c) { return index_.by_slot(c, documents_[c.document].profile); });
  }

  // One family ----------------------------------------------------------------------------------

  void settle(const std::vector<std::size_t>& family) {
    Settled& settled = settled_.emplace_back();
    settled.family = &family;
    describe(settled);
    auto pairs = pairs_of(family, copies_);
    for (Pair& pair : pairs) {
      if (pair.refresh && !index_.by_refresh(*pair.refresh)) pair.retired = retired(*pair.refresh);
      pair.holder = holder(settled, copies_[pair.copies.front()]);
      pair.preferred = std::any_of(pair.copies.begin(), pair.copies.end(),
                                   [&](auto i) { return preferred_[copies_[i].document]; });
    }
    settled.existing = find(family, pairs);
    if (belongs_elsewhere(settled, pairs)) return;
    if (settled.existing) settled.decision.uid = settled.existing->uid;

    if (settled.existing && settled.existing->removed_at) return removed(settled, pairs);
    auto candidates = candidates_of(settled, std::move(pairs));
    if (candidates.empty()) return nothing_new(settled);
    if (settled.existing) return against_store(settled, std::move(candidates));
    add(settled, candidates);
  }

  void describe(Settled& settled) {
    Decision& decision = settled.decision;
    for (const auto i : *settled.family) {
      const Document& document = documents_[copies_[i].document];
      add_once(decision.sources, document.path.string());
      add_once(decision.profiles, document.profile);
    }
    decision.provider = copies_[settled.family->front()].row->identity.provider;
    decision.label = copies_[settled.family->front()].row->identity.label;
  }

  // A profile's name, where that tells the copies apart.
  std::string holder(const Settled& settled, const Copy& copy) const {
    const Document& document = documents_[copy.document];
    if (settled.decision.sources.size() == settled.decision.profiles.size()) {
      return document.profile;
    }
    return document.path.string() +
           (settled.decision.sources.size() == 1 ? " " + copy.row->where : "");
  }

  // One refresh token under two providers would have two spenders.
  bool belongs_elsewhere(Settled& settled, const std::vector<Pair>& pairs) {
    const std::string& provider = settled.decision.provider;
    for (const Pair& pair : pairs) {
      if (!pair.refresh) continue;
      const auto [it, fresh] = provider_of_.emplace(text_of(*pair.refresh), provider);
      const Credential* row = index_.by_refresh(*pair.refresh);
      const std::string& owner = row ? row->identity.provider : it->second;
      if (owner == provider) continue;
      skip(settled, "the same refresh token is a credential of " + owner + " already");
      return true;
    }
    return false;
  }

  void skip(Settled& settled, const std::string& reason) {
    settled.bind = false;
    settled.decision.action = "skipped";
    settled.decision.reason = reason;
    for (const auto i : *settled.family) set(i, Fate::skipped, reason);
    finish(settled);
  }

  void removed(Settled& settled, std::vector<Pair>& pairs) {
    const std::string since = day(*settled.existing->removed_at);
    const bool wanted = std::any_of(settled.family->begin(), settled.family->end(),
                                    [&](auto i) { return preferred_[copies_[i].document]; });
    if (!wanted) {
      const auto& path = documents_[copies_[settled.family->front()].document].path;
      return skip(settled, "removed from this store on " + since + "; `authdb migrate --prefer " +
                               quoted(path) + "` takes it back");
    }
    for (const auto i : *settled.family) set(i, Fate::merged);
    CredentialChange& change = change_of(settled);
    change.restore = true;
    change.hold = Hold::none;
    settled.decision.action = "adopted";
    settled.decision.reason = "taken back: it had been removed on " + since;
    // The token that was removed with it comes back with the restored row, not with a grant.
    std::erase_if(pairs, [&](const Pair& pair) {
      return !pair.preferred || (pair.retired && pair.retired->reason != Retirement::presumed);
    });
    if (!pairs.empty()) give(settled, pairs[choose(pairs).winner]);
    finish(settled);
  }

  // Those that may be current. The others get their fates.
  std::vector<Pair> candidates_of(const Settled& settled, std::vector<Pair> pairs) {
    const bool refreshable =
        (settled.existing && settled.existing->refresh_hash) ||
        std::any_of(pairs.begin(), pairs.end(), [](auto& p) { return p.refresh.has_value(); });
    for (const auto i : *settled.family) {
      if (copies_[i].reference) set(i, Fate::merged);
    }
    std::erase_if(pairs, [&](const Pair& pair) {
      const bool lifted =
          pair.retired && pair.retired->reason == Retirement::presumed && pair.preferred;
      if (pair.retired && !lifted) {
        set(pair, Fate::stale);
        return true;
      }
      // A copy that lost its refresh token is no rival of one that has it.
      if (!pair.refresh && refreshable) set(pair, Fate::merged);
      return !pair.refresh && refreshable;
    });
    return pairs;
  }

  // Only spent pairs, or references.
  void nothing_new(Settled& settled) {
    const bool reference = std::all_of(settled.family->begin(), settled.family->end(),
                                       [&](auto i) { return copies_[i].reference; });
    if (settled.existing) {
      settled.decision.action = "unchanged";
      settled.decision.reason = reference
                                    ? "a reference that the store has"
                                    : "its copies are spent, or older than what the store has";
      return finish(settled);
    }
    if (!reference) {
      settled.bind = false;
      settled.decision.action = "skipped";
      settled.decision.reason = "its refresh token is spent";
      return finish(settled);
    }
    std::vector<const Copy*> credit;
    for (const auto i : *settled.family) credit.push_back(&copies_[i]);
    const Row& row = *credit.front()->row;
    CredentialChange& change = change_of(settled);
    change.identity = merged_identity(credit);
    change.grant.emplace();
    change.grant->expires_at = row.grant.expires_at;
    change.grant->bearer_kind = row.grant.bearer_kind;
    change.health = row.health;
    change.extra = merged_extra(credit, documents_, Secret());
    settled.decision.action = "added";
    settled.decision.reason =
        "a reference: its secret is kept elsewhere (" + row.identity.source + ")";
    set(settled.family->front(), Fate::imported);
    finish(settled);
  }

  void add(Settled& settled, const std::vector<Pair>& candidates) {
    const Choice choice = choose(candidates);
    change_of(settled);
    settled.decision.action = "added";
    settled.decision.reason =
        choice.reason.empty() ? "the only pair that was found" : choice.reason;
    give(settled, candidates[choice.winner]);
    if (choice.decided) {
      lose(settled, candidates, choice.winner);
    } else {
      undecided(settled, candidates, choice.winner);
    }
    finish(settled);
  }

  void against_store(Settled& settled, std::vector<Pair> candidates) {
    const Credential& existing = *settled.existing;
    const bool own = existing.origin != Origin::import && existing.hold != Hold::handed_over;
    const auto held = held_among(candidates, existing);
    const bool preferred =
        std::any_of(candidates.begin(), candidates.end(), [](auto& p) { return p.preferred; });

    Choice choice;
    if (preferred) {
      choice = choose(candidates);
    } else if (own && held) {
      return keep_own(settled, candidates, *held);
    } else if (existing.hold == Hold::handed_over) {
      return take_back(settled, candidates, held);
    } else {
      choice = choose(candidates);
    }
    if (!choice.decided) {
      const std::size_t kept = held.value_or(choice.winner);
      if (!held) adopt(settled, candidates[kept], choice.reason);
      undecided(settled, candidates, kept);
    } else if (held && choice.winner == *held) {
      keep(settled, candidates[*held], preferred);
      lose(settled, candidates, *held);
    } else {
      adopt(settled, candidates[choice.winner], choice.reason);
      lose(settled, candidates, choice.winner);
    }
    finish(settled);
  }

  // The place of what the store has among the candidates; put there if no copy shows it.
  std::optional<std::size_t> held_among(std::vector<Pair>& candidates, const Credential& existing) {
    Pair held;
    held.held = true;
    held.holder = "this store";
    held.refresh = existing.refresh_hash;
    held.evidence = {.obtained = existing.obtained_at,
                     .derived = existing.obtained_derived,
                     .issued = {},
                     .token_ends = {},
                     .expires = existing.expires_at};
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      Pair& pair = candidates[i];
      const bool same_access =
          pair.access && fingerprint(*pair.access) == existing.access_fingerprint;
      const bool same_refresh = pair.refresh && pair.refresh == existing.refresh_hash;
      if (!same_refresh && !(same_access && !pair.refresh)) continue;
      pair.held = true;
      // A server that does not rotate refresh tokens: only the access token may be newer.
      newer_access_ = same_refresh && !same_access && pair.access &&
                      existing.origin == Origin::import &&
                      compare(pair.evidence, held.evidence) == Age::newer;
      complete(pair.evidence, held.evidence);
      return i;
    }
    newer_access_ = false;
    const bool refreshable =
        std::any_of(candidates.begin(), candidates.end(), [](auto& p) { return !!p.refresh; });
    const bool empty = existing.access_fingerprint.empty() && !existing.refresh_hash;
    if (empty || (refreshable && !existing.refresh_hash)) return std::nullopt;
    candidates.push_back(std::move(held));
    return candidates.size() - 1;
  }

  void keep(Settled& settled, const Pair& held, bool preferred) {
    const Credential& existing = *settled.existing;
    settled.decision.action = "unchanged";
    settled.decision.reason = "the store has this pair";
    set(held, Fate::merged);
    if (newer_access_) {
      adopt(settled, held, held.holder + " has a newer access token of the same grant");
    } else if (preferred && existing.hold != Hold::none && existing.hold != Hold::uncertain) {
      change_of(settled).hold = Hold::none;
      settled.decision.action = "adopted";
      settled.decision.reason = held.holder + "'s pair was preferred";
    }
  }

  // What this store obtained itself is never displaced on timestamps alone.
  void keep_own(Settled& settled, std::vector<Pair>& candidates, std::size_t held) {
    const std::string since =
        settled.existing->obtained_at ? " on " + day(*settled.existing->obtained_at) : "";
    newer_access_ = false;
    keep(settled, candidates[held], false);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (i == held) continue;
      const Pair& pair = candidates[i];
      if (compare(candidates[held].evidence, pair.evidence) == Age::newer) {
        set(pair, Fate::stale);
        presume_spent(settled, pair);
        continue;
      }
      const auto& path = documents_[copies_[pair.copies.front()].document].path;
      settled.decision.action = "skipped";
      settled.decision.reason = "this store obtained its pair itself" + since +
                                ", and timestamps alone do not displace that; `authdb migrate "
                                "--prefer " +
                                quoted(path) + "` does";
      set(pair, Fate::skipped, settled.decision.reason);
    }
    finish(settled);
  }

  // Another tool was the spender: what it has now is the successor of what it was given.
  void take_back(Settled& settled, std::vector<Pair>& candidates, std::optional<std::size_t> held) {
    std::vector<Pair> successors;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const bool older = held && i != *held &&
                         compare(candidates[*held].evidence, candidates[i].evidence) == Age::newer;
      if (i != held && !older) successors.push_back(candidates[i]);
      if (older) {
        set(candidates[i], Fate::stale);
        presume_spent(settled, candidates[i]);
      }
    }
    if (!successors.empty()) {
      const Choice choice = choose(successors);
      const Pair& winner = successors[choice.winner];
      adopt(settled, winner,
            "taken back: " + winner.holder + " has the successor of the pair that was handed over");
      if (choice.decided) {
        lose(settled, successors, choice.winner);
      } else {
        undecided(settled, successors, choice.winner);
      }
      if (held) set(candidates[*held], Fate::stale);
    } else {
      keep(settled, candidates[*held], false);
      // Handing over wrote the file, so one that was read before is not the one it wrote.
      const auto& copies = candidates[*held].copies;
      const bool written = std::any_of(copies.begin(), copies.end(),
                                       [&](auto i) { return !read_before_[copies_[i].document]; });
      if (written) {
        change_of(settled).hold = Hold::none;
        settled.decision.action = "adopted";
        settled.decision.reason =
            "taken back: " + candidates[*held].holder + " still has the pair that was handed over";
      }
    }
    finish(settled);
  }

  // Actions -------------------------------------------------------------------------------------

  CredentialChange& change_of(Settled& settled) {
    auto& changes = plan_.change.credentials;
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

  // Makes `winner` the grant of the credential's change.
  void give(Settled& settled, const Pair& winner) {
    const auto credit = by_credit(winner, *settled.family, copies_);
    const Identity identity = merged_identity(credit);
    CredentialChange& change = change_of(settled);
    Secret stored;
    if (!settled.existing) {
      change.identity = identity;
      settled.decision.label = identity.label;
    } else if (known_.extra && !settled.existing->removed_at) {
      stored = checked(known_.extra(settled.existing->uid));
    }
    change.grant = merged_grant(winner, copies_, identity);
    if (settled.existing && winner.refresh && winner.refresh == settled.existing->refresh_hash) {
      change.grant->refresh_token = Secret();  // the one in the store stays
    }
    change.agent_key = merged_agent_key(winner, copies_);
    change.health = merged_health(credit);
    change.extra = merged_extra(credit, documents_, stored);
    if (winner.retired) change.pardon.push_back(*winner.refresh);
    settled.current = winner.refresh;
    set(winner, Fate::merged);
    set(winner.copies.front(), Fate::imported);
  }

  void adopt(Settled& settled, const Pair& winner, const std::string& reason) {
    settled.decision.action = "adopted";
    settled.decision.reason = reason;
    give(settled, winner);
    if (settled.existing->hold != Hold::none) change_of(settled).hold = Hold::none;
  }

  void lose(Settled& settled, const std::vector<Pair>& pairs, std::size_t winner) {
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (i == winner) continue;
      set(pairs[i], pairs[i].refresh ? Fate::stale : Fate::merged);
      presume_spent(settled, pairs[i]);
    }
  }

  // What the store holds is not presumed anything: displacing it says what becomes of it.
  void presume_spent(Settled& settled, const Pair& pair) {
    if (pair.refresh && !pair.held) losers_.emplace_back(&settled, *pair.refresh);
  }

  void undecided(Settled& settled, const std::vector<Pair>& pairs, std::size_t kept) {
    Decision& decision = settled.decision;
    std::string rivals;
    std::string commands;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      rivals += (i == 0 ? "" : i + 1 == pairs.size() ? " and " : ", ") + pairs[i].holder;
      if (pairs[i].copies.empty()) continue;
      const auto& path = documents_[copies_[pairs[i].copies.front()].document].path;
      commands +=
          (commands.empty() ? "`" : " or `") + ("authdb migrate --prefer " + quoted(path)) + "`";
      if (i != kept) set(pairs[i], Fate::skipped, "undecided: not taken over another pair");
    }
    set(pairs[kept], Fate::merged);
    const bool marked =
        settled.existing && settled.existing->hold != Hold::none && pairs[kept].held;
    if (!marked) change_of(settled).hold = Hold::conflict;
    if (!marked) decision.action = "conflict";
    if (marked) decision.action = "unchanged";
    decision.reason = "nothing tells which of the pairs of " + rivals +
                      " is the live one, so none is refreshed; decide with " + commands;
    if (!settled.existing || !pairs[kept].held) {
      set(pairs[kept].copies.front(), Fate::imported);
    }
    conflicts_.push_back(settled_.size() - 1);
  }

  void finish(Settled& settled) {
    const Credential* existing = settled.existing;
    if (!existing || settled.decision.action == "skipped") {
      if (existing && !existing->removed_at && existing->hold != Hold::handed_over) {
        settled.current = existing->refresh_hash;
      }
      return;
    }
    settled.decision.label = existing->identity.label;
    const auto& hold = settled.decision.change
                           ? plan_.change.credentials[*settled.decision.change].hold
                           : std::optional<Hold>();
    if (hold.value_or(existing->hold) == Hold::handed_over) {
      settled.current.reset();
    } else if (!settled.current) {
      settled.current = existing->refresh_hash;
    }
  }

  void set(std::size_t copy, Fate fate, const std::string& why = {}) {
    fates_[copy] = fate;
    why_skipped_[copy] = why;
  }
  void set(const Pair& pair, Fate fate, const std::string& why = {}) {
    for (const auto i : pair.copies) set(i, fate, why);
  }

  // The whole -----------------------------------------------------------------------------------

  void retire_losers() {
    std::unordered_set<std::string> kept;
    for (const Settled& settled : settled_) {
      if (settled.current) kept.insert(text_of(*settled.current));
    }
    for (auto& [settled, hash] : losers_) {
      if (!kept.insert(text_of(hash)).second || index_.by_refresh(hash) || retired(hash)) continue;
      change_of(*settled).retire.push_back({hash, Retirement::presumed});
    }
  }

  // Places in the pools, from the priorities of each profile's files.
  void bind() {
    struct Place {
      std::int64_t priority;
      std::size_t copy;
      Settled* settled;
    };
    std::map<std::pair<std::string, std::string>, std::vector<Place>> pools;
    for (Settled& settled : settled_) {
      if (!settled.bind) continue;
      for (const auto i : *settled.family) {
        const Copy& copy = copies_[i];
        const auto last = std::numeric_limits<std::int64_t>::max();
        const auto priority = copy.row->priority.value_or(copy.row->singleton ? last : 0);
        pools[{documents_[copy.document].profile, settled.decision.provider}].push_back(
            {priority, i, &settled});
      }
    }
    const auto used = used_pools();
    for (auto& [pool, places] : pools) {
      std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
        return std::tie(a.priority, a.copy) < std::tie(b.priority, b.copy);
      });
      std::unordered_set<const Settled*> seen;
      for (const Place& place : places) {
        if (is_bound(*place.settled, pool.first, place.copy)) continue;
        if (!seen.insert(place.settled).second) continue;
        // Behind those that the store has in this pool: their order is its user's.
        const auto position = static_cast<std::int64_t>(seen.size());
        const bool behind = used.count(pool) != 0;
        change_of(*place.settled)
            .bindings.push_back({pool.first, behind ? std::nullopt : std::optional(position)});
        if (place.settled->decision.action == "unchanged") place.settled->decision.action = "bound";
      }
    }
  }

  std::set<std::pair<std::string, std::string>> used_pools() const {
    std::set<std::pair<std::string, std::string>> used;
    for (const Credential& row : known_.credentials) {
      const auto profiles = known_.profiles_of.find(row.uid);
      if (row.removed_at || profiles == known_.profiles_of.end()) continue;
      for (const auto& profile : profiles->second) used.emplace(profile, row.identity.provider);
    }
    return used;
  }

  // Also if a file that was read before has it: then somebody has unbound it since.
  bool is_bound(const Settled& settled, const std::string& profile, std::size_t copy) const {
    if (!settled.existing) return false;
    const auto profiles = known_.profiles_of.find(settled.existing->uid);
    const bool bound = profiles != known_.profiles_of.end() && profiles->second.count(profile) != 0;
    const bool restored = settled.existing->removed_at.has_value();
    return bound || (read_before_[copies_[copy].document] && !restored);
  }

  void states() {
    std::set<std::string> all;
    std::map<std::pair<std::string, std::string>, ProviderState> wanted;
    for (std::size_t d = 0; d < documents_.size(); ++d) {
      const Document& document = documents_[d];
      if (document.failure) continue;
      if (all.insert(document.profile).second && known_.profiles.count(document.profile) == 0) {
        plan_.change.profiles.push_back(document.profile);
      }
      if (read_before_[d]) continue;
      for (const ForeignState& foreign : document.states) {
        ProviderState& state = wanted[{document.profile, foreign.provider}];
        state.profile = document.profile;
        state.provider = foreign.provider;
        state.active = state.active || foreign.active;
        for (const auto& source : foreign.suppressed_sources) {
          add_once(state.suppressed_sources, source);
        }
        if (state.extra.empty()) state.extra = foreign.extra.clone();
      }
    }
    plan_.profiles = static_cast<std::int64_t>(all.size());
    for (auto& [name, state] : wanted) {
      if (merge_state(state)) plan_.change.states.push_back(std::move(state));
    }
  }

  // What the store's user has chosen there stays. False if nothing is new.
  bool merge_state(ProviderState& state) {
    if (!known_.state || known_.profiles.count(state.profile) == 0) return true;
    ProviderState stored = checked(known_.state(state.profile, state.provider));
    state.strategy = stored.strategy;
    const bool active = stored.active || (state.active && !has_active(state.profile));
    bool news = active != stored.active || !state.extra.empty();
    state.active = active;
    for (const auto& source : state.suppressed_sources) {
      const auto& had = stored.suppressed_sources;
      news = news || std::find(had.begin(), had.end(), source) == had.end();
    }
    for (const auto& source : stored.suppressed_sources) add_once(state.suppressed_sources, source);
    if (state.extra.empty()) state.extra = std::move(stored.extra);
    return news;
  }

  bool has_active(const std::string& profile) {
    std::set<std::string> providers;
    for (const Credential& row : known_.credentials) providers.insert(row.identity.provider);
    for (const Document& document : documents_) {
      for (const ForeignState& state : document.states) providers.insert(state.provider);
    }
    return std::any_of(providers.begin(), providers.end(), [&](const std::string& provider) {
      return checked(known_.state(profile, provider)).active;
    });
  }

  void report() {
    for (const Document& document : documents_) report_source(document);
    for (std::size_t i = 0; i < copies_.size(); ++i) count(i);
    for (std::size_t d = 0; d < documents_.size(); ++d) add_receipt(d);
    for (Settled& settled : settled_) {
      warn_of_second_spenders(settled);
      ++plan_.credentials;
      if (is_grant(settled)) ++plan_.families;
    }
    for (const auto i : conflicts_) plan_.conflicts.push_back(settled_[i].decision);
    for (Settled& settled : settled_) plan_.decisions.push_back(std::move(settled.decision));
  }

  bool is_grant(const Settled& settled) const {
    return std::any_of(settled.family->begin(), settled.family->end(), [&](auto i) {
      return !copies_[i].reference && copies_[i].row->identity.auth_type == AuthType::oauth;
    });
  }

  void report_source(const Document& document) {
    SourceReport& source = plan_.sources.emplace_back();
    source.path = document.path;
    source.sha256 = document.sha256;
    source.profile = document.profile;
    source.failure = document.failure;
    source.rows = static_cast<std::int64_t>(document.rows.size() + document.bad_rows.size());
    for (const BadRow& bad : document.bad_rows) {
      source.skipped.push_back(
          {bad.where, bad.field.empty() ? bad.reason : bad.field + " " + bad.reason});
    }
  }

  void count(std::size_t copy) {
    SourceReport& source = plan_.sources[copies_[copy].document];
    switch (fates_[copy]) {
      case Fate::imported:
        ++source.imported;
        break;
      case Fate::merged:
        ++source.merged;
        break;
      case Fate::stale:
        ++source.stale;
        break;
      case Fate::skipped:
        source.skipped.push_back({copies_[copy].row->where, why_skipped_[copy]});
        break;
    }
  }

  void add_receipt(std::size_t d) {
    const Document& document = documents_[d];
    if (document.failure || read_before_[d]) return;
    const SourceReport& source = plan_.sources[d];
    plan_.change.receipts.push_back({document.path.string(), document.sha256, document.format,
                                     document.profile, source.rows, source.imported,
                                     document.unknown.clone()});
  }

  void warn_of_second_spenders(const Settled& settled) {
    if (!settled.current) return;
    std::vector<std::string> paths;
    for (const auto i : *settled.family) {
      if (copies_[i].refresh != settled.current) continue;
      const auto& path = documents_[copies_[i].document].path;
      if (!paths.empty() && paths.back() == path.string()) continue;
      paths.push_back(path.string());
      plan_.warnings.push_back(
          {"second_spender",
           path.string() + " still holds the refresh token of " + settled.decision.provider + " " +
               settled.decision.label + " (" + fingerprint(*settled.current) +
               "), which this store holds as well. Let only authdb refresh it: do not run the old "
               "tool's gateway on that file."});
    }
  }

  const std::vector<Document>& documents_;
  const Known& known_;
  const MigrateOptions& options_;
  const KnownIndex index_;
  const std::vector<Copy> copies_;
  std::vector<Fate> fates_;
  std::vector<std::string> why_skipped_;
  std::vector<bool> preferred_;    // by document
  std::vector<bool> read_before_;  // by document: these bytes are in a receipt
  std::vector<std::vector<std::size_t>> parts_;
  std::vector<Settled> settled_;  // never grows beyond what was reserved: pointers stay valid
  std::vector<std::size_t> conflicts_;
  std::vector<std::pair<Settled*, TokenHash>> losers_;
  std::unordered_map<std::string, std::string> provider_of_;  // refresh hash -> provider
  bool newer_access_ = false;  // of the family at hand: held_among() says
  Plan plan_;
};

}  // namespace

Result<Plan> plan_against(const std::vector<Document>& documents, const Known& known,
                          const MigrateOptions& options) {
  try {
    return Planner(documents, known, options).run();
  } catch (StoreFailed& failed) {
    return fail(std::move(failed.error));
  }
}

Result<Plan> plan(const std::vector<Document>& documents, const Store* store,
                  const MigrateOptions& options) {
  const auto known = read_known(store);
  if (!known) return fail(known.error());
  return plan_against(documents, *known, options);
}

}  // namespace authdb::migrate
