// TLS and proxies as they are in the field: nginx with good and bad certificates, and a proxy that
// really tunnels, or refuses to.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "bearer_fixture.h"
#include "raw_server.h"
#include "store/files.h"
#include "tls_server.h"

namespace authdb::oauth {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// One for all tests of this file: making keys and starting nginx takes a moment.
const TlsServer& server() {
  static const TlsServer started;
  return started;
}

struct Got {
  Answer answer;
  bool sent = false;
};

Got post(const std::string& url, const std::string& ca_file) {
  HttpRequest request;
  request.url = url;
  if (!ca_file.empty()) {
    request.authorities.pem = read_file(ca_file, 1 << 20)->reveal();
    request.authorities.named_by = "the test";
  }
  request.body = Secret::copy_of("grant_type=refresh_token");
  Got got;
  got.answer = curl_transport()->perform(request, [&] { return got.sent = true; });
  return got;
}

void expect_not_sent(const Got& got, const std::string& why) {
  EXPECT_FALSE(got.sent) << "the token would be with a stranger";
  EXPECT_EQ(got.answer.http_status, 0);
  EXPECT_THAT(got.answer.failure, HasSubstr(why));
}

TEST(Tls, GoodCertificateOfAKnownAuthorityIsBelieved) {
  const Got got = post(server().url(Certificate::good), server().ca_file());

  EXPECT_TRUE(got.sent);
  EXPECT_EQ(got.answer.http_status, 200) << got.answer.failure;
}

TEST(Tls, AuthorityThatTheSystemDoesNotKnowIsNone) {
  expect_not_sent(post(server().url(Certificate::good), {}), "unable to get local issuer");
}

TEST(Tls, ExpiredCertificateGetsNoToken) {
  expect_not_sent(post(server().url(Certificate::expired), server().ca_file()), "expired");
}

TEST(Tls, CertificateOfAnotherHostGetsNoToken) {
  expect_not_sent(post(server().url(Certificate::wrong_host), server().ca_file()),
                  "matches target host name");
}

TEST(Tls, SelfSignedCertificateGetsNoToken) {
  expect_not_sent(post(server().url(Certificate::self_signed), server().ca_file()), "self");
}

TEST(Tls, AnAuthorityThatIsNotBelievedIsSaidTogetherWithWhatToDo) {
  for (const auto certificate : {Certificate::good, Certificate::self_signed}) {
    expect_not_sent(post(server().url(certificate), {}), "name its PEM file with SSL_CERT_FILE");
    expect_not_sent(post(server().url(certificate), server().other_ca_file()),
                    "; the test does not name this server's authority");
  }
  // There, another authority would be no help.
  const Got expired = post(server().url(Certificate::expired), server().ca_file());
  EXPECT_THAT(expired.answer.failure, Not(HasSubstr("authority")));
}

TEST(Tls, CertificatesThatCannotBeReadAreSaidToBeSo) {
  HttpRequest request;
  request.url = server().url(Certificate::good);
  request.authorities = {
      "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n", {}, "SSL_CERT_FILE"};
  Got got;
  got.answer = curl_transport()->perform(request, [&] { return got.sent = true; });

  expect_not_sent(got, "what SSL_CERT_FILE names are no certificates");
}

// ---- Whose CA file ------------------------------------------------------------------------------

class TlsBearerTest : public BearerTest {
 protected:
  TlsBearerTest() {
    http_ = curl_transport();
    provider_ = "acme";
  }
  void describe(Certificate certificate, const std::string& more = {}) {
    const auto file = directory_ / "providers.d" / "acme.json";
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << R"({"id":"acme","client_id":"c","token_endpoint":")"
                        << server().url(certificate) << "\"" << more << "}";
    std::filesystem::permissions(file, std::filesystem::perms(0600));
    registry_ = ProviderRegistry::load(file.parent_path());
  }
  // Each with tokens of its own: those of one that was removed are never taken in again.
  Uid add_expired(const std::string& ca_file = {}) {
    Seed seed = jwt_seed();
    seed.access = "at-" + std::to_string(++added_);
    seed.refresh = "rt-" + std::to_string(added_);
    seed.provider = "acme";
    seed.expires_in = Seconds{-1};
    Change change = change_for(seed, at_millis(now_));
    change.credentials.at(0).identity->ca_file = ca_file;
    return open().apply(change)->uids.at(0);
  }
  int added_ = 0;
};

