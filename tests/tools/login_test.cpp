// authdb login: what people and programs are shown, and the real executable against the simulator.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <qrcodegen/qrcodegen.hpp>
#include <set>
#include <sstream>

#include "store/file_lock.h"
#include "tests/portal/process.h"
#include "tests/tools/harness.h"
#include "tools/portal/portal.h"
#include "tools/render/qr_code.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr const char* kDevice =
    R"({"device_code":"d-SECRET","user_code":"WXYZ-1234","verification_uri":"https://acme.example/device",
        "verification_uri_complete":"https://acme.example/device?user_code=WXYZ-1234",
        "expires_in":600,"interval":5})";
constexpr const char* kPending = R"({"error":"authorization_pending"})";

std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> events;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    events.push_back(nlohmann::json::parse(line, nullptr, false));
  }
  return events;
}

class LoginCommand : public CommandTest {
 protected:
  LoginCommand() {
    write_file(
        dir_ / "providers.d/acme.json",
        R"({"id":"acme","name":"Acme","client_id":"c","token_endpoint":"https://acme.example/token",
                   "device_authorization_endpoint":"https://acme.example/device_code"})");
    browse_ = [this](const std::string& url) {
      opened_.push_back(url);
      return true;
    };
  }
  void approve(const GrantText& grant = {}) {
    http_->answer(200, kDevice);
    http_->answer(400, kPending);
    http_->answer(200, grant_json(grant));
  }
  void deny() {
    http_->answer(200, kDevice);
    http_->answer(400, R"({"error":"access_denied"})");
  }
  std::vector<std::string> opened_;
};

TEST_F(LoginCommand, ThePersonIsShownWhereToGoAndWhatCameOfIt) {
  approve();
  const auto ran = must({"login", "acme", "--label", "work"});

  EXPECT_THAT(ran.err, AllOf(HasSubstr("Acme"), HasSubstr("https://acme.example/device\n"),
                             HasSubstr("WXYZ-1234"), Not(HasSubstr("SECRET"))));
  EXPECT_EQ(ran.out, "Logged in: acme credential #1 (work)\n");
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-1\n");
}

TEST_F(LoginCommand, P5_AGrantUnderAWrongStatusIsKept) {
  for (const int status : {302, 400, 403, 408, 429, 500, 502, 503}) {
    const std::string number = std::to_string(status);
    http_->answer(200, kDevice);
    http_->answer(status, grant_json({"access-token-" + number, "refresh-token-" + number}));

    must({"login", "acme", "--label", number});

    EXPECT_EQ(must({"token", "acme", "--credential", number}).out, "access-token-" + number + "\n");
  }
}

TEST_F(LoginCommand, EventsAreOneJsonObjectALine) {
  http_->answer(200, kDevice);
  http_->answer(400, R"({"error":"slow_down"})");
  http_->answer(502, "<html>");
  http_->answer(200, grant_json());
  const auto ran = must({"login", "acme", "--json"});

  const auto events = lines_of(ran.out);
  ASSERT_THAT(events, SizeIs(4)) << ran.out;
  EXPECT_EQ(events[0],
            nlohmann::json({{"event", "visit"},
                            {"provider", "acme"},
                            {"url", "https://acme.example/device"},
                            {"complete_url", "https://acme.example/device?user_code=WXYZ-1234"},
                            {"user_code", "WXYZ-1234"},
                            {"paste", false},
                            {"expires_at", "2026-04-12T13:30:00Z"},
                            {"interval_s", 5.0}}));
  EXPECT_EQ(events[1], nlohmann::json({{"event", "slower"}, {"interval_s", 10.0}}));
  EXPECT_EQ(events[2]["event"], "trouble");
  EXPECT_EQ(events[2]["retry_in_s"], 10.0);
  EXPECT_EQ(events[3]["event"], "logged_in");
  EXPECT_EQ(events[3]["credential"], stored("acme").at(0).uid);
  EXPECT_EQ(events[3]["renewed"], false);
  EXPECT_THAT(ran.err, IsEmpty());
  EXPECT_THAT(opened_, IsEmpty());
}

