#include "migrate/plan/decide.h"

#include <algorithm>

#include "migrate/plan/match.h"
#include "store/env_source.h"
#include "store/timestamp.h"

namespace authdb::migrate {
namespace {

std::string day(Instant at) { return format_iso(std::chrono::floor<Seconds>(at)); }

bool any_refreshable(const std::vector<Pair>& pairs) {
  return std::any_of(pairs.begin(), pairs.end(), [](auto& p) { return p.refresh.has_value(); });
}

class Settlement {
 public:
  Settlement(const PlanInput& input, PlanBuilder& builder, const std::vector<std::size_t>& family)
      : input_(input),
        builder_(builder),
        family_(family),
        settled_(builder.families.emplace_back()),
        decision_(settled_.decision) {
    settled_.family = &family;
  }

  void run() {
    describe();
    auto pairs = pairs_of(family_, input_.copies, input_.latest);
    for (Pair& pair : pairs) look_up(pair);
    settled_.existing = find_credential(input_, family_, pairs);
    if (belongs_elsewhere(pairs)) return;
    if (settled_.existing) decision_.uid = settled_.existing->uid;

    if (settled_.existing && settled_.existing->removed_at) return removed(pairs);
    auto candidates = candidates_of(std::move(pairs));
    if (candidates.empty()) return nothing_new();
    for (const TokenHash& hash : told_spent_) builder_.presume_spent(settled_, hash);
    if (settled_.existing) return against_store(std::move(candidates));
    add(candidates);
  }

 private:
  void describe() {
    for (const auto i : family_) {
      const Document& document = input_.document_of(i);
      add_once(decision_.sources, document.path.string());
      add_once(decision_.profiles, document.profile);
    }
    decision_.provider = first_row().identity.provider;
    decision_.label = first_row().identity.label;
  }

  const Row& first_row() const { return *input_.copies[family_.front()].row; }

  void look_up(Pair& pair) {
    const bool current = pair.refresh && input_.index.by_refresh(*pair.refresh);
    if (pair.refresh && !current) pair.retired = input_.retired(*pair.refresh);
    if (pair.refresh && !current && !pair.retired &&
        input_.told_spent.count(fingerprint(*pair.refresh)) != 0) {
      pair.retired.emplace();  // on its own tool's word, which --prefer may overrule
    }
    pair.holder = holder(pair.copies.front());
    pair.preferred = input_.any_preferred(pair.copies);
  }

  // A profile's name, where that tells the copies apart.
  std::string holder(std::size_t copy) const {
    const Document& document = input_.document_of(copy);
    if (decision_.sources.size() == decision_.profiles.size()) return document.profile;
    return document.path.string() +
           (decision_.sources.size() == 1 ? " " + input_.copies[copy].row->where : "");
  }

  // One refresh token under two providers would have two spenders.
  bool belongs_elsewhere(const std::vector<Pair>& pairs) {
    const std::string& provider = decision_.provider;
    for (const Pair& pair : pairs) {
      if (!pair.refresh) continue;
      const std::string& first = builder_.first_provider(*pair.refresh, provider);
      const Credential* row = input_.index.by_refresh(*pair.refresh);
      const std::string& owner = row ? row->identity.provider : first;
      if (owner == provider) continue;
      builder_.skip(settled_, "the same refresh token is a credential of " + owner + " already");
      return true;
    }
    return false;
  }

  void removed(std::vector<Pair>& pairs) {
    const std::string since = day(*settled_.existing->removed_at);
    if (!input_.any_preferred(family_)) {
      const auto command = prefer_command(input_.path_of(family_.front()));
      builder_.skip(settled_, "removed from this store on " + since + "; `authdb undo " +
                                  settled_.existing->uid + "` takes it back within a day, and " +
                                  command + " at any time, with every other pair of that file");
      return;
    }
    for (const auto i : family_) builder_.set(i, Fate::merged);
    CredentialChange& change = builder_.change_of(settled_);
    change.restore = true;
    change.hold = Hold::none;
    decide("adopted", "taken back: it had been removed on " + since);
    // The token that was removed with it comes back with the restored row, not with a grant.
    std::erase_if(pairs, [&](const Pair& pair) {
      return !pair.preferred || (pair.retired && pair.retired->reason != Retirement::presumed);
    });
    if (!pairs.empty()) builder_.give(settled_, pairs[choose(pairs).winner]);
    builder_.finish(settled_);
  }

