// The judge of the soak finds what it is there to find.
#include "tools/prove/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace authdb::prove {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kToken = "sha256:0123456789abcdef";
constexpr std::int64_t kPid = 42;

class WireTest : public testing::Test {
 protected:
  void post(std::int64_t at_ms) {
    portal::RequestRecord request;
    request.at_ms = at_ms;
    request.refresh_token = kToken;
    wire_.requests.push_back(request);
  }
  void attempt(const std::string& outcome, std::int64_t finished_at, std::string error_code = {}) {
    LedgerRow row;
    row.token = kToken;
    row.kind = "refresh";
    row.outcome = outcome;
    row.finished_at = finished_at;
    row.error_code = std::move(error_code);
    row.pid = kPid;
    wire_.ledger.push_back(row);
  }
  void portal_says(const std::string& state) {
    wire_.counters.tokens[kToken] = {
        .posts = 2, .max_in_flight = 1, .family = "fam_1", .generation = 1, .state = state};
  }

  Wire wire_;
};

TEST_F(WireTest, ARotationIsFine) {
  post(100);
  attempt("committed", 110);
  portal_says("spent");
  EXPECT_THAT(check_wire(wire_).violations, IsEmpty());
}

TEST_F(WireTest, NoTokenIsSentAfterItsSuccessorIsKnown) {
  post(100);
  attempt("committed", 110);
  post(120);
  attempt("rejected", 130);
  EXPECT_THAT(check_wire(wire_).violations,
              ElementsAre(HasSubstr("after its successor was known")));
}

TEST_F(WireTest, ASecondPostThatTheLedgerDoesNotKnowIsFound) {
  post(100);
  post(120);
  attempt("committed", 130);
  EXPECT_THAT(check_wire(wire_).violations, ElementsAre(HasSubstr("was sent 2 times")));
}

TEST_F(WireTest, TwoAtOneMomentAreFound) {
  portal_says("spent");
  wire_.counters.tokens[kToken].max_in_flight = 2;
  EXPECT_THAT(check_wire(wire_).violations, ElementsAre(HasSubstr("in flight twice")));
}

TEST_F(WireTest, AReplayOfAKilledAttemptExplainsALoss) {
  post(100);
  attempt("uncertain", 0);
  post(120);
  attempt("rejected", 130);
  portal_says("reused");
  wire_.killed = {kPid};
  const auto findings = check_wire(wire_);
  EXPECT_THAT(findings.violations, IsEmpty());
  EXPECT_EQ(findings.lost, 1U);
  EXPECT_EQ(findings.replays, 1U);
}

TEST_F(WireTest, AnUncertainAttemptNeedsADeathOrALostAnswer) {
  attempt("uncertain", 0);
  EXPECT_THAT(check_wire(wire_).violations, ElementsAre(HasSubstr("nobody killed it")));
  wire_.ledger.clear();
  attempt("uncertain", 0, "transport");
  EXPECT_THAT(check_wire(wire_).violations, ElementsAre(HasSubstr("only 0 were lost")));
  wire_.lost_answers = 1;
  EXPECT_THAT(check_wire(wire_).violations, IsEmpty());
}

TEST_F(WireTest, ALossThatTheLedgerDoesNotExplainIsFound) {
  post(100);
  attempt("rejected", 110);
  portal_says("reused");
  const auto findings = check_wire(wire_);
  EXPECT_EQ(findings.unexplained, 1U);
  EXPECT_THAT(findings.violations, ElementsAre(HasSubstr("does not say why")));
}

}  // namespace
}  // namespace authdb::prove
