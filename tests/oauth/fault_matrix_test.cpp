// Every fault the simulator knows, in the dialect of every provider, met by a refresh over real
// HTTP: what the caller is told, what becomes of the token, and whether the next call heals. No
// fault may end in reuse that was not the server's own.
#include <fstream>

#include "bearer_fixture.h"
#include "tools/portal/portal.h"

namespace authdb::oauth {
namespace {

using portal::Fault;
using portal::When;

// libcurl with a deadline that a test can wait for, where a test must wait for it.
class Impatient final : public HttpTransport {
 public:
  explicit Impatient(Milliseconds deadline) : deadline_(deadline) {}
  Answer perform(const HttpRequest& request, const std::function<bool()>& sent) override {
    HttpRequest hurried;
    hurried.method = request.method;
    hurried.url = request.url;
    for (const auto& [name, value] : request.headers) {
      hurried.headers.emplace_back(name, value.clone());
    }
    hurried.body = request.body.clone();
    hurried.deadline = deadline_;
    return real_->perform(hurried, sent);
  }

 private:
  Milliseconds deadline_;
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

  bool is_cut() const {
    return fault.cut_after || fault.malformed || fault.endless || fault.huge_bytes > 0;
  }
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

Fault wrapped(portal::Wrapping wrapping) {
  return with([=](Fault& f) { f.wrapping = wrapping; });
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
      {"Gzip", wrapped(portal::Wrapping::kGzip), End::served},
      {"GzipCut", with([](Fault& f) {
         f.wrapping = portal::Wrapping::kGzip;
         f.cut_after = -1;
       }),
       End::served},
      {"Form", wrapped(portal::Wrapping::kForm), End::served},
      {"ByteOrderMark", wrapped(portal::Wrapping::kBom), End::served},
      {"Prefix", wrapped(portal::Wrapping::kPrefix), End::served},
      {"TrailingBytes", wrapped(portal::Wrapping::kTrailing), End::served},
      {"InsideData", wrapped(portal::Wrapping::kData), End::served},
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

// A provider of the simulator: its id, and the fields of a user's file that lead there. `/` stands
// for the simulator's URL.
struct Dialect {
  const char* provider;
  const char* portal;  // the credential's own, below the simulator's
  const char* fields;
  bool rotates = true;
};

constexpr std::array<Dialect, 8> kDialects{{
    {"nous", "", ""},
    {"acme", "", R"("client_id":"my-client","token_endpoint":"/oauth/token")"},
    {"openai-codex", "", R"("token_endpoint":"/openai-codex/oauth/token")"},
    {"anthropic", "", R"("token_endpoint":"/anthropic/v1/oauth/token")"},
    {"xai-oauth", "", R"("issuer":"/xai-oauth")"},
    {"qwen-oauth", "", R"("token_endpoint":"/qwen-oauth/api/v1/oauth2/token")"},
    {"minimax-oauth", "/minimax-oauth", ""},
    {"spotify", "/spotify", "", false},
}};

TEST(Dialects, OfAllBuiltInProvidersWithLoginsAreHere) {
  const ProviderRegistry built_in = ProviderRegistry::load("/nonexistent");
  for (const Provider& provider : built_in.all()) {
    if (!has_logins(provider)) continue;
    EXPECT_EQ(std::count_if(kDialects.begin(), kDialects.end(),
                            [&](const Dialect& one) { return one.provider == provider.id; }),
              1)
        << provider.id << " is met without a fault and with each, once it is in kDialects";
  }
}

class DialectTest : public BearerTest {
 protected:
  explicit DialectTest(const Dialect& dialect) : portal_(options_for_jwt()), dialect_(dialect) {
    portal_.freeze();
    portal_.set_now_ms(to_millis(kStart));
    provider_ = dialect.provider;
    variables_["SPOTIFY_CLIENT_ID"] = "my-client";
    describe();
    const portal::Grant grant = portal_.create_grant();
    Seed seed = jwt_seed();
    seed.provider = dialect.provider;
    seed.portal = portal_.base_url() + dialect.portal;
    seed.access = grant.access_token;
    seed.refresh = grant.refresh_token;
    seed.scope = grant.scope;
    seed.expires_in = Seconds{-1};
    before_ = grant.refresh_token;
    family_ = grant.family;
    uid_ = add(seed);
  }

  void describe() {
    std::string fields = dialect_.fields;
    if (fields.empty()) return;
    fields.insert(fields.find(R"("/)") + 1, portal_.base_url());
    const auto file = directory_ / "providers.d" / "one.json";
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << R"({"id":")" << dialect_.provider << "\"," << fields << "}";
    std::filesystem::permissions(file, std::filesystem::perms(0600));
    registry_ = ProviderRegistry::load(file.parent_path());
    ASSERT_THAT(registry_.problems(), testing::IsEmpty());
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
  const Dialect& dialect_;
  std::string before_;
  std::string family_;
  Uid uid_;
};

// ---- Without a fault ----------------------------------------------------------------------------

class EveryDialect : public DialectTest, public testing::WithParamInterface<Dialect> {
 protected:
  EveryDialect() : DialectTest(GetParam()) { http_ = curl_transport(); }
};

TEST_P(EveryDialect, RefreshesAgainAndAgain) {
  for (int i = 0; i < 3; ++i) {
    const auto got = bearer();
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(got->action, Action::refreshed);
    EXPECT_EQ(got->expires_at, at_millis(now_) + Seconds{3600}) << "in every spelling";
    pass(Seconds{3600});
    portal_.set_now_ms(now_);
  }
  EXPECT_EQ(refresh_token() == before_, !GetParam().rotates);
  EXPECT_EQ(portal_.token(refresh_token()).state, "current");
  EXPECT_EQ(reuse_detected(), 0);
}

TEST_P(EveryDialect, ServerThatRevokedTheSessionIsBelieved) {
  portal_.revoke(family_);
  const auto got = bearer();

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::login_needed) << got.error().message;
  EXPECT_EQ(refresh_token(), before_) << "marked, not wiped";
  EXPECT_EQ(open().find(uid_)->health.status, Status::dead);
}

TEST_P(EveryDialect, ReuseBySomebodyElseIsRecognised) {
  HttpRequest other;
  other.url = portal_.base_url() + (GetParam().rotates ? "/oauth/token" : "/spotify/api/token");
  other.headers.emplace_back("Content-Type", Secret::copy_of("application/x-www-form-urlencoded"));
  other.body = Secret::copy_of("grant_type=refresh_token&client_id=x&refresh_token=" + before_);
  ASSERT_EQ(curl_transport()->perform(other, {}).http_status, 200);
  const auto got = bearer();

  ASSERT_EQ(got.has_value(), !GetParam().rotates) << "what does not rotate is never spent";
  if (got) return;
  EXPECT_EQ(got.error().code, Errc::login_needed);
  EXPECT_THAT(got.error().message, testing::HasSubstr("before and revoked the session"));
  EXPECT_THAT(got.error().message, testing::HasSubstr(", process "));
  EXPECT_THAT(got.error().hint, testing::HasSubstr("sent that token only once"));
  EXPECT_THAT(got.error().hint, testing::HasSubstr("Before that: import committed at "));
}

INSTANTIATE_TEST_SUITE_P(Simulator, EveryDialect, testing::ValuesIn(kDialects),
                         [](const auto& one) {
                           std::string name = one.param.provider;
                           std::erase(name, '-');
                           return name;
                         });

// ---- With each fault ----------------------------------------------------------------------------

class FaultMatrix : public DialectTest,
                    public testing::WithParamInterface<std::tuple<Dialect, Case>> {
 protected:
  FaultMatrix() : DialectTest(std::get<0>(GetParam())) {
    const Fault& fault = std::get<1>(GetParam()).fault;
    const bool slow = fault.endless || fault.drip.count() > 0;
    http_ = std::make_shared<Impatient>(Milliseconds{slow ? 1500 : 20'000});
    portal_.add_fault(fault);
  }
  // What comes of an answer that is not whole depends on whether it brings a refresh token.
  End end() const {
    const End stated = std::get<1>(GetParam()).end;
    const bool by_refresh_token = stated == End::saved || std::get<1>(GetParam()).is_cut();
    return by_refresh_token && !dialect_.rotates ? End::uncertain : stated;
  }
};

TEST_P(FaultMatrix, P5_NoFaultLosesTheLoginOrIsTakenForItsEnd) {
  const auto got = bearer();

  ASSERT_EQ(got.has_value(), end() == End::served) << text(got);
  if (!got) {
    EXPECT_EQ(got.error().code, Errc::try_later) << got.error().message;
  }
  const bool moved = (end() == End::served || end() == End::saved) && dialect_.rotates;
  EXPECT_EQ(refresh_token() == before_, !moved);
  EXPECT_EQ(hold(), end() == End::uncertain ? Hold::uncertain : Hold::none);
  EXPECT_EQ(open().find(uid_)->health.status, Status::ok);

  if (end() != End::uncertain) {
    pass(Seconds{31});  // past what a Retry-After asked for
    EXPECT_TRUE(bearer().has_value()) << text(bearer());
  }
  EXPECT_EQ(reuse_detected(), 0);
}

INSTANTIATE_TEST_SUITE_P(Simulator, FaultMatrix,
                         testing::Combine(testing::ValuesIn(kDialects),
                                          testing::ValuesIn(all_faults())),
                         [](const auto& one) {
                           std::string name = std::get<0>(one.param).provider;
                           std::erase(name, '-');
                           return name + "_" + std::get<1>(one.param).name;
                         });

}  // namespace
}  // namespace authdb::oauth
