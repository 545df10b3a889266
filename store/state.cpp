#include "store/state.h"

#include <algorithm>
#include <array>
#include <utility>

#include "store/clock_slack.h"
#include "store/rotation.h"

namespace authdb {
namespace {

constexpr Seconds kLongestRest{60};
constexpr int kRefusalsThatTell = 5;
constexpr std::chrono::hours kRefusedForLong{1};

// 1, 2, 4 … 60 s.
Seconds rest_after(int failures) {
  constexpr int kDoublings = 6;
  return std::min(kLongestRest, Seconds{1} * (1 << std::clamp(failures - 1, 0, kDoublings)));
}

void count_failure(Renewal& renewal, Instant now) {
  ++renewal.failures;
  if (!renewal.failing_since || is_ahead(renewal.failing_since, now)) renewal.failing_since = now;
}

void count_refusal(Renewal& renewal, Instant now) {
  const bool first = ++renewal.refusals == 1;
  if (first || is_ahead(renewal.refused_since, now)) renewal.refused_since = now;
}

void count_loss(Losses& losses, const AttemptNote& attempt, Instant now) {
  if (++losses.count == 1) {
    losses.first_at = attempt.started_at;
    losses.pid = attempt.pid;
    losses.process = attempt.process;
  }
  losses.last_at = now;
}

void doubt(CredentialState& state) {
  // What is removed may come back.
  const bool has_token = state.hash || state.removed_at;
  if (has_token && state.hold == Hold::none) state.hold = Hold::uncertain;
}

// What one event makes of the state.
class Transition {
 public:
  Transition(CredentialState& state, Instant now) : state_(state), now_(now) {}

  void operator()(event::Began& event) {
    state_.phase = Phase::intent;
    state_.attempt = std::move(event.attempt);
  }

  void operator()(event::Answered& event) {
    state_.phase = Phase::answered;
    state_.attempt.http_status = event.http_status;
    state_.attempt.complete = event.complete;
    state_.attempt.started_at = event.started_at;
    state_.answer_size = static_cast<std::uint32_t>(event.answer.size());
    state_.answer = std::move(event.answer);
  }

  void operator()(event::Lost& event) {
    state_.phase = Phase::idle;
    state_.answer = std::move(event.answer);
    count_failure(state_.renewal, now_);
    if (!state_.hash) return;
    count_loss(state_.renewal.losses, state_.attempt, now_);
    doubt(state_);
  }

  void operator()(event::Unspent& event) {
    state_.phase = Phase::idle;
    count_failure(state_.renewal, now_);
    if (event.refusal) count_refusal(state_.renewal, now_);
    rest_for(event.retry_after);
  }

  // A definite answer: whether the token was lost is no question any more.
  void operator()(event::Refused&) {
    state_.phase = Phase::idle;
    state_.renewal.refused = true;
    count_failure(state_.renewal, now_);
    if (state_.hold == Hold::uncertain) state_.hold = Hold::none;
  }

  void operator()(event::Ended& event) { state_.renewal.refused = event.ended; }

  void operator()(event::Forgotten&) { state_.phase = Phase::idle; }

  void operator()(event::Misdirected&) {
    state_.phase = Phase::idle;
    state_.hold = Hold::conflict;
    state_.hash.reset();  // this answer has spent it
    state_.renewal.losses = {};
  }

  void operator()(event::Moved& event) {
    state_.phase = Phase::idle;
    state_.family = event.family;
    state_.generation = event.generation;
    state_.hash = event.hash;
    state_.hold = event.hold;
    state_.grant = std::move(event.grant);
    state_.answer.clear();
    const Renewal before = std::exchange(state_.renewal, {});
    if (!event.without_bearer) return;
    const int failures = before.failures;
    state_.renewal.failures = failures;
    state_.renewal.rejected = before.rejected;
    state_.renewal.rejections = before.rejections;
    count_failure(state_.renewal, now_);
    // The new token may be sent at once, but not for ever.
    if (failures > 0) rest(state_.attempt.started_at, rest_after(failures));
  }

  void operator()(event::OnHold& event) { state_.hold = event.hold; }

  void operator()(event::Doubted&) {
    state_.phase = Phase::idle;
    doubt(state_);
  }

  void operator()(event::Removed& event) {
    state_.removed_at = event.at;
    state_.hash.reset();
    // An answer that waits stays: whoever takes the removal back has it settled first.
    if (state_.phase == Phase::answered) return;
    state_.phase = Phase::idle;
    state_.answer.clear();
  }

  void operator()(event::Rejected& event) {
    Renewal& renewal = state_.renewal;
    if (renewal.rejected == event.fingerprint) return;
    // What is remembered is the one that this one replaced, if anything.
    if (renewal.rejected.empty()) renewal.rejections = 0;
    if (event.heard_of) ++renewal.rejections;
    renewal.rejected = std::move(event.fingerprint);
  }

