// What the store needs from outside to rotate a refresh token: the wire, and the meaning of its
// bytes. oauth/ implements it. Reading an answer is apart from fetching it, so that recovery can
// settle a journalled answer without a network.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "store/clock.h"
#include "store/credential.h"
#include "store/secret.h"

namespace authdb {

// What came back from one POST, before anybody judged it.
struct Answer {
  int http_status = 0;  // 0: no complete status line arrived
  Secret body;
  std::string content_type;
  bool complete = false;               // the body arrived to its end, and that is its end for sure
  std::optional<Seconds> retry_after;  // Retry-After, either form
  std::string failure;                 // scrubbed transport error; empty if there was none
  // The refresh token that it answers: the store's to fill in. judge() keeps it out of messages.
  Secret sent;
  Instant started_at{};                // when the request began: lifetimes count from here
  std::optional<Instant> server_time;  // its Date header: only ever compared, to warn

  bool is_success() const { return http_status >= 200 && http_status < 300; }
};

// What an answer means for the refresh token that was sent.
enum class Ruling {
  granted,    // there is a usable grant in it
  unspent,    // the server did not process the request; the token is as good as before
  uncertain,  // the server may have rotated and we did not learn the successor (DESIGN 5.4)
  rejected,   // a definite no
};

// Whose move it is after a failure. `providers.json` maps status and code to these words.
enum class FailureClass { none, terminal, login, transient, rate_limited, entitlement };

struct Judgement {
  Ruling ruling = Ruling::uncertain;
  // With `granted`, the new grant. With `uncertain`, whatever of the answer is usable: a refresh
  // token that arrived without an access token is kept.
  std::optional<Grant> grant;
  FailureClass failure = FailureClass::none;
  std::string code;     // the OAuth error code, or ours: `invalid_grant`, `transport`, `http_503`
  std::string message;  // for a person; server text in it is cut and scrubbed
  bool reuse = false;   // the server says that this token had been spent before
  // With `unspent`: a refusal (4xx) whose meaning nobody knows. If they go on, a login is needed.
  bool unknown = false;
  // A 2xx arrived, and its bytes could not be read in any way we know. They are kept for `doctor`.
  bool unreadable = false;
  std::optional<Seconds> retry_after;
};

// What a provider's table says about its tokens.
struct TokenPolicy {
  Seconds skew{120};                   // due this long before expiry
  std::optional<Seconds> reuse_grace;  // a spent token may be sent again this soon (DESIGN 5.4)
};

// For one credential's provider. Must be usable from any thread; lives at least as long as the
// call.
class TokenEndpoint {
 public:
  virtual ~TokenEndpoint() = default;

  // One refresh POST. `sent` is invoked once, after the connection (TLS included) stands and before
  // the first byte of the request leaves; if it returns false, nothing may be sent. Never retries.
  virtual Answer send(const Secret& refresh_token, const std::function<bool()>& sent) = 0;

  // Pure. Total: any bytes yield a judgement.
  virtual Judgement judge(const Answer& answer) const = 0;

  virtual TokenPolicy policy() const = 0;
};

// The endpoint of a credential, or nullptr if its provider is not one we know.
using EndpointFor = std::function<std::unique_ptr<TokenEndpoint>(const Identity&)>;

}  // namespace authdb
