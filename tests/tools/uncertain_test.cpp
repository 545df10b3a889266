// An answer that got lost, against the real portal: what a person sees of it, and how it ends.
#include "tests/tools/harness.h"
#include "tools/portal/portal.h"

namespace authdb::cli {
namespace {

using portal::Fault;
using portal::When;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Lost {
  const char* name;
  Fault fault;
};

void PrintTo(const Lost& lost, std::ostream* out) { *out << lost.name; }

Fault dropped(When when) {
  Fault fault;
  fault.drop = when;
  return fault;
}
Fault gateway_timeout() {
  Fault fault;
  fault.status = 504;
  fault.when = When::kAfter;
  return fault;
}
Fault cut_short() {
  Fault fault;
  fault.cut_after = 60;
  return fault;
}

// One login in the era in which access tokens are bearers; they live an hour.
class UncertainTest : public CommandTest {
 protected:
  explicit UncertainTest(std::chrono::seconds grace = std::chrono::seconds{0})
      : portal_(options(grace)) {
    wire_ = oauth::curl_transport();
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    portal_.freeze();
    portal_.set_now_ms(to_millis(now_));
    const auto grant = portal_.create_grant();
    GrantText text;
    text.access = grant.access_token;
    text.refresh = grant.refresh_token;
    text.scope = grant.scope;
    must({"add", "nous", "--grant", "--label", "work"}, grant_json(text));
    before_ = text.access;
  }
  static portal::Options options(std::chrono::seconds grace) {
    portal::Options out;
    out.era = portal::Era::kJwt;
    out.access_ttl = std::chrono::seconds(3600);
    out.reuse_grace = grace;
    return out;
  }
  void pass(Seconds time) {
    now_ += time;
    portal_.advance(time);
  }
  int posts() const { return portal_.counters().totals.token_posts; }
  int reused() const { return portal_.counters().totals.reuse_detected; }
  std::string me() const { return std::to_string(::getpid()); }

  portal::Portal portal_;
  std::string before_;
};

class LostAnswerTest : public UncertainTest, public testing::WithParamInterface<Lost> {
 protected:
  LostAnswerTest() {
    portal_.add_fault(GetParam().fault);
    EXPECT_EQ(run({"refresh", "nous"}).status, 5);
    EXPECT_EQ(posts(), 1);
  }
};

TEST_P(LostAnswerTest, IsShownWithTimeAndProcess) {
  pass(Seconds{600});
  EXPECT_THAT(must({"status"}).out,
              AllOf(HasSubstr("hold=uncertain"), HasSubstr("since 2026-04-12T13:20:00"),
                    HasSubstr("(pid " + me() + ")"), HasSubstr("--replay")));
  const auto json = must_json({"status"});
  EXPECT_EQ(json[0]["hold"], "uncertain");
  EXPECT_EQ(json[0]["last_outcome"], "uncertain");
  EXPECT_EQ(json[0]["losses"], 1);
  EXPECT_THAT(json[0]["lost_at"], HasSubstr("2026-04-12T13:20:00"));
  EXPECT_EQ(json[0]["lost_pid"], ::getpid());
  EXPECT_EQ(json[0]["lost_process"], "tools_tests");
  EXPECT_EQ(run({"status", "--check"}).status, 5);
}

TEST_P(LostAnswerTest, IsNotReplayedWhileTheBearerLives) {
  EXPECT_EQ(must({"token", "nous"}).out, before_ + "\n");
  pass(Seconds{3590});  // due, and still alive
  const auto served = must({"token", "nous"});
  EXPECT_EQ(served.out, before_ + "\n");
  EXPECT_THAT(served.err, HasSubstr("uncertain"));
  const auto refused = run({"refresh", "nous"});
  EXPECT_EQ(refused.status, 5);
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("again from 2026-04-12T14:20:00Z on"), HasSubstr("process " + me())));
  EXPECT_EQ(posts(), 1);
}

