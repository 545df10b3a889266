// Many processes, one store: one request for each expiry, nobody waits who need not, and who cannot
// be served is told by whom it is held.
#include <signal.h>
#include <unistd.h>

#include <memory>

#include "store/engine.h"
#include "tests/tools/child.h"
#include "tools/portal/portal.h"

namespace authdb::cli {
namespace {

using portal::Fault;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::chrono::hours kUntilReleased{1};
constexpr std::chrono::hours kForEver{1};

class ContentionTest : public ProcessTest {
 protected:
  ContentionTest() : portal_(options()) { env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url(); }
  static portal::Options options() {
    portal::Options out;
    out.era = portal::Era::kJwt;
    out.access_ttl = std::chrono::seconds(86400);
    return out;
  }

  // A login whose access token lives a day and has `left` of it; returns its family at the portal.
  std::string log_in(const std::string& label, Seconds left) {
    const auto grant = portal_.create_grant({.account = label});
    GrantText text;
    text.access = grant.access_token;
    text.refresh = grant.refresh_token;
    text.scope = grant.scope;
    text.expires_in = 86400;
    now_ = system_now() - Seconds{86400} + left;
    must({"add", "nous", "--grant", "--label", label}, grant_json(text));
    now_ = system_now();
    return grant.family;
  }
  std::string log_in_expired(const std::string& label = "a") { return log_in(label, Seconds{-1}); }
  // Due within the skew, and good for longer than any test takes.
  std::string log_in_due(const std::string& label = "a") { return log_in(label, Seconds{110}); }

  void hold_requests(const std::string& family = {}) {
    Fault fault;
    fault.family = family;
    fault.delay_before = kUntilReleased;
    portal_.add_fault(fault);
  }
  std::unique_ptr<Child> start(const std::vector<std::string>& words) {
    return std::make_unique<Child>(words, env_);
  }
  // Has sent its refresh token and waits for the answer, under the lock.
  std::unique_ptr<Child> start_holder(const std::vector<std::string>& words) {
    auto child = start(words);
    EXPECT_TRUE(portal_.wait_until([&] { return portal_.delayed() > 0; }));
    return child;
  }
  static void freeze(const Child& child) {
    child.signal(SIGSTOP);
    child.wait_until_stopped();
  }
  int posts() const { return portal_.counters().totals.token_posts; }
  std::string token_of(const std::string& label) {
    for (const auto& row : stored()) {
      if (row.identity.label == label) return stored_token(row.uid);
    }
    return {};
  }

  portal::Portal portal_;
};

TEST_F(ContentionTest, P1_SixtyFourProcessesAtOneExpiryMakeOneCallAndAreAllServed) {
  log_in_expired();
  hold_requests();
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 64; ++i) children.push_back(start({"token", "nous"}));
  ASSERT_TRUE(portal_.wait_until([&] { return portal_.delayed() > 0; }));
  portal_.release();

  for (const auto& child : children) {
    const auto ran = child->finish();
    EXPECT_EQ(ran.status, 0) << testing::PrintToString(ran);
    EXPECT_EQ(ran.out, token_of("a") + "\n");
  }
  EXPECT_EQ(posts(), 1);
}

TEST_F(ContentionTest, P1_TwoHundredProcessesOverTwentyCredentialsMakeOneCallForEach) {
  constexpr int kCredentials = 20;
  for (int i = 0; i < kCredentials; ++i) log_in_expired("c" + std::to_string(i));
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 200; ++i) {
    children.push_back(
        start({"token", "nous", "--credential", "c" + std::to_string(i % kCredentials)}));
  }
  for (const auto& child : children) EXPECT_EQ(child->finish().status, 0);

  EXPECT_EQ(posts(), kCredentials);
  const auto counted = portal_.counters();
  EXPECT_EQ(counted.totals.max_in_flight_per_token, 1);
  for (const auto& [family, counters] : counted.families) EXPECT_EQ(counters.rotations, 1);
  for (const auto& row : stored()) EXPECT_EQ(row.generation, 2);
}

