// Step 3 of a rotation, and the first thing under any credential's lock: what the last holder left
// behind. Each branch is a row of the crash table in docs/design.md.
#include "store/locked.h"
#include "store/parcel.h"

namespace authdb {
namespace {

Attempt attempt_of(const Locked& locked, const JournalRecord& record, Outcome outcome) {
  Attempt attempt = locked.engine.new_attempt(AttemptKind::refresh, record.profile);
  attempt.outcome = outcome;
  attempt.refresh_hash = record.hash;
  attempt.family = record.family;
  attempt.from_generation = record.generation;
  attempt.pid = record.pid;
  attempt.boot_id = record.boot_id;
  attempt.process = record.process;
  attempt.started_at = record.started_at;
  if (record.http_status != 0) attempt.http_status = record.http_status;
  return attempt;
}

SentToken sent_token(const JournalRecord& record) {
  return {record.hash, record.family, record.generation};
}

// A journal goes on saying `sent` until the next attempt; the ledger needs to hear it once.
void hold_uncertain_once(Locked& locked, const Attempt& attempt) {
  // The view is gone before the write begins: where one connection has the file to itself, a second
  // one waits for ever.
  const LostAttempts lost =
      locked.engine.backend->view()->lost_attempts(locked.held.row.id, *attempt.refresh_hash);
  const bool known =
      lost.count > 0 && lost.last_at == attempt.started_at && lost.last_pid == attempt.pid;
  if (!known) hold_uncertain(locked, attempt);
}

// Died after the answer was journalled: settle it as its owner would have.
void settle_answer(Locked& locked, const JournalRecord& record) {
  const Identity& identity = locked.held.row.identity;
  const auto endpoint =
      locked.engine.options.endpoint_for ? locked.engine.options.endpoint_for(identity) : nullptr;
  if (!endpoint) {
    throw BackendError{{Errc::refused,
                        "a rotated token of " + name_of(locked.held.row) +
                            " waits in its journal, and the provider \"" + identity.provider +
                            "\" is not known here",
                        "Put its file back into providers.d, then try again. The token is safe."}};
  }
  const Judgement judgement = endpoint->judge(answer_of(locked, record));
  if (judgement.grant) {
    settle(locked, sent_token(record), *judgement.grant,
           attempt_of(locked, record, Outcome::recovered));
    locked.recovered = judgement.ruling == Ruling::granted;
    if (locked.recovered) mark_alive(locked);
  } else if (locked.held.row.refresh_hash == record.hash) {
    hold_uncertain_once(locked, attempt_of(locked, record, Outcome::uncertain));
  }
}

// The database was put back beside its journals: the journal has the newer grant.
void adopt_from_journal(Locked& locked, const JournalRecord& settled) {
  Engine& engine = locked.engine;
  const auto parcel =
      unpack(engine.open(settled.payload, locked.uid(), kGrantColumn, settled.generation));
  if (!parcel) {
    throw BackendError{{Errc::refused,
                        "the journal of " + name_of(locked.held.row) +
                            " is newer than the database and cannot be read",
                        "Its token is not sent. Log this credential in again."}};
  }
  // As if its predecessor had just been rotated. The journal stays as it is: it may hold an intent
  // that is newer still.
  const SentToken sent{settled.predecessor, settled.family, settled.generation - 1};
  commit_grant(locked, sent, parcel->grant, attempt_of(locked, settled, Outcome::recovered));
  locked.recovered = true;
  engine.log(LogLevel::warning, "the database is older than the journal of " +
                                    name_of(locked.held.row) +
                                    ": took the newer tokens from the journal");
}

bool left_our_machine(const JournalRecord& record, JournalMark mark) {
  if (mark == JournalMark::sent || mark == JournalMark::damaged) return true;
  // After a power cut the mark may be missing though the request was made.
  return mark == JournalMark::none && record.state == JournalState::intent &&
         record.boot_id != boot_id();
}

// Sent, and never answered; or damaged, which has to be taken for that.
void handle_unanswered(Locked& locked) {
  const JournalRecord& record = locked.journal.record();
  const Credential& row = locked.held.row;
  if (!left_our_machine(record, locked.journal.mark()) || !row.refresh_hash) return;
  if (record.state == JournalState::intent && record.hash != *row.refresh_hash) {
    locked.journal
        .write_resolved();  // another grant stands in the row since; that token is history
    return;
  }
  Attempt attempt = attempt_of(locked, record, Outcome::uncertain);
  attempt.refresh_hash = row.refresh_hash;
  attempt.family = row.family;
  attempt.from_generation = row.generation;
  hold_uncertain_once(locked, attempt);
}

}  // namespace

Answer answer_of(Locked& locked, const JournalRecord& record) {
  Answer answer;
  answer.http_status = record.http_status;
  answer.complete = record.complete != 0;
  answer.started_at = record.started_at;
  answer.content_type = "application/json";
  answer.body = locked.engine.open(record.payload, locked.uid(), kAnswerColumn, record.generation);
  return answer;
}

void hold_uncertain(Locked& locked, const Attempt& attempt) {
  const Credential& row = locked.held.row;
  const auto txn = locked.begin_write();
  if (row.hold == Hold::none) txn->set_hold(row.id, Hold::uncertain);
  txn->record(row.id, attempt);
  txn->commit();
  if (row.hold == Hold::none) locked.held.row.hold = Hold::uncertain;
}

void recover(Locked& locked) {
  if (const auto rescued = read_rescue(locked)) {
    settle_answer(locked, *rescued);
    remove_rescue(locked);
  }
  if (locked.journal.record().state == JournalState::answered) {
    settle_answer(locked, JournalRecord(locked.journal.record()));
    return;
  }
  const auto& settled = locked.journal.settled();
  if (settled && settled->generation > locked.held.row.generation) {
    adopt_from_journal(locked, *settled);
  }
  handle_unanswered(locked);
}

}  // namespace authdb
