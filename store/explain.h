// What a person is told when a credential cannot be rotated: what happened, to which credential,
// profile and process, what the ledger knows, and what to do. Private to store/.
#pragma once

#include "store/locked.h"
#include "store/rotation.h"

namespace authdb {

// A refresh that the server refused for good. Knows reuse, and whether it was our own lost answer.
// Before and after it was recorded, as all that follows.
Error explain_rejected(const Locked& locked, const Judgement& judgement,
                       const std::string& profile);
// Another process has been told so since the caller looked.
Error explain_dead(const Locked& locked);
// An attempt has failed, and the token endpoint rests until then.
Error explain_rest(const Locked& locked, Instant until);
// A refresh that changed nothing and may be tried again.
Error explain_half(const Locked& locked);
Error explain_unspent(const Locked& locked, const Judgement& judgement, const std::string& profile);
// What the credential's health remembers of it, for those who ask later.
std::string why_dead(const Locked& locked, const Judgement& judgement);
// A grant whose token may have been spent without our learning the successor. `next_replay`: when
// it is sent again; nullopt: not while its bearer lives, whose end is unknown.
Error explain_uncertain(const Locked& locked, std::optional<Instant> next_replay);
// An answer is in the journal and could not be settled: nothing is sent before that.
Error explain_unsettled(const Locked& locked);
// The answer is another account's; nothing of it is used.
Error explain_misdirected(const Locked& locked);
// A resource server refuses what the token endpoint gives.
Error explain_rejected_again(const Locked& locked);
// The server's refusals go on, and nobody knows their meaning.
Error explain_refusals(const Locked& locked);
Error explain_hold(const Locked& locked);
Error explain_retired(const Locked& locked, const RetiredToken& retired);
Error explain_no_refresh_token(const Locked& locked);
// A warning if the server's clock, by its Date header, and ours are more than a minute apart. The
// answer came by `received_at`. Nothing is ever computed from that header: lifetimes count from our
// own clock.
std::string clocks_differ(const Answer& answer, Instant received_at);

// "just now", "34 s ago", "2 h 5 min ago".
std::string ago(Instant then, Instant now);

}  // namespace authdb
