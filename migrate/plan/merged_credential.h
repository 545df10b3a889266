// Puts one credential together from the copies of it. Pure.
#pragma once

#include <string>
#include <vector>

#include "migrate/formats/document.h"
#include "migrate/plan/choice.h"
#include "migrate/plan/families.h"

namespace authdb::migrate {

// The family's rows in the order in which they are believed.
struct Credit {
  // Those of the winning pair first, in the winner's own file before others, pool rows before
  // blocks.
  std::vector<const Copy*> copies;
  std::size_t holders = 0;  // so many of them, the first ones, hold the winning pair

  const Row& first() const { return *copies.front()->row; }
};
Credit by_credit(const Pair& winner, const std::vector<std::size_t>& family,
                 const std::vector<Copy>& copies);

// Any copy may know a name. Where the tokens go, and how, only those say that hold them: the word
// of another would send the live pair to a place that never had it.
Identity merged_identity(const Credit& credit);
// `identity` with the other's word for where its tokens go, and how: client, scope, addresses,
// authorities; and for whose they are, where that was not known.
Identity with_ways_of(Identity identity, const Identity& other);
Grant merged_grant(const Pair& winner, const std::vector<Copy>& copies, const Identity& identity);
std::optional<AgentKey> merged_agent_key(const Pair& winner, const std::vector<Copy>& copies);
// Of the winning copy alone: what happened to the others happened to tokens that are gone.
Health merged_health(const Credit& credit);
// The foreign fields of those that hold the pair (what they mean, nobody knows; some are
// addresses), and every copy's place. `stored` is what the store had before, may be empty;
// `same_pair`: it is about this pair.
Secret merged_extra(const Credit& credit, const std::vector<Document>& documents,
                    const Secret& stored, bool same_pair);
// `stored` with the places where the credential was seen; empty if that is nothing new.
Secret with_places(const std::vector<const Copy*>& seen, const std::vector<Document>& documents,
                   const Secret& stored);

}  // namespace authdb::migrate
