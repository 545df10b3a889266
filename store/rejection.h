// A rejected bearer whose credential cannot be locked, because its journal is damaged: the row
// alone knows of it, so that it is handed to nobody (P8). Whoever sets the journal aside goes by
// the row.
#pragma once

#include <string>

#include "store/store.h"

namespace authdb {

// `bearer` is a fingerprint. Nothing is done where it is not the credential's current bearer.
Result<void> note_rejected_in_row(const Store& store, const Uid& uid, const std::string& bearer);

}  // namespace authdb
