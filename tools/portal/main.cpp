// authdb-portal: a Portal behind a command line.
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "tools/portal/portal.h"

namespace {

using authdb::portal::Era;
using authdb::portal::Options;
using authdb::portal::Portal;
using authdb::portal::RefreshIn;

constexpr int kOk = 0;
constexpr int kUnexpected = 1;
constexpr int kUsage = 2;

constexpr const char* kAbout =
    R"(authdb-portal: a simulated OAuth portal for tests, on loopback only.

It hands out tokens that are visibly fake, rotates refresh tokens strictly once, and revokes the
whole family when a spent one comes back, as the real portal does. Its clock can be moved and its
answers can be broken in every way a network knows, over HTTP or from C++ (tools/portal/portal.h).)";

constexpr const char* kManual = R"(
Endpoints:
  POST /api/oauth/token         form; refresh_token (in the body or in the x-nous-refresh-token
                                header) or device_code grant
  POST /api/oauth/device/code   form; client_id, scope
  POST /api/oauth/agent-key     JSON {"min_ttl_seconds"}, Bearer access token
  POST /v1/chat/completions, GET /v1/models
                                for live bearers of the era only; others get 401
  POST /oauth/token             RFC 6749 with the same rotation; also authorization_code with PKCE
  POST /v1/oauth/token          the same with bodies in JSON
  GET  /oauth/authorize         says yes at once and redirects to a loopback redirect_uri; with
                                code=true shows {"paste":"CODE#STATE"} instead
  POST /api/accounts/deviceauth/usercode, /api/accounts/deviceauth/token
                                Codex's device login, which ends in an authorization code
  POST /oauth/code              MiniMax's user code, polled for at /oauth/token
  POST /openai-codex/oauth/token, /anthropic/v1/oauth/token, /xai-oauth/oauth2/token,
       /qwen-oauth/api/v1/oauth2/token, /minimax-oauth/oauth/token, /spotify/api/token
                                the same in the dialects of those providers
  POST /oauth/revoke, GET /.well-known/openid-configuration

Control, all in JSON; an unknown field is refused by name:
  POST   /_control/grants       {"client_id"?,"scope"?,"account"?,"access_ttl_s"?}: a new login
  POST   /_control/adopt        {"refresh_token","access_token"?,"agent_key"?,"spent"?:[...],
                                "access_expires_in"?,"agent_key_expires_in"?,"scope"?}: registers
                                tokens made elsewhere as one live family
  GET    /_control/counters     totals, families, tokens; tokens by fingerprint
  GET    /_control/requests     the requests seen, in order of arrival
  POST   /_control/faults       one fault or an array of them; DELETE forgets all
  POST   /_control/release      ends the delays under way
  POST   /_control/clock        {"now_ms"?,"advance_s"?,"frozen"?}; GET shows it
  POST   /_control/device/approve, /_control/device/deny
                                {"user_code","account"?}
  POST   /_control/revoke       {"family"}
  POST   /_control/reset        as just started

Faults. Which requests: "endpoint" (token, agent-key, inference, device, authorize, revoke,
discovery; default token), "grant_type", "family", "skip":N, "times":N (default 1; 0 for ever). What happens:
  "delay_before_ms", "delay_after_ms"   wait before or after the request is processed
  "drop":"before|after"                 close without an answer; "before": nothing is processed
  "status", "body", "content_type", "html":true, "redirect":"URL"
                                        another answer, with "when":"before" (default: nothing is
                                        processed) or "after"
  "retry_after"                         adds the header
  "merge":{...}                         changes fields of the normal answer; null removes one
  "malformed":true                      the answer without its last byte
  "wrapping":"gzip|form|bom|prefix|trailing|data"
                                        the answer in other than plain JSON
  "huge_bytes":N                        blanks behind the body, up to N bytes
  "cut_after_bytes":N                   close after N bytes, headers included; -N: N before the end
  "drip_ms":N                           the body one byte at a time
  "endless":true                        blanks behind the body for ever

Example:
  authdb-portal --port-file portal.url &
  until [ -s portal.url ]; do sleep 0.1; done; URL=$(cat portal.url)
  RT=$(curl -s -X POST $URL/_control/grants | grep -o 'nrt_SIM_[0-9a-f]*')
  curl -s $URL/_control/faults -d '{"status":504,"when":"after"}'
  curl -s $URL/api/oauth/token -d grant_type=refresh_token -d client_id=hermes-cli -d refresh_token=$RT
  curl -s $URL/api/oauth/token -d grant_type=refresh_token -d client_id=hermes-cli -d refresh_token=$RT
  curl -s $URL/_control/counters
  kill %1

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 cannot listen or write the port file, 2 usage.)";

