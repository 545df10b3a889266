// One provider object of providers.json or of a providers.d file: read strictly, laid over what is
// already known of that provider. Pure, thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "oauth/provider.h"

namespace authdb::oauth {

struct FieldProblem {
  std::string field;
  std::string reason;
};

// Lays `object` over `provider`, noting `origin` for each field. An unknown field, a wrong type, a
// value that cannot be, or a missing required field is a problem; with any, `provider` is unusable.
std::vector<FieldProblem> read_provider(const nlohmann::json& object, const std::string& origin,
                                        Provider& provider);

}  // namespace authdb::oauth
