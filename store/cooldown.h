// How long a credential rests after a call went wrong: whose fault it was, and for how long its
// owner says. Pure, thread-safe.
#pragma once

#include <string_view>

#include "store/credential.h"

namespace authdb {

struct Report;

// Whose fault it was that an inference call failed.
enum class Fault {
  request,   // the caller's own (400, 404, 408, 413, 499, other 4xx): no credential does better
  provider,  // server trouble, load, too many at once, a gate for clients: everybody's, and short
  rate,      // refused for a while, and nobody says why: 429, 403
  account,   // its limit, bill or plan: 402, or where reason or message say so
  bearer,    // 401
};

// By status, reason and message: 400, 403 and 429 stand for a bill as well, and then say so.
Fault fault_of(const Report& report);

// The 401 was no passing mood: the bearer's grant is gone, and only a login brings another.
bool is_final(int http_status, std::string_view reason);

// The mark that a call leaves. `sole` says that no other credential of the pool is alive.
//
// A success clears it. What is the request's own fault leaves it as it is, and so does a rest that
// would end before the one that is under way, or a 401 while another rest is. Otherwise the
// credential rests
//
//   provider  10 s, or as long as the answer says; never more than a minute
//   rate      as long as the answer says; else 1, 4, 16, 60 minutes, the next step each time that
//             a rest ended within the last hour and no success was reported since
//   account   as long as the answer says; else an hour
//   bearer    5 minutes; after a final one until somebody logs in
//
// A time that the answer says and that is over counts as none. Where nobody else can be asked, an
// unstated rest is a minute, but for a 402 and a reason that begins with `billing`; and a minute is
// all that `billing_unverified` costs.
Health marked(const Health& before, const Report& report, bool sole, Instant now);

}  // namespace authdb