TEST_P(LostAnswerTest, RejectedWhenReplayedIsOurOwnDoingAndIsToldToEveryone) {
  pass(Seconds{3601});
  const auto dead = run({"token", "nous"});

  EXPECT_EQ(dead.status, 4);
  EXPECT_THAT(dead.err, AllOf(HasSubstr("our own lost answer, not an outsider"),
                              HasSubstr("process " + me() + " (tools_tests)"),
                              HasSubstr("2026-04-12T13:20:00Z"),
                              Not(HasSubstr("something else has a copy"))));
  EXPECT_EQ(reused(), 1);
  const auto later = run({"token", "nous"});
  EXPECT_EQ(later.status, 4);
  EXPECT_THAT(later.err, HasSubstr("our own lost answer"));
  EXPECT_EQ(posts(), 2);
}

TEST_P(LostAnswerTest, IsReplayedAtOnceOnRequest) {
  const auto dead = run({"refresh", "nous", "--replay"});

  EXPECT_EQ(dead.status, 4);
  EXPECT_THAT(dead.err, HasSubstr("our own lost answer"));
  EXPECT_EQ(posts(), 2);
}

INSTANTIATE_TEST_SUITE_P(AfterRotating, LostAnswerTest,
                         testing::Values(Lost{"Dropped", dropped(When::kAfter)},
                                         Lost{"GatewayTimeout", gateway_timeout()},
                                         Lost{"CutShort", cut_short()}),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_F(UncertainTest, ARequestThatNeverArrivedHealsWhenItIsReplayed) {
  portal_.add_fault(dropped(When::kBefore));
  EXPECT_EQ(run({"refresh", "nous"}).status, 5);
  pass(Seconds{3601});

  const auto healed = must({"token", "nous"});

  EXPECT_NE(healed.out, before_ + "\n");
  EXPECT_EQ(reused(), 0);
  EXPECT_EQ(must_json({"status"})[0]["hold"], nullptr);
}

TEST_F(UncertainTest, ReplaysBackOffUntilThereIsADefiniteAnswer) {
  Fault down = gateway_timeout();
  down.when = When::kBefore;
  down.times = 0;
  portal_.add_fault(down);
  EXPECT_EQ(run({"refresh", "nous"}).status, 5);
  pass(Seconds{3601});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(run({"token", "nous"}).status, 5);
  EXPECT_EQ(posts(), 2) << "a server in trouble is asked by each caller";

  pass(Seconds{6});
  EXPECT_EQ(run({"token", "nous"}).status, 5);
  EXPECT_EQ(posts(), 3);
  portal_.clear_faults();
  pass(Seconds{16});
  EXPECT_EQ(run({"token", "nous"}).status, 0);
  EXPECT_EQ(reused(), 0);
}

class ForgivingProviderTest : public UncertainTest {
 protected:
  ForgivingProviderTest() : UncertainTest(std::chrono::seconds{30}) {
    write_file(dir_ / "providers.d/nous.json", R"({"id":"nous","reuse_grace_s":30})");
    portal_.add_fault(dropped(When::kAfter));
    EXPECT_EQ(run({"refresh", "nous"}).status, 5);
  }
};

TEST_F(ForgivingProviderTest, GetsItsReplayAtOnceInsideTheGrace) {
  pass(Seconds{10});
  const auto healed = must({"refresh", "nous"});

  EXPECT_THAT(healed.out, HasSubstr("Refreshed nous"));
  EXPECT_EQ(posts(), 2);
  EXPECT_EQ(reused(), 0);
  EXPECT_EQ(must_json({"status"})[0]["hold"], nullptr);
}

TEST_F(ForgivingProviderTest, GetsNoneAfterItWhileTheBearerLives) {
  pass(Seconds{31});

  EXPECT_EQ(run({"refresh", "nous"}).status, 5);
  EXPECT_EQ(posts(), 1);
}

}  // namespace
}  // namespace authdb::cli
