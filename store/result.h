// Outcomes as values. Every public function that can fail returns Result<T>; nothing throws across
// a folder boundary.
//
// An Error is always safe to log and to print: it may quote labels, fingerprints, paths and
// scrubbed server text, never a token.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace authdb {

// What went wrong, as far as a caller can act on it. The numbers are the command's exit codes:
// published, never renumber.
enum class Errc {
  unexpected = 1,    // a defect or an environment we did not foresee
  usage = 2,         // the request itself is wrong, or its target is ambiguous
  not_found = 3,     // no such store, provider, profile or credential
  login_needed = 4,  // revoked, reused or dead: only a person can help
  try_later = 5,     // network, 5xx, 429, cooling down, uncertain
  busy = 6,          // a lock was not had by its deadline; nothing changed
  refused = 7,       // permissions, damage, version, key: we will not touch this as it is
  partly = 8,        // some sources failed, the others are done
  stopped = 130,     // the caller asked to stop before anything was sent, as by Ctrl-C
};

// Two lines for a person: what happened, and what to do about it.
struct Error {
  Errc code = Errc::unexpected;
  std::string message;
  std::string hint;
};

// What a caller is told who asked to stop in time.
inline Error stopped_error() { return {Errc::stopped, "stopped before anything was sent", ""}; }

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Errc code, std::string message, std::string hint = {}) {
  return tl::make_unexpected(Error{code, std::move(message), std::move(hint)});
}

// Hands an error on to a caller whose Result carries another type.
inline tl::unexpected<Error> fail(Error error) { return tl::make_unexpected(std::move(error)); }

}  // namespace authdb