  // Those that may be current. The others get their fates.
  std::vector<Pair> candidates_of(std::vector<Pair> pairs) {
    const bool refreshable =
        (settled_.existing && settled_.existing->refresh_hash) || any_refreshable(pairs);
    for (const auto i : family_) {
      if (input_.copies[i].reference) builder_.set(i, Fate::merged);
    }
    std::erase_if(pairs, [&](const Pair& pair) {
      const bool lifted =
          pair.retired && pair.retired->reason == Retirement::presumed && pair.preferred;
      if (pair.retired && !lifted) {
        if (pair.retired->uid.empty()) told_spent_.push_back(*pair.refresh);
        builder_.set(pair, Fate::stale);
        return true;
      }
      // A copy that lost its refresh token is no rival of one that has it.
      if (!pair.refresh && refreshable) builder_.set(pair, Fate::merged);
      return !pair.refresh && refreshable;
    });
    return pairs;
  }

  // Only spent pairs, or references.
  void nothing_new() {
    const bool reference = input_.all_references(family_);
    if (settled_.existing && reference && builder_.refer_again(settled_)) {
      const Identity& identity = settled_.existing->identity;
      decide("adopted", input_.allows(identity)
                            ? why_allowed(identity)
                            : "its file has another key in " + identity.source + " by now");
    } else if (settled_.existing) {
      decide("unchanged", reference ? "a reference that the store has"
                                    : "its copies are spent, or older than what the store has");
    } else if (reference) {
      builder_.refer(settled_);
      const Identity& identity = *builder_.change_of(settled_).identity;
      const std::string allowed =
          input_.allows(identity) ? "; " + why_allowed(identity) : std::string();
      decide("added", "a reference: its secret is kept elsewhere (" + first_row().identity.source +
                          ")" + allowed);
    } else {
      settled_.bind = false;
      decide("skipped", "its refresh token is spent");
    }
    builder_.finish(settled_);
  }

  // With the server, because the user vouches for that, too.
  static std::string why_allowed(const Identity& identity) {
    const std::string& base =
        identity.inference_base_url.empty() ? identity.base_url : identity.inference_base_url;
    return "--allow-env: its key is whatever " + std::string(*variable_of(identity.source)) +
           " holds" + (base.empty() ? "" : ", for " + base);
  }

  void add(const std::vector<Pair>& candidates) {
    const Choice choice = choose(candidates);
    decide("added", choice.reason.empty() ? "the only pair that was found" : choice.reason);
    builder_.give(settled_, candidates[choice.winner]);
    lose_or_hold(candidates, choice);
    builder_.finish(settled_);
  }

  void lose_or_hold(const std::vector<Pair>& pairs, const Choice& choice) {
    if (choice.decided) {
      builder_.lose(settled_, pairs, choice.winner);
    } else {
      builder_.undecided(settled_, pairs, choice.winner);
    }
  }

  void against_store(std::vector<Pair> candidates) {
    const Credential& existing = *settled_.existing;
    const bool own = existing.origin != Origin::import && existing.hold != Hold::handed_over;
    const auto held = held_among(candidates);
    const bool preferred =
        std::any_of(candidates.begin(), candidates.end(), [](auto& p) { return p.preferred; });

    if (is_replaced_key(candidates)) {
      builder_.adopt(settled_, candidates.front(), "its row has another key by now");
    } else if (!preferred && existing.hold == Hold::handed_over && input_.leave_handed_over) {
      leave_all_to_the_tool(candidates);
    } else if (!preferred && existing.hold == Hold::handed_over) {
      take_back(candidates, held);
    } else if (!preferred && std::any_of(candidates.begin(), candidates.end(),
                                         [&](const Pair& pair) { return is_new_login(pair); })) {
      log_in(candidates);
    } else if (!preferred && own && held) {
      keep_own(candidates, *held);
    } else {
      rival(candidates, held, preferred);
    }
    builder_.finish(settled_);
  }