struct Settings {
  Options portal;
  std::string port_file;
  bool exit_with_parent = false;
  bool quiet = false;
};

void add_seconds(CLI::App& app, const char* name, std::chrono::seconds& value, const char* help) {
  app.add_option_function<std::uint32_t>(
         name, [&value](std::uint32_t seconds) { value = std::chrono::seconds(seconds); }, help)
      ->type_name("S")
      ->default_str(std::to_string(value.count()));
}

template <typename T>
void add_choice(CLI::App& app, const std::string& name, T& value, std::map<std::string, T> choices,
                const char* fallback, const char* help) {
  const auto choose = [&value, name, choices = std::move(choices)](const std::string& word) {
    const auto found = choices.find(word);
    if (found == choices.end()) throw CLI::ValidationError(name, "does not know " + word);
    value = found->second;
  };
  app.add_option_function<std::string>(name, choose, help)
      ->type_name("WORD")
      ->default_str(fallback);
}

void add_lifetimes(CLI::App& app, Options& portal) {
  add_seconds(app, "--access-ttl", portal.access_ttl, "lifetime of access tokens");
  add_seconds(app, "--agent-key-ttl", portal.agent_key_ttl, "lifetime of agent keys");
  add_seconds(app, "--reuse-grace", portal.reuse_grace,
              "how long a spent token gets its successor again");
  add_seconds(app, "--device-ttl", portal.device_ttl, "lifetime of device codes");
  add_seconds(app, "--device-interval", portal.device_interval, "polling interval told to clients");
  app.add_flag("--auto-approve-device", portal.auto_approve_device, "approve device codes at once");
  app.add_option("--clock", portal.clock_ms, "start of the clock, Unix milliseconds")
      ->type_name("MS");
}

void add_options(CLI::App& app, Settings& settings) {
  Options& portal = settings.portal;
  app.add_option("--listen", portal.listen, "loopback address")
      ->type_name("ADDR")
      ->capture_default_str();
  app.add_option("--port", portal.port, "port; 0: the kernel chooses")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--port-file", settings.port_file, "write the base URL here once listening")
      ->type_name("FILE");
  add_choice<Era>(app, "--era", portal.era,
                  {{"agent-key", Era::kAgentKey}, {"jwt", Era::kJwt}, {"both", Era::kBoth}},
                  "agent-key", "what infers: agent-key, jwt (the access token) or both");
  add_choice<RefreshIn>(
      app, "--refresh-in", portal.refresh_in,
      {{"body", RefreshIn::kBody}, {"header", RefreshIn::kHeader}, {"either", RefreshIn::kEither}},
      "either", "where /api/oauth/token takes the refresh token: body, header or either");
  add_lifetimes(app, portal);
  app.add_flag("--exit-with-parent", settings.exit_with_parent, "end when the parent process does");
  app.add_flag("--quiet", settings.quiet, "print nothing on stdout");
}

// A reader never sees half a URL: the file appears under its name only when it is complete.
void write_port_file(const std::string& path, const std::string& url) {
  const auto draft = path + ".new";
  std::ofstream(draft) << url;
  if (std::rename(draft.c_str(), path.c_str()) != 0) {
    throw std::system_error(errno, std::generic_category(), path);
  }
}

// Before any thread starts, so that all of them inherit it and the signal waits for sigwait().
sigset_t block_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

void end_with_parent() {
  const auto parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::raise(SIGTERM);  // it went before we asked
}

int run(const Settings& settings) {
  const sigset_t signals = block_stop_signals();
  if (settings.exit_with_parent) end_with_parent();
  Portal portal(settings.portal);
  if (!settings.port_file.empty()) write_port_file(settings.port_file, portal.base_url());
  if (!settings.quiet) {
    std::cout << "authdb-portal listening on " << portal.base_url() << std::endl;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  portal.stop();
  return kOk;
}

int complain(int code, const std::string& what, const std::string& what_to_do) {
  std::cerr << "authdb-portal: " << what << '\n' << what_to_do << '\n';
  return code;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what throws outside the try is out of memory
int main(int argc, char** argv) {
  CLI::App app(kAbout, "authdb-portal");
  app.footer(kManual);
  Settings settings;
  add_options(app, settings);
  try {
    app.parse(argc, argv);
    return run(settings);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return complain(kUsage, error.what(), "See authdb-portal --help.");
  } catch (const std::invalid_argument& error) {
    return complain(kUsage, error.what(),
                    "The simulator hands out grants to anybody: use --listen 127.0.0.1 or ::1.");
  } catch (const std::exception& error) {
    return complain(kUnexpected, error.what(),
                    "Choose another --port (0 lets the kernel choose) or --port-file.");
  }
}
