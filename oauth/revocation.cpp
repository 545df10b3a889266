#include "oauth/revocation.h"

#include "oauth/answer_text.h"
#include "oauth/classify.h"
#include "oauth/client_request.h"
#include "oauth/discovery.h"
#include "store/rotation.h"
#include "store/scrub.h"

namespace authdb::oauth {
namespace {

// The refresh token if there is one: with it the server forgets what descends from it, too.
struct Token {
  const Secret& secret;
  const char* hint;
};

Token token_of(const Held& held) {
  if (!held.refresh_token.empty()) return {held.refresh_token, "refresh_token"};
  return {held.access_token, "access_token"};
}

// A no, also one that comes with 200, and a 503 (RFC 7009 section 2.2.1) have changed nothing. What
// is behind a time-out of the server, another error of it, a redirection or a page is not known.
Outcome outcome_of(const Answer& answer, bool sent) {
  constexpr int kTimeout = 408;
  constexpr int kUnavailable = 503;
  const int status = answer.http_status;
  if (!sent) return Outcome::not_sent;
  if (answer.is_success()) {
    if (!read_error(TokenAnswer(answer)).code.empty()) return Outcome::rejected;
    return is_markup(answer.body.reveal()) ? Outcome::uncertain : Outcome::committed;
  }
  const bool no = status >= 400 && status < 500 && status != kTimeout;
  return no || status == kUnavailable ? Outcome::rejected : Outcome::uncertain;
}

std::string said(const Answer& answer, const Secret& token) {
  if (answer.http_status == 0) return why_no_answer(answer, {&token});
  const ErrorBody body = read_error(TokenAnswer(answer));
  std::string text = "status " + std::to_string(answer.http_status);
  if (!body.code.empty()) text += ", " + scrub(body.code, {&token}, 64);
  if (!body.description.empty()) text += ": " + scrub(body.description, {&token});
  return text;
}

// So that nobody tries it, should it be taken back.
void mark_revoked(LockedCredential& lock, const std::string& message) {
  Judgement judgement;
  judgement.code = "revoked";
  judgement.message = message;
  lock.mark_dead(judgement);
}

LoggedOut exchange(LockedCredential& lock, const BearerParts& parts, const HttpRequest& request,
                   const std::string& profile) {
  const Secret& token = token_of(lock.held()).secret;
  Attempt attempt = lock.begin_attempt(AttemptKind::revoke, profile);
  // Its row has no current token any more.
  const Secret& refresh_token = lock.held().refresh_token;
  if (!refresh_token.empty()) attempt.refresh_hash = token_hash(refresh_token);
  const Health before = lock.held().row.health;
  const bool was_over = lock.held().row.renewal.refused || before.status == Status::dead;
  bool sent = false;
  // Before the first byte leaves: what becomes of it may never be known here.
  const auto about_to_send = [&] {
    mark_revoked(lock, "its revocation was sent to the provider when it was removed");
    return sent = true;
  };
  const Answer answer = parts.http->perform(request, about_to_send);
  attempt.outcome = outcome_of(answer, sent);
  if (answer.http_status != 0) attempt.http_status = answer.http_status;
  const bool revoked = attempt.outcome == Outcome::committed;
  lock.record(attempt);
  if (revoked) mark_revoked(lock, "it was revoked at the provider when it was removed");
  if (attempt.outcome == Outcome::rejected && !was_over) lock.mark_alive(before);
  return revoked ? LoggedOut{Remote::revoked, {}} : LoggedOut{Remote::failed, said(answer, token)};
}

LoggedOut revoke(LockedCredential& lock, const Store& store, const BearerParts& parts,
                 const std::string& profile) {
  const Credential& row = lock.held().row;
  const auto [token, hint] = token_of(lock.held());
  const Provider* provider = parts.registry().find_oauth(row.identity.provider);
  if (provider == nullptr || token.empty()) return {Remote::not_offered, {}};
  if (row.hold == Hold::handed_over) return {Remote::failed, "another tool has its live token"};

  Discovery discovery(parts.http, parts.environment, [&store] { return store.now(); });
  const auto url = discovery.endpoint(*provider, row.identity, "revocation_endpoint");
  if (!url && url.error().code == Errc::usage) return {Remote::not_offered, {}};
  if (!url) return {Remote::failed, url.error().message};
  const auto request = client_request(*provider, row.identity, parts.environment, *url,
                                      {{"token", token.reveal()}, {"token_type_hint", hint}},
                                      provider->revocation_body);
  if (!request) return {Remote::failed, request.error().message};
  return exchange(lock, parts, *request, profile);
}

}  // namespace

Result<LoggedOut> log_out(Store& store, const BearerParts& parts, const Uid& uid,
                          const std::string& profile, bool keep_remote) {
  const auto row = store.find(uid);
  if (!row) return fail(row.error());
  if (row->identity.auth_type == AuthType::api_key) {
    if (auto removed = store.remove(uid); !removed) return fail(removed.error());
    return LoggedOut{};
  }
  // What waits there is of no use any more.
  auto lock = LockedCredential::acquire(
      store, uid, {.wait = store.lock_wait(), .unsettled_too = true, .damaged_too = true});
  if (!lock) return fail(lock.error());
  const bool spent = !lock->held().refresh_token.empty() && !lock->held().row.refresh_hash;
  if (auto removed = store.remove(*lock); !removed) return fail(removed.error());
  if (keep_remote) return LoggedOut{};
  // A server that ends the whole family of what it is shown might end somebody else's.
  if (spent) return LoggedOut{Remote::failed, "its refresh token is spent, so it is not sent"};
  return revoke(*lock, store, parts, profile);
}

}  // namespace authdb::oauth
