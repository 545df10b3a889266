// What the device logins share: starting one, and asking until a person has approved it (RFC 8628).
//
// Thread safety: one login's, as login.h.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "oauth/login.h"
#include "oauth/token_answer.h"

namespace authdb::oauth {

// How often to ask (RFC 8628 section 3.5).
class PollPace {
 public:
  explicit PollPace(Milliseconds interval) : interval_(interval) {}

  Milliseconds next() const { return std::max(interval_, back_off_); }
  Milliseconds interval() const { return interval_; }
  void pending() { back_off_ = Milliseconds{0}; }
  // For this and all later polls.
  void slow_down() {
    interval_ += Seconds{5};
    pending();
  }
  // Nothing usable came: 5 s, 10 s, … 60 s, or what the server asked for.
  void trouble(std::optional<Seconds> retry_after);

 private:
  Milliseconds interval_;
  Milliseconds back_off_{0};
};

// What one poll said.
struct Polled {
  enum class Kind { granted, pending, slow_down, trouble, refused };
  Kind kind = Kind::trouble;
  std::optional<Error> error = {};  // with `refused`
};

// What the answer to a poll says by an `error`, whatever its status: some servers send 200 with it.
// nullopt: it has none.
std::optional<Polled> read_poll_error(const Answer& answer,
                                      const std::vector<const Secret*>& secrets);

// RFC 8628's meaning of an answer. `secrets` are kept out of messages.
Polled read_device_poll(const Answer& answer, const std::vector<const Secret*>& secrets);

// A login that has been started and waits for a person.
struct Pending {
  PollPace pace;
  Instant deadline;
  int troubles_allowed = 0;  // in a row; 0: any number
};

// Asks until it is granted. try_later if the deadline passes first.
Result<LoginAnswer> poll_until_granted(const LoginParts& parts, Pending pending,
                                       const std::function<Answer()>& ask,
                                       const std::function<Polled(const Answer&)>& read);

// The first request of a device login, which may be repeated: an overloaded server is asked up to
// four times. The answer is a JSON object.
Result<TokenAnswer> start_device_login(const LoginParts& parts, const HttpRequest& request);

// Of an `interval` in units of `unit`: RFC 8628's 5 s if it is absent or nonsense.
Milliseconds poll_interval(const TokenAnswer& answer, Milliseconds unit);

// Now and as long as the answer's code or the caller's patience lasts.
Instant login_deadline(const LoginParts& parts, const TokenAnswer& answer);

// Where a person goes (RFC 8628 section 3.2), into `visit`: url, complete_url. The page is the
// answer's, else the provider's own. It may be at any host: no token goes there, and the server
// that names it is the provider's. It must be https, or http on this machine, without a user name
// and not over 2,048 bytes; refused, saying what came instead, if it is not: nobody could log in,
// and the next answer would be no better. The longer address with the code in it is only a
// convenience: one that is no such page, or at another host than the page, which a person is told,
// is left out, and visit.message says so.
Result<void> fill_in_pages(const LoginParts& parts, const TokenAnswer& answer, LoginEvent& visit);

// usage-proof reading of what a device answer must have; login_needed naming what is missing.
Result<void> check_fields(const TokenAnswer& answer, std::initializer_list<const char*> needed);

}  // namespace authdb::oauth
