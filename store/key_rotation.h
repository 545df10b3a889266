// A new seal key for a store that others go on using, and the end of the old ones (DESIGN 4.3).
//
// Thread safety: any number of processes may rotate, prune and use the store at once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/store.h"

namespace authdb {

struct KeyRotation {
  std::string key;         // id of the key that seals from now on
  bool resumed = false;    // no key was drawn: an earlier rotation was not through
  std::int64_t cells = 0;  // of the database, sealed anew
  std::int64_t journals = 0;
  std::vector<Error> left;  // what could not be sealed anew; the old keys still open it
};

// Draws a key and seals everything with it, in steps of which each is durable: dying anywhere
// leaves a store that works, and rotating again finishes. Errors: refused (no key, or a key file
// that cannot be written), busy, try_later. What single credentials or cells refuse is in `left`.
Result<KeyRotation> rotate_key(Store& store);

// Finishes a rotation that was cut short, and draws no key. nullopt if there was none.
Result<std::optional<KeyRotation>> finish_rotation(Store& store);

struct KeptKey {
  std::string key;
  std::string why;
};

struct KeyPrune {
  std::vector<std::string> dropped;
  std::vector<KeptKey> kept;  // the active one among them
};

// Takes the keys out of the key file that this store has drawn and nothing of it names any more: no
// cell, no journal, no rescue file. A backup from before the rotation cannot be opened afterwards.
// Errors, with nothing dropped: busy (a credential is at work), refused (a journal is damaged).
Result<KeyPrune> prune_keys(Store& store);

}  // namespace authdb
