// Logins with an authorization code: in a browser of this machine, and with a pasted code.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "login_fixture.h"
#include "oauth/authorization.h"
#include "oauth/loopback_listener.h"
#include "oauth/url.h"
#include "tests/portal/process.h"

namespace authdb::oauth {
namespace {

using portal::curl;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// What a URL that is to be opened says.
Query query_of(const std::string& url) {
  return parse_query(url.substr(url.find('?') + 1)).value_or(Query{});
}

std::string with(const std::string& url, const FormFields& fields) {
  return with_query(url, fields);
}

// The address that a server from before RFC 9207 sends the browser back to.
std::string without_iss(std::string url) {
  const auto begin = url.find("&iss=");
  if (begin == std::string::npos) throw std::runtime_error("no iss in " + url);
  return url.erase(begin, std::min(url.find('&', begin + 1), url.size()) - begin);
}

class BrowserLogin : public LoginTest {
 protected:
  BrowserLogin() { parts_.timeout = Seconds{60}; }  // of real time, if nobody comes back
  ~BrowserLogin() override {
    if (browser_.joinable()) browser_.join();
  }

  // The browser runs beside the login, as soon as there is a page to open.
  void browse(std::function<void(const std::string& url)> use) {
    reader_ = [this, use = std::move(use)](const LoginEvent& event) {
      browser_ = std::thread([use, url = event.url] { use(url); });
    };
  }
  // Follows the redirect, as browsers do.
  static portal::Reply follow(const std::string& url) { return curl(curl(url).header("Location")); }
  Result<NewSession> in_browser() { return log_in(standard(), "loopback"); }

  std::thread browser_;
};

TEST_F(BrowserLogin, TheBrowserComesBackWithACodeThatBuysTheGrant) {
  portal::Reply page;
  browse([&](const std::string& url) { page = follow(url); });
  const auto session = in_browser();
  browser_.join();

  ASSERT_TRUE(session) << session.error().message;
  EXPECT_EQ(session->identity.account, "sim-user");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, AllOf(HasSubstr("You can close this page"), Not(HasSubstr("code_SIM"))));
  EXPECT_EQ(shields_, 1);
}

TEST_F(BrowserLogin, TheRequestIsAsRfc7636And8252WantIt) {
  std::string opened;
  browse([&](const std::string& url) {
    opened = url;
    follow(url);
  });
  ASSERT_TRUE(in_browser());
  browser_.join();

  const Query query = query_of(opened);
  EXPECT_EQ(query.at("response_type"), "code");
  EXPECT_EQ(query.at("code_challenge_method"), "S256");
  EXPECT_THAT(query.at("code_challenge"), SizeIs(43));
  EXPECT_THAT(query.at("state"), SizeIs(43));
  EXPECT_THAT(query.at("redirect_uri"),
              testing::MatchesRegex("http://127\\.0\\.0\\.1:[0-9]+/callback"));
  EXPECT_EQ(query.at("scope"), "inference:invoke");
}

TEST_F(BrowserLogin, AWrongStateIsToldSoAndTheRightOneIsStillWaitedFor) {
  int forged = 0;
  int strange = 0;
  browse([&](const std::string& url) {
    const std::string back = query_of(url).at("redirect_uri");
    forged = curl(with(back, {{"code", "evil"}, {"state", "guessed"}})).status;
    strange = curl(back.substr(0, back.rfind('/')) + "/favicon.ico").status;
    follow(url);
  });
  const auto session = in_browser();
  browser_.join();

  EXPECT_TRUE(session);
  EXPECT_EQ(forged, 400);
  EXPECT_EQ(strange, 404);
  for (const auto& request : portal_.requests()) EXPECT_NE(request.status, 400) << request.path;
}

TEST_F(BrowserLogin, AnIssuerThatIsNotOursEndsItBeforeAnythingIsSent) {
  browse([&](const std::string& url) {
    const Query query = query_of(url);
    curl(with(query.at("redirect_uri"),
              {{"code", "c"}, {"state", query.at("state")}, {"iss", "https://evil.example"}}));
  });
  Provider provider = standard();
  provider.issuer = portal_.base_url();
  const auto session = log_in(provider, "loopback");

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::refused);
  EXPECT_THAT(session.error().message, HasSubstr("evil.example"));
  EXPECT_THAT(portal_.requests(), IsEmpty());
}

