// Attempts as a process leaves them that dies between two steps of a rotation.
#pragma once

#include "store/locked.h"
#include "store/rescue.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {

// An intent of this process is in the journal, and nothing has left.
inline void leave_intent(Locked& locked, Instant now) {
  AttemptNote note;
  note.pid = ::getpid();
  note.boot_id = locked.engine.boot_id();
  note.process = "doomed";
  note.rescue = rescue_directory();
  note.started_at = now;
  const CredentialState intent = decide(locked.state, event::Began{note}, now);
  ASSERT_TRUE(locked.journal.write(intent, /*durable=*/true));
  locked.state = locked.journal.state();
}

// And its token may have left.
inline void leave_sent(Locked& locked, Instant now) {
  leave_intent(locked, now);
  ASSERT_TRUE(locked.journal.mark_sent());
  locked.state = locked.journal.state();
}

// The state with an answer of that body, which is written nowhere yet.
inline CredentialState answered_with(Locked& locked, const std::string& body, Instant now) {
  event::Answered answered;
  answered.answer = locked.engine.seal(Secret::copy_of(body), locked.uid(), kAnswerColumn,
                                       locked.state.generation);
  answered.http_status = 200;
  answered.complete = true;
  answered.started_at = now;
  return decide(locked.state, std::move(answered), now);
}

inline void leave_answered(Locked& locked, const std::string& body, Instant now) {
  leave_sent(locked, now);
  ASSERT_TRUE(locked.journal.write(answered_with(locked, body, now), /*durable=*/true));
}

}  // namespace authdb::test
