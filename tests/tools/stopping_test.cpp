// Ctrl-C, SIGTERM, SIGHUP, a reader that goes away and a terminal that is closed, at every stage of
// a slow refresh by the real executable: the token that was sent for is stored, and the process
// ends as the signal wants it to.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <thread>

#include "store/file_lock.h"
#include "store/journal.h"
#include "tests/tools/child.h"
#include "tools/portal/portal.h"

namespace authdb::cli {
namespace {

using portal::Fault;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::chrono::hours kUntilReleased{1};

class StoppingTest : public ProcessTest {
 protected:
  explicit StoppingTest(portal::Era era = portal::Era::kJwt) : portal_(options(era)) {
    now_ = system_now();
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    log_in();
  }
  static portal::Options options(portal::Era era) {
    portal::Options out;
    out.era = era;
    out.access_ttl = std::chrono::seconds(3600);
    return out;
  }
  void log_in() {
    const auto grant = portal_.create_grant();
    GrantText text;
    text.access = grant.access_token;
    text.refresh = grant.refresh_token;
    text.scope = grant.scope;
    must({"add", "nous", "--grant"}, grant_json(text));
  }
  void wait_for_delay() {
    ASSERT_TRUE(portal_.wait_until([&] { return portal_.delayed() > 0; }));
  }
  // The successor, and nothing lost or spent twice on the way.
  void expect_settled() {
    now_ = system_now();
    ASSERT_EQ(stored().size(), 1U);
    EXPECT_EQ(stored()[0].generation, 2);
    EXPECT_EQ(stored()[0].hold, Hold::none);
    const auto held = reopen().unseal(stored()[0].uid);
    ASSERT_TRUE(held);
    EXPECT_EQ(portal_.token(std::string(held->refresh_token.reveal())).state, "current");
    EXPECT_EQ(portal_.counters().totals.token_posts, 1);
  }

  portal::Portal portal_;
};

struct Stage {
  const char* name;
  Fault fault;
};

void PrintTo(const Stage& stage, std::ostream* out) { *out << stage.name; }

Fault delayed_before() {
  Fault fault;
  fault.delay_before = kUntilReleased;
  return fault;
}
Fault delayed_after() {
  Fault fault;
  fault.delay_after = kUntilReleased;
  return fault;
}
Fault dripping() {
  Fault fault;
  fault.delay_after = kUntilReleased;
  fault.drip = std::chrono::milliseconds(1);
  return fault;
}

class SlowRefreshTest : public StoppingTest, public testing::WithParamInterface<Stage> {
 protected:
  SlowRefreshTest() { portal_.add_fault(GetParam().fault); }
};

TEST_P(SlowRefreshTest, ASignalTakesEffectWhenTheTokenIsStored) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Child child({"refresh", "nous"}, env_);
    wait_for_delay();
    child.signal(signal);
    portal_.release();
    const auto ran = child.finish();

    EXPECT_EQ(ran.status, -signal) << testing::PrintToString(ran);
    expect_settled();
    std::filesystem::remove_all(dir_ / "store");
    portal_.reset();
    log_in();
    portal_.add_fault(GetParam().fault);
  }
}

TEST_P(SlowRefreshTest, ImpatienceDoesNotLoseIt) {
  Child child({"token", "nous", "--min-ttl", "1d", "--rejected",
               fingerprint(token_hash(stored_token(stored()[0].uid)))},
              env_);
  wait_for_delay();
  for (const int signal : {SIGINT, SIGINT, SIGTERM, SIGHUP, SIGINT}) child.signal(signal);
  portal_.release();

  EXPECT_LT(child.finish().status, 0);
  expect_settled();
}

TEST_P(SlowRefreshTest, AReaderThatGoesAwayDoesNotLoseIt) {
  Child child({"refresh", "nous"}, env_);
  wait_for_delay();
  child.close_stdout();
  portal_.release();

  EXPECT_EQ(child.finish().status, -SIGPIPE);
  expect_settled();
}

TEST_P(SlowRefreshTest, AClosedTerminalDoesNotLoseIt) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(master, 0);
  ASSERT_EQ(::grantpt(master), 0);
  ASSERT_EQ(::unlockpt(master), 0);
  const int slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(slave, 0);
  Plumbing terminal;
  terminal.terminal = slave;
  Child child({"-v", "refresh", "nous"}, env_, terminal);
  ::close(slave);
  wait_for_delay();
  ::close(master);
  portal_.release();

  EXPECT_EQ(child.finish().status, -SIGHUP);
  expect_settled();
}

INSTANTIATE_TEST_SUITE_P(Stages, SlowRefreshTest,
                         testing::Values(Stage{"BeforeTheServerActs", delayed_before()},
                                         Stage{"AfterItActed", delayed_after()},
                                         Stage{"WhileTheAnswerDrips", dripping()}),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_F(StoppingTest, WhileItOnlyWaitsForALockASignalEndsItAtOnce) {
  const Uid uid = stored()[0].uid;
  must({"token", "nous"});
  {
    Store store = reopen(OpenMode::use);
    ASSERT_TRUE(LockedCredential::acquire(store, uid, {Milliseconds(0)}));  // makes the journal
  }
  const auto path = JournalPlace{store_path().string() + ".d", "", uid}.path();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const auto lock = FileLock::acquire(path, Milliseconds(0));
    ASSERT_TRUE(lock && *lock);
    Child child({"refresh", "nous"}, env_);
    // Its second thread is the one that waits.
    const std::filesystem::path tasks = "/proc/" + std::to_string(child.pid()) + "/task";
    const auto threads = [&] {
      std::error_code gone;
      return std::distance(std::filesystem::directory_iterator(tasks, gone),
                           std::filesystem::directory_iterator());
    };
    while (threads() < 2) std::this_thread::yield();
    child.signal(signal);

    EXPECT_EQ(child.finish().status, -signal);
  }
  EXPECT_EQ(portal_.counters().totals.token_posts, 0);
  EXPECT_EQ(stored()[0].generation, 1);
}

TEST_F(StoppingTest, ASignalThatIsIgnoredStaysIgnored) {
  portal_.add_fault(delayed_before());
  void (*const before)(int) = ::signal(SIGHUP, SIG_IGN);  // as nohup does
  Child child({"refresh", "nous"}, env_);
  ::signal(SIGHUP, before);
  wait_for_delay();
  child.signal(SIGHUP);
  portal_.release();

  const auto ran = child.finish();
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.out, HasSubstr("Refreshed"));
  expect_settled();
}

class StoppingMintTest : public StoppingTest {
 protected:
  StoppingMintTest() : StoppingTest(portal::Era::kAgentKey) {}
};

TEST_F(StoppingMintTest, AnAgentKeyOnItsWayIsKeptToo) {
  Fault fault = delayed_after();
  fault.endpoint = portal::Endpoint::kAgentKey;
  portal_.add_fault(fault);
  Child child({"token", "nous"}, env_);
  wait_for_delay();
  child.signal(SIGINT);
  portal_.release();

  const auto ran = child.finish();
  EXPECT_EQ(ran.status, -SIGINT);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_TRUE(stored()[0].has_agent_key);
}

}  // namespace
}  // namespace authdb::cli
