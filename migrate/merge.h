// Puts one credential together from the copies of it. Pure.
#pragma once

#include <string>
#include <vector>

#include "migrate/choice.h"
#include "migrate/document.h"
#include "migrate/families.h"

namespace authdb::migrate {

// The family's rows in the order in which they are believed: those of the winning pair first, in
// the winner's own file before others, pool rows before blocks.
std::vector<const Copy*> by_credit(const Pair& winner, const std::vector<std::size_t>& family,
                                   const std::vector<Copy>& copies);

Identity merged_identity(const std::vector<const Copy*>& credit);
Grant merged_grant(const Pair& winner, const std::vector<Copy>& copies, const Identity& identity);
std::optional<AgentKey> merged_agent_key(const Pair& winner, const std::vector<Copy>& copies);
// Of the winning copy alone: what happened to the others happened to tokens that are gone.
Health merged_health(const std::vector<const Copy*>& credit);
// The foreign fields: the winner's, and those that only another copy has; and every copy's place.
// `stored` is what the store had before; may be empty.
Secret merged_extra(const std::vector<const Copy*>& credit, const std::vector<Document>& documents,
                    const Secret& stored);
// `stored` with the places where the credential was seen; empty if that is nothing new.
Secret with_places(const std::vector<const Copy*>& seen, const std::vector<Document>& documents,
                   const Secret& stored);

}  // namespace authdb::migrate