  void operator()(event::MintFailed& event) {
    count_failure(state_.renewal, now_);
    rest_for(event.retry_after);
  }

  void operator()(event::Minted&) {
    state_.renewal.failures = 0;
    state_.renewal.failing_since.reset();
    state_.renewal.rest_since.reset();
    state_.renewal.rest_until.reset();
  }

  void operator()(event::Rested&) {
    state_.renewal.rejected.clear();
    state_.renewal.rejections = 0;
    state_.renewal.rest_since.reset();
    state_.renewal.rest_until.reset();
    state_.renewal.refusals = 0;
    state_.renewal.refused_since.reset();
  }

 private:
  void rest_for(std::optional<Seconds> retry_after) {
    rest(now_,
         retry_after ? std::max(Seconds{1}, *retry_after) : rest_after(state_.renewal.failures));
  }

  void rest(Instant since, Seconds how_long) {
    state_.renewal.rest_since = since;
    state_.renewal.rest_until = since + how_long;
  }

  CredentialState& state_;
  Instant now_;
};

}  // namespace

Side newer_side(const CredentialState& journal, const Credential& row) {
  const std::int64_t mirrored = row.renewal.revision;
  if (journal.legacy) {
    if (mirrored > 0) return Side::row_and_lost;  // a newer format had been there: it was put back
    if (journal.generation == row.generation) return Side::same;
    return journal.generation > row.generation ? Side::journal : Side::row;
  }
  if (journal.revision == mirrored) return Side::same;
  // A row gets 1 beside a blank journal only. One that was begun before it was lost meanwhile and
  // put back; one that was begun after it says the same.
  if (journal.revision == kFirstRevision && mirrored == kFirstRevision - 1) return Side::row;
  if (journal.revision > mirrored) return Side::journal;
  return revision_after(journal.revision) == mirrored ? Side::row : Side::row_and_lost;
}

CredentialState state_of(const Credential& row) {
  CredentialState state;
  state.revision = row.renewal.revision;
  state.family = row.family;
  state.generation = row.generation;
  state.hash = row.refresh_hash;
  state.hold = row.hold;
  state.removed_at = row.removed_at;
  state.renewal = row.renewal;
  return state;
}

void follow_rejection(Renewal& next, const Credential& before, const std::string& fresh) {
  const std::string& rejected = before.renewal.rejected;
  const bool is_current =
      rejected == before.access_fingerprint || rejected == before.agent_key_fingerprint;
  next.rejected.clear();
  next.rejections = 0;
  if (rejected.empty() || (!is_current && fresh != rejected)) return;
  next.rejected = rejected;
  const bool again = is_current && fresh == rejected;
  next.rejections = before.renewal.rejections + (again ? 1 : 0);
}

CredentialState decide(CredentialState state, Event what, Instant now) {
  std::visit(Transition(state, now), what);
  state.legacy = false;
  return state;
}

Recovery recovery_of(const CredentialState& state, const std::string& boot_id) {
  switch (state.phase) {
    case Phase::idle:
      return Recovery::nothing;
    case Phase::intent:
      // After a power cut the mark may be missing though the request was made.
      return !boot_id.empty() && state.attempt.boot_id == boot_id ? Recovery::forget
                                                                  : Recovery::call_lost;
    case Phase::sent:
      return Recovery::call_lost;
    case Phase::answered:
      return Recovery::settle;
  }
  return Recovery::call_lost;
}

std::optional<Instant> rests_until(const Renewal& renewal, Instant now) {
  const bool ours = renewal.rest_since && !is_ahead(renewal.rest_since, now);
  const bool rests = ours && renewal.rest_until && *renewal.rest_until > now;
  return rests ? renewal.rest_until : std::nullopt;
}

std::optional<Instant> cools_until(const Health& health, Instant now) {
  const bool ours = !is_ahead(health.status_at, now);
  const bool cools = ours && health.cooldown_until && *health.cooldown_until > now;
  return cools ? health.cooldown_until : std::nullopt;
}

bool refused_for_long(const Renewal& renewal, Instant now) {
  return renewal.refusals >= kRefusalsThatTell && renewal.refused_since &&
         now - *renewal.refused_since >= kRefusedForLong;
}

Seconds replay_after(int losses) {
  constexpr std::array<Seconds, 5> kAfter = {Seconds{0}, Seconds{5}, Seconds{15}, Seconds{60},
                                             Seconds{300}};
  return kAfter.at(static_cast<std::size_t>(std::clamp(losses, 1, 5)) - 1);
}

}  // namespace authdb