TEST_F(LoginCommand, AnAddressThatIsNoPageIsSaidAndNeitherDrawnNorOpened) {
  err_is_terminal_ = true;
  env_["LANG"] = "C.UTF-8";
  for (const char* address :
       {"javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "http://acme.example/",
        "https://a:b@acme.example/", "https://evil.example/?user_code=WXYZ-1234"}) {
    const std::string page = R"("verification_uri":"https://acme.example/device")";
    const std::string start = R"({"device_code":"d-SECRET","user_code":"WXYZ-1234",)";
    opened_.clear();
    http_->answer(200, start + page + R"(,"verification_uri_complete":")" + address + "\"}");
    http_->answer(400, R"({"error":"access_denied"})");
    const auto ran = run({"login", "acme"});
    EXPECT_EQ(ran.status, 4);
    EXPECT_THAT(ran.err, AllOf(HasSubstr("the address with the code in it is none"),
                               HasSubstr("https://acme.example/device\n"), Not(HasSubstr("█"))));
    EXPECT_THAT(opened_, ElementsAre("https://acme.example/device"));

    if (std::string_view(address).starts_with("https://evil.")) continue;  // it would be the page
    http_->answer(200, start + R"("verification_uri":")" + address + "\"}");
    const auto refused = run({"login", "acme"});
    EXPECT_EQ(refused.status, 7);
    EXPECT_THAT(refused.err, HasSubstr("the page where the login is to be approved is none"));
    EXPECT_THAT(opened_, SizeIs(1));
  }
}

TEST_F(LoginCommand, AFailureIsAnEventAnErrorAndAnExitCode) {
  deny();
  const auto ran = run({"login", "acme", "--json"});

  EXPECT_EQ(ran.status, 4);
  const auto last = lines_of(ran.out).back();
  EXPECT_EQ(last["event"], "failed");
  EXPECT_EQ(last["exit_code"], 4);
  EXPECT_THAT(ran.err, HasSubstr("denied"));
}

TEST_F(LoginCommand, AFailedLoginChangesNothing) {
  approve();
  must({"login", "acme", "--label", "work"});
  const auto before = stored("acme").at(0);
  deny();
  EXPECT_EQ(run({"login", "acme", "--label", "work"}).status, 4);

  ASSERT_THAT(stored("acme"), SizeIs(1));
  EXPECT_EQ(stored("acme")[0].generation, before.generation);
  EXPECT_EQ(stored_token(before.uid), "access-token-ALPHA-1");
}

TEST_F(LoginCommand, TheSameLabelIsRenewedInPlace) {
  approve();
  must({"login", "acme", "--label", "work"});
  http_->answer(200, kDevice);
  http_->answer(200, grant_json({"access-token-BETA-1", "refresh-token-BETA-1"}));
  const auto ran = must({"login", "acme", "--label", "work"});

  EXPECT_EQ(ran.out, "Logged in again: acme credential #1 (work)\n");
  ASSERT_THAT(stored("acme"), SizeIs(1));
  EXPECT_EQ(stored("acme")[0].family, 2);
}

TEST_F(LoginCommand, QuietStillSaysWhereToGo) {
  approve();

  EXPECT_THAT(must({"login", "acme", "-q"}).err, HasSubstr("WXYZ-1234"));
}

TEST_F(LoginCommand, ABrowserIsOpenedForAPersonAtATerminalOnly) {
  approve();
  must({"login", "acme"});
  EXPECT_THAT(opened_, IsEmpty());

  err_is_terminal_ = true;
  approve();
  must({"login", "acme", "--no-browser", "--label", "b"});
  EXPECT_THAT(opened_, IsEmpty());

  approve();
  must({"login", "acme", "--label", "c"});
  EXPECT_THAT(opened_, ElementsAre("https://acme.example/device?user_code=WXYZ-1234"));
}

