// Every fault the simulator knows, met by a refresh over real HTTP: what the caller is told, what
// becomes of the token, and whether the next call heals. No fault may end in reuse that was not the
// server's own.
#include "bearer_fixture.h"
#include "tools/portal/portal.h"

namespace authdb::oauth {
namespace {

using portal::Fault;
using portal::When;

// libcurl with a deadline that a test can wait for.
class Impatient final : public HttpTransport {
 public:
  Answer perform(const HttpRequest& request, const std::function<bool()>& sent) override {
    HttpRequest hurried;
    hurried.method = request.method;
    hurried.url = request.url;
    for (const auto& [name, value] : request.headers) {
      hurried.headers.emplace_back(name, value.clone());
    }
    hurried.body = request.body.clone();
    hurried.deadline = Milliseconds{400};
    return real_->perform(hurried, sent);
  }

 private:
  std::shared_ptr<HttpTransport> real_ = curl_transport();
};

enum class End {
  unspent,    // exit 5, the token as before, and the next call works
  uncertain,  // exit 5, held until the replay rule sends it again
  saved,      // exit 5, and the rotated refresh token is kept: the next call works
  served,     // damaged, and yet everything that matters was in it
};

struct Case {
  const char* name;
  Fault fault;
  End end;
};

Fault status(int code, When when = When::kBefore) {
  Fault fault;
  fault.status = code;
  fault.body = "{}";
  fault.when = when;
  return fault;
}
template <typename F>
Fault with(F change) {
  Fault fault;
  change(fault);
  return fault;
}

std::vector<Case> all_faults() {
  return {
      {"Http425", status(425), End::unspent},
      {"Http408", status(408), End::uncertain},
      {"Http500", status(500), End::uncertain},
      {"Http504AfterRotating", status(504, When::kAfter), End::uncertain},
      {"Http503WithRetryAfter", with([](Fault& f) {
         f.status = 503;
         f.retry_after = "30";
       }),
       End::unspent},
      {"Http429WithRetryAfter", with([](Fault& f) {
         f.status = 429;
         f.retry_after = "30";
       }),
       End::unspent},
      {"HtmlPage403", with([](Fault& f) {
         f.html = true;
         f.status = 403;
       }),
       End::unspent},
      {"HtmlPage200", with([](Fault& f) {
         f.html = true;
         f.status = 200;
       }),
       End::uncertain},
      {"Redirect", with([](Fault& f) { f.redirect = "http://127.0.0.1:9/elsewhere"; }),
       End::unspent},
      {"DropBeforeRotating", with([](Fault& f) { f.drop = When::kBefore; }), End::uncertain},
      {"DropAfterRotating", with([](Fault& f) { f.drop = When::kAfter; }), End::uncertain},
      {"CutInTheHeaders", with([](Fault& f) { f.cut_after = 20; }), End::uncertain},
      {"CutBeforeTheLastByte", with([](Fault& f) { f.cut_after = -1; }), End::served},
      {"Malformed", with([](Fault& f) { f.malformed = true; }), End::served},
      {"Dripping", with([](Fault& f) { f.drip = std::chrono::milliseconds(100); }), End::uncertain},
      {"EndlessBody", with([](Fault& f) { f.endless = true; }), End::served},
      {"HugeBody", with([](Fault& f) { f.huge_bytes = 3 << 20; }), End::served},
      {"NoAccessToken", with([](Fault& f) {
         f.merge = {{"access_token", nullptr}};
       }),
       End::saved},
      {"AnswerIsNoObject", with([](Fault& f) {
         f.status = 200;
         f.body = "[1,2,3]";
       }),
       End::uncertain},
      {"EmptyAnswer", with([](Fault& f) {
         f.status = 200;
         f.body = "";
       }),
       End::uncertain},
  };
}

class FaultMatrix : public BearerTest, public testing::WithParamInterface<Case> {
 protected:
  FaultMatrix() : portal_(options_for_jwt()) {
    portal_.freeze();
    portal_.set_now_ms(to_millis(kStart));
    http_ = std::make_shared<Impatient>();
    const portal::Grant grant = portal_.create_grant();
    Seed seed = jwt_seed();
    seed.portal = portal_.base_url();
    seed.access = grant.access_token;
    seed.refresh = grant.refresh_token;
    seed.scope = grant.scope;
    seed.expires_in = Seconds{-1};
    before_ = grant.refresh_token;
    uid_ = add(seed);
    portal_.add_fault(GetParam().fault);
  }

  static portal::Options options_for_jwt() {
    portal::Options out;
    out.era = portal::Era::kJwt;
    out.access_ttl = std::chrono::seconds(3600);
    out.clock_ms = to_millis(kStart);
    return out;
  }

  std::string refresh_token() { return text(open().unseal(uid_)->refresh_token); }
  Hold hold() { return open().find(uid_)->hold; }
  std::int64_t reuse_detected() { return portal_.counters().totals.reuse_detected; }

  portal::Portal portal_;
  std::string before_;
  Uid uid_;
};

TEST_P(FaultMatrix, P5_NoFaultLosesTheLoginOrIsTakenForItsEnd) {
  const auto got = bearer();

  ASSERT_EQ(got.has_value(), GetParam().end == End::served) << text(got);
  if (!got) {
    EXPECT_EQ(got.error().code, Errc::try_later) << got.error().message;
  }
  const bool rotated = GetParam().end == End::served || GetParam().end == End::saved;
  EXPECT_EQ(refresh_token() == before_, !rotated);
  EXPECT_EQ(hold(), GetParam().end == End::uncertain ? Hold::uncertain : Hold::none);
  EXPECT_EQ(open().find(uid_)->health.status, Status::ok);

  if (GetParam().end != End::uncertain) {
    pass(Seconds{31});  // past what a Retry-After asked for
    EXPECT_TRUE(bearer().has_value()) << text(bearer());
  }
  EXPECT_EQ(reuse_detected(), 0);
}

INSTANTIATE_TEST_SUITE_P(Simulator, FaultMatrix, testing::ValuesIn(all_faults()),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace authdb::oauth
