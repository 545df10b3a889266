// A login: how a person grants this machine a new session. log_in() runs the flow that the provider
// wants and returns what it yielded; new_session.h puts that into the store.
//
//   device              RFC 8628                                   device_flow.h
//   codex_device        OpenAI's own, which ends in an authorization code   codex_device.h
//   minimax_user_code   MiniMax's own                              minimax_user_code.h
//   loopback            RFC 8252, authorization code and PKCE      loopback_flow.h
//   pasted_code         a page shows the code, the person pastes it  pasted_code.h
//
// Thread safety: a login is one thread's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "oauth/form.h"
#include "oauth/http.h"
#include "oauth/provider.h"
#include "store/clock.h"
#include "store/credential.h"
#include "store/result.h"
#include "store/secret.h"

namespace authdb::oauth {

// What a person, or the program that shows it to one, is told while a login runs. No secret is in
// it.
struct LoginEvent {
  enum class Kind {
    visit,    // open `url`; with `user_code`, enter it there
    slower,   // the server wants to be asked less often: every `interval` from now on
    trouble,  // no usable answer, `message` says why; asked again after `interval`
  };
  Kind kind = Kind::visit;
  // Addresses that are safe to show and to open: https, or http on this machine.
  std::string url;
  std::string complete_url;  // with the user code in it; empty: there is none
  std::string user_code;
  std::optional<Instant> expires_at;  // when the login must be over
  Milliseconds interval{0};           // between polls; zero: nothing is polled
  bool paste = false;                 // the page shows a code, which is asked for next
  std::string message;  // scrubbed; with `visit`, what was wrong with what is left out; or empty
};

struct LoginParts {
  const Provider* provider = nullptr;  // outlives the login
  std::shared_ptr<HttpTransport> http;
  Environment environment;
  Clock clock = system_now;
  // Returns when the time is over. Tests move their clock instead.
  std::function<void(Milliseconds)> wait;
  // Called before a request that may bring the grant; what it returns is kept until the grant is in
  // the store. The command defers its signals here.
  std::function<std::shared_ptr<void>()> shield = {};
  std::function<void(const LoginEvent&)> tell;
  // The code a person pastes; may fail with usage. Only `pasted_code` asks.
  std::function<Result<Secret>(std::string_view prompt)> ask = {};
  Seconds timeout{900};
};

// A 2xx answer of the token endpoint, unjudged. Once it is here, it must get into the store before
// anything else happens.
struct LoginAnswer {
  Answer answer;
  std::shared_ptr<void> shield;
};

// What a login yielded.
struct NewSession {
  Identity identity;  // `label` is what the provider calls the account, if it does
  Grant grant;
  std::string subject;                     // of the id token or the access token; empty: unknown
  Secret id_token;                         // empty: there was none
  std::optional<AgentKey> agent_key = {};  // that came along
  std::string warning;                     // for a person
  std::shared_ptr<void> shield = {};       // release it when the session is in the store
};

// The flow a provider's logins take: its `login`, else as its endpoints suggest; `in_browser` asks
// for the loopback flow where there is a choice. usage if the provider has no such login.
Result<std::string> login_flow(const Provider& provider, bool in_browser);

// Runs `flow`, a word of login_flow(). Errors: login_needed (denied, refused by the server),
// try_later (nobody approved in time, or the server could not be reached), usage, refused (an
// endpoint tokens must not go to). An error means that nothing was granted, or that what was
// granted is lost and another login makes up for it; no other grant is touched.
Result<NewSession> log_in(const LoginParts& parts, const std::string& flow);

// What follows is for the flows themselves -------------------------------------------------------

// Whose login it will be, as far as that is known before: provider, client and portal.
Identity identity_of(const LoginParts& parts);

// A request of the provider's client to `endpoint`, a field of providers.json, with its client
// authentication.
Result<HttpRequest> login_request(const LoginParts& parts, const char* endpoint, FormFields fields,
                                  std::string_view body);

// What a server said instead of a grant, with nothing of `secrets` in it.
Error refused_login(const Answer& answer, const std::string& what,
                    const std::vector<const Secret*>& secrets);

// Nothing came, or the server is overloaded.
bool worth_another_try(const Answer& answer);

}  // namespace authdb::oauth