  // This store left no refresh token in that file, and does not know the one that is there.
  bool is_new_login(const Pair& pair) const {
    return pair.refresh && !pair.held && !pair.retired &&
           std::any_of(pair.copies.begin(), pair.copies.end(),
                       [&](auto i) { return input_.is_projected(i); });
  }

  // Its tool was the last to see the server, whatever the times say.
  void log_in(const std::vector<Pair>& candidates) {
    std::vector<Pair> logins;
    for (const Pair& pair : candidates) {
      if (is_new_login(pair)) {
        logins.push_back(pair);
      } else {
        builder_.set(pair, Fate::stale);
        builder_.presume_spent(settled_, pair);
      }
    }
    const Choice choice = choose(logins);
    const Pair& winner = logins[choice.winner];
    builder_.adopt(settled_, winner, "the tool of " + winner.holder + " logged in again by itself");
    builder_.change_of(settled_).new_family = true;
    settled_.logged_in_again = true;
    lose_or_hold(logins, choice);
  }

  // What the store has is one candidate among the others.
  void rival(const std::vector<Pair>& candidates, std::optional<std::size_t> held, bool preferred) {
    const Choice choice = choose(candidates);
    if (!choice.decided) {
      const std::size_t kept = held.value_or(choice.winner);
      if (!held) builder_.adopt(settled_, candidates[kept], choice.reason);
      builder_.undecided(settled_, candidates, kept);
    } else if (held && choice.winner == *held) {
      keep(candidates[*held], preferred);
      builder_.lose(settled_, candidates, *held);
    } else {
      builder_.adopt(settled_, candidates[choice.winner], choice.reason);
      builder_.lose(settled_, candidates, choice.winner);
    }
  }

  // By its id alone it is the store's (match.h): the key that the store has is shown nowhere.
  bool is_replaced_key(const std::vector<Pair>& candidates) const {
    const Credential& existing = *settled_.existing;
    return existing.identity.auth_type == AuthType::api_key &&
           !existing.access_fingerprint.empty() && candidates.size() == 2 &&
           candidates.back().held && candidates.back().copies.empty();
  }

  // The place of what the store has among the candidates; put there if no copy shows it.
  std::optional<std::size_t> held_among(std::vector<Pair>& candidates) {
    const Credential& existing = *settled_.existing;
    Pair held = held_pair();
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
    const bool empty = existing.access_fingerprint.empty() && !existing.refresh_hash;
    const bool outdone = any_refreshable(candidates) && !existing.refresh_hash;
    if (empty || outdone) return std::nullopt;
    candidates.push_back(std::move(held));
    return candidates.size() - 1;
  }

  Pair held_pair() const {
    const Credential& existing = *settled_.existing;
    Pair held;
    held.held = true;
    held.holder = "this store";
    held.refresh = existing.refresh_hash;
    held.evidence = {.obtained = existing.obtained_at,
                     .derived = existing.obtained_derived,
                     .issued = {},
                     .token_ends = {},
                     .expires = existing.expires_at};
    return held;
  }

  void keep(const Pair& held, bool preferred) {
    const Hold hold = settled_.existing->hold;
    decide("unchanged", "the store has this pair");
    builder_.set(held, Fate::merged);
    if (newer_access_) {
      builder_.adopt(settled_, held, held.holder + " has a newer access token of the same grant");
    } else if (preferred && hold != Hold::none && hold != Hold::uncertain) {
      builder_.change_of(settled_).hold = Hold::none;
      decide("adopted", held.holder + "'s pair was preferred");
    }
  }

  // What this store obtained itself is never displaced on timestamps alone.
  void keep_own(const std::vector<Pair>& candidates, std::size_t held) {
    const auto obtained = settled_.existing->obtained_at;
    const std::string since = obtained ? " on " + day(*obtained) : "";
    newer_access_ = false;
    keep(candidates[held], false);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (i == held || give_up_older(candidates[held], candidates[i])) continue;
      const auto& source = input_.path_of(candidates[i].copies.front());
      decide("skipped", "this store obtained its pair itself" + since +
                            ", and timestamps alone do not displace that; " +
                            prefer_command(source) + " does");
      builder_.set(candidates[i], Fate::skipped, decision_.reason);
    }
  }

