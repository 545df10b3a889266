// Files of a store that are lost or damaged, made anew from what is left of it.
//
// Thread safety: functions without state. All of them take the write gate, so that of several
// processes one does it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "store/clock.h"
#include "store/result.h"
#include "store/sqlite/opening.h"
#include "store/uid.h"

namespace authdb::sqlite {

// True if auth.db is missing, or no SQLite database that can be read through. Errors: refused, if
// it is another program's database, or one we may not touch.
Result<bool> needs_rebuilding(const StoreFiles& files, const Clock& clock);

// What rebuild_from() did.
struct Rebuilt {
  // The damaged database, with its log beside it; or the log alone. Empty: there was none.
  std::filesystem::path set_aside;
  std::int64_t held = 0;
};

// Takes a copy of the backup as auth.db. A grant whose journal is not among `journalled` is put on
// hold: nobody can tell whether it was rotated since. nullopt: there is a whole database by now.
// Throws BackendError.
Result<std::optional<Rebuilt>> rebuild_from(const std::filesystem::path& backup,
                                            const StoreFiles& files,
                                            const std::vector<Uid>& journalled, const Clock& clock,
                                            Milliseconds wait);

// The same with an empty database, for a store that has journals and no database that can be
// opened: what they know can be adopted then. One that can be opened stays, however damaged: it may
// have more than the journals. Refused where one of them is sealed with a key that is not there.
// nullopt: the database can be opened, or there is no journal. Throws BackendError.
Result<std::optional<Rebuilt>> rebuild_from_journals(const std::filesystem::path& database,
                                                     const std::filesystem::path& key_file,
                                                     const Clock& clock, Milliseconds wait);

// Makes auth.db.d anew where it is lost beside a whole auth.db, under the write gate. A grant whose
// journal is lost is put on hold first: its token may have been sent. How many; nullopt: it is not
// lost.
Result<std::optional<std::int64_t>> remake_directory(const std::filesystem::path& database,
                                                     const Clock& clock, Milliseconds wait);

}  // namespace authdb::sqlite
