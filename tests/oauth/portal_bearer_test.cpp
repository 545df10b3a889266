// Bearers against the simulator, over real HTTP: the five smoke scenarios of the two-stage flow,
// the JWT era, and what happens when many want the same token at once.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "bearer_fixture.h"
#include "tools/portal/portal.h"

namespace authdb::oauth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// The simulator's era and clock; tokens live in it from the start.
class PortalBearerTest : public BearerTest {
 protected:
  explicit PortalBearerTest(portal::Era era = portal::Era::kAgentKey) : portal_(options_for(era)) {
    portal_.freeze();
    portal_.set_now_ms(to_millis(kStart));  // it ran since it was made
    http_ = curl_transport();
  }

  static portal::Options options_for(portal::Era era) {
    portal::Options out;
    out.era = era;
    out.access_ttl = std::chrono::seconds(3600);
    out.agent_key_ttl = std::chrono::seconds(1800);
    out.clock_ms = to_millis(kStart);
    return out;
  }

  // A login that the portal knows, with an access token that ends in `expires_in`.
  Uid log_in(Seconds expires_in, Seed seed = {}) {
    const portal::Grant grant = portal_.create_grant();
    seed.portal = portal_.base_url();
    seed.access = grant.access_token;
    seed.refresh = grant.refresh_token;
    seed.scope = grant.scope;
    seed.expires_in = expires_in;
    refresh_token_ = grant.refresh_token;
    access_token_ = grant.access_token;
    return add(seed);
  }

  // What an inference call with this bearer is answered.
  int infer(const Result<Bearer>& bearer) {
    HttpRequest request;
    request.url = portal_.base_url() + "/v1/chat/completions";
    request.headers.emplace_back("Authorization", Secret::copy_of("Bearer " + text(bearer)));
    request.headers.emplace_back("Content-Type", Secret::copy_of("application/json"));
    request.body = Secret::copy_of(R"({"model":"m","messages":[]})");
    return curl_transport()->perform(request, {}).http_status;
  }

  std::vector<std::string> paths() const {
    std::vector<std::string> out;
    for (const auto& request : portal_.requests()) {
      out.push_back(request.path.substr(request.path.rfind('/') + 1));
    }
    return out;
  }
  std::string bearer_of_last() const { return portal_.requests().back().bearer; }

  void pass_everywhere(Seconds time) {
    pass(time);
    portal_.advance(time);
  }

  // What each of `count` threads that ask at once gets.
  std::vector<std::string> at_once(std::size_t count, const std::string& rejected = {}) {
    std::vector<std::string> out(count);
    std::vector<std::thread> threads;
    for (std::string& slot : out) {
      threads.emplace_back([this, &slot, &rejected] { slot = text(bearer(rejected)); });
    }
    for (std::thread& thread : threads) thread.join();
    return out;
  }

  portal::Portal portal_;
  std::string refresh_token_;
  std::string access_token_;
};

class JwtPortalBearerTest : public PortalBearerTest {
 protected:
  JwtPortalBearerTest() : PortalBearerTest(portal::Era::kJwt) {}
};

TEST_F(PortalBearerTest, InitialMintNeedsNoRefresh) {
  log_in(Seconds{86400});
  const auto got = bearer();

  EXPECT_THAT(text(got), StartsWith(portal::kAgentKeyPrefix));
  EXPECT_THAT(paths(), ElementsAre("agent-key"));
  EXPECT_EQ(bearer_of_last(), portal::fingerprint(access_token_));
  EXPECT_EQ(got->expires_at, kStart + Seconds{1800});
}

TEST_F(PortalBearerTest, ExpiringAccessTokenIsRefreshedThenMintedWith) {
  const Uid uid = log_in(Seconds{30});
  const auto got = bearer();

  EXPECT_THAT(paths(), ElementsAre("token", "agent-key"));
  EXPECT_EQ(portal_.requests()[0].refresh_in, "body");
  const auto held = open().unseal(uid);
  EXPECT_EQ(bearer_of_last(), fingerprint(held->access_token));
  EXPECT_NE(text(held->refresh_token), refresh_token_);
  EXPECT_EQ(portal_.token(text(held->refresh_token)).state, "current");
  EXPECT_EQ(got->action, Action::minted);
}