// The issuer of the simulator publishes that it names itself; the one below /xai-oauth does not.
TEST_F(BrowserLogin, AnAnswerThatNamesNoIssuerIsRefusedWhereTheIssuerAlwaysDoes) {
  const FormFields code{{"code", "c"}};
  for (const FormFields& answer :
       {code, FormFields{{"code", "c"}, {"iss", ""}}, FormFields{{"error", "access_denied"}}}) {
    browse([&](const std::string& url) {
      const Query query = query_of(url);
      curl(with(with(query.at("redirect_uri"), {{"state", query.at("state")}}), answer));
    });
    Provider provider = standard();
    provider.issuer = portal_.base_url();
    const auto session = log_in(provider, "loopback");
    browser_.join();

    ASSERT_FALSE(session);
    EXPECT_EQ(session.error().code, Errc::refused);
    EXPECT_THAT(session.error().message, HasSubstr(portal_.base_url()));
  }
  for (const auto& request : portal_.requests()) EXPECT_NE(request.path, "/oauth/token");
}

TEST_F(BrowserLogin, AnAnswerThatNamesNoIssuerIsTakenWhereNoneIsPromised) {
  for (const std::string& issuer :
       {portal_.base_url() + "/xai-oauth", std::string("http://127.0.0.1:1"), std::string()}) {
    browse([&](const std::string& url) { curl(without_iss(curl(url).header("Location"))); });
    Provider provider = standard();
    provider.issuer = issuer;
    const auto session = log_in(provider, "loopback");
    browser_.join();

    EXPECT_TRUE(session) << issuer;
  }
}

TEST_F(BrowserLogin, OurIssuerIsLetThrough) {
  browse([&](const std::string& url) { follow(url); });
  Provider provider = standard();
  provider.issuer = portal_.base_url();

  EXPECT_TRUE(log_in(provider, "loopback"));
}

TEST_F(BrowserLogin, ARefusalIsShownScrubbed) {
  browse([&](const std::string& url) {
    const Query query = query_of(url);
    curl(with(query.at("redirect_uri"),
              {{"error", "invalid_scope"},
               {"error_description", "not\x1b[31m you, sk-live-0123456789"},
               {"state", query.at("state")}}));
  });
  const auto session = in_browser();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::login_needed);
  EXPECT_THAT(session.error().message, AllOf(HasSubstr("invalid_scope"), HasSubstr("not"),
                                             Not(HasSubstr("sk-live")), Not(HasSubstr("\x1b"))));
}

TEST_F(BrowserLogin, NobodyIsWaitedForLongerThanAsked) {
  parts_.timeout = Seconds{0};
  const auto session = in_browser();

  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::try_later);
}

TEST_F(BrowserLogin, AParameterThatIsThereTwiceIsRefused) {
  int status = 0;
  browse([&](const std::string& url) {
    const Query query = query_of(url);
    const std::string once = with(query.at("redirect_uri"), {{"state", query.at("state")}});
    status = curl(once + "&code=a&code=b").status;
    follow(url);
  });
  EXPECT_TRUE(in_browser());
  browser_.join();

  EXPECT_EQ(status, 400);
}

TEST_F(BrowserLogin, AConnectionThatSaysNothingHoldsNobodyUp) {
  browse([&](const std::string& url) {
    const auto back = parse_url(query_of(url).at("redirect_uri"));
    const portal::Socket idle("http://127.0.0.1:" + back->port);
    portal::Socket slow("http://127.0.0.1:" + back->port);
    slow.send("GET /callback?co");
    follow(url);
  });

  EXPECT_TRUE(in_browser());
}

