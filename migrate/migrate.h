// Foreign credential files in: plan (pure: documents and store to actions with reasons) and apply
// (locks, recovery, one write transaction, all or nothing). Sources are read and never written; the
// network is never used (DESIGN 8).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/formats/document.h"
#include "store/change.h"
#include "store/result.h"
#include "store/store.h"

namespace authdb::migrate {

// Hears how far a long migration is: `done` of `all` have been through `step`, which is one of
// `files read`, `credentials planned` and `credentials written`, in that order. A cut-over reads
// again under the locks, and where the store has changed since it was planned, planning begins
// anew: nothing of what was written is there before the end. Called for each, in the caller's
// thread.
using Listener = std::function<void(std::string_view step, std::size_t done, std::size_t all)>;

// The address as tokens of `provider` may be sent to it, perhaps in a safer spelling than `url`; an
// error, with what to do, if they may not.
using UsableAddress =
    std::function<Result<std::string>(const std::string& provider, const std::string& url)>;

// What is asked of whoever knows the providers. Each may be empty.
struct ProviderRules {
  // What grants say of where their tokens go is asked of it. Empty: everything is taken; whatever
  // sends a token still asks.
  UsableAddress usable = {};
  // True if this store can renew grants of that provider. Where it cannot, the tool goes on doing
  // so: its file keeps the refresh token, and nobody is a second spender. Empty: it can.
  std::function<bool(const std::string& provider)> renews = {};

  bool can_renew(const std::string& provider) const { return !renews || renews(provider); }
};

struct MigrateOptions {
  std::vector<std::filesystem::path> paths;  // files or Hermes roots; empty: the well-known places
  std::optional<std::filesystem::path>
      prefer;  // the source whose pair wins, whatever the timestamps
  // A name of formats(): what the files are, whatever they look like. Empty: as they prove.
  std::string as = {};
  bool include_env = false;  // keep the raw secrets of `env:` rows
  // Variables whose rows (`env:NAME`) take whatever they hold at use, from now on. usage if one is
  // no name, or the sources have no API key that is kept in it.
  std::vector<std::string> allow_env = {};
  // A time that is later than this by more than a day is no evidence of when a grant was obtained.
  // Absent: the store's clock; without a store, every time is believed.
  std::optional<Instant> now;
  Listener progress = {};  // may be empty
  ProviderRules providers = {};
  // For a look at what is: what was handed over stays with its tool.
  bool leave_handed_over = false;
};

// One row or block that was not imported, and why.
struct Skipped {
  std::string row;  // where in the document: `credential_pool.nous[1]`, or `providers.nous`
  std::string reason;
  bool left_behind = false;  // a credential that could not be read stays behind with it
};

struct SourceReport {
  std::filesystem::path path;
  std::string sha256;
  std::string profile;
  std::int64_t rows = 0;
  std::int64_t imported = 0;  // new or newer grants that came from here
  std::int64_t merged = 0;    // copies of a grant that is one credential now
  std::int64_t stale = 0;     // spent, or older than what the store holds
  std::vector<Skipped> skipped;
  std::optional<Error> failure;  // nothing was taken from this file
};

// What the plan does with one credential, for people.
struct Decision {
  Uid uid;  // empty until applied, for a new one
  std::string provider;
  std::string label;
  std::string action;  // added | adopted | bound | unchanged | conflict | skipped
  std::string reason;  // why this pair is the live one
  std::vector<std::string> sources;
  std::vector<std::string> profiles;
  std::optional<std::size_t> change;  // its place in Plan::change.credentials, if it has one
};

struct Warning {
  std::string code;  // `second_spender`, …
  std::string message;
};

// Everything a migration would do. Holds secrets; `change` is what apply() hands to the store.
struct Plan {
  Change change;
  std::vector<SourceReport> sources;
  std::vector<Decision> decisions;
  std::vector<Decision> conflicts;
  std::vector<Warning> warnings;
  std::int64_t credentials = 0;  // in the sources together, copies counted once
  std::int64_t profiles = 0;
  std::int64_t families = 0;  // OAuth grants among them
};

// Reads the sources. A source that cannot be read or parsed becomes a SourceReport with a failure;
// the others go on. not_found if there is nothing to read at all.
Result<std::vector<Document>> read_sources(const MigrateOptions& options);

// Pure but for reading the store; `store` is absent when there is none yet.
Result<Plan> plan(const std::vector<Document>& documents, const Store* store,
                  const MigrateOptions& options);

// Plans and applies. The decisions and conflicts get their uids. If the store moved in between,
// plans again (three times, then busy); a plan that changes nothing does not write.
Result<Plan> apply(Store& store, const std::vector<Document>& documents,
                   const MigrateOptions& options);

}  // namespace authdb::migrate
