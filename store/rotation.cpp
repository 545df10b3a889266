#include "store/rotation.h"

#include <algorithm>

#include "store/clock_slack.h"
#include "store/explain.h"
#include "store/locked.h"
#include "store/rescue.h"
#include "store/scrub.h"
#include "store/words.h"

namespace authdb {
namespace {

// min_ttl counts up to half the life that the store knows the provider gives: more would be a
// refresh per call.
Milliseconds effective_min_ttl(const Credential& row, Milliseconds wanted) {
  if (row.origin == Origin::import || !row.obtained_at || !row.expires_at) return wanted;
  return std::min(wanted, Milliseconds((*row.expires_at - *row.obtained_at) / 2));
}

Rotated as_it_stands(const Locked& locked, Action action, std::string warning = {}) {
  return {locked.held.clone(), action, std::move(warning)};
}

// What cannot be renewed is good to its last second.
Result<Rotated> serve_or_fail(const Locked& locked, const RotateRequest& request, Error error) {
  const bool lives = access_token_lives(locked.held.row, request.rejected, locked.engine.now());
  if (lives && !request.force) return as_it_stands(locked, Action::cached, error.message);
  return fail(std::move(error));
}

// One attempt from intent to settlement.
struct Sending {
  Locked& locked;
  const RotateRequest& request;
  TokenEndpoint& endpoint;
  Attempt attempt;
  std::optional<Error> unmarked;  // why the request was not allowed to begin
  bool journalled = false;        // a 2xx answer is in the journal
};

// ---- step 3: is there any need, and may it be sent ---------------------------------------------

std::optional<Rotated> serve_without_sending(Locked& locked, const RotateRequest& request) {
  const Credential& row = locked.held.row;
  const Action action = locked.recovered ? Action::recovered : Action::adopted;
  const bool newer = request.seen_generation != 0 && row.generation > request.seen_generation;
  RotateRequest adjusted = request;
  adjusted.force = request.force && !newer && !locked.recovered;
  locked.recovered = false;  // reported once
  if (!access_token_serves(row, adjusted, locked.engine.now())) return std::nullopt;
  return as_it_stands(locked, action);
}

// The replay rule. nullopt: it may be sent.
std::optional<Result<Rotated>> hold_back_uncertain(Locked& locked, const RotateRequest& request) {
  if (request.replay) return std::nullopt;
  const auto next = next_replay(locked, request.rejected);
  if (next && *next <= locked.engine.now()) return std::nullopt;
  return serve_or_fail(locked, request, explain_uncertain(locked, next));
}

// The journal knows its successor: the row is of a database that somebody put back, and the grant
// that would mend it cannot be read any more. A token that was pardoned since has a later
// generation.
bool spent_by_journal(const Locked& locked) {
  const Credential& row = locked.held.row;
  const auto& spent = locked.journal.spent();
  return std::any_of(spent.begin(), spent.end(), [&](const auto& entry) {
    return entry.first == *row.refresh_hash && entry.second >= row.generation;
  });
}

// Why the token must never be sent, whatever the caller wants.
std::optional<Error> never_to_be_sent(const Locked& locked) {
  const Credential& row = locked.held.row;
  if (locked.unsettled || locked.state.phase == Phase::answered) return explain_unsettled(locked);
  if (row.hold == Hold::conflict || row.hold == Hold::handed_over) return explain_hold(locked);
  if (!row.refresh_hash) return explain_no_refresh_token(locked);
  if (const auto retired = locked.engine.backend->view()->retired(*row.refresh_hash)) {
    return explain_retired(locked, *retired);
  }
  if (spent_by_journal(locked)) {
    return explain_retired(
        locked, {row.uid, row.family, row.generation, locked.engine.now(), Retirement::spent});
  }
  return std::nullopt;
}

// Why the token is not sent now unless somebody insists. Whoever waited for the lock while an
// attempt failed adopts that failure and need not ask again.
std::optional<Error> not_to_be_sent(const Locked& locked, const RotateRequest& request) {
  if (request.force) return std::nullopt;
  const Instant now = locked.engine.now();
  if (locked.held.row.health.status == Status::dead || locked.state.renewal.refused) {
    return explain_dead(locked);
  }
  if (rejected_again(locked.held.row, now)) return explain_rejected_again(locked);
  const auto until = rests_until(locked.state.renewal, now);
  if (!until || request.ignore_rest) return std::nullopt;
  return refused_for_long(locked.state.renewal, now) ? explain_refusals(locked)
                                                     : explain_rest(locked, *until);
}

std::optional<Result<Rotated>> refuse_to_send(Locked& locked, const RotateRequest& request) {
  auto refused = never_to_be_sent(locked);
  if (!refused) refused = not_to_be_sent(locked, request);
  if (refused) return serve_or_fail(locked, request, std::move(*refused));
  if (locked.held.row.hold == Hold::uncertain) return hold_back_uncertain(locked, request);
  return std::nullopt;
}

// ---- step 4 ------------------------------------------------------------------------------------

Result<void> write_intent(Sending& s) {
  if (auto begun = begin_journal(s.locked); !begun) return begun;
  AttemptNote note;
  note.pid = s.attempt.pid;
  note.boot_id = s.attempt.boot_id;
  note.process = s.attempt.process;
  note.profile = s.attempt.profile;
  note.started_at = s.attempt.started_at;
  note.rescue = rescue_directory();
  CredentialState intent =
      decide(s.locked.state, event::Began{std::move(note)}, s.locked.engine.now());
  auto written = s.locked.journal.write(std::move(intent), /*durable=*/true);
  if (written) s.locked.state = s.locked.journal.state();
  return written;
}

// ---- step 5 ------------------------------------------------------------------------------------

Answer post(Sending& s) {
  const Secret& token = s.locked.held.refresh_token;
  const auto mark = [&] {
    const auto marked = s.locked.journal.mark_sent();
    if (!marked) s.unmarked = marked.error();
    if (marked) s.locked.state.phase = Phase::sent;
    return marked.has_value();
  };
  Answer answer;
  try {
    answer = s.endpoint.send(token, mark);
  } catch (const std::exception& error) {  // how far it came is what the mark says
    answer.failure = "the request was given up: " + scrub(error.what(), {&token});
  }
  answer.sent = token.clone();
  if (answer.started_at == Instant{}) answer.started_at = s.attempt.started_at;
  if (answer.http_status != 0) s.attempt.http_status = answer.http_status;
  return answer;
}

// ---- step 6 ------------------------------------------------------------------------------------

// From here the state has the answer, and the journal too if it could be written.
void write_answered(Sending& s, const Answer& answer) {
  Locked& locked = s.locked;
  event::Answered answered;
  answered.answer =
      locked.engine.seal(answer.body, locked.uid(), kAnswerColumn, locked.state.generation);
  answered.http_status = answer.http_status;
  answered.complete = answer.complete;
  answered.started_at = answer.started_at;
  // No clock is read before the answer is on disk: nothing may come between.
  CredentialState next = decide(locked.state, std::move(answered), s.attempt.started_at);
  const auto written = locked.journal.write(next, /*durable=*/true);
  s.journalled = written.has_value();
  if (s.journalled) next.revision = locked.journal.state().revision;
  locked.state = std::move(next);
}

// The judge is the caller's. Should it throw, an answer that is written nowhere yet is rescued
// first.
Judgement judge(Sending& s, const Answer& answer) {
  try {
    return s.endpoint.judge(answer);
  } catch (...) {
    if (answer.is_success() && !s.journalled) {
      write_rescue_file(s.locked.engine.place(s.locked.uid()), s.locked.state);
    }
    throw;
  }
}

// ---- step 7, and what a failure of it leaves ---------------------------------------------------

// The grant as the caller gets it when the database would not take it.
Held held_from(const Locked& locked, const Grant& grant) {
  Held held = locked.held.clone();
  held.access_token = grant.access_token.clone();
  if (!grant.refresh_token.empty()) held.refresh_token = grant.refresh_token.clone();
  held.row.access_fingerprint = fingerprint(held.access_token);
  held.row.bearer_kind = grant.bearer_kind;
  held.row.obtained_at = grant.obtained_at;
  held.row.expires_at = grant.expires_at;
  held.row.generation += 1;
  return held;
}

// Where the new token is now, for the person who has to do something about it.
std::string unsettled_warning(Sending& s, const Error& why) {
  const std::string name = name_of(s.locked.held.row);
  if (s.journalled) {
    return "the new token of " + name +
           " is safe in its journal, but the database could not be written (" + why.message +
           "); the next refresh settles it";
  }
  if (write_rescue_file(s.locked.engine.place(s.locked.uid()), s.locked.state)) {
    return "neither journal nor database could be written (" + why.message +
           "); the new token of " + name + " is sealed in " + rescue_directory().string() +
           " and is lost at reboot: free space, then run `authdb refresh`";
  }
  return "NOTHING could be written (" + why.message + "): the new token of " + name +
         " lives only in this process. Free space now";
}

// Why a bearer that has just come is of no use to anybody.
std::optional<Error> of_no_use(const Sending& s, const Credential& row) {
  const std::string& fresh = row.access_fingerprint;
  if (!fresh.empty() && (fresh == s.request.rejected || fresh == row.renewal.rejected)) {
    return explain_rejected_again(s.locked);
  }
  const Instant now = s.locked.engine.now();
  if (!row.expires_at || now < *row.expires_at) return std::nullopt;
  return Error{Errc::try_later,
               "the new bearer of " + name_of(row) + " was over before it could be handed out",
               "Try again: its refresh token is kept."};
}

// The journal has the answer, or a rescue file has. Nothing is sent before it is settled, by this
// lock's holder neither.
Result<Rotated> leave_unsettled(Sending& s, const Judgement& judgement, const Error& why) {
  std::string warning = unsettled_warning(s, why);
  s.locked.unsettled = why;
  const bool ours = !is_for_another_account(s.locked, *judgement.grant);
  if (!ours) {
    Error error = explain_misdirected(s.locked);
    if (!s.journalled) error.hint = std::move(warning);
    return fail(std::move(error));
  }
  if (judgement.ruling == Ruling::granted) {
    Held held = held_from(s.locked, *judgement.grant);
    if (auto useless = of_no_use(s, held.row)) return fail(std::move(*useless));
    return Rotated{std::move(held), Action::refreshed, std::move(warning)};
  }
  Error error = explain_half(s.locked);
  error.hint = warning;
  return fail(std::move(error));
}

// ---- what the caller is told -------------------------------------------------------------------

Result<Rotated> tell_moved(Sending& s, const Judgement& judgement, const Answer& answer, End end) {
  std::string warning = judgement.message;
  const auto add = [&](const std::string& text) {
    if (!text.empty()) warning += (warning.empty() ? "" : "; ") + text;
  };
  const Instant now = s.locked.engine.now();
  const Credential& row = s.locked.held.row;
  if (auto useless = of_no_use(s, row)) return fail(std::move(*useless));
  add(clocks_differ(answer, now));
  if (end == End::elsewhere) {
    add("the refresh token that came for " + name_of(s.locked.held.row) +
        " is another credential's already or was retired, so this one cannot be renewed: log in "
        "again");
  }
  return as_it_stands(s.locked, Action::refreshed, std::move(warning));
}

Result<Rotated> tell_uncertain(Sending& s, const Judgement& judgement) {
  Error error = explain_uncertain(s.locked, next_replay(s.locked, s.request.rejected));
  error.message += " (" +
                   without_secrets(judgement.message,
                                   {&s.locked.held.access_token, &s.locked.held.refresh_token}) +
                   ")";
  return serve_or_fail(s.locked, s.request, std::move(error));
}

Result<Rotated> tell(Sending& s, const Judgement& judgement, const Answer& answer, End end) {
  switch (end) {
    case End::moved:
    case End::elsewhere:
      return tell_moved(s, judgement, answer, end);
    case End::misdirected:
      return fail(explain_misdirected(s.locked));
    case End::refused:
      return fail(explain_rejected(s.locked, judgement, s.request.profile));
    case End::uncertain:
      return tell_uncertain(s, judgement);
    case End::half:
      return serve_or_fail(s.locked, s.request, explain_half(s.locked));
    case End::unspent:
      break;
  }
  if (s.unmarked) return fail(*s.unmarked);
  const Instant now = s.locked.engine.now();
  if (refused_for_long(s.locked.state.renewal, now) &&
      !access_token_lives(s.locked.held.row, s.request.rejected, now)) {
    return fail(explain_refusals(s.locked));
  }
  return fail(explain_unspent(s.locked, judgement, s.request.profile));
}

Attempt new_refresh(const Locked& locked, const RotateRequest& request) {
  const Credential& row = locked.held.row;
  Attempt attempt = locked.engine.new_attempt(AttemptKind::refresh, request.profile);
  attempt.refresh_hash = row.refresh_hash;
  attempt.family = row.family;
  attempt.from_generation = row.generation;
  return attempt;
}

std::unique_ptr<TokenEndpoint> endpoint_of(const Locked& locked) {
  const Identity& identity = locked.held.row.identity;
  auto endpoint =
      locked.engine.options.endpoint_for ? locked.engine.options.endpoint_for(identity) : nullptr;
  if (endpoint) return endpoint;
  throw BackendError{
      {Errc::not_found,
       "\"" + identity.provider + "\" is no provider whose tokens authdb can refresh",
       "`authdb providers` lists those it can; a file in providers.d adds one."}};
}

}  // namespace

bool access_token_lives(const Credential& row, const std::string& rejected, Instant now) {
  return !row.access_fingerprint.empty() && row.access_fingerprint != rejected &&
         row.access_fingerprint != row.renewal.rejected &&
         (!row.expires_at || *row.expires_at > now);
}

bool agent_key_lives(const Credential& row, const std::string& rejected, Instant now) {
  const std::string& key = row.agent_key_fingerprint;
  const bool refused = !key.empty() && (key == rejected || key == row.renewal.rejected);
  return row.has_agent_key && !refused && row.agent_key_expires_at &&
         *row.agent_key_expires_at > now;
}

bool rejected_again(const Credential& row, Instant now) {
  constexpr std::chrono::minutes kJustReplaced{5};
  const std::string& rejected = row.renewal.rejected;
  if (row.renewal.rejections < 2 || rejected.empty()) return false;
  const bool is_key = rejected == row.agent_key_fingerprint;
  if (!is_key && rejected != row.access_fingerprint) return false;
  const auto since = is_key ? row.agent_key_obtained_at : row.obtained_at;
  return since && now >= *since && now - *since < kJustReplaced;
}

bool access_token_serves(const Credential& row, const RotateRequest& request, Instant now) {
  if (request.force || !access_token_lives(row, request.rejected, now)) return false;
  if (is_ahead(row.obtained_at, now)) return false;
  if (row.refresh_at && *row.refresh_at <= now) return false;
  return !row.expires_at || *row.expires_at - now >= effective_min_ttl(row, request.min_ttl);
}

// The protocol, from the lock on. `this` holds the lock and has recovered (step 2 and half of step
// 3).
Result<Rotated> LockedCredential::rotate(const RotateRequest& request) {
  const PutOffCancellation unwinding_later;
  Locked& locked = *locked_;
  const auto body = [&]() -> Result<Rotated> {
    // 3. Another process may have won the race while we waited, or the token may not be ours to
    // send.
    if (auto served = serve_without_sending(locked, request)) return std::move(*served);
    if (auto refused = refuse_to_send(locked, request)) return std::move(*refused);
    const auto endpoint = endpoint_of(locked);
    Sending s{locked, request, *endpoint, new_refresh(locked, request), {}};
    if (request.stop.stop_requested()) return fail(stopped_error());
    const std::shared_ptr<void> uninterrupted = shield();

    // 4. Without a durable intent nothing is sent.
    if (auto written = write_intent(s); !written) return fail(written.error());

    // 5. One POST. Whether it began is what the mark says, never what an error code suggests.
    const Answer answer = post(s);
    const bool left = locked.state.phase == Phase::sent;

    // 6. A 2xx answer is on disk before anybody looks at what it brought.
    if (left && answer.is_success()) write_answered(s, answer);
    Judgement judgement = judge(s, answer);
    if (!left) {
      judgement.ruling = Ruling::unspent;
      judgement.grant.reset();
    }

    // 7 and 8. The row moves, then the journal is told.
    const auto end = Engine::guarded([&] { return conclude(locked, judgement, s.attempt); });
    if (!end && judgement.grant) return leave_unsettled(s, judgement, end.error());
    if (!end) return fail(end.error());
    return tell(s, judgement, answer, *end);
  };
  return Engine::guarded_result(body);
}

// The eight steps: 1 and 2 here, 3 to 8 in LockedCredential::rotate().
Result<Rotated> rotate(const Store& store, const Uid& uid, const RotateRequest& request) {
  const PutOffCancellation unwinding_later;
  return Engine::guarded_result([&]() -> Result<Rotated> {
    // 1. Read. A bearer that serves costs no lock and no write.
    auto held = store.unseal(uid);
    if (!held) return fail(std::move(held.error()));
    const Instant now = store.now();
    if (access_token_serves(held->row, request, now)) {
      return Rotated{std::move(*held), Action::cached, {}};
    }

    // 2. Lock. Whoever still has a live bearer does not wait for somebody else's refresh.
    const bool can_do_without =
        !request.force && access_token_lives(held->row, request.rejected, now) &&
        (!held->row.expires_at || *held->row.expires_at - now >= request.min_ttl);
    const Milliseconds wait = can_do_without ? Milliseconds(0) : store.lock_wait();
    auto locked = LockedCredential::acquire(store, uid,
                                            {.wait = wait, .stop = request.stop, .to_spend = true});
    if (!locked && can_do_without && locked.error().code == Errc::busy) {
      return Rotated{std::move(*held), Action::cached, {}};
    }
    if (!locked) return fail(std::move(locked.error()));
    RotateRequest adjusted = request;
    // The caller's own, if there is one: it may have looked before somebody rotated, and we after.
    if (adjusted.seen_generation == 0) adjusted.seen_generation = held->row.generation;
    return locked->rotate(adjusted);
  });
}

}  // namespace authdb
