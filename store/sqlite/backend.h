// The SQLite backend. One database file in WAL mode, a connection per thread at work, writers one
// after the other behind a fair gate.
#pragma once

#include <filesystem>
#include <memory>

#include "store/backend.h"
#include "store/clock.h"
#include "store/sqlite/opening.h"

namespace authdb::sqlite {

// Thread-safe. Throws BackendError: foreign, newer, damaged, or not the store of these journals.
std::unique_ptr<Backend> open_backend(const StoreFiles& files, OpenMode mode, Clock clock);

}  // namespace authdb::sqlite
