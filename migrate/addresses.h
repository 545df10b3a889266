// Holds what a file says of where tokens go, and of who vouches for the servers there, against what
// its provider allows and what is there.
#pragma once

#include "migrate/formats/document.h"
#include "migrate/migrate.h"

namespace authdb::migrate {

// A grant whose portal is refused is left in its file and named: its tokens would go nowhere, or to
// a portal that never issued them. Of one whose address for bearers is refused that field is left
// out, since the provider has its own. What is taken in another spelling, or left out, is noted.
// A file of authorities that is not there is left out.
// API keys keep their addresses: whose key it is, only the file says.
void check_addresses(Document& document, const UsableAddress& usable);

}  // namespace authdb::migrate