TEST_F(PortalBearerTest, InferenceGetsTheAgentKey) {
  log_in(Seconds{86400});

  EXPECT_EQ(infer(bearer()), 200);
  EXPECT_THAT(paths(), ElementsAre("agent-key", "completions"));
}

TEST_F(PortalBearerTest, RejectedByInferenceIsMintedAnewAndTriedAgain) {
  log_in(Seconds{86400});
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kInference;
  fault.status = 401;
  fault.body = R"({"error":{"code":"invalid_api_key","message":"401"}})";
  portal_.add_fault(fault);

  const auto first = bearer();
  ASSERT_EQ(infer(first), 401);
  const auto second = bearer(first->fingerprint);
  EXPECT_EQ(infer(second), 200);
  EXPECT_THAT(paths(), ElementsAre("agent-key", "completions", "agent-key", "completions"));
}

TEST_F(PortalBearerTest, DeadGrantEndsBeforeTheMint) {
  log_in(Seconds{30});
  portal_.revoke(portal_.counters().families.begin()->first);
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(paths(), ElementsAre("token"));
}

TEST_F(PortalBearerTest, RefusedMintRefreshesOnceAndMintsOnceMore) {
  log_in(Seconds{86400});
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kAgentKey;
  fault.status = 401;
  fault.body = R"({"error":"invalid_token"})";
  portal_.add_fault(fault);

  EXPECT_EQ(infer(bearer()), 200);
  EXPECT_THAT(paths(), ElementsAre("agent-key", "token", "agent-key", "completions"));
}

TEST_F(PortalBearerTest, AccessTokenAloneIsAPartialSetup) {
  Seed seed;
  seed.portal = portal_.base_url();
  seed.refresh.clear();
  add(seed);

  EXPECT_THAT(bearer().error().message, HasSubstr("partial OAuth setup"));
  EXPECT_THAT(paths(), IsEmpty());
}

TEST_F(PortalBearerTest, ReuseBySomebodyElseIsExplained) {
  log_in(Seconds{30});
  HttpRequest other;
  other.url = portal_.base_url() + "/api/oauth/token";
  other.headers.emplace_back("Content-Type", Secret::copy_of("application/x-www-form-urlencoded"));
  other.body = Secret::copy_of("grant_type=refresh_token&client_id=hermes-cli&refresh_token=" +
                               refresh_token_);
  ASSERT_EQ(curl_transport()->perform(other, {}).http_status, 200);
  const auto got = bearer();

  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().hint, HasSubstr("single-use"));
}

TEST_F(PortalBearerTest, PageFromTheEdgeLeavesTheGrantAlone) {
  const Uid uid = log_in(Seconds{30});
  portal::Fault fault;
  fault.status = 403;
  fault.html = true;
  portal_.add_fault(fault);

  EXPECT_EQ(bearer().error().code, Errc::try_later);
  EXPECT_EQ(text(open().unseal(uid)->refresh_token), refresh_token_);
  pass(Seconds{1});
  EXPECT_EQ(infer(bearer()), 200);
}

TEST_F(PortalBearerTest, HalfAnAnswerIsEnoughIfTheTokensAreInIt) {
  log_in(Seconds{30});
  portal::Fault fault;
  fault.malformed = true;
  portal_.add_fault(fault);

  EXPECT_EQ(infer(bearer()), 200);
  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
}

TEST_F(PortalBearerTest, ThreadsThatWantAKeyAtOnceCostOneRefreshAndOneMint) {
  log_in(Seconds{30});
  const auto got = at_once(8);

  for (const auto& one : got) EXPECT_EQ(one, got[0]);
  EXPECT_THAT(paths(), ElementsAre("token", "agent-key"));
}

TEST_F(PortalBearerTest, ThreadsThatRejectOneKeyAtOnceCostOneMint) {
  log_in(Seconds{86400});
  const std::string rejected = bearer()->fingerprint;
  const auto got = at_once(8, rejected);

  for (const auto& one : got) EXPECT_EQ(one, got[0]);
  EXPECT_NE(fingerprint(token_hash(got[0])), rejected);
  EXPECT_THAT(paths(), ElementsAre("agent-key", "agent-key"));
}

