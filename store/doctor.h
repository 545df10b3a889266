// The state of health of a store: what is unfinished, damaged, held or in the way, and the mending
// of what can be mended without a guess.
//
// Looking (P6) takes no lock, sends nothing and changes nothing: it may see an attempt of another
// process half way.
#pragma once

#include <string>
#include <vector>

#include "store/store.h"

namespace authdb {

enum class Severity {
  note,       // nothing to do
  attention,  // works, and somebody should know
  login,      // a person has to log in
  damage,     // something is refused until it is mended
};

// One thing that was found. `code` is for programs: never rename.
struct Finding {
  std::string code;
  Severity severity = Severity::note;
  std::string message;
  std::string hint;
  bool repaired = false;
};

// Opening (permissions, owner, file system, pairing), the database's integrity, every journal and
// rescue file, leftovers, whether each key that is needed is there, and whether each sealed cell
// opens. Never an error: what keeps it from looking is a finding.
std::vector<Finding> examine(const StoreOptions& options);

// Why the credential `uid` may not renew itself although its row does not say so: its journal is
// damaged, lost, put back or may not be written, a sealed cell of its row does not open, or the
// last attempt was sent by a process that is gone. One journal and one row are read, no lock taken.
std::optional<Finding> examine_journal(const Store& store, const Uid& uid);

// Why nothing can be written to the store, by the modes and kinds of its files: so it cannot be
// recorded either that a renewal failed. Of what the effective user may do; nothing is tried.
std::optional<Finding> examine_access(const Store& store);

// Examines, does what is safe (settles journalled answers, adopts what a put-back database lacks,
// mends cells of which the journal has the very tokens, finishes a key rotation, sets damaged
// journals aside and holds their credentials, removes leftovers, makes a lost auth.db.d anew and
// holds each login, makes a lost auth.db anew from the journals), and examines again: first what
// was mended, then what is left.
std::vector<Finding> repair(const StoreOptions& options);

}  // namespace authdb