TEST_F(LoginCommand, AtATerminalALoginThatCannotBeStoredYetIsTriedAgain) {
  approve();
  must({"login", "acme", "--label", "first"});
  lock_wait_ = Milliseconds(20);
  err_is_terminal_ = true;
  std::optional<FileLock> gate;
  browse_ = [&](const std::string&) {  // while the person is away another process holds the store
    gate = *std::move(FileLock::acquire(store_path().string() + ".d/gate", Milliseconds(0)));
    return true;
  };
  int asked = 0;
  ask_ = [&](std::string_view prompt) -> Result<Secret> {
    EXPECT_THAT(std::string(prompt), HasSubstr("tries again"));
    if (++asked == 2) gate.reset();
    return Secret::copy_of("\n");
  };
  approve({"access-token-BETA-1", "refresh-token-BETA-1"});

  const auto ran = must({"login", "acme", "--label", "second"});

  EXPECT_EQ(asked, 2);
  EXPECT_THAT(ran.err, HasSubstr("could not be stored"));
  EXPECT_THAT(stored("acme"), SizeIs(2));
}

TEST_F(LoginCommand, ALoginThatCannotBeStoredIsGivenUpWhereNobodyMendsIt) {
  approve();
  must({"login", "acme", "--label", "first"});
  lock_wait_ = Milliseconds(20);
  err_is_terminal_ = true;
  std::optional<FileLock> gate;
  browse_ = [&](const std::string&) {
    gate = *std::move(FileLock::acquire(store_path().string() + ".d/gate", Milliseconds(0)));
    return true;
  };
  approve();
  EXPECT_EQ(run({"login", "acme", "--label", "second"}).status, 6);
  gate.reset();

  ask_ = [](std::string_view) -> Result<Secret> { return Secret(); };  // Ctrl-D
  approve();
  EXPECT_EQ(run({"login", "acme", "--label", "second"}).status, 6);
  EXPECT_THAT(stored("acme"), SizeIs(1));
}

TEST_F(LoginCommand, TheQrCodeIsForTerminalsThatCanShowIt) {
  const auto shows = [&] {
    approve();
    return must({"login", "acme", "--label", "x"}).err.find("█") != std::string::npos;
  };
  env_["LANG"] = "en_GB.UTF-8";
  EXPECT_FALSE(shows());
  err_is_terminal_ = true;
  EXPECT_TRUE(shows());
  env_["LC_ALL"] = "C";
  EXPECT_FALSE(shows());
}

TEST_F(LoginCommand, MistakesAreSaidBeforeAnythingIsAsked) {
  EXPECT_EQ(run({"login", "acmee"}).status, 3);
  EXPECT_EQ(run({"login", "acme", "--timeout", "soon"}).status, 2);
  EXPECT_EQ(run({"login", "acme", "--timeout", "0"}).status, 2);
  EXPECT_EQ(run({"login", "acme", "--label", ""}).status, 2);
  EXPECT_EQ(run({"login", "acme", "--browser"}).status, 2);
  EXPECT_EQ(run({"login", "codex", "--browser", "--no-browser"}).status, 2);
  EXPECT_EQ(run({"login", "anthropic", "--timeout", "5"}).status, 2);
  EXPECT_THAT(run({"login", "spotify"}).err, HasSubstr("HERMES_SPOTIFY_CLIENT_ID"));
  must({"add", "acme", "--label", "key"}, "sk-key");
  EXPECT_EQ(run({"login", "acme", "--label", "key"}).status, 2);
  EXPECT_THAT(http_->urls(), IsEmpty());
}

