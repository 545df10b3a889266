#include "tools/portal/approvals.h"

#include <algorithm>

#include "tools/portal/fake_token.h"

namespace authdb::portal {
namespace {

tl::unexpected<OauthError> refuse(std::string code, std::string description) {
  return tl::unexpected(OauthError{400, std::move(code), std::move(description)});
}

// ABCD-1234, as people type it.
std::string new_user_code() {
  auto code = fake_token("").substr(0, 8);
  std::transform(code.begin(), code.end(), code.begin(), [](char c) {
    return c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return code.insert(4, "-");
}

}  // namespace

Approvals::Approvals(const Options& options, const SimClock& clock)
    : options_(options), clock_(clock) {}

DeviceCode Approvals::start_device(const GrantRequest& request, const std::string& challenge) {
  const std::lock_guard lock(mutex_);
  DeviceCode code{fake_token("dev_SIM_"), new_user_code()};
  const auto expires_at = clock_.now_ms() + options_.device_ttl.count() * 1000;
  const auto state = options_.auto_approve_device ? State::kApproved : State::kPending;
  devices_[code.device_code] = {request, code.user_code, expires_at, state, challenge};
  return code;
}

bool Approvals::approve_device(const std::string& user_code, const std::string& account) {
  const std::lock_guard lock(mutex_);
  Device* device = find(user_code);
  if (device == nullptr) return false;
  device->state = State::kApproved;
  if (!account.empty()) device->grant.account = account;
  return true;
}

bool Approvals::deny_device(const std::string& user_code) {
  const std::lock_guard lock(mutex_);
  Device* device = find(user_code);
  if (device != nullptr) device->state = State::kDenied;
  return device != nullptr;
}

Granted<GrantRequest> Approvals::redeem_device(const std::string& device_code,
                                               const std::string& verifier) {
  const std::lock_guard lock(mutex_);
  return redeem_locked(device_code, verifier);
}

Granted<GrantRequest> Approvals::redeem_user_code(const std::string& user_code,
                                                  const std::string& verifier) {
  const std::lock_guard lock(mutex_);
  for (const auto& [device_code, device] : devices_) {
    if (device.user_code == user_code) return redeem_locked(std::string(device_code), verifier);
  }
  return refuse("invalid_grant", "user code is not known");
}

Granted<GrantRequest> Approvals::redeem_locked(const std::string& device_code,
                                               const std::string& verifier) {
  const auto found = devices_.find(device_code);
  if (found == devices_.end()) return refuse("invalid_grant", "device code is not known");
  const Device device = found->second;
  if (clock_.now_ms() >= device.expires_at) {
    return refuse("expired_token", "The device code has expired");
  }
  if (device.state == State::kPending) {
    return refuse("authorization_pending", "The user has not approved this device yet");
  }
  devices_.erase(found);
  if (device.state == State::kDenied) return refuse("access_denied", "The user said no");
  if (!device.challenge.empty() && device.challenge != pkce_challenge(verifier)) {
    return refuse("invalid_grant", "code_verifier does not match");
  }
  return device.grant;
}

std::string Approvals::start_authorization(AuthorizationRequest request) {
  const std::lock_guard lock(mutex_);
  auto code = fake_token("code_SIM_");
  authorizations_.emplace(code, std::move(request));
  return code;
}

Granted<GrantRequest> Approvals::redeem_authorization(const std::string& code,
                                                      const CodeProof& proof) {
  const std::lock_guard lock(mutex_);
  const auto found = authorizations_.find(code);
  if (found == authorizations_.end()) return refuse("invalid_grant", "code is not valid");
  const AuthorizationRequest request = std::move(found->second);
  authorizations_.erase(found);
  if (request.redirect_uri != proof.redirect_uri) {
    return refuse("invalid_grant", "redirect_uri differs");
  }
  if (request.challenge != pkce_challenge(proof.verifier)) {
    return refuse("invalid_grant", "code_verifier does not match");
  }
  if (!proof.state.empty() && proof.state != request.state) {
    return refuse("invalid_grant", "state differs");
  }
  return request.grant;
}

void Approvals::reset() {
  const std::lock_guard lock(mutex_);
  devices_.clear();
  authorizations_.clear();
}

Approvals::Device* Approvals::find(const std::string& user_code) {
  for (auto& [code, device] : devices_) {
    if (device.user_code == user_code) return &device;
  }
  return nullptr;
}

}  // namespace authdb::portal