TEST_F(TlsBearerTest, OperatorsCaFileIsUsed) {
  describe(Certificate::good);
  add_expired();
  EXPECT_EQ(bearer().error().code, Errc::try_later);
  variables_["AUTHDB_CA_FILE"] = "/nonexistent/ca.pem";
  variables_["SSL_CERT_FILE"] = server().ca_file();
  pass(Seconds{1});  // so long the endpoint rests
  EXPECT_THAT(text(bearer()), HasSubstr("/nonexistent/ca.pem")) << "ours comes first";
  pass(Seconds{2});

  variables_["AUTHDB_CA_FILE"] = server().ca_file();
  EXPECT_EQ(text(bearer()), "at-over-tls");
}

TEST_F(TlsBearerTest, CaFileOfOpenSslsOwnVariableIsUsed) {
  describe(Certificate::good);
  add_expired();
  variables_["SSL_CERT_FILE"] = server().ca_file();

  EXPECT_EQ(text(bearer()), "at-over-tls");
}

TEST_F(TlsBearerTest, CurlsVariablesCountInItsOrder) {
  describe(Certificate::good);
  add_expired();
  const std::string good = server().ca_file();
  const std::string other = server().other_ca_file();
  struct Case {
    std::map<std::string, std::string> variables;
    bool believed;
    std::string said;
  };
  const std::vector<Case> cases{
      {{{"CURL_CA_BUNDLE", good}}, true, ""},
      {{{"SSL_CERT_DIR", server().ca_directory()}}, true, ""},
      {{{"SSL_CERT_DIR", "/nonexistent:" + server().ca_directory()}}, true, ""},
      {{{"CURL_CA_BUNDLE", good}, {"SSL_CERT_FILE", other}}, true, ""},
      {{{"CURL_CA_BUNDLE", ""}, {"SSL_CERT_FILE", good}}, true, ""},
      {{{"SSL_CERT_DIR", server().ca_directory()}, {"SSL_CERT_FILE", other}}, true, ""},
      {{{"CURL_CA_BUNDLE", other}, {"SSL_CERT_FILE", good}}, false, "CURL_CA_BUNDLE does not name"},
      {{{"CURL_CA_BUNDLE", other}, {"SSL_CERT_DIR", server().ca_directory()}},
       false,
       "CURL_CA_BUNDLE does not name"},
      {{{"SSL_CERT_FILE", other}}, false, "SSL_CERT_FILE does not name"},
      {{}, false, "with SSL_CERT_FILE or CURL_CA_BUNDLE"}};
  for (const Case& one : cases) {
    variables_ = one.variables;
    pass(Seconds{7200});  // the last one's token is over, and the endpoint's rest
    const std::string got = text(bearer());
    const std::string first = one.variables.empty() ? "none" : one.variables.begin()->first;
    EXPECT_EQ(got == "at-over-tls", one.believed) << first << ": " << got;
    EXPECT_THAT(got, HasSubstr(one.said)) << first;
  }
}

// Names of what can be used for no authority, and what is said of them.
class UnusableAuthorities : public TlsBearerTest {
 protected:
  UnusableAuthorities() {
    ::mkfifo(path("fifo").c_str(), 0600);
    std::filesystem::create_directory(path("directory"));
    std::ofstream(path("empty"));
    std::ofstream(path("text")) << "no certificate\n";
    std::ofstream(path("broken")) << "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n"
                                  << "-----END CERTIFICATE-----\n";
  }
  std::string path(const std::string& name) const { return directory_ / name; }

  const std::vector<std::pair<std::string, std::string>> kinds_{
      {"fifo", "is a pipe"},          {"directory", "is a directory"},
      {"missing", "No such file"},    {"empty", "has no certificate"},
      {"text", "has no certificate"}, {"broken", "no certificates"}};
};

TEST_F(UnusableAuthorities, OfAVariableAreNamedWithIt) {
  describe(Certificate::good);
  add_expired();
  for (const char* variable : {"AUTHDB_CA_FILE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    for (const auto& [name, said] : kinds_) {
      variables_ = {{variable, path(name)}};
      pass(Seconds{60});
      const std::string got = text(bearer());
      EXPECT_THAT(got, AllOf(HasSubstr(variable), HasSubstr(said)));
      if (name == "broken") continue;  // libcurl finds that out, which knows no name
      EXPECT_THAT(got, AllOf(HasSubstr(path(name)), HasSubstr("or unset it")));
    }
  }
}