TEST_F(LoginCommand, APastedCodeComesFromStdinAsOneLine) {
  EXPECT_EQ(run({"login", "anthropic"}).status, 2);
  const auto ran = run({"login", "anthropic"}, "code#of-another-login\nmore\n");

  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("https://claude.ai/oauth/authorize?"),
                             Not(HasSubstr("of-another-login"))));
  EXPECT_THAT(http_->urls(), IsEmpty());
}

TEST(QrCode, IsTheLibrarysCodeInItsQuietZone) {
  const std::string url = "https://acme.example/device?user_code=WXYZ-1234";
  std::vector<std::string> rows;  // one of '#' and ' ' for each module
  std::istringstream in(qr_code(url, false));
  for (std::string line; std::getline(in, line);) {
    rows.insert(rows.end(), 2, "");
    for (std::size_t i = 0; i < line.size(); i += line[i] == ' ' ? 1U : 3U) {
      const std::string cell = line[i] == ' ' ? " " : line.substr(i, 3);
      rows[rows.size() - 2] += cell == "█" || cell == "▀" ? ' ' : '#';
      rows[rows.size() - 1] += cell == "█" || cell == "▄" ? ' ' : '#';
    }
  }
  const auto code = qrcodegen::QrCode::encodeText(url.c_str(), qrcodegen::QrCode::Ecc::LOW);
  ASSERT_GE(static_cast<int>(rows.size()), code.getSize() + 8);
  for (int y = -4; y < code.getSize() + 4; ++y) {
    const auto& row = rows[static_cast<std::size_t>(y + 4)];
    ASSERT_EQ(static_cast<int>(row.size()), code.getSize() + 8);
    for (int x = -4; x < code.getSize() + 4; ++x) {
      ASSERT_EQ(row[static_cast<std::size_t>(x + 4)] == '#', code.getModule(x, y)) << x << ',' << y;
    }
  }
  EXPECT_THAT(qr_code(url, true), HasSubstr("\x1b[40;97m"));
  EXPECT_THAT(qr_code(std::string(5000, 'x'), false), IsEmpty());
}

// ---- The executable ----------------------------------------------------------------------------

