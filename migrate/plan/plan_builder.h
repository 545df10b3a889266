// The plan while it is being written: one Settled for each family, one fate for each row, and the
// changes to the store. The verbs say what each outcome writes; decide.h says which.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "migrate/plan/choice.h"
#include "migrate/plan/plan_input.h"

namespace authdb::migrate {

// What becomes of one row; every row has exactly one.
enum class Fate { imported, merged, stale, skipped };

// What becomes of one family.
struct Settled {
  const std::vector<std::size_t>* family = nullptr;
  const Credential* existing = nullptr;
  Decision decision;
  std::optional<TokenHash> current;  // the refresh token that the store will hold and may send
  bool logged_in_again = false;      // by the tool whose file this store supplies
  bool bind = true;                  // the profiles that had a copy get the credential
};

struct PlanBuilder {
  explicit PlanBuilder(const PlanInput& from)
      : input(from), fates(from.copies.size(), Fate::skipped), why_skipped(from.copies.size()) {}

  // `why` is for those that are skipped.
  void set(std::size_t copy, Fate fate, const std::string& why = {});
  void set(const Pair& pair, Fate fate, const std::string& why = {});

  // The change of the credential, made if it has none yet. Valid until the next is made.
  CredentialChange& change_of(Settled& settled);
  // The provider that showed this refresh token first: `provider`, if none has.
  const std::string& first_provider(const TokenHash& refresh, const std::string& provider);

  // Nothing is taken from the family.
  void skip(Settled& settled, const std::string& reason);
  // Makes `winner` the grant of the credential's change.
  void give(Settled& settled, const Pair& winner);
  // Gives it to a credential that the store has.
  void adopt(Settled& settled, const Pair& winner, const std::string& reason);
  // Makes a credential of references, which have no secret to give.
  void refer(Settled& settled);
  // Brings up to date what the store knows of a reference; false if that is nothing new.
  bool refer_again(Settled& settled);
  // All but the winner are stale, and presumed spent.
  void lose(Settled& settled, const std::vector<Pair>& pairs, std::size_t winner);
  void presume_spent(Settled& settled, const Pair& pair);
  void presume_spent(Settled& settled, const TokenHash& refresh);
  // Nothing tells which is the live one: `kept` stays, or is taken, and is not refreshed.
  void undecided(Settled& settled, const std::vector<Pair>& pairs, std::size_t kept);
  // Last, for every family: which refresh token the store will hold.
  void finish(Settled& settled);
  // When all families are settled: those presumed spent that are nobody's current token.
  void retire_losers();

  const PlanInput& input;
  Plan plan;
  std::deque<Settled> families;  // pointers to its elements stay valid
  std::vector<const Settled*> conflicts;
  std::vector<Fate> fates;               // by copy
  std::vector<std::string> why_skipped;  // by copy

 private:
  void remember_places(Settled& settled);
  std::vector<const Copy*> unread_copies(const Settled& settled) const;

  std::vector<std::pair<Settled*, TokenHash>> losers_;
  std::unordered_map<std::string, std::string> provider_of_;  // refresh hash -> provider
};

void add_once(std::vector<std::string>& list, const std::string& text);

// What the user types to have the pair of that source win, between backticks.
std::string prefer_command(const std::filesystem::path& source);

}  // namespace authdb::migrate
