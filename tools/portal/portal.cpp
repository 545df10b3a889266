#include "tools/portal/portal.h"

#include <sodium.h>

#include <stdexcept>

#include "tools/portal/control_api.h"
#include "tools/portal/listener.h"
#include "tools/portal/oauth_endpoints.h"

namespace authdb::portal {

// In order of construction: whatever serves requests comes after what they need.
struct Portal::Impl {
  explicit Impl(const Options& options)
      : listener(options.listen, options.port), world(options, listener.base_url()) {}

  void serve(int fd) {
    Connection connection(fd, world.pauses);
    front.serve(connection);
  }

  Listener listener;
  World world;
  HttpFront front;
  OauthEndpoints oauth{world, front};
  ControlApi control{world, front};
};

Portal::Portal(const Options& options) {
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot be initialised");
  impl_ = std::make_unique<Impl>(options);
  impl_->listener.start([impl = impl_.get()](int fd) { impl->serve(fd); });
}

Portal::~Portal() { stop(); }

std::string Portal::base_url() const { return impl_->world.base_url; }

void Portal::stop() {
  impl_->world.pauses.stop();
  impl_->listener.stop();
}

Grant Portal::create_grant(const GrantRequest& request) {
  return impl_->world.issuer.create(request);
}

std::string Portal::adopt(const Adoption& adoption) { return impl_->world.issuer.adopt(adoption); }

bool Portal::revoke(const std::string& family) { return impl_->world.issuer.revoke(family); }

bool Portal::approve_device(const std::string& user_code, const std::string& account) {
  return impl_->world.approvals.approve_device(user_code, account);
}

bool Portal::deny_device(const std::string& user_code) {
  return impl_->world.approvals.deny_device(user_code);
}

void Portal::add_fault(const Fault& fault) { impl_->world.faults.add(fault); }

void Portal::clear_faults() { impl_->world.faults.clear(); }

int Portal::delayed() const { return impl_->world.pauses.waiting(); }

void Portal::release() { impl_->world.pauses.release(); }

std::int64_t Portal::now_ms() const { return impl_->world.clock.now_ms(); }

void Portal::set_now_ms(std::int64_t now_ms) { impl_->world.clock.set(now_ms); }

void Portal::advance(std::chrono::milliseconds by) { impl_->world.clock.advance(by); }

void Portal::freeze(bool frozen) { impl_->world.clock.freeze(frozen); }

Counters Portal::counters() const { return impl_->world.counters(); }

TokenCounters Portal::token(const std::string& refresh_token) const {
  const auto tokens = counters().tokens;
  const auto found = tokens.find(fingerprint(refresh_token));
  return found == tokens.end() ? TokenCounters{} : found->second;
}

int Portal::in_flight() const { return impl_->world.ledger.in_flight(); }

std::vector<RequestRecord> Portal::requests() const { return impl_->world.ledger.requests(); }

bool Portal::wait_until(const std::function<bool()>& done, std::chrono::milliseconds limit) const {
  // A change between the question and the wait is missed, and a client that hangs up announces
  // nothing: hence the short waits.
  constexpr std::chrono::milliseconds kSlice{5};
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    impl_->world.ledger.wait_for_change(kSlice);
  }
  return true;
}

void Portal::reset() { impl_->world.reset(); }

}  // namespace authdb::portal