class LoginProcess : public CommandTest {
 protected:
  explicit LoginProcess(const portal::Options& options = with_era(portal::Era::kJwt))
      : portal_(options) {
    env_["XDG_CONFIG_HOME"] = dir_ / "config";
    env_["XDG_RUNTIME_DIR"] = dir_.path();
    env_["HOME"] = dir_.path();
    env_["PATH"] = (dir_ / "bin").string() + ":/usr/bin:/bin";
    describe({{"authorization_endpoint", portal_.base_url() + "/oauth/authorize"}});
  }
  void describe(const nlohmann::json& more) {
    nlohmann::json file{
        {"id", "sim"},
        {"client_id", "app"},
        {"token_endpoint", portal_.base_url() + "/oauth/token"},
        {"device_authorization_endpoint", portal_.base_url() + "/api/oauth/device/code"},
        {"scope", "inference:invoke"}};
    file.update(more);
    write_file(dir_ / "config/authdb/providers.d/sim.json", file.dump());
  }
  static portal::Options with_era(portal::Era era) {
    portal::Options out;
    out.era = era;
    out.auto_approve_device = era == portal::Era::kBoth;
    return out;
  }
  std::vector<std::string> command(std::vector<std::string> words) const {
    std::vector<std::string> all{"/usr/bin/env", "-i"};
    for (const auto& [name, value] : env_) all.push_back(name + "=" + value);
    all.emplace_back(AUTHDB_BINARY);
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
  static nlohmann::json event(portal::Process& process) {
    return nlohmann::json::parse(process.read_line(), nullptr, false);
  }
  std::string token() const { return portal::run(command({"token", "sim"})).out; }
  std::vector<Credential> credentials() {
    now_ = system_now();
    return stored("sim");
  }

  portal::Portal portal_;
};

TEST_F(LoginProcess, ADeviceLoginEndsInABearerThatWorks) {
  portal::Process process(command({"login", "sim", "--json"}));
  const auto visit = event(process);
  EXPECT_EQ(visit["url"], portal_.base_url() + "/device");
  ASSERT_TRUE(portal_.approve_device(visit["user_code"], "ada@example.org"));
  EXPECT_EQ(event(process)["event"], "logged_in");
  EXPECT_EQ(process.finish().code, 0);

  auto bearer = token();
  bearer.pop_back();
  EXPECT_EQ(
      portal::curl(portal_.base_url() + "/v1/models", {"-H", "Authorization: Bearer " + bearer})
          .status,
      200);
  EXPECT_EQ(credentials().at(0).identity.label, "ada@example.org");
}

TEST_F(LoginProcess, ABrowserLoginEndsInABearerThatWorks) {
  portal::Process process(command({"login", "sim", "--browser", "--json"}));
  const auto page = portal::curl(event(process)["url"].get<std::string>(), {"-L"});
  EXPECT_THAT(page.body, HasSubstr("You can close this page"));
  EXPECT_EQ(event(process)["event"], "logged_in");
  EXPECT_EQ(process.finish().code, 0);

  EXPECT_THAT(token(), Not(IsEmpty()));
}

TEST_F(LoginProcess, ABrowserLoginLooksUpWhereTheBrowserGoesIfTheFileLeavesJustThatOut) {
  describe({{"issuer", portal_.base_url()}});
  portal::Process process(command({"login", "sim", "--browser", "--json"}));
  const auto visit = event(process);
  ASSERT_EQ(visit["event"], "visit") << visit;
  portal::curl(visit["url"].get<std::string>(), {"-L"});
  EXPECT_EQ(event(process)["event"], "logged_in");
  EXPECT_EQ(process.finish().code, 0);
}

TEST_F(LoginProcess, TheNextLoginOfTheAccountRenewsIt) {
  for (const bool renewed : {false, true}) {
    portal::Process process(command({"login", "sim", "--browser", "--json"}));
    portal::curl(event(process)["url"].get<std::string>(), {"-L"});
    EXPECT_EQ(event(process)["renewed"], renewed);
    process.finish();
  }
  ASSERT_THAT(credentials(), SizeIs(1));
  EXPECT_EQ(credentials()[0].family, 2);
}

class WholeSession : public LoginProcess {
 protected:
  WholeSession() : LoginProcess(with_era(portal::Era::kBoth)) {
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    describe({{"issuer", portal_.base_url()}});
  }
  void done(const std::vector<std::string>& words) {
    const auto ran = portal::run(command(words));
    EXPECT_EQ(ran.code, 0) << words[0] << ": " << ran.err;
  }
  void in_browser() {
    portal::Process process(command({"login", "sim", "--browser", "--json"}));
    portal::curl(event(process)["url"].get<std::string>(), {"-L"});
    EXPECT_EQ(process.finish().code, 0);
  }
  void add_nous() {
    const std::string scope = "inference:mint_agent_key";
    const auto grant = portal_.create_grant({.scope = scope});
    now_ = system_now();
    must({"add", "nous", "--grant"},
         grant_json({grant.access_token, grant.refresh_token, 900, scope}));
  }
};

TEST_F(WholeSession, EachKindOfRequestSaysWhoAsksAndInWhichVersion) {
  done({"login", "sim", "--no-browser", "--json"});
  in_browser();
  done({"refresh", "sim"});
  done({"remove", "sim", "1"});
  add_nous();
  done({"mint", "nous"});

  std::set<std::string> kinds;
  for (const auto& request : portal_.requests()) {
    if (request.endpoint == portal::Endpoint::kAuthorize) continue;  // the browser's
    EXPECT_EQ(request.user_agent, "authdb/" AUTHDB_VERSION) << request.path;
    kinds.insert(name_of(request.endpoint) + (" " + request.grant_type));
  }
  EXPECT_THAT(kinds, ElementsAre("agent-key ", "device ", "discovery ", "revoke ",
                                 "token authorization_code", "token refresh_token",
                                 "token urn:ietf:params:oauth:grant-type:device_code"));
}

TEST_F(LoginProcess, ASignalWhileNobodyHasApprovedEndsItWithNothingChanged) {
  for (const char* way : {"--no-browser", "--browser"}) {
    portal::Process process(command({"login", "sim", "--json", way}));
    event(process);
    process.signal(SIGINT);
    EXPECT_EQ(process.finish().code, 128 + SIGINT);
    EXPECT_THAT(credentials(), IsEmpty());
  }
}

TEST_F(LoginProcess, ASignalWhileTheGrantArrivesWaitsUntilItIsStored) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    std::filesystem::remove_all(dir_ / "store");
    portal_.add_fault({.delay_after = std::chrono::hours(1)});
    portal::Process process(command({"login", "sim", "--browser", "--json"}));
    portal::curl(event(process)["url"].get<std::string>(), {"-L"});
    ASSERT_TRUE(portal_.wait_until([&] { return portal_.delayed() == 1; }));
    process.signal(signal);
    portal_.release();
    EXPECT_EQ(process.finish().code, 128 + signal);

