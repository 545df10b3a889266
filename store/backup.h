// A copy of the store's database to keep, and the way back from it (DESIGN 5.3).
//
// Copying files by hand is no backup: a copy of auth.db knows nothing of the tokens that came after
// it, and one of auth.db and auth.db.d together makes the machine forget them. restore() takes what
// people wrote from the backup, and tokens from whoever has the newest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "store/store.h"

namespace authdb {

struct BackedUp {
  std::filesystem::path file;
  std::int64_t credentials = 0;  // removed ones not counted
  std::int64_t bytes = 0;
};

// Writes a consistent copy of the database while others go on: mode 0600, whole and durable or not
// there at all. Secrets in it stay sealed: keep the key file too, elsewhere. usage if `file`
// exists; refused if others could replace it there, or the database is damaged (a sealed cell that
// does not open, too) or not as authdb makes it; try_later on a full disk.
Result<BackedUp> back_up(const Store& store, const std::filesystem::path& file);

struct Restored {
  bool rebuilt = false;  // auth.db was missing or damaged, and is the backup's copy now
  // Where the damaged one is kept, or the log of a missing one. Empty: there was none.
  std::filesystem::path set_aside;
  std::int64_t credentials = 0;  // that the backup knows
  std::int64_t back = 0;         // among them: were gone or removed here
  std::int64_t newer = 0;        // among them: have tokens here that are newer, and keep them
  std::int64_t adopted = 0;      // whose newest tokens were in their journals only
  std::int64_t held = 0;         // whose newest token nobody can know: hold=uncertain
  std::vector<Error> left;       // what single journals refused
};

// Labels, bindings, profiles, states and health as the backup has them; tokens never backwards:
//   - a token set that is newer here stays, and the backup's token counts as spent;
//   - what the journals know and the database does not is adopted first;
//   - a token set that is newer in the backup than row and journal comes back on hold, because the
//     journal was put back too and what came after is unknown;
//   - what was removed since comes back, unless its tokens moved in between; what only the store
//     has stays; nothing is removed.
// All or nothing, in one write transaction. Where auth.db is missing or damaged it is first
// replaced by a copy of the backup; dying before or after that leaves the old state or the new one.
//
// Errors: refused (no backup of this store, a newer schema or an altered one, damaged, a sealed
// cell that does not open as its row says, or one sealed with a key that is not in the key file),
// busy, try_later, not_found (no such file).
Result<Restored> restore(StoreOptions options, const std::filesystem::path& file);

}  // namespace authdb
