// What of the credentials needs a person: what `status` warns of and `doctor` finds.
#pragma once

#include <vector>

#include "store/doctor.h"
#include "store/store.h"
#include "tools/render/freshness.h"

namespace authdb::cli {

// Logins that are needed, sessions that end soon, grants that are held, and second spenders. `rows`
// are of the view `freshness`.
std::vector<Finding> attention(const Store& store, const QueryRows& rows, Instant now);

// The attempts with an uncertain grant's present token whose answers never came, oldest first:
// `at`, `process`, `pid`. No row if the ledger has forgotten.
QueryRows lost_answers(const Store& store, const NamedRow& credential);

}  // namespace authdb::cli
