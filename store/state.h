// What a credential's journal says of it, and the rules by which that changes: the part of the
// rotation protocol that needs no file, no lock and no database. Private to store/.
//
// The record is the whole state of a credential beside its metadata; rows of the database mirror
// it. Each change adds one to `revision`, here and in the row, so that of two that differ the newer
// is known: newer_side() is the one function that decides it, and the whole newer side counts.
//
// Thread safety: values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "store/attempt.h"
#include "store/credential.h"
#include "store/seal.h"
#include "store/token_endpoint.h"

namespace authdb {

// Where the newest attempt with the current refresh token stands. Stored: never renumber.
enum class Phase : std::uint8_t {
  idle = 0,      // none is under way
  intent = 1,    // a token is about to be sent
  answered = 2,  // a 2xx answer is in here, sealed
  sent = 3,      // an intent whose first byte may have left; on disk an intent and its mark
};

// Who made an attempt, and when. Kept while it is under way, so that the next holder can tell.
struct AttemptNote {
  std::int64_t pid = 0;
  std::string boot_id;
  std::string process;
  std::string profile;
  Instant started_at{};
  std::string rescue;  // the directory where its answer is put if neither journal nor row takes it
  // answered:
  int http_status = 0;
  bool complete = false;  // the body arrived to its end
};

// Of the record that begins a journal, and of no other. Not 1: a row that mirrors 1 beside a blank
// journal may come of a crash between commit and journal, and nothing was ever sent; one that
// mirrors 2 or more tells that the journal was lost.
inline constexpr std::int64_t kFirstRevision = 2;
constexpr std::int64_t revision_after(std::int64_t revision) {
  return revision + 1 == kFirstRevision ? kFirstRevision + 1 : revision + 1;
}

struct CredentialState {
  std::int64_t revision = 0;  // 0: nothing was ever written
  bool legacy = false;        // read from a journal of format 1: says nothing of hold and removal
  std::int64_t family = 1;
  std::int64_t generation = 1;
  std::optional<TokenHash> hash;  // of the current refresh token
  Hold hold = Hold::none;
  std::optional<Instant> removed_at;
  Phase phase = Phase::idle;
  Renewal renewal;  // its `revision` and `waiting` are of the row's copy alone
  AttemptNote attempt;
  std::uint32_t answer_size = 0;  // of the last answer: so much room the next one is given
  Sealed grant;                   // whose it is, and the current pair
  // answered: the body. idle: an answer that is kept though nobody can use it, because it could not
  // be read or is for another account.
  Sealed answer;
};

// ---- which side is newer -----------------------------------------------------------------------

enum class Side {
  same,
  journal,       // the row is behind: a crash came between, or an older database was put back
  row,           // the journal is behind by its last word: a crash came between
  row_and_lost,  // the journal was lost or put back: what it said of attempts is gone
};
// The row as it stands in the database, against its journal. A journal that was made under an older
// format says nothing of revisions: there the generation decides.
Side newer_side(const CredentialState& journal, const Credential& row);

// The state that a row alone amounts to.
CredentialState state_of(const Credential& row);

// What is remembered of rejected bearers once `fresh` has taken the place of the access token or of
// the agent key: it replaced one that was refused, is that very one again, or ends the row of them.
void follow_rejection(Renewal& next, const Credential& before, const std::string& fresh);

// ---- what happens to it ------------------------------------------------------------------------

namespace event {

struct Began {
  AttemptNote attempt;
};
struct Answered {
  Sealed answer;
  int http_status = 0;
  bool complete = false;
  Instant started_at{};
};
// The request left, and no usable answer to it came. An answer that could not be read is kept.
struct Lost {
  Sealed answer = {};
};
// The token is as good as before: nothing left, or the server has not processed the request.
struct Unspent {
  std::optional<Seconds> retry_after;
  bool refusal = false;  // a 4xx whose meaning nobody knows
};
// The server has said no for good.
struct Refused {};
// The session is over, as somebody learned elsewhere than from the token endpoint.
struct Ended {
  bool ended = true;  // false: that was said too early
};
// The attempt came to nothing, and it is nobody's fault: its process died before it began.
struct Forgotten {};
// An answer for somebody else's account: kept, never served.
struct Misdirected {};
// Another grant stands in the row: by a rotation, a login, an import.
struct Moved {
  std::int64_t family = 1;
  std::int64_t generation = 1;
  std::optional<TokenHash> hash;
  Hold hold = Hold::none;
  Sealed grant;
  bool without_bearer = false;  // the answer brought a refresh token and nothing else
};
struct OnHold {
  Hold hold = Hold::none;
};
// The journal's own knowledge is gone: whether the token was sent cannot be known.
struct Doubted {};
struct Removed {
  Instant at{};
};
// A resource server has refused a bearer.
struct Rejected {
  std::string fingerprint;
  // False: no credential is known to have had it, so that nothing has replaced it, either.
  bool heard_of = true;
};
// `reset`: the endpoint may be asked at once, and no bearer counts as rejected.
struct Rested {};
// Another endpoint of the provider, which mints agent keys, had no key for us. All rest: what else
// is asked there would fail as well, and everybody would ask.
struct MintFailed {
  std::optional<Seconds> retry_after;
};
struct Minted {};

}  // namespace event

using Event = std::variant<event::Began, event::Answered, event::Lost, event::Unspent,
                           event::Refused, event::Ended, event::Forgotten, event::Misdirected,
                           event::Moved, event::OnHold, event::Doubted, event::Removed,
                           event::Rejected, event::Rested, event::MintFailed, event::Minted>;

// The state after the event. Total: every event has a meaning in every state. Its revision is given
// to it when it is written.
CredentialState decide(CredentialState state, Event what, Instant now);

// ---- what may be done --------------------------------------------------------------------------

// What the next holder of the lock does first. `boot_id` is empty where nobody knows it.
enum class Recovery { nothing, forget, call_lost, settle };
Recovery recovery_of(const CredentialState& state, const std::string& boot_id);

// Until when what a resource server was reported to want lasts; nullopt: it may be asked. One that
// was set by a clock ahead of ours does not count.
std::optional<Instant> cools_until(const Health& health, Instant now);

// Nobody knows what the server means by its refusals, and they go on: a login is probably needed.
bool refused_for_long(const Renewal& renewal, Instant now);

// How long after the last loss an uncertain token is sent again, by how often it was lost.
Seconds replay_after(int losses);

}  // namespace authdb
