// What the store must know, as the promises have it: written from what was delivered to it and what
// it was told to do, never from what it says. Each request is judged when it arrives at the server,
// each bearer when it is handed out.
//
// What cannot be known for certain (a process died between two steps) is `maybe`, and nothing is
// demanded of it until the store has shown which it is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "store/credential.h"
#include "tests/model/failure.h"
#include "tests/model/server.h"

namespace authdb::model {

// A refresh token, as far as the store has had to do with it.
struct TokenNote {
  int login = -1;
  int in_flight = 0;
  bool spent = false;    // a request with it was answered, and the successor is known to the store
  bool retired = false;  // displaced by a login or an import, or never meant to be here
  bool refused = false;  // a definite no
  bool refused_after_loss = false;  // ... to a token that an answer had been lost for
  bool ever_lost = false;
  bool forgotten = false;  // nobody on this machine knows any more that it may be spent
  int losses = 0;          // requests that left and brought no usable answer
  std::int64_t first_loss = 0;
  std::int64_t last_loss = 0;
};

struct BearerNote {
  bool delivered = false;         // whole, to the credential it belongs to
  int rejected_in = 0;            // ... in which step
  bool rejected = false;          // a resource server refused it, and the store was told
  bool perhaps_rejected = false;  // ... if the store came so far
  bool life_known = true;         // its lifetime arrived with it
};

// When the token endpoint is to be left alone.
struct Rest {
  int failures = 0;
  std::int64_t until = 0;
};

struct Login {
  Uid uid;
  int provider = 0;
  int account = 0;
  int account_before = 0;  // when the step began: what was read then may still be handed out
  std::set<int> accounts;  // whose it has been: an older database may show an earlier one
  // false: the file it was imported from does not say whose it is, or the journal that would
  // remember it may not have been written
  bool account_known = true;
  std::string label;
  int token = -1;  // the refresh token that must be current; -1: none must be
  int or_else =
      -1;  // its predecessor may be current as well: nobody knows whether the answer was kept
  int access = -1;
  int key = -1;
  bool removed = false;
  std::int64_t removed_at = 0;
  bool may_be_wiped = false;  // a day has passed since, by some clock
  bool handed = false;
  bool conflict = false;
  bool dead = false;
  bool perhaps_dead = false;     // the no may have been noted
  int rejections = 0;            // of bearers, ever
  bool amnesia = false;          // nothing on the machine can know any more: nothing is demanded
  bool losses_unknown = false;   // what knew of the losses was taken away
  bool ledger_unknown = false;   // ... or an attempt could not be entered in the ledger
  bool reported = false;         // it may rest for what a resource server wanted
  std::int64_t rests_until = 0;  // ... and must be known to rest until then
  bool journal_damaged = false;
  int lost_in_all = 0;
  std::int64_t generation = 0;      // the highest that was seen under the lock
  std::int64_t row_generation = 0;  // ... in the table, since it was last put back
  // Each change of tokens, hold or removal is a version. Who has it: the table, the journal.
  int version = 0;
  int in_table = 0;
  int in_journal = -1;
  int answer_kib = 0;  // what was padding in the last answer
  Rest rest;
  bool may_rest = false;  // nobody knows whether a failure was noted
};

// What an action may do beyond the rules.
struct Rights {
  bool insists = false;  // `refresh`, `mint`: the rest does not count
  bool replays = false;  // `refresh --replay`
  int rejected = -1;     // the bearer that a resource server has refused just now: it lives no more
  // When it may have been decided, before the clock went on inside the action; 0: when it arrives.
  std::int64_t decided_at = 0;
};

class Books {
 public:
  Books(Server& server, Verdict& verdict) : server_(server), verdict_(verdict) {}

  // Logins ---------------------------------------------------------------------------------------
  int add_login(const Uid& uid, int provider, int account, const std::string& label);
  int count() const { return static_cast<int>(logins_.size()); }
  Login& login(int who) { return logins_.at(static_cast<std::size_t>(who)); }
  int who_is(const Uid& uid) const;  // -1: nobody
  // A grant that was put in place by a login or an import.
  void seat(int who, int refresh, int access);
  void changed(Login& login) {
    ++login.version;
    login.accounts.insert(login.account);
  }
  void forget(int who);  // amnesia

  // Requests -------------------------------------------------------------------------------------
  void begins(int token, const Rights& rights, std::int64_t now);
  void ends(int token);
  // What arrived.
  void granted(int token, int refresh, int access);  // -1: not in the answer
  void came_without_bearer(int token, std::int64_t now);
  void unspent(int token, std::int64_t now, std::optional<std::int64_t> retry_after_s);
  void lost(int token, std::int64_t now);
  void refused(int token);
  void stranger(int token);
  void no_successor(int token);  // the new one belongs to somebody else, or is spent
  void minted(int access, int key);
  void mint_refused(int access);
  // There was no key: the login rests, for how long the store may count otherwise.
  void mint_failed(int access);
  // The process that had read the answer may have died before it was kept: take granted() back.
  void unsure(int token, std::int64_t now);
  // The same of a refusal.
  void unsure_of_refusal(int token);
  // `there` is what the store has, or sends.
  void shown(Login& login, int there);

  // Bearers --------------------------------------------------------------------------------------
  // `rejected` is what the caller had called rejected.
  void served(int who, const std::string& text, std::int64_t now, int rejected);
  void next_step() {
    ++step_;
    for (Login& login : logins_) login.account_before = login.account;
  }
  bool any_bearer_lives(const Login& login, std::int64_t now, int rejected = -1) const;
  int current_bearer(const Login& login, std::int64_t now) const;
  void rejected(int bearer, bool sure);
  // A request that rejects it is under way: others may know already.
  void suspect(int bearer) { bearers_[bearer].perhaps_rejected = true; }
  // What was told to a database that is gone.
  void forget_rejections();

  void clock_was_set();
  void time_passed(std::int64_t now);

  TokenNote& note(int token) { return tokens_[token]; }
  BearerNote& bearer_note(int bearer) { return bearers_[bearer]; }
  Server& server() { return server_; }
  Verdict& verdict() { return verdict_; }

 private:
  void check_state(const Login& login, int token, const Rights& rights);
  void check_replay(const Login& login, int token, const Rights& rights, std::int64_t now);
  void check_rest(const Login& login, int token, const Rights& rights, std::int64_t now);
  bool forgiven(const Login& login, const TokenNote& note, std::int64_t now) const;
  void fail(const std::string& kind, int token, const std::string& why);

  Server& server_;
  Verdict& verdict_;
  int step_ = 1;
  std::deque<Login> logins_;  // references stay: what happens inside a step may add one
  std::map<int, TokenNote> tokens_;
  std::map<int, BearerNote> bearers_;
  std::map<int, int> owners_;  // family to login
};

}  // namespace authdb::model
