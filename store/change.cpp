// Store::apply(): a change of many credentials, all or nothing.
#include "store/change.h"

#include <algorithm>
#include <map>
#include <set>

#include "store/adoption.h"
#include "store/descriptors.h"
#include "store/engine.h"
#include "store/locked.h"
#include "store/parcel.h"
#include "store/rotation.h"
#include "store/scrub.h"
#include "store/timestamp.h"
#include "store/uid.h"

namespace authdb {
namespace {

// Facts that stand in clear beside a grant. One that tells its tokens is none.
Identity without_tokens_of(const Grant& grant, Identity identity) {
  for (const auto fact :
       {&Identity::account, &Identity::scope, &Identity::token_type, &Identity::base_url,
        &Identity::portal_base_url, &Identity::inference_base_url}) {
    if (tells_secret(identity.*fact, {&grant.access_token, &grant.refresh_token})) {
      (identity.*fact).clear();
    }
  }
  return identity;
}

bool moves_tokens(const CredentialChange& change) {
  return change.grant || change.agent_key || change.hold || change.restore;
}

// What stands in the row and its journal makes way for a new grant, also where an answer that waits
// there cannot be settled.
std::unique_ptr<Locked> lock_one(const Store& store, const CredentialChange& change) {
  Engine& engine = store.engine();
  const auto stored = engine.backend->view()->load(change.uid);
  if (!stored) {
    throw BackendError{
        {Errc::not_found, "there is no credential " + change.uid + " in this store", ""}};
  }
  if (stored->row.identity.auth_type == AuthType::api_key) return nullptr;
  return acquire_lock(store, change.uid,
                      {.wait = engine.options.lock_wait,
                       .removed_too = true,
                       .unsettled_too = change.new_family,
                       .damaged_too = change.new_family});
}

MovingSet take_locks(const Store& store, const Change& change) {
  std::map<Uid, const CredentialChange*> wanted;  // in uid order
  for (const auto& one : change.credentials) {
    if (!one.uid.empty() && moves_tokens(one)) wanted.emplace(one.uid, &one);
  }
  value_or_throw(room_for_descriptors(wanted.size()));
  MovingSet locks;
  for (const auto& [uid, one] : wanted) locks[uid].locked = lock_one(store, *one);
  return locks;
}

// A login that is new here begins its journal, which remembers whose it is: the next answer is held
// against that.
struct Beginning {
  Uid uid;
  Identity identity;
  Grant grant;
};

// Refresh tokens that the database has never had may be known to a journal, where an older database
// was put back. It learns of them first.
void learn_of(const Store& store, const Change& change) {
  std::set<TokenHash> unknown;
  {
    const auto view = store.engine().backend->view();
    for (const auto& one : change.credentials) {
      if (!one.grant || one.grant->refresh_token.empty()) continue;
      const TokenHash hash = token_hash(one.grant->refresh_token);
      if (!view->owner_of(hash) && !view->retired(hash)) unknown.insert(hash);
    }
  }
  if (!unknown.empty()) adopt_what_knows(store, unknown);
}

// Applies one CredentialChange inside the transaction.
class Applier {
 public:
  Applier(Engine& engine, Txn& txn, MovingSet& locks)
      : engine_(engine), txn_(txn), locks_(locks), now_(engine.now()) {}

  // For when it is committed.
  std::vector<Beginning> take_beginnings() { return std::move(beginnings_); }

  // The credential's uid; nullopt if it moved since the change was planned.
  std::optional<Uid> apply(const CredentialChange& change) {
    if (change.uid.empty()) return add(change);
    auto stored = txn_.load(change.uid);
    if (!stored) throw BackendError{{Errc::not_found, "there is no credential " + change.uid, ""}};
    // Removed since: that it is gone is news to the planner too.
    if (stored->row.removed_at && !change.restore) return std::nullopt;
    if (moves_tokens(change) && stored->row.generation != change.planned_against)
      return std::nullopt;
    update(change, engine_.unseal(std::move(*stored)));
    return change.uid;
  }

 private:
  // Another process imported the same grant between plan and apply, and may have rotated it since.
  bool known_since(const CredentialChange& change) {
    const Secret& token = change.grant->refresh_token;
    if (change.kind != AttemptKind::import || token.empty()) return false;
    const TokenHash hash = token_hash(token);
    if (txn_.owner_of(hash)) return true;
    const auto retired = txn_.retired(hash);
    if (!retired) return false;
    const bool lifted =
        retired->reason == Retirement::presumed &&
        std::find(change.pardon.begin(), change.pardon.end(), hash) != change.pardon.end();
    return !lifted;
  }

