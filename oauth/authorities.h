// Which authorities a server's certificate must come from: what the operator, a credential or its
// provider named, else what the variables name that the curl command reads, else the system's.
// What is named counts instead of the system's, not beside it.
#pragma once

#include <optional>

#include "oauth/endpoints.h"
#include "oauth/http.h"
#include "store/result.h"

namespace authdb::oauth {

// Reads what is named. refused, naming the variable or the field and what to do, if it cannot be
// used: it cannot be read, is no file (or no directory), has no certificate in it, or another user
// can write or replace it (check_loadable()). Thread-safe as `environment` is.
Result<Authorities> authorities_of(const Provider& provider, const Identity& identity,
                                   const Environment& environment);

// Why the file cannot be used that is named for them, as far as its name and owner tell. Not read.
std::optional<Error> unusable_ca_file(const Provider& provider, const Identity& identity,
                                      const Environment& environment);

}  // namespace authdb::oauth
