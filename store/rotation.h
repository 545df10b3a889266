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
  // Although the token endpoint rests after a failure. What is forced ignores it too.
  bool ignore_rest = false;
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

// True if a resource server has refused a bearer that had just taken the place of a refused one.
// Another would be refused as well, and cost a refresh token: for five minutes nothing is sent.
bool rejected_again(const Credential& row, Instant now);

// Until when the token endpoint is left alone; nullopt: it may be asked. A rest that was set by a
// clock ahead of ours does not count.
std::optional<Instant> rests_until(const Renewal& renewal, Instant now);

// How a lock is taken.
struct LockPolicy {
  Milliseconds wait{0};  // zero: not at all
  std::stop_token stop = {};
  bool removed_too = false;  // a credential that was removed as well
  // Also where an answer that waits in the journal cannot be settled now, because its provider is
  // not known, say. It stays there, and rotate() sends nothing.
  bool unsettled_too = false;
  // Also where the journal, or what is sealed in it or in the row, is damaged: a journal is then
  // kept under another name, and nothing of the credential is sent. For a login and a removal,
  // which need none of it.
  bool damaged_too = false;
  bool to_spend = false;  // StoreOptions::look_elsewhere is asked first
};

// A credential that no other process can change until this object is gone. What its last holder
// left behind has been recovered before it exists.
class LockedCredential {
 public:
  // Takes the lock, and recovers. Errors: busy names the holder's host, pid and since when;
  // stopped, if a stop was requested meanwhile; not_found if the credential is gone; refused if its
  // journal is damaged, or what waits in it cannot be settled; usage for an API key.
  static Result<LockedCredential> acquire(const Store& store, const Uid& uid,
                                          const LockPolicy& policy);
  // Several, all or none. They are taken in uid order, as everybody does who takes more than one,
  // so that no two wait for each other.
  static Result<std::vector<LockedCredential>> acquire(const Store& store,
                                                       const std::set<Uid>& uids,
                                                       const LockPolicy& policy);

  LockedCredential(LockedCredential&&) noexcept;
  LockedCredential& operator=(LockedCredential&&) noexcept;
  ~LockedCredential();

  // The credential as it stands under the lock.
  const Held& held() const;
  // True if acquiring the lock settled an answer that a process before us had journalled.
  bool recovered() const;

  // Writes what the row has into the credential's journal, which a first refresh would do else, so
  // that it outlives the database: for when nobody but the store has the refresh token any more.
  Result<void> begin_journal();

  // Steps 3 to 8. Returns the live pair without sending anything if there is no need any more.
  Result<Rotated> rotate(const RotateRequest& request);

  // The ledger row of an attempt that begins now in this process; finish it with keep_agent_key()
  // or record().
  Attempt begin_attempt(AttemptKind kind, const std::string& profile) const;
  // Makes `key` the credential's agent key, in one transaction with its ledger row.
  Result<void> keep_agent_key(const AgentKey& key, Attempt attempt);
  // Remembers that there was none to be had: the credential rests, as after a refresh that failed,
  // or for as long as the server says. Never fails the caller.
  void note_mint_failure(std::optional<Seconds> retry_after);
  // try_later, saying until when, while the credential rests.
  Result<void> check_rest() const;
  // Adds a ledger row for an attempt that changed nothing. Never fails the caller.
  void record(Attempt attempt);
  // StoreOptions::shield, for a step that must not be cut short.
  std::shared_ptr<void> shield() const;
  // Marks the credential dead: no bearer of it will ever work again without a login.
  void mark_dead(const Judgement& judgement);
  // Takes that back: the session did not end. `before` is what its health was.
  void mark_alive(const Health& before);
  // Remembers that a resource server refused the credential's current bearer: until it is replaced
  // it is handed to nobody, and `status` says so.
  // `heard_of`: false if it may be nobody's; then it is no reason to give up on the next one.
  void note_rejected(const std::string& fingerprint, bool heard_of = true);
  // Puts each of them on `hold`, all in one transaction. Durable on return, in the journals too: an
  // older database that is put back later does not lift it.
  static Result<void> set_hold(const std::vector<LockedCredential*>& locked, Hold hold);

 private:
  friend class Store;  // remove()
  explicit LockedCredential(std::unique_ptr<Locked> locked);
  std::unique_ptr<Locked> locked_;
};

// The eight steps. The live access token, refreshed if it is due, rejected or `force`d.
//
// Errors: login_needed (the grant is dead), try_later (network, server trouble, uncertain; says
// when), busy, refused, stopped. A failure changes no token.
Result<Rotated> rotate(const Store& store, const Uid& uid, const RotateRequest& request);

}  // namespace authdb