TEST_F(BrowserLogin, AfterwardsNobodyListens) {
  std::string back;
  browse([&](const std::string& url) {
    back = query_of(url).at("redirect_uri");
    follow(url);
  });
  ASSERT_TRUE(in_browser());
  browser_.join();

  EXPECT_EQ(curl(back).exit, 7);  // could not connect
}

// ---- The listener ------------------------------------------------------------------------------

TEST(LoopbackListener, ListensOnTheLoopbackAddressOnly) {
  const auto listener = LoopbackListener::open("http://localhost/cb");
  ASSERT_TRUE(listener);
  const auto url = parse_url(listener->redirect_uri());
  EXPECT_EQ(url->host, "localhost");
  EXPECT_EQ(url->path, "/cb");
  const auto bound = portal::run({"sh", "-c", "cat /proc/net/tcp /proc/net/tcp6"}).out;
  char port[8];
  std::snprintf(port, sizeof port, ":%04X", std::stoi(url->port));
  EXPECT_THAT(bound, HasSubstr(std::string("0100007F") + port + " 00000000:0000 0A"));
  EXPECT_THAT(bound, Not(HasSubstr(std::string("00000000") + port + " 00000000:0000 0A")));
}

TEST(LoopbackListener, APortThatIsTakenIsSaidToBe) {
  const auto first = LoopbackListener::open("http://127.0.0.1/cb");
  ASSERT_TRUE(first);
  const auto second = LoopbackListener::open(first->redirect_uri());

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::try_later);
  EXPECT_THAT(second.error().message, HasSubstr(parse_url(first->redirect_uri())->port));
}

TEST(LoopbackListener, OnlyThisMachineIsComeBackTo) {
  for (const char* uri : {"https://127.0.0.1/cb", "http://example.org/cb",
                          "http://127.0.0.1/cb?x=1", "http://0.0.0.0:80/", "ftp://127.0.0.1/"}) {
    EXPECT_EQ(LoopbackListener::open(uri).error().code, Errc::usage) << uri;
  }
}

TEST(LoopbackListener, AnEndlessRequestIsCutOff) {
  auto listener = LoopbackListener::open("");
  ASSERT_TRUE(listener);
  const auto url = parse_url(listener->redirect_uri());
  std::thread sender([&] {
    portal::Socket socket("http://127.0.0.1:" + url->port);
    try {
      socket.send("GET /callback?state=" + std::string(64 << 10, 'x'));
      socket.read_to_end();
    } catch (const std::runtime_error&) {  // cut off in the middle of it
    }
    curl(listener->redirect_uri() + "?state=mine");
  });
  const auto query =
      listener->wait(Seconds{60}, [](const Query& q) { return q.at("state") == "mine"; });
  sender.join();

  EXPECT_TRUE(query);
}

TEST(Pkce, IsDrawnAnewEachTime) {
  const Pkce first = draw_pkce();
  const Pkce second = draw_pkce();

  EXPECT_EQ(first.verifier.size(), 43U);
  EXPECT_NE(first.challenge, second.challenge);
  EXPECT_EQ(first.challenge, portal::pkce_challenge(first.verifier.reveal()));
}

TEST(Query, IsReadStrictly) {
  EXPECT_EQ(parse_query("a=1%20b&c=d+e&&f")->at("a"), "1 b");
  EXPECT_EQ(parse_query("a=1%20b&c=d+e&&f")->at("c"), "d e");
  for (const char* bad : {"a=%", "a=%2", "a=%zz", "a=1&a=2"}) EXPECT_FALSE(parse_query(bad)) << bad;
}

// ---- Pasted codes ------------------------------------------------------------------------------

