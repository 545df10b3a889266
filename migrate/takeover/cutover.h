// The cut-over: from then on only authdb spends (DESIGN 8).
//
// Under the tools' own locks everything is imported first, and then each source is kept as
// `<name>.migrated-<time>` and replaced by a projection (projection.h). So a refresh token is
// always in the store, in the file, or for a moment in both, and never in neither. Killed at any
// point each file is the old or the new one; doing it again finishes it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "migrate/migrate.h"
#include "migrate/takeover/running.h"

namespace authdb::migrate {

struct CutFile {
  std::filesystem::path path;
  std::string profile;
  std::filesystem::path kept;           // where the file as it was has gone; empty: not replaced
  std::vector<std::string> left_alone;  // for people: grants that stay in the file, and why
  std::string warning;                  // for people; empty: none
};

struct CutOver {
  Plan plan;
  std::vector<CutFile> files;    // those with an OAuth grant
  std::vector<Running> running;  // to be restarted: they remember what they have read
};

struct CutOverOptions {
  MigrateOptions migrate;
  bool although_running = false;
  Milliseconds wait{30'000};  // for the locks together
};

// Errors: refused, naming the processes that have a source's directory open (unless
// although_running), and nothing was changed; busy (a tool's lock, or a source that changed each
// time it was read); as apply().
Result<CutOver> cut_over(Store& store, const CutOverOptions& options);

}  // namespace authdb::migrate
