// Look before you spend. Until its file is cut over, the tool that a login was imported from may
// rotate it: then the store's refresh token is spent, and sending it would end the session of both.
// Before the first refresh here the files that were imported are read again, if they changed.
//
// From the first refresh on, the successor is this store's alone, and what its tool writes into the
// file is another login: that is `authdb migrate`'s to judge, with a person who looks at it.
#pragma once

#include <string>
#include <vector>

#include "migrate/migrate.h"
#include "store/store.h"

namespace authdb::migrate {

// A pair in an imported file that is newer than the store's, of the same login.
struct NewerPair {
  Uid uid;
  std::string path;    // of the file
  std::string reason;  // why it is newer
};

// Those that stand in files which changed since they were imported. Left out: what migrate() would
// not adopt by itself, what it knows to be another account's, and files that somebody else could
// have changed (ownership.h, check_loadable). Changes nothing.
Result<std::vector<NewerPair>> newer_pairs(const Store& store, const ProviderRules& providers);

// Adopts the newer pair of `uid`, with a row in the ledger; nullopt if there is none. For
// StoreOptions::look_elsewhere; takes the credential's lock. Thread safety: as Store's.
Result<std::optional<NewerPair>> adopt_newer_pair(const Store& store, const Uid& uid,
                                                  const ProviderRules& providers);

}  // namespace authdb::migrate