TEST_F(ContentionTest, WhoHasALiveBearerDoesNotWaitForAnyoneEvenOneThatIsFrozen) {
  log_in_due();
  const std::string live = token_of("a");
  hold_requests();
  const auto holder = start_holder({"token", "nous"});
  lock_wait_ = kForEver;

  EXPECT_EQ(must({"token", "nous"}).out, live + "\n");
  freeze(*holder);
  EXPECT_EQ(must({"token", "nous"}).out, live + "\n");
  EXPECT_EQ(spawn({"token", "nous"}).out, live + "\n");

  holder->signal(SIGCONT);
  portal_.release();
  const auto ran = holder->finish();
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.out, token_of("a") + "\n");
  EXPECT_NE(ran.out, live + "\n");
  EXPECT_EQ(posts(), 1);
}

TEST_F(ContentionTest, ASlowPortalForOneCredentialDelaysNobodyElse) {
  const std::string slow = log_in_expired("slow");
  for (int i = 0; i < 4; ++i) log_in_expired("quick" + std::to_string(i));
  hold_requests(slow);
  const auto holder = start_holder({"token", "nous", "--credential", "slow"});

  std::vector<std::unique_ptr<Child>> others;
  for (int i = 0; i < 8; ++i) {
    others.push_back(start({"token", "nous", "--credential", "quick" + std::to_string(i % 4)}));
  }
  for (const auto& other : others) EXPECT_EQ(other->finish().status, 0);

  EXPECT_EQ(portal_.delayed(), 1) << "the slow one is done: this proves nothing";
  portal_.release();
  EXPECT_EQ(holder->finish().status, 0);
}

TEST_F(ContentionTest, ALockNotHadByTheDeadlineIsExitSixAndNamesItsHolder) {
  log_in_expired();
  hold_requests();
  const auto holder = start_holder({"token", "nous"});
  freeze(*holder);
  lock_wait_ = Milliseconds{20};

  for (const auto& words : std::vector<std::vector<std::string>>{
           {"token", "nous"}, {"refresh", "nous"}, {"remove", "nous", "a"}}) {
    const auto ran = run(words);
    EXPECT_EQ(ran.status, 6) << testing::PrintToString(ran);
    EXPECT_THAT(ran.err, AllOf(HasSubstr("process " + std::to_string(holder->pid()) +
                                         " (authdb) on " + host_name()),
                               HasSubstr("held since 20"), HasSubstr("Nothing was changed")));
  }
  const auto row = stored()[0];
  EXPECT_EQ(row.health.status, Status::ok);
  EXPECT_EQ(row.hold, Hold::none);
  EXPECT_EQ(row.generation, 1);

  holder->signal(SIGCONT);
  portal_.release();
  EXPECT_EQ(holder->finish().status, 0);
  EXPECT_EQ(posts(), 1);
}

TEST_F(ContentionTest, AKilledHoldersLockIsFreeAtOnce) {
  log_in_expired();
  hold_requests();
  const auto holder = start_holder({"token", "nous"});
  holder->signal(SIGKILL);
  EXPECT_EQ(holder->finish().status, -SIGKILL);
  lock_wait_ = Milliseconds{0};

  // Not busy; that its token is sent again is the replay rule: nothing is live.
  wire_ = oauth::curl_transport();
  const auto next = run({"token", "nous"});
  EXPECT_NE(next.status, 6) << testing::PrintToString(next);
  EXPECT_EQ(posts(), 2);
}

TEST_F(ContentionTest, WhereOneCredentialIsHeldForTooLongTheNextOfThePoolServes) {
  log_in_expired("stuck");
  log_in("spare", Seconds{40'000});
  hold_requests();
  const auto holder = start_holder({"token", "nous", "--credential", "stuck"});
  freeze(*holder);
  lock_wait_ = Milliseconds{20};

  const auto ran = must({"token", "nous"});

  EXPECT_EQ(ran.out, token_of("spare") + "\n");
  EXPECT_THAT(ran.err, HasSubstr("is being refreshed by process"));
  holder->signal(SIGCONT);
  portal_.release();
  EXPECT_EQ(holder->finish().status, 0);
}

}  // namespace
}  // namespace authdb::cli
