#include "tests/model/actions.h"

#include <condition_variable>
#include <functional>
#include <thread>

#include "migrate/migrate.h"
#include "oauth/new_session.h"
#include "store/backup.h"
#include "store/doctor.h"
#include "store/key_rotation.h"
#include "store/rotation.h"
#include "tests/model/answer.h"
#include "tests/model/crash.h"
#include "tests/model/disk.h"
#include "tests/model/files.h"
#include "tests/model/judge.h"
#include "tests/model/wire.h"

namespace authdb::model {
namespace {

constexpr const char* kProfile = "default";

Outcome failed(const Error& error) {
  Outcome out;
  out.code = static_cast<int>(error.code);
  out.message = error.message;
  return out;
}
Outcome done() {
  Outcome out;
  out.ok = true;
  return out;
}
template <typename T>
Outcome plain(const Result<T>& result) {
  return result ? done() : failed(result.error());
}

Outcome of_bearer(World& world, const Result<oauth::Bearer>& bearer) {
  if (!bearer) return failed(bearer.error());
  Outcome out = done();
  out.returned_at = world.now();
  out.token = std::string(bearer->token.reveal());
  out.uids = {bearer->credential};
  out.warnings = static_cast<int>(bearer->warnings.size());
  return out;
}

Outcome ask_bearer(World& world, Desk& desk, const Step& step, const Prepared& prepared) {
  oauth::BearerRequest request;
  request.provider = std::string(provider_id(prepared.provider));
  request.want_base_url = false;
  if (step.arg != 3) request.credential = world.books.login(prepared.who).uid;
  if (step.arg == 1) request.min_ttl = Milliseconds(300'000);
  if (prepared.rejected >= 0) request.rejected = fingerprint(token_hash(prepared.text));
  return of_bearer(world, desk.source.bearer(request));
}

Outcome report(World& world, Desk& desk, const Step& step, const Prepared& prepared) {
  constexpr std::array<int, 4> kStatus{401, 429, 402, 200};
  Report report;
  report.http_status = kStatus.at(static_cast<std::size_t>(step.arg));
  report.profile = kProfile;
  if (step.arg == 1) report.reset_at = at_millis(prepared.reset_at);
  const std::string bearer =
      prepared.rejected < 0 ? std::string() : fingerprint(token_hash(prepared.text));
  const auto reported = desk.source.report(world.books.login(prepared.who).uid, bearer, report);
  Outcome out = plain(reported);
  if (reported) out.warnings = static_cast<int>(reported->warnings.size());
  return out;
}

Outcome log_in(World& world, Desk& desk, const Prepared& prepared) {
  const auto kept = oauth::keep_session(
      desk.store, session_of(world, prepared.provider, prepared.account, prepared.issued),
      {kProfile, prepared.label});
  if (!kept) return failed(kept.error());
  Outcome out = done();
  out.uids = {kept->uid};
  out.flag = kept->renewed;
  return out;
}

// A file of another tool with one grant in it.
migrate::Document document_of(World& world, const Prepared& prepared) {
  migrate::Document document;
  document.path = "/made-up/auth.json";
  document.sha256 = std::string(56, '0') + std::to_string(10'000'000 + prepared.issued.refresh);
  document.format = "hermes";
  document.profile = kProfile;
  migrate::Row row;
  row.where = "credential_pool." + std::string(provider_id(prepared.provider)) + "[0]";
  row.identity.provider = provider_id(prepared.provider);
  row.identity.label = prepared.label;
  row.identity.source = "manual:device_code";
  if (prepared.provider == kMintery) {
    row.identity.scope = "inference:mint_agent_key";
    row.grant.bearer_kind = BearerKind::agent_key;
  }
  row.grant.refresh_token =
      Secret::copy_of(world.server.refresh_token(prepared.issued.refresh).text);
  if (prepared.issued.access >= 0) {
    const BearerToken& access = world.server.bearer(prepared.issued.access);
    row.grant.access_token = Secret::copy_of(access.text);
    row.grant.expires_at = at_millis(access.expires_at);
    row.grant.obtained_at = at_millis(access.expires_at - prepared.issued.life_s * 1000LL);
  }
  document.rows.push_back(std::move(row));
  return document;
}

Outcome import(World& world, Desk& desk, const Prepared& prepared) {
  std::vector<migrate::Document> documents;
  documents.push_back(document_of(world, prepared));
  return plain(migrate::apply(desk.store, documents, {}));
}

Outcome undo(World& world, Desk& desk, const Prepared& prepared) {
  const Uid& uid = world.books.login(prepared.who).uid;
  const auto rows = desk.store.list({.provider = {}, .profile = {}, .include_removed = true});
  if (!rows) return failed(rows.error());
  Change change;
  for (const Credential& row : *rows) {
    if (row.uid != uid || !row.removed_at) continue;
    CredentialChange back;
    back.uid = uid;
    back.planned_against = row.generation;
    back.restore = true;
    change.credentials.push_back(std::move(back));
  }
  if (change.credentials.empty()) return failed({Errc::not_found, "was not removed", ""});
  const auto applied = desk.store.apply(change);
  if (!applied) return failed(applied.error());
  if (applied->stale_plan) return failed({Errc::busy, "moved meanwhile", ""});
  return done();
}

Outcome set_hold(World& world, Desk& desk, const Prepared& prepared, Hold hold) {
  auto locked = LockedCredential::acquire(desk.store, world.books.login(prepared.who).uid,
                                          {.wait = desk.store.lock_wait()});
  if (!locked) return failed(locked.error());
  // As hand_over(): which pair is live has to be decided first.
  if (hold == Hold::handed_over && locked->held().row.hold == Hold::conflict) {
    return failed({Errc::refused, "it is in conflict", ""});
  }
  return plain(LockedCredential::set_hold({&*locked}, hold));
}

Outcome inspect(World& world, Desk& desk, const Prepared& prepared) {
  const auto locked = LockedCredential::acquire(desk.store, world.books.login(prepared.who).uid,
                                                {.wait = desk.store.lock_wait()});
  if (!locked) return failed(locked.error());
  Outcome out = done();
  const Held& held = locked->held();
  out.refresh = std::string(held.refresh_token.reveal());
  out.generation = held.row.generation;
  out.hold = static_cast<int>(held.row.hold);
  return out;
}

Outcome look(World& world, Desk& desk, const Step& step) {
  const std::string as_it_was = world.state_of_files();
  Outcome out = done();
  const auto rows = desk.store.list({});
  (void)desk.store.pool(kProfile, "acme");
  (void)desk.store.query("SELECT * FROM freshness");
  (void)desk.store.query("SELECT * FROM rotation LIMIT 5");
  if (step.arg % 4 == 0) (void)examine(world.options(Milliseconds(5)));
  out.flag = as_it_was == world.state_of_files();
  if (!rows) return failed(rows.error());
  return out;
}

}  // namespace

Rights rights_of(const Step& step) {
  Rights rights;
  rights.insists = step.verb == Verb::refresh || step.verb == Verb::mint;
  rights.replays = step.verb == Verb::refresh && step.arg == 1;
  return rights;
}

oauth::NewSession session_of(World& world, int provider, int account, const Issued& issued) {
  const BearerToken& access = world.server.bearer(issued.access);
  oauth::NewSession session;
  session.identity.provider = provider_id(provider);
  session.identity.client_id = "model";
  session.identity.source = "manual:device_code";
  session.identity.account = "account-" + std::to_string(account);
  if (provider == kMintery) session.identity.scope = "inference:mint_agent_key";
  session.subject = session.grant.subject.id = session.identity.account;
  session.grant.access_token = Secret::copy_of(access.text);
  session.grant.refresh_token = Secret::copy_of(world.server.refresh_token(issued.refresh).text);
  session.grant.obtained_at = at_millis(access.expires_at - issued.life_s * 1000LL);
  session.grant.expires_at = at_millis(access.expires_at);
  if (provider == kMintery) session.grant.bearer_kind = BearerKind::agent_key;
  return session;
}

int predecessor_of(const Server& server, int token) {
  for (int id = token - 1; id >= 0; --id) {
    if (server.refresh_token(id).successor == token) return id;
  }
  return -1;
}

Outcome perform(World& world, Desk& desk, const Step& step, const Prepared& prepared) {
  const Uid uid = world.books.login(prepared.who).uid;
  switch (step.verb) {
    case Verb::bearer:
      return ask_bearer(world, desk, step, prepared);
    case Verb::refresh:
      return of_bearer(world, desk.source.refresh(uid, kProfile, step.arg == 1));
    case Verb::mint:
      return of_bearer(world, desk.source.mint(uid, kProfile));
    case Verb::report:
      return report(world, desk, step, prepared);
    case Verb::login:
      return log_in(world, desk, prepared);
    case Verb::import_stale:
    case Verb::import_newer:
      return import(world, desk, prepared);
    case Verb::remove:
      return plain(desk.store.remove(uid));
    case Verb::undo:
      return undo(world, desk, prepared);
    case Verb::hand_over:
      return set_hold(world, desk, prepared, Hold::handed_over);
    case Verb::take_back:
      return set_hold(world, desk, prepared, Hold::none);
    case Verb::inspect:
      return inspect(world, desk, prepared);
    case Verb::look:
      return look(world, desk, step);
    case Verb::backup:
      return plain(back_up(desk.store, backup_file(world)));
    case Verb::restore:
      if (step.arg == 3 && step.twist == Twist::none && acting()->outermost) lose_db(world);
      return plain(restore(world.options(Milliseconds(5)), backup_file(world)));
    case Verb::repair:
      (void)repair(world.options(desk.store.lock_wait()));
      return done();
    case Verb::key_rotate:
      return plain(rotate_key(desk.store));
    case Verb::key_prune:
      return plain(prune_keys(desk.store));
    default:
      return change_files(world, step, prepared);
  }
}

namespace {

// Performs with `doing` as what this thread is at.
Outcome act(World& world, Desk& desk, const Step& step, const Prepared& prepared, Acting& doing) {
  Acting* const outer = acting();
  acting() = &doing;
  Outcome outcome = step.twist == Twist::crash ? do_and_die(world, step, prepared, doing)
                                               : perform(world, desk, step, prepared);
  acting() = outer;
  return outcome;
}

// Does the step. What is returned judges it: it takes locks, so nobody else may be at work then.
std::function<void()> do_unjudged(World& world, int desk, const Step& step) {
  Prepared prepared;
  Before how;
  {
    const std::lock_guard guard(world.mutex);
    prepared = prepare(world, step);
    how = before(world, step, prepared);
    if (prepared.rejected >= 0) world.books.suspect(prepared.rejected);
    if (desk != 0) how.clean = how.renewable = false;  // the first one is at work
  }
  if (!prepared.possible) return [] {};
  Acting doing;
  doing.step = step;
  doing.outermost = acting() == nullptr && desk == 0;
  doing.rights = rights_of(step);
  if (step.verb == Verb::bearer || step.arg == 0) doing.rights.rejected = prepared.rejected;
  Desk& at = world.desk(desk);
  if (step.twist == Twist::fault)
    arm_fault(world.home(), step.at, static_cast<Fault>(step.how % kFaults));
  Outcome outcome = act(world, at, step, prepared, doing);
  disarm();
  if (step.twist == Twist::outsider) world.outsider_off();
  if (step.verb == Verb::inspect) {
    const std::lock_guard guard(world.mutex);
    outcome.expected = world.books.login(prepared.who).token;
  }
  return [&world, step, prepared = std::move(prepared), how, outcome, doing] {
    const std::lock_guard guard(world.mutex);
    judge(world, step, prepared, how, outcome, doing);
  };
}

void do_at(World& world, int desk, const Step& step) { do_unjudged(world, desk, step)(); }

// Another process that has begun to wait before the first one's request is over. One that has
// nothing to wait for is judged at once: the first one may find what it left.
class Waiter {
 public:
  Waiter(World& world, const Step& step) {
    on_blocking_lock([this] { tell(State::waits); });
    (void)world.desk(2);
    thread_ = std::thread([this, &world, step] {
      judge_ = do_unjudged(world, 2, step);
      tell(State::over);
    });
    std::unique_lock lock(mutex_);
    told_.wait_for(lock, std::chrono::milliseconds(200), [this] { return state_ != State::acts; });
    on_blocking_lock(nullptr);
    const bool over = state_ == State::over;
    lock.unlock();
    if (over) finish();
  }
  ~Waiter() {
    if (thread_.joinable()) thread_.join();
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  void finish() {
    if (!thread_.joinable()) return;
    thread_.join();
    judge_();
  }

 private:
  enum class State { acts, waits, over };

  void tell(State state) {
    const std::lock_guard guard(mutex_);
    state_ = state;
    told_.notify_all();
  }

  std::function<void()> judge_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable told_;
  State state_ = State::acts;
};

std::unique_ptr<Waiter>& waiter() {
  static std::unique_ptr<Waiter> one;
  return one;
}

}  // namespace

void do_inner(World& world, const Step& outer) {
  Step inner;
  inner.verb = outer.inner;
  inner.who = outer.inner_who;
  inner.arg = outer.inner_arg;
  inner.reply = outer.inner_reply;
  inner.seed = outer.seed / 3;
  if (outer.twist != Twist::waiter) return do_at(world, 1, inner);
  waiter() = std::make_unique<Waiter>(world, inner);
  world.advance(outer.how * 1000LL);
}

void do_step(World& world, const Step& step) {
  world.books.next_step();
  // It ends before the world does, also where an exception ends the history.
  const struct WithTheStep {
    ~WithTheStep() { waiter().reset(); }
  } with_the_step;
  do_at(world, 0, step);
  if (waiter()) waiter()->finish();
  if (step.verb != Verb::advance) check_rows(world);
}

}  // namespace authdb::model