TEST_F(UnusableAuthorities, OfAProviderAreNamedWithItsFile) {
  for (const auto& [name, said] : kinds_) {
    describe(Certificate::good, R"(,"ca_file":")" + path(name) + "\"");
    const Uid uid = add_expired();
    variables_ = {{"SSL_CERT_FILE", server().ca_file()}};  // comes after it
    EXPECT_THAT(text(bearer()), AllOf(HasSubstr("ca_file of "), HasSubstr("providers.d/acme.json"),
                                      HasSubstr(said)));
    ASSERT_TRUE(open().remove(uid));
  }
}

TEST_F(UnusableAuthorities, OfACredentialAreNamedAsItsBundle) {
  describe(Certificate::good);
  for (const auto& [name, said] : kinds_) {
    const Uid uid = add_expired(path(name));
    EXPECT_THAT(text(bearer()),
                AllOf(HasSubstr("tls.ca_bundle of this credential"), HasSubstr(said),
                      HasSubstr(name == "broken" ? "" : path(name))));
    ASSERT_TRUE(open().remove(uid));
  }
  add_expired("ca.pem");
  EXPECT_THAT(text(bearer()), HasSubstr("ca.pem is no absolute path"));
}

TEST_F(UnusableAuthorities, ThatOthersCanWriteAreNotBelieved) {
  describe(Certificate::good);
  add_expired();
  std::filesystem::copy_file(server().ca_file(), path("open.pem"));
  std::filesystem::copy_file(server().ca_file(), path("directory/0123abcd.0"));
  for (const char* name : {"open.pem", "directory/0123abcd.0"}) {
    ::chmod(path(name).c_str(), 0666);
  }
  for (const auto& [variable, name] :
       {std::pair("SSL_CERT_FILE", "open.pem"), std::pair("SSL_CERT_DIR", "directory")}) {
    variables_ = {{variable, path(name)}};
    pass(Seconds{60});
    EXPECT_THAT(text(bearer()), AllOf(HasSubstr(variable), HasSubstr("other users can write to ")));
  }
}

TEST_F(UnusableAuthorities, InADirectoryAreNamedWithItsVariable) {
  describe(Certificate::good);
  add_expired();
  for (const char* name : {"directory", "missing", "empty"}) {
    variables_ = {{"SSL_CERT_DIR", path(name)}};
    pass(Seconds{60});
    EXPECT_THAT(text(bearer()), AllOf(HasSubstr("SSL_CERT_DIR: there are no certificates in "),
                                      HasSubstr(path(name)), HasSubstr("openssl rehash")));
  }
  // OpenSSL would wait for its writer.
  ::mkfifo(path("directory/0123abcd.0").c_str(), 0600);
  variables_ = {{"SSL_CERT_DIR", path("directory")}};
  pass(Seconds{60});
  EXPECT_THAT(text(bearer()),
              AllOf(HasSubstr("SSL_CERT_DIR: "), HasSubstr("0123abcd.0 is a pipe")));
}

TEST_F(TlsBearerTest, ProvidersCaFileIsUsed) {
  describe(Certificate::good, R"(,"ca_file":")" + server().ca_file() + "\"");
  const Uid uid = add_expired();

  EXPECT_EQ(text(bearer()), "at-over-tls");
  EXPECT_EQ(text(open().unseal(uid)->refresh_token), TlsServer::kRefreshToken);
}

TEST_F(TlsBearerTest, CredentialsCaFileIsUsed) {
  describe(Certificate::good);
  add_expired(server().ca_file());

  EXPECT_EQ(text(bearer()), "at-over-tls");
}

TEST_F(TlsBearerTest, BadCertificateLeavesTheTokenUnspentAndTheLedgerSaysNotSent) {
  for (const auto certificate :
       {Certificate::expired, Certificate::wrong_host, Certificate::self_signed}) {
    describe(certificate, R"(,"ca_file":")" + server().ca_file() + "\"");
    const Uid uid = add_expired();
    const auto got = bearer();

    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Errc::try_later);
    EXPECT_EQ(text(open().unseal(uid)->refresh_token), "rt-" + std::to_string(added_));
    EXPECT_EQ(open().find(uid)->hold, Hold::none);
    const auto rows = open().query("SELECT outcome FROM attempt ORDER BY id DESC LIMIT 1");
    EXPECT_EQ(std::get<std::string>(rows->rows.at(0).at(0)), "not_sent");
    ASSERT_TRUE(open().remove(uid));
  }
}

