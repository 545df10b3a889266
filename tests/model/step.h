// One step of a history: what is done, to which login, what the server answers, and what goes wrong
// meanwhile. Every number is taken modulo what there is, so that any part of a history is a history
// too: that is what makes shrinking possible.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace authdb::model {

enum class Verb {
  bearer,   // arg: 0 plain, 1 min_ttl, 2 rejected, 3 whoever the pool chooses
  refresh,  // arg: 1 replay
  mint,
  report,        // arg: 0 a 401 of its bearer, 1 a 429, 2 a 402, 3 one that went well
  login,         // arg: 0 the account of `who`, 1 a new account, 2 the label of `who`, new account
  import_stale,  // a copy of the file as it was `arg` rotations ago
  import_newer,  // a copy with a login that another tool has made
  remove,
  undo,
  hand_over,
  take_back,
  inspect,  // lock it, and compare all of it
  look,     // everything that promises to change nothing
  backup,
  restore,  // arg: 3: auth.db is gone
  save_db,  // a copy of auth.db, while nobody has it open
  put_back_db,
  save_journal,
  put_back_journal,
  delete_journal,
  damage_journal,  // arg: even: a byte, odd: a cut
  repair,
  key_rotate,
  key_prune,
  provider_gone,  // its file is not there for a while
  provider_back,
  outsider_on,  // somebody sits on SQLite's write lock
  outsider_off,
  advance,  // arg: seconds
  jump,     // the clock is set: arg: seconds, may be negative
  reboot,
};
inline constexpr int kVerbs = static_cast<int>(Verb::reboot) + 1;

// What the token endpoint does with the first request of the step; later ones are served well.
enum class Reply {
  ok,
  keep,         // no refresh token in it: the old one stays
  same,         // the same one again
  cut,          // only the first bytes arrive
  broken,       // the same, but the transfer looks complete
  lost,         // processed, and nothing arrives
  unprocessed,  // the request left, the server never saw it
  refused_connection,
  late,   // nothing arrives now; the server works on it later
  twice,  // the network delivers the request a second time
  rate_limited,
  unavailable,
  server_error,
  page,         // 403 with HTML
  refusal,      // 400 invalid_grant: the session was ended at the server
  refusal_200,  // the same with the status 200
  unreadable,   // a 2xx of which nothing can be made
  stranger,     // tokens of another account
  elsewhere,    // the refresh token that is current on another credential here
  retired,      // a refresh token that was current here before
};
inline constexpr int kReplies = static_cast<int>(Reply::retired) + 1;

enum class Clothes { plain, bom, prefix, trailing, data, form, gzip };
inline constexpr int kClothes = static_cast<int>(Clothes::gzip) + 1;

// What goes wrong, or happens, while the step is under way.
enum class Twist {
  none,
  crash,     // the process dies at the `at`-th system call that changes a file or sends
  fault,     // from the `at`-th such call on: `how`
  outsider,  // somebody takes SQLite's write lock while the request is under way
  in_send,   // the inner step happens in another process, while the request is under way
  in_clock,  // ... at the `at`-th reading of the clock
  waiter,    // ... in another process that has time and waits for the lock
};
inline constexpr int kTwists = static_cast<int>(Twist::waiter) + 1;

// How a disk fails: `how` of Twist::fault.
enum class Fault { once_full, full, once_broken, broken, no_growth };
inline constexpr int kFaults = static_cast<int>(Fault::no_growth) + 1;

struct Step {
  Verb verb = Verb::bearer;
  int who = 0;
  int arg = 0;
  Reply reply = Reply::ok;
  Clothes clothes = Clothes::plain;
  int seed = 0;  // order of fields, where to cut, lifetime, Retry-After
  int big = 0;   // bytes of padding in the answer, in KiB
  int mint = 0;  // 1: the agent key is refused with 401, 2: 503, 3: lost, 4: 403
  Twist twist = Twist::none;
  int at = 0;
  int how = 0;
  Verb inner = Verb::bearer;
  int inner_who = 0;
  int inner_arg = 0;
  Reply inner_reply = Reply::ok;
};

using History = std::vector<Step>;

std::string_view name_of(Verb verb);
std::string_view name_of(Reply reply);
std::string_view name_of(Twist twist);
std::string_view name_of(Clothes clothes);

// `refresh who=1 reply=cut seed=17`; what is zero is left out.
std::string text_of(const Step& step);
std::optional<Step> step_of(std::string_view line);
// One step a line, or between `;`. Empty lines and what follows `#` do not count.
std::optional<History> history_of(std::string_view text);

}  // namespace authdb::model