    ASSERT_THAT(credentials(), SizeIs(1));
    EXPECT_TRUE(credentials()[0].refresh_hash);
  }
}

// A child on a terminal of its own.
class OnTerminal {
 public:
  explicit OnTerminal(const std::vector<std::string>& words) {
    pid_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      std::vector<char*> argv;
      for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~OnTerminal() {
    ::close(terminal_);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;
  // Everything shown so far, when `text` is in it, or when the child has gone.
  const std::string& read_until(std::string_view text) {
    char buffer[4096];
    ssize_t got = 0;
    while (shown_.find(text) == std::string::npos &&
           (got = ::read(terminal_, buffer, sizeof buffer)) > 0) {
      shown_.append(buffer, static_cast<std::size_t>(got));
    }
    return shown_;
  }
  void type(std::string_view text) const {
    EXPECT_EQ(::write(terminal_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  int status() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int terminal_ = -1;
  std::string shown_;
};

TEST_F(LoginProcess, ATerminalShowsTheQrCodeAndOpensTheBrowser) {
  env_["LANG"] = "C.UTF-8";
  env_["DISPLAY"] = ":nowhere";
  ASSERT_EQ(::mkfifo((dir_ / "opened").c_str(), 0600), 0);
  write_file(dir_ / "bin/xdg-open", "#!/bin/sh\necho \"$1\" > \"$HOME/opened\"\n");
  std::filesystem::permissions(dir_ / "bin/xdg-open", std::filesystem::perms::owner_all);
  OnTerminal terminal(command({"login", "sim"}));
  const std::string shown = terminal.read_until("Waiting for you");

  EXPECT_THAT(shown, AllOf(HasSubstr("\x1b[40;97m██"), HasSubstr("opened in your browser")));
  const std::string opened = read_file(dir_ / "opened");  // waits for xdg-open
  EXPECT_THAT(opened, HasSubstr("/device?user_code="));
  const auto code = opened.substr(opened.find('=') + 1, 9);
  EXPECT_THAT(shown, HasSubstr(code));
  ASSERT_TRUE(portal_.approve_device(code));
  EXPECT_THAT(terminal.read_until("Logged in: "), HasSubstr("Logged in: sim credential #1"));
  EXPECT_EQ(terminal.status(), 0);
}

TEST_F(LoginProcess, CtrlCAtATerminalIsAnOrdinaryEnd) {
  OnTerminal terminal(command({"login", "sim", "--no-browser"}));
  terminal.read_until("Waiting for you");
  terminal.type("\x03");

  EXPECT_EQ(terminal.status(), 128 + SIGINT);
  EXPECT_THAT(credentials(), IsEmpty());
}

}  // namespace
}  // namespace authdb::cli
