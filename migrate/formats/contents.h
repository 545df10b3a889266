// What of the store goes into one file: a profile's credentials in the order of their pools, each
// with the places that it had in such a file before.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "migrate/export.h"
#include "migrate/formats/grant_place.h"
#include "migrate/formats/imprint.h"
#include "store/store.h"

namespace authdb::migrate {

struct Shown {
  Held held;
  nlohmann::json extra;
  std::vector<Imprint> places;  // in files of this profile and format

  const Identity& identity() const { return held.row.identity; }
};

struct Contents {
  std::map<std::string, std::vector<Shown>> pools;  // by provider
  std::vector<ProviderState> states;
  nlohmann::json unknown;  // what the last such file had that belongs to no credential
  Instant now{};
  bool with_refresh = false;
};

// With refresh tokens, each credential is locked and recovered before it is read.
Result<Contents> contents_for(const Store& store, const ExportRequest& request);

// The credential that stands for the whole pool in a file that holds only one: the one that such a
// file had, else the first login of the pool. nullptr if there is none.
const Shown* only_login(const Contents& contents, const std::string& provider);

// A key of the pool, by the same rule.
const Shown* only_key(const Contents& contents, const std::string& provider);

// not_found: the profile has no `what` for such a file.
tl::unexpected<Error> nothing_for(const ExportRequest& request, const std::string& what);
// What the last such file had beside its blocks; what could not be imported stays there.
nlohmann::json rest_of(const Contents& contents);
// The block of a login in such a file: as it was, or made anew from `fresh`.
nlohmann::json block_of(const Contents& contents, const Shown& shown, const Spelling& spelling,
                        nlohmann::json fresh);
// A file that is one login's block.
Result<nlohmann::json> flat_tree(const Contents& contents, const ExportRequest& request,
                                 const char* provider, const Spelling& spelling,
                                 nlohmann::json fresh);

}  // namespace authdb::migrate