  std::optional<Uid> add(const CredentialChange& change) {
    if (!change.identity || !change.grant) {
      throw BackendError{{Errc::usage, "a new credential needs an identity and a grant", ""}};
    }
    if (known_since(change)) return std::nullopt;
    const Uid uid = draw_uid();
    Sealed extra;
    if (change.extra) extra = engine_.seal(*change.extra, uid, kExtraColumn, 0);
    const Identity identity = without_tokens_of(*change.grant, *change.identity);
    const auto id = txn_.insert(uid, identity, extra, now_);
    pardon(change);
    SealedTokens tokens =
        engine_.seal_grant(uid, identity, *change.grant, change.origin, 1, 1, nullptr);
    tokens.hold = change.hold.value_or(Hold::none);
    txn_.insert_tokens(id, tokens);
    ledger(change, id, tokens);
    attach(change, uid, id, tokens.family, tokens.generation);
    if (change.kind == AttemptKind::login && change.identity->auth_type == AuthType::oauth) {
      beginnings_.push_back({uid, identity, change.grant->clone()});
    }
    return uid;
  }

  void update(const CredentialChange& change, Held held) {
    const auto id = held.row.id;
    if (change.identity) {
      held.row.identity =
          change.grant ? without_tokens_of(*change.grant, *change.identity) : *change.identity;
      txn_.set_identity(id, held.row.identity);
    }
    if (change.extra) txn_.set_extra(id, engine_.seal(*change.extra, change.uid, kExtraColumn, 0));
    if (change.restore && held.row.removed_at) restore(change, held);
    pardon(change);
    if (change.grant) displace(change, held);
    if (!change.grant && change.hold) txn_.set_hold(id, *change.hold);
    attach(change, change.uid, id, held.row.family, held.row.generation);
    tell(change);
  }

  // What the journal will say of it.
  void tell(const CredentialChange& change) {
    const auto lock = locks_.find(change.uid);
    if (lock == locks_.end() || !lock->second.locked) return;
    Locked& locked = *lock->second.locked;
    if (locked.unsettled && change.grant) {
      Attempt attempt = attempt_of(locked, Outcome::superseded);
      attempt.error_code = "unsettled";
      attempt.finished_at = now_;
      txn_.record(locked.held.row.id, attempt);
    }
    prepare(lock->second, txn_);
    if (!change.grant) return;
    // From elsewhere: it is whose it says, or nobody knows.
    locked.account = change.grant->account;
    locked.subject = change.grant->subject;
  }

  // What was removed comes back with the token it had.
  void restore(const CredentialChange& change, Held& held) {
    const bool wiped = held.access_token.empty() && held.refresh_token.empty();
    if (wiped && !change.grant) {
      throw BackendError{{Errc::not_found,
                          "the tokens of " + name_of(held.row) + " are wiped: it was removed at " +
                              format_iso(*held.row.removed_at),
                          "Log in again."}};
    }
    std::optional<TokenHash> hash;
    if (!held.refresh_token.empty()) hash = token_hash(held.refresh_token);
    txn_.take_back(held.row.id, hash);
    held.row = txn_.load(change.uid)->row;
  }

  // The verdict was about the grant that is gone.
  void lift_verdict(const CredentialChange& change, const Held& held) {
    if (change.health || held.row.health.status != Status::dead) return;
    Health health;
    health.status_at = now_;
    health.request_count = held.row.health.request_count;
    health.last_used_at = held.row.health.last_used_at;
    txn_.set_health(held.row.id, health);
  }

