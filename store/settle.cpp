// Steps 7 and 8 of a rotation: what an answer amounts to, made durable. Recovery concludes an
// answer that another process had journalled in the same way.
#include <algorithm>

#include "store/adoption.h"
#include "store/claims.h"
#include "store/explain.h"
#include "store/locked.h"
#include "store/parcel.h"
#include "store/scrub.h"

namespace authdb {
namespace {

// ---- whose it is -------------------------------------------------------------------------------

bool differ(const std::string& known, const std::string& said) {
  return !known.empty() && !said.empty() && known != said;
}

// By the first place that both have a name from.
bool differ(const Subjects& known, const Subjects& said) {
  for (const auto place : {&Subjects::access, &Subjects::id, &Subjects::stated}) {
    if (!(known.*place).empty() && !(said.*place).empty()) return known.*place != said.*place;
  }
  return false;
}

}  // namespace

bool is_for_another_account(Locked& locked, const Grant& grant) {
  if (differ(locked.account, grant.account)) return true;
  const bool same_account = !grant.account.empty() && locked.account == grant.account;
  return !same_account && differ(locked.subject, grant.subject);
}

namespace {

void remember_owner(Locked& locked, const Grant& grant) {
  if (!grant.account.empty()) locked.account = grant.account;
  for (const auto place : {&Subjects::access, &Subjects::id, &Subjects::stated}) {
    if (!(grant.subject.*place).empty()) locked.subject.*place = grant.subject.*place;
  }
}

// ---- a grant -----------------------------------------------------------------------------------

// True if this store has had that token: it is another credential's now, or was retired.
bool stands_elsewhere(const Locked& locked, Txn& txn, const TokenHash& hash) {
  if (hash == locked.state.hash) return false;  // the server handed the same one back
  txn.pardon(hash);                             // a guess of ours: the server just issued it
  return txn.owner_of(hash).has_value() || txn.retired(hash).has_value();
}

// A commit that failed may turn up when SQLite reads its log again. Then the row has this very
// pair.
bool is_in_the_row(Txn& txn, const Uid& uid, const SealedTokens& fresh) {
  const Credential row = txn.load(uid)->row;
  return row.family == fresh.family && row.generation == fresh.generation &&
         row.refresh_hash == fresh.refresh_hash &&
         row.access_fingerprint == fresh.access_fingerprint;
}

End settle(Locked& locked, const Grant& grant, Attempt attempt) {
  Engine& engine = locked.engine;
  const CredentialState before = locked.state;
  const std::int64_t id = locked.held.row.id;
  SealedTokens fresh =
      engine.seal_grant(locked.uid(), locked.held.row.identity, grant, Origin::rotation,
                        before.family, before.generation + 1, &locked.held);
  const bool without_bearer = grant.access_token.empty();
  bool elsewhere = false;
  // An answer that waited may be older than a database that was put back.
  const bool known_to_a_journal = attempt.outcome == Outcome::recovered && fresh.refresh_hash &&
                                  another_journal_knows(engine, locked.uid(), *fresh.refresh_hash);
  remember_owner(locked, grant);
  const auto rows = [&](Txn& txn, CredentialState& next) {
    if (is_in_the_row(txn, locked.uid(), fresh)) return;
    elsewhere = fresh.refresh_hash &&
                (known_to_a_journal || stands_elsewhere(locked, txn, *fresh.refresh_hash));
    if (elsewhere) {
      fresh.refresh_token.clear();
      fresh.refresh_hash.reset();
      next.hash.reset();
      attempt.outcome = Outcome::superseded;
      attempt.error_code = "current_elsewhere";
    }
    if (!txn.advance(id, before.hash, before.generation, fresh)) {
      throw BackendError{{Errc::unexpected, "the row moved under the lock of " + locked.uid(),
                          "Something else writes to this database."}};
    }
    if (before.hash && before.hash != fresh.refresh_hash) {
      txn.retire(id, *before.hash, before.family, before.generation, engine.now(),
                 Retirement::spent);
    }
    adopt_identity(txn, locked.held, grant);
    attempt.to_generation = fresh.generation;
    attempt.bearer = fresh.access_fingerprint;
    attempt.finished_at = engine.now();
    txn.record(id, attempt);
  };
  event::Moved moved{before.family, fresh.generation, fresh.refresh_hash, Hold::none, {},
                     without_bearer};
  CredentialState next = decide(before, std::move(moved), engine.now());
  if (!without_bearer) {
    follow_rejection(next.renewal, locked.held.row, fresh.access_fingerprint);
  }
  commit_state(locked, std::move(next), rows);
  return elsewhere ? End::elsewhere : End::moved;
}

// A success is proof against whatever the credential was accused of, before this attempt began. A
// report that came meanwhile is about the account and stays.
void mark_alive(Locked& locked, Instant since) {
  const auto accused = [&](const Health& health) {
    const bool earlier = !health.status_at || *health.status_at <= since;
    return health.status == Status::dead ||
           (earlier && health.status == Status::exhausted && health.error_code == 401);
  };
  if (!accused(locked.held.row.health)) return;
  const auto marked = Engine::guarded([&] {
    const auto txn = locked.begin_write();
    const Credential row = locked.engine.load_sealed(*txn, locked.uid()).row;
    if (!accused(row.health)) return;
    Health health;
    health.status_at = locked.engine.now();
    health.request_count = row.health.request_count;
    health.last_used_at = row.health.last_used_at;
    txn->set_health(row.id, health);
    txn->commit();
    locked.held.row.health = health;
  });
  if (!marked) locked.engine.log(LogLevel::warning, marked.error().message);
}

// ---- everything else ---------------------------------------------------------------------------

void record_end(const Locked& locked, Txn& txn, Attempt attempt, Outcome outcome,
                const std::string& code) {
  attempt.outcome = outcome;
  attempt.error_code = code;
  attempt.finished_at = locked.engine.now();
  txn.record(locked.held.row.id, attempt);
}

End misdirect(Locked& locked, const Attempt& attempt) {
  const CredentialState before = locked.state;
  const auto rows = [&](Txn& txn, CredentialState& next) {
    const std::int64_t id = locked.held.row.id;
    txn.set_hold(id, next.hold);
    txn.clear_refresh_hash(id);
    if (before.hash) {
      txn.retire(id, *before.hash, before.family, before.generation, locked.engine.now(),
                 Retirement::spent);
    }
    record_end(locked, txn, attempt, Outcome::superseded, "other_account");
  };
  commit_state(locked, decide(before, event::Misdirected{}, locked.engine.now()), rows,
               /*durable=*/true);
  if (before.hash) locked.journal.add_spent(*before.hash, before.generation);
  return End::misdirected;
}

End refuse(Locked& locked, const Judgement& judgement, const Attempt& attempt) {
  const std::string why = why_dead(locked, judgement);
  const Instant now = locked.engine.now();
  const auto dead = [&](const Health& health) {
    Health out = dead_since(now, judgement.code, why, health);
    out.error_code = attempt.http_status;
    return out;
  };
  const auto rows = [&](Txn& txn, CredentialState& next) {
    const Credential row = locked.engine.load_sealed(txn, locked.uid()).row;
    txn.set_health(row.id, dead(row.health));
    txn.set_hold(row.id, next.hold);
    record_end(locked, txn, attempt, Outcome::rejected, judgement.code);
  };
  record_state(locked, decide(locked.state, event::Refused{}, now), rows);
  locked.held.row.health = dead(locked.held.row.health);
  return End::refused;
}

End leave_unspent(Locked& locked, const Judgement& judgement, const Attempt& attempt) {
  // The mark is missing: nothing left.
  const bool not_sent = locked.state.phase == Phase::intent;
  const event::Unspent unspent{judgement.retry_after, judgement.unknown};
  record_state(locked, decide(locked.state, unspent, locked.engine.now()),
               [&](Txn& txn, CredentialState&) {
                 record_end(locked, txn, attempt, not_sent ? Outcome::not_sent : Outcome::rejected,
                            judgement.code);
               });
  return End::unspent;
}

End call_lost(Locked& locked, const Judgement& judgement, const Attempt& attempt) {
  event::Lost lost;
  if (locked.state.phase == Phase::answered) lost.answer = locked.state.answer;
  record_state(locked, decide(locked.state, std::move(lost), locked.engine.now()),
               [&](Txn& txn, CredentialState& next) {
                 txn.set_hold(locked.held.row.id, next.hold);
                 record_end(locked, txn, attempt, Outcome::uncertain, judgement.code);
               });
  return End::uncertain;
}

}  // namespace

void adopt_identity(Txn& txn, const Held& before, const Grant& grant) {
  const Credential row = txn.load(before.row.uid)->row;
  Identity identity = row.identity;
  bool changed = false;
  const auto adopt = [&](std::string& stored, const std::string& said) {
    if (said.empty() || said == stored) return;
    // A name that is a token would stand here in clear.
    if (tells_secret(said, {&before.access_token, &before.refresh_token, &grant.access_token,
                            &grant.refresh_token})) {
      return;
    }
    stored = said;
    changed = true;
  };
  adopt(identity.scope, grant.scope);
  adopt(identity.token_type, grant.token_type);
  adopt(identity.inference_base_url, grant.inference_base_url);
  const std::string account = grant.account.empty() ? grant.subject.first() : grant.account;
  if (identity.account.empty()) adopt(identity.account, account);
  if (changed) txn.set_identity(row.id, identity);
}

void learn_owner(Locked& locked) {
  const CredentialState& state = locked.journal.state();
  // A row of an earlier login is one that was put back: it may be somebody else's.
  const bool row_is_older = !state.grant.empty() && state.family > locked.held.row.family;
  const bool says_so = !state.grant.empty() && state.family >= locked.held.row.family;
  // One that cannot be opened says nothing.
  const auto said = Engine::guarded([&] {
    if (!says_so) return;
    const Parcel parcel = parcel_of(locked.engine, state, locked.uid());
    locked.account = parcel.grant.account;
    locked.subject = parcel.grant.subject;
  });
  if (!said) locked.engine.log(LogLevel::debug, said.error().message);
  if (row_is_older) return;
  if (const auto claims = read_claims(locked.held.access_token.reveal())) {
    if (locked.account.empty()) locked.account = claims->account;
    if (locked.subject.access.empty()) locked.subject.access = claims->subject;
  }
}

End conclude(Locked& locked, const Judgement& judgement, Attempt attempt) {
  if (judgement.grant) {
    if (is_for_another_account(locked, *judgement.grant)) return misdirect(locked, attempt);
    const Instant since = attempt.started_at;
    const End end = settle(locked, *judgement.grant, std::move(attempt));
    if (judgement.ruling != Ruling::granted) return End::half;
    mark_alive(locked, since);
    return end;
  }
  switch (judgement.ruling) {
    case Ruling::rejected:
      return refuse(locked, judgement, attempt);
    case Ruling::unspent:
      return leave_unspent(locked, judgement, attempt);
    case Ruling::granted:
    case Ruling::uncertain:
      break;
  }
  return call_lost(locked, judgement, attempt);
}

}  // namespace authdb
