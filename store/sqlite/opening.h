// The opening checklist: what must hold of the files before the store touches them, and how a new
// store comes to be. Every refusal has its own message and mend (DESIGN 4.1).
//
// A process that opens and closes auth.db, -wal or -shm itself drops the locks SQLite holds on
// them: everything here looks by name only, and never opens a second descriptor.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "store/clock.h"
#include "store/result.h"
#include "store/seal.h"
#include "store/store.h"

namespace authdb::sqlite {

struct StoreFiles {
  std::filesystem::path database;   // canonical: symlinks and `..` resolved
  std::filesystem::path directory;  // auth.db.d
  std::string store_id;
};

// Checks an existing store, or makes one if `mode` says so and there is nothing. A new store is
// built under another name and renamed, so that it is whole or absent; several processes may try at
// once.
Result<StoreFiles> open_files(const std::filesystem::path& path,
                              const std::filesystem::path& key_file, OpenMode mode, Instant now);

// The files of a store whose database may be missing or damaged: what `restore` begins with.
// `store_id` is the backup's. refused if other files are there than that store's; auth.db.d is made
// if there is nothing at all.
Result<StoreFiles> files_to_restore(const std::filesystem::path& path, const std::string& store_id);

// The files of a store that has journals; its database may be missing or damaged. nullopt: none.
Result<std::optional<StoreFiles>> journalled_files(const std::filesystem::path& path);

// Writes the empty database of a store into the file at `path`, which is empty; throws
// BackendError.
void build_database(const std::filesystem::path& path, const std::string& store_id,
                    const Sealer& sealer, Instant now);

// Where auth.db is there, and its auth.db.d is not, or not by name: makes the directory and the
// gate in it, but not yet what says whose it is (`store`), without which nobody opens the store.
// nullopt: nothing of it is lost.
Result<std::optional<StoreFiles>> lost_directory(const std::filesystem::path& path);

}  // namespace authdb::sqlite