TEST_F(PortalBearerTest, HoursOfKeysLoseNoToken) {
  const Uid uid = log_in(Seconds{3600});
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(infer(bearer()), 200) << i;
    pass_everywhere(Seconds{1750});
  }

  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
  EXPECT_EQ(portal_.counters().totals.max_in_flight_per_token, 1);
  EXPECT_EQ(portal_.token(text(open().unseal(uid)->refresh_token)).state, "current");
}

TEST_F(JwtPortalBearerTest, TokenIsTheBearerAndTheRefreshTokenTravelsInTheHeader) {
  Seed seed = jwt_seed();
  log_in(Seconds{3600}, seed);
  EXPECT_EQ(text(bearer()), access_token_);
  EXPECT_EQ(infer(bearer()), 200);

  pass_everywhere(Seconds{3540});
  const auto got = bearer();
  EXPECT_NE(text(got), access_token_);
  EXPECT_EQ(got->kind, BearerKind::access_token);
  EXPECT_EQ(infer(got), 200);
  EXPECT_THAT(paths(), ElementsAre("completions", "token", "completions"));
  EXPECT_EQ(portal_.requests()[1].refresh_in, "header");
}

TEST_F(JwtPortalBearerTest, ThreadsThatRejectOneTokenAtOnceCostOneRefresh) {
  log_in(Seconds{3600}, jwt_seed());
  const auto got = at_once(8, fingerprint(token_hash(access_token_)));

  for (const auto& one : got) EXPECT_EQ(one, got[0]);
  EXPECT_THAT(paths(), ElementsAre("token"));
}

// ---- Processes ---------------------------------------------------------------------------------

// Made before any thread is: waits for a word, then asks for a bearer and tells its fingerprint.
class Child {
 public:
  explicit Child(const std::function<std::string()>& work) {
    int go[2];
    int told[2];
    if (::pipe(go) != 0 || ::pipe(told) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      char word = 0;
      ::close(go[1]);
      if (::read(go[0], &word, 1) != 1) ::_exit(1);
      const std::string said = work();
      ::_exit(::write(told[1], said.data(), said.size()) < 0 ? 1 : 0);
    }
    ::close(go[0]);
    ::close(told[1]);
    go_ = go[1];
    told_ = told[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::close(go_);
    ::close(told_);
    ::waitpid(pid_, nullptr, 0);
  }
  void start() const { ASSERT_EQ(::write(go_, "x", 1), 1); }
  std::string said() const {
    std::string out;
    char chunk[256];
    for (ssize_t got = 0; (got = ::read(told_, chunk, sizeof chunk)) > 0;) {
      out.append(chunk, static_cast<std::size_t>(got));
    }
    return out;
  }

 private:
  pid_t pid_ = -1;
  int go_ = -1;
  int told_ = -1;
};

class ProcessBearerTest : public BearerTest {};

TEST_F(ProcessBearerTest, ProcessesThatWantAKeyAtOnceCostOneRefreshAndOneMint) {
  http_ = curl_transport();
  const auto work = [this] {
    const auto got = bearer();
    return got ? got->fingerprint : got.error().message;
  };
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 4; ++i) children.push_back(std::make_unique<Child>(work));

  portal::Options options;
  options.clock_ms = to_millis(kStart);
  portal::Portal portal(options);
  portal.freeze();
  const portal::Grant grant = portal.create_grant();
  Seed seed;
  seed.portal = portal.base_url();
  seed.access = grant.access_token;
  seed.refresh = grant.refresh_token;
  seed.expires_in = Seconds{30};
  add(seed);
  for (const auto& child : children) child->start();

  const std::string first = children[0]->said();
  EXPECT_THAT(first, StartsWith("sha256:"));
  for (std::size_t i = 1; i < children.size(); ++i) EXPECT_EQ(children[i]->said(), first);
  EXPECT_EQ(portal.counters().totals.token_posts, 1);
  EXPECT_EQ(portal.counters().totals.mints, 1);
  EXPECT_EQ(portal.token(grant.refresh_token).posts, 1);
}

}  // namespace
}  // namespace authdb::oauth
