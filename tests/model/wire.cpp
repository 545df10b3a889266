#include "tests/model/wire.h"

#include <algorithm>
#include <iostream>

#include "tests/model/actions.h"
#include "tests/model/answer.h"
#include "tests/model/crash.h"
#include "tests/model/disk.h"

namespace authdb::model {
namespace {

constexpr int kKeyLife = 600;

// The first `begin…-made-up` in the request, wherever the provider wants it.
std::string token_in(const oauth::HttpRequest& request, const std::string& begin) {
  std::string all(request.body.reveal());
  for (const auto& [name, value] : request.headers) all += "\n" + std::string(value.reveal());
  const auto at = all.find(begin);
  if (at == std::string::npos) return {};
  const std::string end = "-made-up";
  return all.substr(at, all.find(end, at) + end.size() - at);
}

Answer nothing(const std::string& why) {
  Answer answer;
  answer.failure = why;
  return answer;
}

// What one request to the token endpoint comes to: the server's part, then what arrives of it, then
// what that means.
class Exchange {
 public:
  Exchange(World& world, Acting& doing, const Step& plan, int token)
      : world_(world), books_(world.books), doing_(doing), plan_(plan), token_(token) {}

  Answer run() {
    switch (plan_.reply) {
      case Reply::refused_connection:
      case Reply::unprocessed:
        return silence();
      case Reply::late:
        world_.late.push_back(token_);
        return silence();
      case Reply::lost:
        ask(true);
        return silence();
      case Reply::server_error:
        return trouble_inside();
      case Reply::rate_limited:
        return not_now(write_error(429, "slow_down", plan_));
      case Reply::unavailable:
        return not_now(write_error(503, "unavailable", plan_));
      case Reply::page:
        return not_now(write_page(403, plan_));
      case Reply::refusal:
      case Reply::refusal_200:
        return no();
      case Reply::unreadable:
        return unreadable();
      case Reply::stranger:
      case Reply::elsewhere:
      case Reply::retired:
        return odd();
      default:
        return grant();
    }
  }

 private:
  const Family& family() const { return world_.server.family_of_token(token_); }
  bool id_tokens() const { return family().provider == kAcme; }
  std::string subject(int account) const { return "account-" + std::to_string(account); }

  // The server's part. A family that ends by it ended for a reason, or by a defect.
  Issued ask(bool rotate) {
    const bool lived = family().alive;
    const Issued issued = world_.server.refresh(world_.server.refresh_token(token_).text,
                                                doing_.started_at, life_of(plan_), rotate);
    if (lived && !family().alive) check_end();
    return issued;
  }

  // The network's doing: whatever it ends, the store could not know.
  void ask_again() {
    world_.server.refresh(world_.server.refresh_token(token_).text, world_.now(), 900, true);
  }

  void check_end() {
    const TokenNote& note = books_.note(token_);
    const bool excused = note.ever_lost || note.spent || note.forgotten || note.login < 0 ||
                         books_.login(note.login).amnesia ||
                         books_.login(note.login).losses_unknown;
    if (excused) return;
    world_.verdict.fail("P4.lost-login", world_.server.refresh_token(token_).text +
                                             ": the login ended, and every answer had arrived");
  }

  void lost() {
    books_.lost(token_, world_.now());
    doing_.lost.insert(books_.note(token_).login);
  }

  Answer silence() {
    lost();
    return nothing("the connection was reset");
  }

  Answer trouble_inside() {
    if (plan_.seed % 2 == 0) ask(true);
    lost();
    return write_error(500, "server_error", plan_).answer;
  }

  Answer not_now(Written written) {
    std::optional<std::int64_t> wait;
    if (written.answer.retry_after) wait = written.answer.retry_after->count();
    books_.unspent(token_, world_.now(), wait);
    return std::move(written.answer);
  }

  Answer no() {
    world_.server.end_family(world_.server.refresh_token(token_).family, "the user ended it");
    books_.refused(token_);
    doing_.refused = token_;
    const bool odd_status = plan_.reply == Reply::refusal_200 && id_tokens();
    return odd_status ? write_error(200, "session_ended", plan_).answer
                      : write_error(400, "invalid_grant", plan_).answer;
  }

