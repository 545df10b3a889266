// What an outcome must be, and what of it the books have to note.
#pragma once

#include <set>
#include <string>

#include "tests/model/actions.h"
#include "tests/model/world.h"

namespace authdb::model {

// How things stood when the action began: only what is free of trouble must succeed.
struct Before {
  bool clean = false;      // nobody sits on a lock, no disk fails, no process dies
  bool renewable = false;  // and this login must yield a bearer
  std::set<int> removed;   // logins that were removed already
};

Before before(World& world, const Step& step, const Prepared& prepared);
void judge(World& world, const Step& step, const Prepared& prepared, const Before& before,
           const Outcome& outcome, const Acting& doing);

// A login that was locked and read, against the books. `fresh`: a grant that may stand there as
// well, because nobody knows how far the action came that brought it; `verb`: what may have
// happened.
void compare(World& world, int who, const Outcome& outcome, const Before& how, Verb verb,
             const Prepared* fresh);
// Locks and compares now, after an action that was cut short.
void inspect_now(World& world, int who, Verb verb, const Prepared* fresh = nullptr);
// All of them; new ones are entered in the books. `restored`: removed ones may be back.
void look_again(World& world, const Prepared& fresh, bool restored = false);
// The table, without any lock.
void check_rows(World& world);
// The ledger, when every login has been recovered.
void check_ledger(World& world);
// The `freshness` view.
void check_status(World& world);

}  // namespace authdb::model
