// The rotation of a single-use refresh token: many processes, one spender, nothing lost (DESIGN 5).
//
// A kernel lock per credential says who may spend; a journal beside it is the authority for
// recovery; one write transaction with compare-and-swap moves the row. From the moment an answer's
// bytes are read the new token survives anything; before that the attempt is known to be uncertain.
//
// Thread safety: everything here may be called from any thread and any process at once. Use a
// std::stop_token to end a call. pthread_cancel() is put off while a lock is waited for and until a
// rotation is over, and takes effect at the thread's next cancellation point after that.
//
// Exceptions out of what the caller gave us (clock, logger, shield, endpoint, transport) become
// errors, those of std::exception; others pass through. One thrown while a token is in flight
// counts as an answer that never came; one thrown after it arrived leaves it in the journal, and
// the next call settles it. No lock stays behind.
#pragma once

#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "store/attempt.h"
#include "store/credential.h"
#include "store/result.h"
#include "store/store.h"

namespace authdb {

struct Locked;

// How a bearer came to be the one returned.
enum class Action { cached, refreshed, minted, adopted, recovered };

struct RotateRequest {
  std::string profile;      // for the ledger
  Milliseconds min_ttl{0};  // what the bearer must still live; at most half its life counts
  std::string rejected;     // fingerprint of an access token that a resource server refused
  bool force = false;       // refresh although nothing is due
  bool replay = false;      // send an uncertain token now (DESIGN 5.4)
  // Although the token endpoint has asked to wait (Retry-After). What is forced ignores it too.
  bool ignore_cooldown = false;
  // The generation the caller had in hand: if a newer one stands there, it serves even a forced
  // refresh.
  std::int64_t seen_generation = 0;
  // Ends the waiting for the lock, and is looked at once more before the intent (error: stopped,
  // and nothing was sent). From the intent until the answer is settled it counts no more.
  std::stop_token stop;
};

struct Rotated {
  Held held;
  Action action = Action::cached;
  std::string warning;  // for a person, on stderr; empty: none
};

// True if the access token may be handed out: known to this request as good, live, and not yet due.
bool access_token_serves(const Credential& row, const RotateRequest& request, Instant now);
// True if the access token is merely alive: good enough while somebody else refreshes.
bool access_token_lives(const Credential& row, const std::string& rejected, Instant now);

// The same of its agent key; one whose end is not known does not count.
bool agent_key_lives(const Credential& row, const std::string& rejected, Instant now);

// Until when the token endpoint wants to be left alone (Retry-After); nullopt: it has not said so.
// A cooldown beside `exhausted` is what a resource server was reported to want, and such accounts
// are still refreshed.
std::optional<Instant> asked_to_wait_until(const Health& health);

// A credential that no other process can change until this object is gone. What its last holder
// left behind has been recovered before it exists.
class LockedCredential {
 public:
  LockedCredential(LockedCredential&&) noexcept;
  LockedCredential& operator=(LockedCredential&&) noexcept;
  ~LockedCredential();

  // The credential as it stands under the lock.
  const Held& held() const;
  // True if acquiring the lock settled an answer that a process before us had journalled.
  bool recovered() const;

  // Steps 3 to 8. Returns the live pair without sending anything if there is no need any more.
  Result<Rotated> rotate(const RotateRequest& request);

  // The ledger row of an attempt that begins now in this process; finish it with keep_agent_key()
  // or record().
  Attempt begin_attempt(AttemptKind kind, const std::string& profile) const;
  // Makes `key` the credential's agent key, in one transaction with its ledger row.
  Result<void> keep_agent_key(const AgentKey& key, Attempt attempt);
  // Adds a ledger row for an attempt that changed nothing. Never fails the caller.
  void record(Attempt attempt);
  // StoreOptions::shield, for a step that must not be cut short.
  std::shared_ptr<void> shield() const;
  // Marks the credential dead: no bearer of it will ever work again without a login.
  void mark_dead(const Judgement& judgement);
  // Puts each of them on `hold`, all in one transaction. Durable on return.
  static Result<void> set_hold(const std::vector<LockedCredential*>& locked, Hold hold);

 private:
  friend Result<LockedCredential> lock_credential(const Store&, const Uid&, Milliseconds,
                                                  const std::stop_token&);
  explicit LockedCredential(std::unique_ptr<Locked> locked);
  std::unique_ptr<Locked> locked_;
};

// Takes the lock, waiting at most `wait` (zero: not at all), and recovers. busy names the holder's
// host, pid and since when; stopped, if `stop` was requested meanwhile. not_found if the credential
// is gone.
Result<LockedCredential> lock_credential(const Store& store, const Uid& uid, Milliseconds wait,
                                         const std::stop_token& stop = {});

// The same for several, all or none. They are taken in uid order, as everybody does who takes more
// than one, so that no two wait for each other.
Result<std::vector<LockedCredential>> lock_credentials(const Store& store,
                                                       const std::set<Uid>& uids,
                                                       Milliseconds wait);

// The eight steps. The live access token, refreshed if it is due, rejected or `force`d.
//
// Errors: login_needed (the grant is dead), try_later (network, server trouble, uncertain; says
// when), busy, refused, stopped. A failure changes no token.
Result<Rotated> rotate(const Store& store, const Uid& uid, const RotateRequest& request);

}  // namespace authdb