  Answer refused(const Issued& issued) {
    books_.refused(token_);
    doing_.refused = token_;
    return write_error(400, issued.error, plan_).answer;
  }

  Answer unreadable() {
    if (const Issued issued = ask(true); !issued.ok) return refused(issued);
    lost();
    return write_nonsense(plan_).answer;
  }

  Answer grant() {
    const Issued issued = ask(plan_.reply != Reply::keep && plan_.reply != Reply::same);
    if (!issued.ok) return refused(issued);
    if (plan_.reply == Reply::twice) ask_again();
    int refresh = issued.refresh;
    if (plan_.reply == Reply::same && refresh < 0) refresh = token_;
    return deliver(refresh, issued.access, write_grant(said(refresh, issued), plan_));
  }

  Said said(int refresh, const Issued& issued) {
    Said out;
    out.access = world_.server.bearer(issued.access).text;
    if (refresh >= 0) out.refresh = world_.server.refresh_token(refresh).text;
    if (id_tokens()) out.id_token = id_token_for(subject(family().account));
    out.life_s = issued.life_s;
    return out;
  }

  Answer deliver(int refresh, int access, Written written) {
    if (written.whole) {
      books_.granted(token_, refresh, access);
      if (id_tokens() && books_.note(token_).login >= 0)
        books_.login(books_.note(token_).login).account_known = true;
    } else if (written.has_refresh && refresh != token_) {
      books_.granted(token_, refresh, written.has_access ? access : -1);
      if (!written.has_access) books_.came_without_bearer(token_, doing_.started_at);
    } else {
      lost();
      return std::move(written.answer);
    }
    doing_.delivered = token_;
    books_.bearer_note(access).life_known = written.has_life;
    return std::move(written.answer);
  }

  // A refresh token that must not become current here.
  Answer odd() {
    const int wrong = wrong_token();
    if (wrong < 0) return grant();
    Issued issued = ask(true);
    if (!issued.ok) return refused(issued);
    Said words = said(wrong, issued);
    if (plan_.reply == Reply::stranger) {
      words.id_token = id_token_for("somebody-else");
      words.access = world_.server.bearer(issued_to_stranger_.access).text;
      books_.stranger(token_);
    } else {
      books_.no_successor(token_);
      Login& login = books_.login(books_.note(token_).login);
      login.access = issued.access;
      books_.bearer_note(issued.access).delivered = true;
    }
    doing_.delivered = -1;
    doing_.odd = token_;
    return std::move(write_grant(words, plan_).answer);
  }

  int wrong_token() {
    const int who = books_.note(token_).login;
    if (who < 0) return -1;
    if (plan_.reply == Reply::stranger) {
      if (!id_tokens() || !books_.login(who).account_known) return -1;
      issued_to_stranger_ =
          world_.server.open_family(family().provider, 1000 + world_.accounts++, world_.now(), 900);
      return issued_to_stranger_.refresh;
    }
    for (int other = 0; other < books_.count(); ++other) {
      const Login& login = books_.login(other);
      const bool lives =
          !login.removed && !login.amnesia && login.token >= 0 && login.or_else < 0 && other != who;
      if (plan_.reply == Reply::elsewhere && lives && login.in_table == login.version) {
        return login.token;
      }
    }
    return plan_.reply == Reply::retired ? predecessor_of(world_.server, token_) : -1;
  }

