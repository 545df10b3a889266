// Projections: files of other tools that hold access tokens of this store and no refresh token, so
// that unmodified tools keep working while only authdb spends. cutover.h makes them; each rotation
// brings them up to date.
//
// A file is only ever replaced as a whole, durably, under its tool's own lock, and if it still has
// the bytes that were read (not every tool takes its lock); a symbolic link to it stays, and so
// does whatever the tool has written beside the tokens. From then on only its owner can read it.
// What is written is registered in the store first: killed at any point, a file is the old or the
// new one and known.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "migrate/formats/grant_place.h"
#include "store/store.h"

namespace authdb::migrate {

// How long before its end a projected token is replaced: so early that its tool never finds it
// within its own skew, even if one round is missed.
Seconds projection_lead(std::string_view format, std::string_view provider);

// What became of one file.
struct Projected {
  std::string path;
  bool written = false;
  std::string warning;  // for a person; empty: none
  bool locked = false;  // its tool had its lock all the time
};

// Rewrites the files that show another access token than the store has now. A failure with one
// file is its warning. `wait` is for the locks of all files together. Cheap if none is behind: one
// query.
Result<std::vector<Projected>> project(Store& store, Milliseconds wait);
// As project(), and looks into every registered file for what its tool did there: a token that was
// given up is put back, a login of its own is warned of.
Result<std::vector<Projected>> project_all(Store& store, Milliseconds wait);

// When the credentials that projections show are to be refreshed, whatever the store itself would
// say: for `keep-fresh --project`. Soonest first; those that cannot be refreshed are left out.
struct ProjectionDue {
  Instant at;
  Uid uid;
};
Result<std::vector<ProjectionDue>> projections_due(const Store& store);

// For people: the registered files that do not show what the store has, though nobody is about to
// write it there, or that show an access token which nobody knows. Changes nothing.
Result<std::vector<std::string>> projections_left_behind(const Store& store);

// The files among those that were imported, and in the well-known places, that look like
// projections and are none: an access token of a login of this store stands there, and no refresh
// token. So it is after a cut-over that the store does not remember, restored from a backup of
// before it.
Result<std::vector<std::string>> forgotten_projections(const Store& store);

// ---- For cutover.cpp and hand_over.cpp ---------------------------------------------------------

// For people, before a file is written that others than its owner can read or write: it is private
// from then on. Empty: it is already.
std::string note_of_privacy(const std::filesystem::path& path);

// The credential whose grant a place shows, by what the store knows of tokens: current, retired, or
// projected at `path`. Refers to the store.
class Owners {
 public:
  static Result<Owners> of(const Store& store, const std::vector<ProjectedToken>& projected);
  // nullptr: not ours, removed since, or of another provider: that one's tokens are not for the
  // tool whose place it is. Errors as of the store.
  Result<const Credential*> of_place(const GrantPlace& place) const;
  // nullptr: removed since, another store's, or no OAuth grant.
  const Credential* at(const Uid& uid) const;

 private:
  explicit Owners(const Store& store) : store_(store) {}
  Result<const Credential*> of_tokens(const GrantPlace& place) const;

  Store store_;
  std::vector<Credential> credentials_;
  std::unordered_map<std::string, std::size_t> by_token_;  // fingerprint of either token
  std::unordered_map<Uid, std::size_t> by_uid_;
};

// Registers `before` and `after`, replaces the file, which has been read as `was`, and registers
// `after` alone. False: it is another by now and has to be read again; both stay registered.
Result<bool> write_projection(Store& store, Projection projection,
                              const std::vector<ProjectedToken>& before, const Secret& was,
                              const Secret& text);

}  // namespace authdb::migrate