// ---- Proxies ------------------------------------------------------------------------------------

class ProxyVariables {
 public:
  explicit ProxyVariables(const std::string& proxy, const char* except = nullptr) {
    ::setenv("HTTPS_PROXY", proxy.c_str(), 1);
    if (except != nullptr) ::setenv("NO_PROXY", except, 1);
  }
  ~ProxyVariables() {
    ::unsetenv("HTTPS_PROXY");
    ::unsetenv("NO_PROXY");
  }
  ProxyVariables(const ProxyVariables&) = delete;
  ProxyVariables& operator=(const ProxyVariables&) = delete;
};

// Copies both ways between the client and the TLS server until either ends.
void tunnel(const Peer& peer, int port) {
  const int far = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::connect(far, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    std::array<pollfd, 2> ends{{{peer.fd(), POLLIN, 0}, {far, POLLIN, 0}}};
    std::array<char, 16384> chunk{};
    for (bool open = true; open && ::poll(ends.data(), ends.size(), -1) > 0;) {
      for (std::size_t i = 0; i < 2; ++i) {
        if (ends.at(i).revents == 0) continue;
        const ssize_t got = ::recv(ends.at(i).fd, chunk.data(), chunk.size(), 0);
        open = open && got > 0 &&
               ::send(ends.at(1 - i).fd, chunk.data(), static_cast<std::size_t>(got),
                      MSG_NOSIGNAL) == got;
      }
    }
  }
  ::close(far);
}

const std::string kBeyond = std::string("https://") + kTlsHost + "/token";

TEST(Proxy, CarriesTheTlsThroughAndSeesNoneOfIt) {
  std::string heard;
  RawServer proxy([&](Peer& peer) {
    heard = peer.read_request();
    peer.say("HTTP/1.1 200 Connection established\r\n\r\n");
    tunnel(peer, server().port(Certificate::good));
  });
  const ProxyVariables set(proxy.url(""));
  const Got got = post(kBeyond, server().ca_file());
  proxy.wait_served(1);

  EXPECT_TRUE(got.sent);
  EXPECT_EQ(got.answer.http_status, 200) << got.answer.failure;
  EXPECT_THAT(heard, StartsWith(std::string("CONNECT ") + kTlsHost + ":443 HTTP/1.1"));
}

TEST(Proxy, WithAnotherServerBehindItGetsNoToken) {
  RawServer proxy([&](Peer& peer) {
    peer.read_request();
    peer.say("HTTP/1.1 200 Connection established\r\n\r\n");
    tunnel(peer, server().port(Certificate::wrong_host));
  });
  const ProxyVariables set(proxy.url(""));

  expect_not_sent(post(kBeyond, server().ca_file()), "matches target host name");
}

TEST(Proxy, ThatRefusesToConnectHasSentNothing) {
  for (const char* refusal :
       {"HTTP/1.1 403 Forbidden\r\nContent-Length: 29\r\n\r\n{\"error\":\"invalid_grant\",\"a\":1}",
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n", ""}) {
    RawServer proxy([&](Peer& peer) {
      peer.read_request();
      peer.say(refusal);
    });
    const ProxyVariables set(proxy.url(""));

    const Got got = post(kBeyond, server().ca_file());
    EXPECT_FALSE(got.sent) << refusal;
    EXPECT_EQ(got.answer.http_status, 0) << refusal;
    EXPECT_NE(got.answer.failure, "") << refusal;
  }
}

TEST(Proxy, IsNotAskedForHostsThatNoProxyNames) {
  RawServer proxy([](Peer& peer) { peer.read_request(); });
  const ProxyVariables set(proxy.url(""), "acme.test");

  EXPECT_FALSE(post(kBeyond, server().ca_file()).sent);  // nobody knows the name
  EXPECT_EQ(proxy.connections(), 0);
}

}  // namespace
}  // namespace authdb::oauth