  bool give_up_older(const Pair& held, const Pair& pair) {
    if (compare(held.evidence, pair.evidence) != Age::newer) return false;
    builder_.set(pair, Fate::stale);
    builder_.presume_spent(settled_, pair);
    return true;
  }

  // Another tool was the spender: what stands in the file that it was given is the successor of
  // what it was given. A copy elsewhere ends nothing: the tool has its own all the same.
  void take_back(const std::vector<Pair>& candidates, std::optional<std::size_t> held) {
    std::vector<Pair> successors;
    std::string elsewhere;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (i == held || (held && give_up_older(candidates[*held], candidates[i]))) continue;
      if (is_given(candidates[i])) {
        successors.push_back(candidates[i]);
      } else {
        elsewhere = leave_to_the_tool(candidates[i]);
      }
    }
    if (!successors.empty()) {
      take_back_successor(successors);
      if (held) builder_.set(candidates[*held], Fate::stale);
    } else if (held) {
      take_back_unspent(candidates[*held]);
    }
    const bool taken = !successors.empty() || decision_.action == "adopted";
    if (!taken && !elsewhere.empty()) decide("skipped", elsewhere);
  }

  void leave_all_to_the_tool(const std::vector<Pair>& candidates) {
    constexpr const char* kReason = "it is handed over";
    for (const Pair& pair : candidates) builder_.set(pair, Fate::skipped, kReason);
    decide("skipped", kReason);
  }

  bool is_given(const Pair& pair) const {
    return std::any_of(pair.copies.begin(), pair.copies.end(),
                       [&](auto i) { return is_handed(i); });
  }
  bool is_handed(std::size_t copy) const { return input_.is_handed(copy, settled_.existing->uid); }

  std::string leave_to_the_tool(const Pair& pair) {
    std::string reason = why_not_taken_back(pair);
    builder_.set(pair, Fate::skipped, reason);
    return reason;
  }

  std::string why_not_taken_back(const Pair& pair) const {
    const std::string place = input_.place_of_hand_over(settled_.existing->uid);
    return "it is handed over, and " +
           (place.empty() ? "this store does not know any more to which file; "
                          : "not to this file but to " + place + "; ") +
           prefer_command(input_.path_of(pair.copies.front())) + " takes it all the same";
  }

  void take_back_successor(const std::vector<Pair>& successors) {
    const Choice choice = choose(successors);
    const Pair& winner = successors[choice.winner];
    builder_.adopt(
        settled_, winner,
        "taken back: " + winner.holder + " has the successor of the pair that was handed over");
    lose_or_hold(successors, choice);
  }

  void take_back_unspent(const Pair& held) {
    const bool given = is_given(held);
    if (!given) newer_access_ = false;
    keep(held, false);
    if (!given && held.refresh && !held.copies.empty()) decision_.reason = why_not_taken_back(held);
    // Handing over wrote the file, so one that was read before is not the one it wrote.
    const bool written = std::any_of(held.copies.begin(), held.copies.end(), [&](auto i) {
      return is_handed(i) && !input_.was_read_before(i);
    });
    if (!written) return;
    builder_.change_of(settled_).hold = Hold::none;
    decide("adopted", "taken back: " + held.holder + " still has the pair that was handed over");
  }

  void decide(std::string action, std::string reason) {
    decision_.action = std::move(action);
    decision_.reason = std::move(reason);
  }

  const PlanInput& input_;
  PlanBuilder& builder_;
  const std::vector<std::size_t>& family_;
  Settled& settled_;
  Decision& decision_;
  std::vector<TokenHash> told_spent_;  // by a tool, and not known to the store
  bool newer_access_ = false;          // a copy of the pair that the store has: held_among() says
};

}  // namespace

void decide(const PlanInput& input, PlanBuilder& builder, const std::vector<std::size_t>& family) {
  Settlement(input, builder, family).run();
}

}  // namespace authdb::migrate