  World& world_;
  Books& books_;
  Acting& doing_;
  const Step& plan_;
  int token_;
  Issued issued_to_stranger_;
};

// The step as far as it is about this request: only the first one has trouble.
Step plan_for(const Acting& doing, bool mint) {
  Step plan = doing.step;
  if ((mint ? doing.mint_requests : doing.token_requests) > 1) {
    plan.reply = Reply::ok;
    plan.mint = 0;
    plan.big = 0;
  }
  return plan;
}

Answer serve_mint(World& world, Acting& doing, const std::string& access) {
  const Step plan = plan_for(doing, true);
  const int bearer = world.server.bearer_named(access);
  if (plan.mint != 0) world.books.mint_failed(bearer);
  if (plan.mint == 1) return write_error(401, "invalid_token", plan).answer;
  if (plan.mint == 2) return write_page(503, plan).answer;
  if (plan.mint == 4) return write_error(403, "subscription_required", plan).answer;
  const Issued issued = world.server.mint(access, doing.started_at, kKeyLife);
  if (!issued.ok) {
    world.books.mint_failed(bearer);
    world.books.mint_refused(bearer);
    return write_error(401, issued.error, plan).answer;
  }
  if (plan.mint == 3) return nothing("the connection was reset");
  world.books.minted(bearer, issued.access);
  Said said;
  said.key = world.server.bearer(issued.access).text;
  said.life_s = issued.life_s;
  return write_key(said).answer;
}

class Wire final : public oauth::HttpTransport {
 public:
  explicit Wire(World& world) : world_(world) {}

  Answer perform(const oauth::HttpRequest& request, const std::function<bool()>& sent) override {
    const Instant started_at = at_millis(world_.now());
    const bool mint =
        request.url.size() > 10 && request.url.rfind("/agent-key") == request.url.size() - 10;
    Acting idle;
    Acting& doing = acting() != nullptr ? *acting() : idle;
    doing.started_at = world_.now();
    ++(mint ? doing.mint_requests : doing.token_requests);
    const std::string token = token_in(request, mint ? "access-" : "refresh-");
    Answer answer =
        refuses(doing, mint) ? no_connection(token) : exchange(doing, mint, token, sent);
    answer.started_at = started_at;
    return answer;
  }

 private:
  static bool refuses(const Acting& doing, bool mint) {
    return !mint && plan_for(doing, false).reply == Reply::refused_connection;
  }

  Answer no_connection(const std::string& token) {
    const std::lock_guard guard(world_.mutex);
    const int id = world_.server.refresh_named(token);
    if (id >= 0) world_.books.unspent(id, world_.now(), std::nullopt);
    return nothing("connection refused");
  }

  Answer exchange(Acting& doing, bool mint, const std::string& token,
                  const std::function<bool()>& sent) {
    if (sent && !sent()) return nothing("not allowed to send");
    passing_point();
    if (world_.child_fd < 0) return serve(world_, doing, mint, token);
    Answer answer = ask_parent(world_, doing, mint, token);
    passing_point();
    return answer;
  }

  World& world_;
};

void while_in_flight(World& world, Acting& doing) {
  if (doing.inner_done) return;
  const Twist twist = doing.step.twist;
  if (twist == Twist::outsider) {
    doing.inner_done = true;
    world.outsider_on();
  } else if (twist == Twist::in_send || twist == Twist::waiter) {
    doing.inner_done = true;
    do_inner(world, doing.step);
  }
}

}  // namespace

Answer serve(World& world, Acting& doing, bool mint, const std::string& credential) {
  if (world.trace) {
    std::cerr << "    " << name_of(doing.step.verb) << (mint ? " mints with " : " sends ")
              << credential << '\n';
  }
  if (mint) {
    while_in_flight(world, doing);
    const std::lock_guard guard(world.mutex);
    return serve_mint(world, doing, credential);
  }
  int token = -1;
  {
    const std::lock_guard guard(world.mutex);
    token = world.server.refresh_named(credential);
    if (token < 0) {
      world.verdict.fail("P1.never-ours", "a token was sent that nobody issued: " + credential);
      return nothing("no such token");
    }
    world.books.begins(token, doing.rights, world.now());
  }
  while_in_flight(world, doing);
  const std::lock_guard guard(world.mutex);
  Answer answer = Exchange(world, doing, plan_for(doing, false), token).run();
  world.books.ends(token);
  forget_writes();
  return answer;
}

void work_on_late_requests(World& world) {
  for (const int token : std::exchange(world.late, {})) {
    world.server.refresh(world.server.refresh_token(token).text, world.now(), 900, true);
  }
}

std::shared_ptr<oauth::HttpTransport> wire_of(World& world) {
  return std::make_shared<Wire>(world);
}

}  // namespace authdb::model
