#include "tests/model/books.h"

#include <algorithm>
#include <array>

namespace authdb::model {
namespace {

constexpr std::int64_t kGraceMs = 30'000;  // reuse_grace_s of providers.h

// How long after a loss the token may be sent again, by how many losses there were.
std::int64_t pause_after(int losses) {
  constexpr std::array<std::int64_t, 5> kPauses{0, 5'000, 15'000, 60'000, 300'000};
  return kPauses.at(static_cast<std::size_t>(std::clamp(losses - 1, 0, 4)));
}

}  // namespace

int Books::add_login(const Uid& uid, int provider, int account, const std::string& label) {
  Login login;
  login.uid = uid;
  login.provider = provider;
  login.account = login.account_before = account;
  login.accounts.insert(account);
  login.label = label;
  logins_.push_back(std::move(login));
  return count() - 1;
}

int Books::who_is(const Uid& uid) const {
  const auto it = std::find_if(logins_.begin(), logins_.end(),
                               [&](const Login& login) { return login.uid == uid; });
  return it == logins_.end() ? -1 : static_cast<int>(it - logins_.begin());
}

void Books::seat(int who, int refresh, int access) {
  Login& it = login(who);
  TokenNote& note = tokens_[refresh];
  // Nobody on this machine knows any more that it was spent.
  if (note.login >= 0 && login(note.login).amnesia) {
    note.spent = note.retired = false;
    note.forgotten = true;
  }
  if (it.or_else >= 0) tokens_[it.or_else].retired = true;
  if (it.token >= 0 && it.token != refresh) tokens_[it.token].retired = true;
  it.token = refresh;
  it.or_else = -1;
  it.access = access;
  it.key = -1;
  it.dead = it.perhaps_dead = it.amnesia = it.losses_unknown = false;
  it.rests_until = 0;
  it.removed = it.handed = it.conflict = false;
  it.rest = {};
  it.may_rest = false;
  note.login = who;
  owners_[server_.refresh_token(refresh).family] = who;
  if (access >= 0) bearers_[access].delivered = true;
  changed(it);
}

void Books::forget(int who) {
  Login& it = login(who);
  it.amnesia = true;
  it.generation = it.row_generation = 0;
}

void Books::fail(const std::string& kind, int token, const std::string& why) {
  verdict_.fail(kind, server_.refresh_token(token).text + ": " + why);
}

bool Books::forgiven(const Login& login, const TokenNote& note, std::int64_t now) const {
  return login.provider == kGracious && now - note.first_loss <= kGraceMs;
}

// What must never be sent. One defect is told once: after it nothing more is demanded of the login.
void Books::check_state(const Login& login, int token, const Rights& rights) {
  const TokenNote& note = tokens_[token];
  const auto never = [&](bool is, const char* kind, const char* why) {
    if (is && !login.amnesia) {
      fail(kind, token, why);
      forget(note.login);
    }
  };
  never(note.spent, "P1.spent-sent", "sent although its successor is known");
  never(note.retired, "P2.retired-sent", "sent although another took its place");
  never(login.removed, "P1.removed-sent", "sent although removed");
  never(login.handed, "P1.handed-over-sent", "sent although handed over");
  never(login.conflict, "P4.conflict-sent", "sent although in conflict");
  never(note.refused && !rights.insists, "P4.refused-sent", "sent although the server had said no");
}

void Books::check_replay(const Login& login, int token, const Rights& rights, std::int64_t now) {
  const TokenNote& note = tokens_[token];
  if (note.losses == 0 || rights.replays || login.losses_unknown) return;
  const std::int64_t decided = rights.decided_at > 0 ? rights.decided_at : now;
  if (any_bearer_lives(login, now, rights.rejected) && !forgiven(login, note, decided)) {
    fail("replay.while-live", token, "an uncertain token was sent while a bearer lives");
  }
  if (now < note.last_loss + pause_after(note.losses)) {
    fail("replay.too-soon", token,
         "replayed " + std::to_string(now - note.last_loss) + " ms after loss " +
             std::to_string(note.losses));
  }
}

void Books::check_rest(const Login& login, int token, const Rights& rights, std::int64_t now) {
  if (rights.insists || rights.replays || now >= login.rest.until) return;
  fail("rest", token,
       "sent " + std::to_string(login.rest.until - now) + " ms before its endpoint's rest is over");
}

void Books::begins(int token, const Rights& rights, std::int64_t now) {
  TokenNote& note = tokens_[token];
  if (note.login < 0) return fail("P1.never-ours", token, "sent, and was never given to the store");
  Login& it = login(note.login);
  shown(it, token);
  if (note.in_flight++ > 0) fail("P1.two-in-flight", token, "is in flight twice");
  if (it.amnesia) return;
  check_replay(it, token, rights, now);
  check_rest(it, token, rights, now);
  check_state(it, token, rights);
}

void Books::ends(int token) { --tokens_[token].in_flight; }

void Books::granted(int token, int refresh, int access) {
  TokenNote& note = tokens_[token];
  if (note.login < 0) return;
  Login& it = login(note.login);
  if (access < 0 && note.losses > 0) it.may_rest = true;  // the second failure in a row
  note.losses = 0;
  it.losses_unknown = false;
  if (access >= 0) {
    it.rest = {};
    it.may_rest = false;
  }
  it.rest.until = 0;
  it.dead = it.perhaps_dead = false;
  if (refresh >= 0 && refresh != token) {
    note.spent = true;
    tokens_[refresh].login = note.login;
    it.token = refresh;
  }
  if (access >= 0) {
    it.access = access;
    bearers_[access].delivered = true;
  }
  changed(it);
}

// The new one may be sent at once, but not for ever.
void Books::came_without_bearer(int token, std::int64_t now) {
  Login& it = login(std::max(0, tokens_[token].login));
  const int before = it.rest.failures++;
  if (before > 0) it.rest.until = now + std::min<std::int64_t>(60, 1LL << (before - 1)) * 1000;
}

void Books::unspent(int token, std::int64_t now, std::optional<std::int64_t> retry_after_s) {
  Login& it = login(std::max(0, tokens_[token].login));
  const std::int64_t own = std::min<std::int64_t>(60, 1LL << std::min(it.rest.failures, 6));
  const std::int64_t seconds = retry_after_s ? std::max<std::int64_t>(1, *retry_after_s) : own;
  ++it.rest.failures;
  it.rest.until = now + seconds * 1000;
}

void Books::lost(int token, std::int64_t now) {
  TokenNote& note = tokens_[token];
  note.ever_lost = true;
  if (note.losses++ == 0) note.first_loss = now;
  note.last_loss = now;
  if (note.login >= 0) ++login(note.login).lost_in_all;
}

void Books::refused(int token) {
  TokenNote& note = tokens_[token];
  note.refused = true;
  note.refused_after_loss |= note.losses > 0;
  note.losses = 0;
  if (note.login < 0) return;
  login(note.login).dead = true;
  login(note.login).rests_until = 0;
  login(note.login).rest = {};
  changed(login(note.login));
}

void Books::stranger(int token) {
  granted(token, -1, -1);
  tokens_[token].spent = true;
  Login& it = login(tokens_[token].login);
  it.conflict = true;
}

void Books::no_successor(int token) {
  granted(token, -1, -1);
  tokens_[token].spent = true;
  login(tokens_[token].login).token = -1;
}

void Books::minted(int access, int key) {
  bearers_[key].delivered = true;  // also to a login that nobody has told of yet
  const auto owner = owners_.find(server_.bearer(access).family);
  if (owner == owners_.end()) return;
  Login& it = login(owner->second);
  it.key = key;
  it.rest = {};
  it.may_rest = false;
}

void Books::mint_failed(int access) {
  const auto owner = access < 0 ? owners_.end() : owners_.find(server_.bearer(access).family);
  if (owner != owners_.end()) login(owner->second).may_rest = true;
}

// One that has just been refreshed and may not mint is a login that has ended.
void Books::mint_refused(int access) {
  const auto owner = access < 0 ? owners_.end() : owners_.find(server_.bearer(access).family);
  if (owner != owners_.end()) login(owner->second).perhaps_dead = true;
}

void Books::unsure(int token, std::int64_t now) {
  TokenNote& note = tokens_[token];
  if (note.spent && note.login >= 0) login(note.login).or_else = token;
  note.spent = false;
  lost(token, now);
}

void Books::unsure_of_refusal(int token) {
  TokenNote& note = tokens_[token];
  note.refused = false;
  note.refused_after_loss = true;
  if (note.login < 0) return;
  login(note.login).dead = false;
  login(note.login).losses_unknown = true;
  login(note.login).perhaps_dead = true;
}

void Books::shown(Login& it, int there) {
  if (it.or_else < 0) return;
  TokenNote& note = tokens_[it.or_else];
  if (there == it.or_else) {
    it.token = there;  // the answer died with its reader: uncertain
  } else if (there == it.token) {
    note.spent = true;  // it had been kept after all
    note.losses = 0;
    --it.lost_in_all;
  } else {
    return;
  }
  it.or_else = -1;
}

bool Books::any_bearer_lives(const Login& it, std::int64_t now, int rejected_now) const {
  const auto lives = [&](int bearer) {
    if (bearer < 0 || bearer == rejected_now) return false;
    const auto note = bearers_.find(bearer);
    const bool rejected = note != bearers_.end() && note->second.perhaps_rejected;
    return !rejected && now < server_.bearer(bearer).expires_at;
  };
  return it.provider == kMintery ? lives(it.key) : lives(it.access);
}

void Books::rejected(int bearer, bool sure) {
  bearers_[bearer].perhaps_rejected = true;
  if (sure && !bearers_[bearer].rejected) bearers_[bearer].rejected_in = step_;
  bearers_[bearer].rejected |= sure;
  const auto owner = owners_.find(server_.bearer(bearer).family);
  if (owner != owners_.end()) ++login(owner->second).rejections;
}

void Books::forget_rejections() {
  for (auto& [bearer, note] : bearers_) note.rejected = false;
}

int Books::current_bearer(const Login& it, std::int64_t now) const {
  if (!any_bearer_lives(it, now)) return -1;
  return it.provider == kMintery ? it.key : it.access;
}

void Books::served(int who, const std::string& text, std::int64_t now, int rejected) {
  const int id = server_.bearer_named(text);
  if (id < 0) return verdict_.fail("P4.no-token-served", text + " was never issued");
  const BearerToken& bearer = server_.bearer(id);
  const Login& it = login(who);
  const Family& family = server_.family(bearer.family);
  const bool older = it.in_table != it.version && it.accounts.contains(family.account);
  const bool theirs = family.account == it.account || family.account == it.account_before || older;
  if (!theirs || family.provider != it.provider) {
    return verdict_.fail("P4.stranger-served", text + " is another account's");
  }
  if (!bearers_[id].delivered) {
    verdict_.fail("P4.unarrived-served", text + " was never wholly delivered to this credential");
  }
  if (now >= bearer.expires_at && bearers_[id].life_known) {
    verdict_.fail("P8.expired-bearer",
                  text + " was over " + std::to_string(now - bearer.expires_at) + " ms before");
  }
  // Another process may have been told in this very step.
  const BearerNote& note = bearers_[id];
  if (note.rejected && (id == rejected || note.rejected_in < step_))
    verdict_.fail("P8.rejected-served", text + " had been rejected");
}

void Books::time_passed(std::int64_t now) {
  constexpr std::int64_t kDayMs = 86'400'000;
  for (Login& it : logins_) it.may_be_wiped |= it.removed && now - it.removed_at >= kDayMs;
}

void Books::clock_was_set() {
  for (Login& it : logins_) {
    it.rest.until = 0;
    it.rests_until = 0;
    it.losses_unknown = true;
  }
}

}  // namespace authdb::model
