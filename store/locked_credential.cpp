// What may be done under a credential's lock besides a rotation (rotation.cpp).
#include "store/explain.h"
#include "store/locked.h"

namespace authdb {

Result<LockedCredential> LockedCredential::acquire(const Store& store, const Uid& uid,
                                                   const LockPolicy& policy) {
  const PutOffCancellation unwinding_later;
  auto locked = Engine::guarded([&] {
    const auto& look_elsewhere = store.engine().options.look_elsewhere;
    if (policy.to_spend && look_elsewhere) look_elsewhere(store, uid);
    return acquire_lock(store, uid, policy);
  });
  if (!locked) return fail(std::move(locked.error()));
  return LockedCredential(std::move(*locked));
}

Result<std::vector<LockedCredential>> LockedCredential::acquire(const Store& store,
                                                                const std::set<Uid>& uids,
                                                                const LockPolicy& policy) {
  std::vector<LockedCredential> all;
  for (const Uid& uid : uids) {
    auto locked = acquire(store, uid, policy);
    if (!locked) return fail(std::move(locked.error()));
    all.push_back(std::move(*locked));
  }
  return all;
}

LockedCredential::LockedCredential(std::unique_ptr<Locked> locked) : locked_(std::move(locked)) {}
LockedCredential::LockedCredential(LockedCredential&&) noexcept = default;
LockedCredential& LockedCredential::operator=(LockedCredential&&) noexcept = default;
LockedCredential::~LockedCredential() = default;

const Held& LockedCredential::held() const { return locked_->held; }
bool LockedCredential::recovered() const { return locked_->recovered; }

Result<void> LockedCredential::begin_journal() {
  Locked& locked = *locked_;
  const auto begun = Engine::guarded([&] { value_or_throw(authdb::begin_journal(locked)); });
  if (!begun || locked.journal.state().revision != 0) return begun;
  return fail(Errc::try_later, "the journal of " + name_of(locked.held.row) + " cannot be written",
              "See whether the disk is full.");
}

std::shared_ptr<void> LockedCredential::shield() const {
  const auto& shield = locked_->engine.options.shield;
  return shield ? shield() : nullptr;
}

Result<void> LockedCredential::keep_agent_key(const AgentKey& key, Attempt attempt) {
  Locked& locked = *locked_;
  return Engine::guarded([&] {
    const SealedAgentKey sealed =
        locked.engine.seal_agent_key(locked.uid(), key, locked.held.row.generation);
    attempt.bearer = sealed.fingerprint;
    attempt.family = locked.held.row.family;
    attempt.from_generation = locked.held.row.generation;
    attempt.finished_at = locked.engine.now();
    const auto rows = [&](Txn& txn) {
      txn.put_agent_key(locked.held.row.id, sealed);
      txn.record(locked.held.row.id, attempt);
    };
    const Renewal& renewal = locked.state.renewal;
    if (renewal.rejected.empty() && renewal.failures == 0) {  // nothing the journal has changes
      const auto txn = locked.begin_write();
      rows(*txn);
      txn->commit();
      return locked.reload();
    }
    CredentialState next = decide(locked.state, event::Minted{}, locked.engine.now());
    follow_rejection(next.renewal, locked.held.row, sealed.fingerprint);
    commit_state(
        locked, std::move(next), [&](Txn& txn, CredentialState&) { rows(txn); }, /*durable=*/true);
  });
}

void LockedCredential::note_mint_failure(std::optional<Seconds> retry_after) {
  Locked& locked = *locked_;
  (void)Engine::guarded([&] {
    record_state(locked, decide(locked.state, event::MintFailed{retry_after}, locked.engine.now()),
                 [](Txn&, CredentialState&) {});
  });
}

Result<void> LockedCredential::check_rest() const {
  const auto until = rests_until(locked_->state.renewal, locked_->engine.now());
  if (!until) return {};
  return fail(explain_rest(*locked_, *until));
}

Attempt LockedCredential::begin_attempt(AttemptKind kind, const std::string& profile) const {
  return locked_->engine.new_attempt(kind, profile);
}

void LockedCredential::record(Attempt attempt) {
  Locked& locked = *locked_;
  attempt.family = locked.held.row.family;
  attempt.from_generation = locked.held.row.generation;
  (void)Engine::guarded([&] {
    attempt.finished_at = locked.engine.now();
    const auto txn = locked.begin_write();
    txn->record(locked.held.row.id, attempt);
    txn->commit();
  });
}

namespace {

// The verdict on a session, in the journal and in the row; of a removed credential, too. `health`
// makes the new one of what stands there: a report may have come since it was read.
template <typename F>
void put_session(Locked& locked, event::Ended verdict, F&& health) {
  (void)Engine::guarded([&] {
    record_state(locked, decide(locked.state, verdict, locked.engine.now()),
                 [&](Txn& txn, CredentialState&) {
                   const Credential row = txn.load(locked.uid())->row;
                   txn.set_health(row.id, health(row.health));
                 });
    locked.held.row.health = health(locked.held.row.health);
  });
}

}  // namespace

void LockedCredential::mark_dead(const Judgement& judgement) {
  const Instant now = locked_->engine.now();
  put_session(*locked_, event::Ended{}, [&](const Health& health) {
    return dead_since(now, judgement.code, judgement.message, health);
  });
}

void LockedCredential::mark_alive(const Health& before) {
  put_session(*locked_, event::Ended{false}, [&](const Health& health) {
    Health alive = before;
    alive.request_count = health.request_count;
    alive.last_used_at = health.last_used_at;
    return alive;
  });
}

void LockedCredential::note_rejected(const std::string& fingerprint, bool heard_of) {
  Locked& locked = *locked_;
  if (locked.state.renewal.rejected == fingerprint) return;
  (void)Engine::guarded([&] {
    record_state(locked,
                 decide(locked.state, event::Rejected{fingerprint, heard_of}, locked.engine.now()),
                 [](Txn&, CredentialState&) {});
  });
}

Result<void> LockedCredential::set_hold(const std::vector<LockedCredential*>& locked, Hold hold) {
  if (locked.empty()) return {};
  return Engine::guarded([&] {
    for (const auto* one : locked) begin_line(*one->locked_);
    std::vector<CredentialState> states;
    const auto txn = locked.front()->locked_->begin_write();
    for (const auto* one : locked) {
      states.push_back(prepare_state(*one->locked_, event::OnHold{hold}));
      txn->set_hold(one->held().row.id, hold);
      txn->put_renewal(one->held().row.id, mirror_of(states.back()));
    }
    txn->commit();
    for (std::size_t i = 0; i < locked.size(); ++i) {
      Locked& one = *locked[i]->locked_;
      one.held.row.hold = hold;
      tell_journal(one, std::move(states[i]), /*durable=*/true);
    }
  });
}

}  // namespace authdb