  // Puts the new grant in the row and retires what stood there.
  void displace(const CredentialChange& change, Held& held) {
    const auto before = held.row.refresh_hash;
    const auto family = held.row.family + (change.new_family ? 1 : 0);
    SealedTokens tokens =
        engine_.seal_grant(change.uid, held.row.identity, *change.grant, change.origin, family,
                           held.row.generation + 1, change.new_family ? nullptr : &held);
    tokens.hold = change.hold.value_or(Hold::none);
    if (!txn_.advance(held.row.id, before, held.row.generation, tokens)) {
      throw BackendError{{Errc::unexpected, "the row moved inside its own transaction", ""}};
    }
    const bool another_pair = before != tokens.refresh_hash;
    if (before && another_pair) {
      txn_.retire(held.row.id, *before, held.row.family, held.row.generation, now_,
                  change.displaced);
    }
    // The key was minted with the pair that goes. What comes may be another account's: tokens that
    // are opaque do not tell.
    if ((change.new_family || another_pair) && !change.agent_key) {
      txn_.drop_agent_key(held.row.id);
    }
    lift_verdict(change, held);
    ledger(change, held.row.id, tokens);
    held.row.family = family;
    held.row.generation = tokens.generation;
  }

  void pardon(const CredentialChange& change) {
    for (const TokenHash& hash : change.pardon) txn_.pardon(hash);
  }

  void ledger(const CredentialChange& change, std::int64_t id, const SealedTokens& tokens) {
    Attempt attempt = engine_.new_attempt(change.kind, {});
    if (!change.bindings.empty()) attempt.profile = change.bindings.front().profile;
    attempt.refresh_hash = tokens.refresh_hash;
    attempt.bearer = tokens.access_fingerprint;
    attempt.family = tokens.family;
    attempt.from_generation = tokens.generation - 1;
    attempt.to_generation = tokens.generation;
    attempt.started_at = now_;
    attempt.finished_at = now_;
    txn_.record(id, attempt);
  }

  // Everything beside the tokens.
  void attach(const CredentialChange& change, const Uid& uid, std::int64_t id, std::int64_t family,
              std::int64_t generation) {
    if (change.agent_key) {
      txn_.put_agent_key(id, engine_.seal_agent_key(uid, *change.agent_key, generation));
    }
    if (change.health) txn_.set_health(id, *change.health);
    for (const auto& [hash, reason] : change.retire) {
      txn_.retire(id, hash, family, generation, now_, reason);
    }
    for (const Binding& binding : change.bindings) {
      txn_.add_profile(binding.profile, now_);
      txn_.bind(binding.profile, id, binding.position);
    }
  }

  Engine& engine_;
  Txn& txn_;
  MovingSet& locks_;
  Instant now_;
  std::vector<Beginning> beginnings_;
};

void apply_states(Engine& engine, Txn& txn, const Change& change) {
  for (const std::string& profile : change.profiles) txn.add_profile(profile, engine.now());
  for (const ProviderState& state : change.states) {
    txn.add_profile(state.profile, engine.now());
    txn.set_state(state,
                  engine.seal(state.extra, state.profile + "/" + state.provider, kStateColumn, 0));
  }
  for (const ImportReceipt& receipt : change.receipts) {
    txn.add_receipt(receipt, engine.seal(receipt.unknown, receipt.sha256, kReceiptColumn, 0),
                    engine.now());
  }
}

void write_beginnings(Engine& engine, std::vector<Beginning> beginnings) {
  for (Beginning& one : beginnings) {
    const auto told = Engine::guarded([&] {
      Journal journal = lock_journal(engine, one.uid);
      const auto stored = engine.backend->view()->load(one.uid);
      if (!stored || journal.state().revision != 0) return;  // somebody was faster
      CredentialState state = state_of(stored->row);
      state.revision = kFirstRevision;
      state.grant =
          engine.seal(pack(one.identity, one.grant), one.uid, kGrantColumn, state.generation);
      value_or_throw(journal.write(std::move(state), /*durable=*/false));
    });
    if (!told) engine.log(LogLevel::warning, told.error().message);
  }
}

}  // namespace

Result<Applied> Store::apply(const Change& change, const std::function<void(std::size_t)>& told) {
  return Engine::guarded([&] {
    learn_of(*this, change);
    MovingSet locks = take_locks(*this, change);
    Applied applied;
    std::vector<Beginning> beginnings;
    {
      const auto txn = engine_->begin_write();
      Applier applier(*engine_, *txn, locks);
      for (const auto& one : change.credentials) {
        const auto uid = applier.apply(one);
        if (!uid) return Applied{true, {}};
        applied.uids.push_back(*uid);
        if (told) told(applied.uids.size());
      }
      apply_states(*engine_, *txn, change);
      txn->commit();
      beginnings = applier.take_beginnings();
    }
    tell_journals(locks);
    write_beginnings(*engine_, std::move(beginnings));
    return applied;
  });
}

}  // namespace authdb
