// What the portal saw, held against what the store's ledger remembers of it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tools/portal/portal.h"
#include "tools/prove/invariants.h"

namespace authdb::prove {

struct Wire {
  std::vector<portal::RequestRecord> requests;
  portal::Counters counters;
  std::vector<LedgerRow> ledger;
  std::set<std::int64_t> killed;   // processes that died by our hand
  std::uint64_t lost_answers = 0;  // that the portal itself dropped, cut or hid behind a 504
};

struct WireFindings {
  std::uint64_t replays = 0;      // posts of a token that had been posted before
  std::uint64_t lost = 0;         // families that ended in reuse, with a reason
  std::uint64_t unexplained = 0;  // and without
  std::uint64_t unexplained_reuse = 0;
  std::vector<std::string> violations{};
};

// The rules: one request per token at a time; a token whose successor is known is never sent again;
// a token is sent again only after the ledger has called the attempt before it uncertain, or
// unspent; an attempt is uncertain only if its process was killed or the portal kept the answer;
// every family that ended was ended by such an attempt.
WireFindings check_wire(const Wire& wire);

}  // namespace authdb::prove