class PastedCode : public LoginTest {
 protected:
  PastedCode() {
    parts_.ask = [this](std::string_view) {
      const auto page = curl(events_.front().url).json();
      return Result<Secret>(Secret::take(pasted(page.at("paste").get<std::string>())));
    };
  }
  std::function<std::string(std::string)> pasted = [](std::string text) { return text; };
  Result<NewSession> anthropic(const std::string& issuer = {}) {
    Provider provider = at_portal("anthropic");
    provider.authorization_endpoint = portal_.base_url() + "/oauth/authorize";
    provider.issuer = issuer;
    return log_in(provider, "pasted_code");
  }
  static std::string address_with(const std::string& text, const FormFields& more = {}) {
    const auto hash = text.find('#');
    const std::string code = text.substr(0, hash);
    const std::string state = text.substr(hash + 1);
    return with(with("https://console.example/callback", {{"code", code}, {"state", state}}), more);
  }
};

TEST_F(PastedCode, BuysTheGrantWithItsStateInJson) {
  const auto session = anthropic();

  ASSERT_TRUE(session) << session.error().message;
  EXPECT_THAT(events_[0].url, HasSubstr("code=true"));
  EXPECT_EQ(portal_.requests().back().path, "/v1/oauth/token");
  EXPECT_EQ(session->identity.source, "manual:hermes_pkce");
}

// Something on the way that spoils the status of what passes.
class SpoiltStatus final : public HttpTransport {
 public:
  explicit SpoiltStatus(std::shared_ptr<HttpTransport> real) : real_(std::move(real)) {}
  Answer perform(const HttpRequest& request, const std::function<bool()>& sent) override {
    Answer answer = real_->perform(request, sent);
    answer.http_status = 400;
    return answer;
  }

 private:
  std::shared_ptr<HttpTransport> real_;
};

TEST_F(PastedCode, P5_AGrantUnderAWrongStatusIsKept) {
  parts_.http = std::make_shared<SpoiltStatus>(parts_.http);

  const auto session = anthropic();

  ASSERT_TRUE(session) << session.error().message;
  EXPECT_FALSE(session->grant.refresh_token.empty());
}

TEST_F(PastedCode, TheAddressOfThePageDoesAsWell) {
  pasted = [](const std::string& text) { return address_with(text); };

  EXPECT_TRUE(anthropic());
}

// `code#state` has no room for an issuer.
TEST_F(PastedCode, ABareCodeIsTakenWhereTheIssuerDoesNotPromiseToNameItself) {
  for (const std::string& issuer : {portal_.base_url() + "/xai-oauth", std::string()}) {
    events_.clear();
    const auto session = anthropic(issuer);

    EXPECT_TRUE(session) << issuer << ": " << session.error().message;
  }
}

TEST_F(PastedCode, WhereTheIssuerPromisesToTheWholeAddressIsAskedForAndTaken) {
  const auto bare = anthropic(portal_.base_url());
  ASSERT_FALSE(bare);
  EXPECT_EQ(bare.error().code, Errc::refused);
  EXPECT_THAT(bare.error().message, HasSubstr("does not say that it came from"));
  EXPECT_THAT(bare.error().hint, HasSubstr("paste the whole address"));
  for (const auto& request : portal_.requests()) EXPECT_NE(request.path, "/v1/oauth/token");

  events_.clear();
  pasted = [this](const std::string& text) {
    return address_with(text, {{"iss", portal_.base_url()}});
  };
  const auto whole = anthropic(portal_.base_url());
  EXPECT_TRUE(whole) << whole.error().message;
}

TEST_F(PastedCode, AnotherLoginsCodeIsRefused) {
  for (const char* text : {"", "code", "code#", "code#other", "#", "code=x&state=y"}) {
    events_.clear();
    pasted = [&](const std::string&) { return text; };
    const auto session = anthropic();

    ASSERT_FALSE(session) << text;
    EXPECT_EQ(session.error().code, Errc::usage) << text;
  }
  for (const auto& request : portal_.requests()) EXPECT_NE(request.path, "/v1/oauth/token");
}

}  // namespace
}  // namespace authdb::oauth
