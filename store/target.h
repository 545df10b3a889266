// How people name a credential: uid, fingerprint, label, `#n` or n (1-based place in the pool), or
// the id another tool gave it. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "store/credential.h"
#include "store/result.h"

namespace authdb {

// `sha256:` and 16 hex digits: what fingerprint() gives.
bool is_fingerprint(std::string_view text);

// not_found with the nearest names; usage, with the candidates, if more than one matches.
Result<const PoolEntry*> pick_target(const std::vector<PoolEntry>& pool, std::string_view target);

// The names closest to `wanted`, best first, for "did you mean"; empty if none is close.
std::vector<std::string> nearest(std::string_view wanted, const std::vector<std::string>& names);

}  // namespace authdb
