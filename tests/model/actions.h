// What a step does to the store, through its public face, and what came of it. The outcome is
// judged elsewhere (judge.h), in the process that has the books.
#pragma once

#include <string>
#include <vector>

#include "oauth/login.h"
#include "tests/model/world.h"

namespace authdb::model {

struct Outcome {
  bool crashed = false;
  bool ok = false;
  int code = 0;  // Errc
  std::string message;
  std::string token;  // a bearer
  std::int64_t returned_at = 0;
  int warnings = 0;
  std::vector<std::string> uids;
  bool flag = false;  // login: an existing credential; look: nothing changed
  // inspect
  std::string refresh;
  int expected = -1;  // the token that the books had when it was done
  std::int64_t generation = 0;
  int hold = 0;
};

// What the world must do before the action, such as a person's approval of a login.
struct Prepared {
  bool possible = true;  // false: there is nothing to do, as with an undo of nothing
  int who = 0;
  int provider = 0;
  int account = 0;
  Issued issued;
  std::string label;
  bool imported = false;  // the issued grant is in a file of another tool
  int rejected = -1;      // the bearer that a resource server refused
  bool second = false;    // another one that is not replaced in the table yet was refused before
  std::int64_t reset_at = 0;  // until when it wants to be left alone
  std::string text;           // of it, or of a stale refresh token
};

Rights rights_of(const Step& step);
Prepared prepare(World& world, const Step& step);
// Only calls; touches no books.
Outcome perform(World& world, Desk& desk, const Step& step, const Prepared& prepared);

// A whole step: prepared, performed as its twist wants it, judged.
void do_step(World& world, const Step& step);
// The inner step of `outer`, in another process.
void do_inner(World& world, const Step& outer);

void seat_first_logins(World& world);
oauth::NewSession session_of(World& world, int provider, int account, const Issued& issued);
// The token that was current before, in the same login; -1: none.
int predecessor_of(const Server& server, int token);

}  // namespace authdb::model
