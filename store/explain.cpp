#include "store/explain.h"

#include "store/login_command.h"
#include "store/scrub.h"
#include "store/timestamp.h"
#include "store/words.h"

namespace authdb {
namespace {

std::string login_command(const Locked& locked) {
  const Credential& row = locked.held.row;
  const auto users =
      Engine::guarded([&] { return locked.engine.backend->view()->profiles_of(row.id); });
  return authdb::login_command(row.identity.provider, row.identity.label,
                               users ? *users : std::vector<std::string>());
}

std::string log_in_again(const Locked& locked) {
  return "Log in again: " + login_command(locked) +
         ". Or with the tool this login is from, then `authdb migrate`.";
}

std::string token_of(const Locked& locked) {
  const auto& hash = locked.held.row.refresh_hash;
  return hash ? ", refresh token " + fingerprint(*hash) : "";
}

std::string of_profile(const std::string& profile) {
  return profile.empty() ? "" : ", profile " + profile;
}

std::string of_process(const Locked& locked) {
  const Holder self = locked.engine.self();
  return ", process " + std::to_string(self.pid) + " (" + self.process + ")";
}

// What the ledger says happened before: the newest first, without the attempt that failed now.
std::string last_attempts(const Locked& locked) {
  const auto rows = Engine::guarded([&] {
    return locked.engine.backend->view()->query(
        "SELECT kind, outcome, started_at, process, pid FROM attempt WHERE credential = " +
        std::to_string(locked.held.row.id) + " ORDER BY id DESC LIMIT 3 OFFSET 1");
  });
  std::string list;
  for (const auto& row : rows ? rows->rows : std::vector<std::vector<Cell>>()) {
    list += (list.empty() ? " Before that: " : "; ") + std::get<std::string>(row[0]) + " " +
            std::get<std::string>(row[1]) + " at " +
            format_iso(at_millis(std::get<std::int64_t>(row[2]))) + " by " +
            std::get<std::string>(row[3]) + "[" + std::to_string(std::get<std::int64_t>(row[4])) +
            "]";
  }
  return list.empty() ? list : list + ".";
}

// How often this store had sent that token before the attempt that failed now, and was not told
// that it was taken.
std::int64_t earlier_requests(const Locked& locked) {
  if (!locked.held.row.refresh_hash) return 0;
  const auto rows = Engine::guarded([&] {
    return locked.engine.backend->view()->query(
        "SELECT max(count(*) - 1, 0) FROM attempt WHERE credential = " +
        std::to_string(locked.held.row.id) + " AND kind = 'refresh' AND outcome <> 'not_sent' " +
        "AND 'sha256:' || lower(substr(hex(refresh_hash), 1, 16)) = '" +
        fingerprint(*locked.held.row.refresh_hash) + "'");
  });
  return rows && !rows->rows.empty() ? std::get<std::int64_t>(rows->rows[0][0]) : 0;
}

// A text that may quote a server, without the pair that stands in the row.
std::string without_tokens(const Locked& locked, const std::string& text) {
  return without_secrets(text, {&locked.held.access_token, &locked.held.refresh_token});
}

std::string lost_answer(const Locked& locked) {
  const Losses& lost = locked.state.renewal.losses;
  const Instant now = locked.engine.now();
  std::string text = "process " + std::to_string(lost.pid) + " (" + lost.process + ") sent it at " +
                     format_iso(lost.first_at) + " (" + ago(lost.first_at, now) + ") and " +
                     (locked.state.answer.empty() ? "no answer came that says what became of it"
                                                  : "its answer could not be read");
  if (lost.count > 1) {
    text += "; it was sent " + std::to_string(lost.count) + " times, the last time at " +
            format_iso(lost.last_at);
  }
  return text;
}

std::string said(const Locked& locked, const Judgement& judgement) {
  if (judgement.message.empty()) return judgement.code;
  return without_tokens(locked, judgement.message);
}

bool was_lost(const Locked& locked) { return locked.state.renewal.losses.count > 0; }

Error explain_reuse(const Locked& locked, const Judgement& judgement, const std::string& profile) {
  Error error{Errc::login_needed,
              "refresh token reuse: the provider has seen the refresh token of " +
                  name_of(locked.held.row) + " before and revoked the session" + token_of(locked) +
                  of_profile(profile) + of_process(locked) + " (" + said(locked, judgement) + ")",
              ""};
  if (was_lost(locked)) {
    error.hint = "This was our own lost answer, not an outsider: " + lost_answer(locked) + ". " +
                 log_in_again(locked);
    return error;
  }
  const std::int64_t earlier = earlier_requests(locked);
  const std::string others =
      "something else has a copy and spent it: another install sharing the old auth.json, a "
      "monitoring script, the tool itself. Refresh tokens are single-use: only one may spend them. "
      "Stop the other one first.";
  error.hint = earlier == 0
                   ? "This store sent that token only once, so " + others
                   : "This store had sent that token " + std::to_string(earlier) +
                         (earlier == 1 ? " time" : " times") +
                         " before, and the answer did not say that it was taken. Either the server "
                         "took it all the same, or " +
                         others;
  error.hint += last_attempts(locked) + " " + log_in_again(locked);
  return error;
}

}  // namespace

std::string ago(Instant then, Instant now) {
  const auto s = std::chrono::duration_cast<Seconds>(now - then).count();
  if (s < 1) return "just now";
  if (s < 120) return std::to_string(s) + " s ago";
  if (s < 7200) return std::to_string(s / 60) + " min ago";
  if (s < 172800)
    return std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min ago";
  return std::to_string(s / 86400) + " d ago";
}

Error explain_rejected(const Locked& locked, const Judgement& judgement,
                       const std::string& profile) {
  if (judgement.reuse) return explain_reuse(locked, judgement, profile);
  Error error{Errc::login_needed,
              "the provider refused to refresh " + name_of(locked.held.row) + token_of(locked) +
                  of_profile(profile) + of_process(locked) + ": " + said(locked, judgement),
              log_in_again(locked)};
  if (was_lost(locked)) {
    error.hint = "Probably our own lost answer: " + lost_answer(locked) + ". " + error.hint;
  }
  return error;
}

std::string why_dead(const Locked& locked, const Judgement& judgement) {
  if (!was_lost(locked)) return without_tokens(locked, judgement.message);
  return "our own lost answer: " + lost_answer(locked) +
         "; the server then said: " + said(locked, judgement);
}

Error explain_dead(const Locked& locked) {
  const Health& health = locked.held.row.health;
  std::string message = "the login of " + name_of(locked.held.row) + " has ended";
  if (health.status_at) message += " " + ago(*health.status_at, locked.engine.now());
  if (!health.error_message.empty()) message += ": " + health.error_message;
  return {Errc::login_needed, std::move(message), log_in_again(locked)};
}

Error explain_rest(const Locked& locked, Instant until) {
  const int failures = locked.state.renewal.failures;
  return {Errc::try_later,
          name_of(locked.held.row) + " is not refreshed before " + format_iso(until) +
              ": its last attempt failed" +
              (failures > 1 ? " (" + std::to_string(failures) + " in a row)" : "") +
              ", and its token endpoint is left alone until then",
          "Nothing was sent. `authdb refresh` asks it all the same."};
}

Error explain_half(const Locked& locked) {
  return {Errc::try_later,
          "the answer for " + name_of(locked.held.row) +
              " brought a new refresh token, which is kept, but no whole bearer",
          "Try again: the new token is sent then."};
}

Error explain_unspent(const Locked& locked, const Judgement& judgement,
                      const std::string& profile) {
  std::string hint = "Nothing was changed; the login is as good as before.";
  if (judgement.retry_after) {
    hint += " The server asks to wait " + std::to_string(judgement.retry_after->count()) + " s.";
  } else {
    hint += " Try again in a moment.";
  }
  return {Errc::try_later,
          name_of(locked.held.row) + " could not be refreshed" + of_profile(profile) + ": " +
              said(locked, judgement),
          std::move(hint)};
}

Error explain_uncertain(const Locked& locked, std::optional<Instant> next_replay) {
  Error error{Errc::try_later,
              "it is uncertain whether the refresh token of " + name_of(locked.held.row) +
                  " is still good: " +
                  (was_lost(locked) ? lost_answer(locked)
                                    : "no journal vouches for it (none was written yet, or it was "
                                      "lost, damaged or put back)"),
              ""};
  error.hint = next_replay ? "It is sent again from " + format_iso(*next_replay) + " on."
                           : "It is not sent while its bearer still lives.";
  error.hint +=
      " `authdb refresh --replay` sends it now: if the server had rotated it, that may end "
      "the session.";
  return error;
}

Error explain_hold(const Locked& locked) {
  if (locked.held.row.hold == Hold::handed_over) {
    return {Errc::try_later,
            name_of(locked.held.row) + " was handed over: another tool refreshes it now",
            "`authdb migrate` takes it back."};
  }
  if (!locked.state.answer.empty()) return explain_misdirected(locked);
  return {Errc::login_needed,
          name_of(locked.held.row) +
              " is held: copies of this login disagree about which token is live",
          "Decide with `authdb migrate --prefer PATH`, or log in again: " + login_command(locked)};
}

Error explain_unsettled(const Locked& locked) {
  const std::string message = "an answer for " + name_of(locked.held.row) +
                              " waits in its journal, and nothing is sent before it is settled";
  if (!locked.unsettled) return {Errc::try_later, message, "Try again."};
  return {locked.unsettled->code, message + ": " + locked.unsettled->message,
          locked.unsettled->hint};
}

Error explain_misdirected(const Locked& locked) {
  return {Errc::login_needed,
          "the answer to the refresh of " + name_of(locked.held.row) +
              " was for another account; it is not used",
          "It is kept sealed, and the refresh token it answered is spent. " + log_in_again(locked)};
}

Error explain_rejected_again(const Locked& locked) {
  return {Errc::login_needed,
          "the bearer of " + name_of(locked.held.row) +
              " was rejected, and so is what it is replaced by; the grant may have been revoked",
          log_in_again(locked)};
}

Error explain_refusals(const Locked& locked) {
  const Renewal& renewal = locked.state.renewal;
  return {Errc::login_needed,
          "the token endpoint has refused " + name_of(locked.held.row) + " " +
              std::to_string(renewal.refusals) + " times since " +
              format_iso(*renewal.refused_since) + ", and what it says is not known: a login is " +
              "probably needed",
          log_in_again(locked) + " `authdb refresh` asks once more."};
}

Error explain_retired(const Locked& locked, const RetiredToken& retired) {
  return {Errc::login_needed,
          "the refresh token of " + name_of(locked.held.row) + " is retired (" +
              std::string(word(retired.reason)) + " since " + format_iso(retired.retired_at) +
              ") and is never sent again",
          log_in_again(locked)};
}

Error explain_no_refresh_token(const Locked& locked) {
  return {Errc::login_needed,
          name_of(locked.held.row) + " has no refresh token, so nothing can renew it",
          log_in_again(locked)};
}

std::string clocks_differ(const Answer& answer, Instant received_at) {
  constexpr Seconds kTolerated{60};
  if (!answer.server_time) return {};
  const Instant theirs = *answer.server_time;
  const bool behind = theirs < answer.started_at;
  const auto apart = behind ? answer.started_at - theirs : theirs - received_at;
  if (apart <= kTolerated) return {};
  return "the clock of this machine is " +
         std::to_string(std::chrono::duration_cast<Seconds>(apart).count()) + " s " +
         (behind ? "ahead of" : "behind") + " the server's (" + format_iso(theirs) +
         "): one of them is wrong; see `timedatectl`";
}

}  // namespace authdb
