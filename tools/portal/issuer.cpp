#include "tools/portal/issuer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/portal/fake_token.h"

namespace authdb::portal {
namespace {

constexpr std::string_view kInvoke = "inference:invoke";
constexpr std::string_view kMint = "inference:mint_agent_key";

std::int64_t ms(std::chrono::seconds span) { return std::chrono::milliseconds(span).count(); }

OauthError invalid_grant(std::string description) {
  return {400, "invalid_grant", std::move(description)};
}

bool looks_like_jwt(const std::string& token) {
  return std::count(token.begin(), token.end(), '.') == 2;
}

}  // namespace

Issuer::Issuer(const Options& options, const SimClock& clock) : options_(options), clock_(clock) {}

Grant Issuer::create(const GrantRequest& request) {
  const std::lock_guard lock(mutex_);
  Family family;
  family.shown.account = request.account;
  family.client_id = request.client_id;
  family.scope = request.scope.empty() ? default_scope() : request.scope;
  family.access_ttl_ms = ms(request.access_ttl.value_or(options_.access_ttl));
  const auto id = new_family(std::move(family));
  issue(id, families_.at(id));
  return grant(id, families_.at(id));
}

std::string Issuer::adopt(const Adoption& adoption) {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.now_ms();
  Family family;
  family.scope = adoption.scope.empty() ? default_scope() : adoption.scope;
  family.access_ttl_ms = ms(options_.access_ttl);
  family.current_refresh = adoption.refresh_token;
  family.current_access = adoption.access_token;
  family.access_expires_at = now + ms(adoption.access_expires_in.value_or(options_.access_ttl));
  family.shown.generation = static_cast<int>(adoption.spent.size()) + 1;
  const auto access_expires_at = family.access_expires_at;
  const auto id = new_family(std::move(family));

  int generation = 0;
  for (const auto& spent : adoption.spent) refresh_[spent] = {id, ++generation, false};
  refresh_[adoption.refresh_token] = {id, ++generation, false};
  if (!adoption.access_token.empty()) {
    bearers_[adoption.access_token] = {id, false, access_expires_at};
  }
  if (!adoption.agent_key.empty()) {
    const auto ttl = adoption.agent_key_expires_in.value_or(options_.agent_key_ttl);
    bearers_[adoption.agent_key] = {id, true, now + ms(ttl)};
  }
  return id;
}

Granted<Grant> Issuer::refresh(const std::string& refresh_token, const std::string& client_id,
                               bool rotate) {
  const std::lock_guard lock(mutex_);
  const auto found = refresh_.find(refresh_token);
  if (found == refresh_.end()) {
    return tl::unexpected(invalid_grant("refresh token is no longer valid"));
  }
  Refresh& token = found->second;
  Family& family = families_.at(token.family);
  if (!family.client_id.empty() && !client_id.empty() && client_id != family.client_id) {
    return tl::unexpected(invalid_grant("refresh token was issued to another client"));
  }
  if (family.shown.revoked) {
    return tl::unexpected(invalid_grant("Refresh session has been revoked"));
  }
  if (token.generation == family.shown.generation) {
    return rotate ? spend(token.family, family) : renew(token.family, family);
  }
  if (within_grace(family, token)) return grant(token.family, family);
  return reuse(family, token);
}

Granted<AgentKey> Issuer::mint(const std::string& access_token) {
  const std::lock_guard lock(mutex_);
  const auto* bearer = live(access_token);
  if (bearer == nullptr || bearer->agent_key) {
    return tl::unexpected(OauthError{401, "invalid_token", "Access token is invalid or expired"});
  }
  const auto expires_at = clock_.now_ms() + ms(options_.agent_key_ttl);
  AgentKey key{fake_token(kAgentKeyPrefix), fake_token("key_SIM_"), expires_at,
               options_.agent_key_ttl.count()};
  const Bearer minted{bearer->family, true, expires_at};
  bearers_[key.api_key] = minted;
  ++mints_;
  return key;
}

bool Issuer::may_infer(const std::string& bearer) const {
  const std::lock_guard lock(mutex_);
  const auto* found = live(bearer);
  if (found == nullptr) return false;
  if (found->agent_key) return options_.era != Era::kJwt;
  return options_.era != Era::kAgentKey && looks_like_jwt(bearer) &&
         families_.at(found->family).scope.find(kInvoke) != std::string::npos;
}

bool Issuer::revoke(const std::string& family) {
  const std::lock_guard lock(mutex_);
  const auto found = families_.find(family);
  if (found == families_.end()) return false;
  found->second.shown.revoked = true;
  return true;
}

std::string Issuer::family_of(const std::string& token) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = refresh_.find(token); found != refresh_.end()) return found->second.family;
  const auto bearer = bearers_.find(token);
  return bearer == bearers_.end() ? std::string{} : bearer->second.family;
}

std::map<std::string, FamilyState> Issuer::families() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, FamilyState> all;
  for (const auto& [id, family] : families_) all.emplace(id, family.shown);
  return all;
}

std::map<std::string, TokenState> Issuer::refresh_tokens() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, TokenState> all;
  for (const auto& [token, entry] : refresh_) {
    all.emplace(fingerprint(token), state_of_locked(entry));
  }
  return all;
}

int Issuer::mints() const {
  const std::lock_guard lock(mutex_);
  return mints_;
}

void Issuer::reset() {
  const std::lock_guard lock(mutex_);
  families_.clear();
  refresh_.clear();
  bearers_.clear();
  mints_ = 0;
}

// Never reused, not even after reset(): a late request must not meet a stranger's family.
std::string Issuer::new_family(Family family) {
  auto id = "fam_" + std::to_string(++last_family_);
  families_.emplace(id, std::move(family));
  return id;
}

Granted<Grant> Issuer::spend(const std::string& id, Family& family) {
  ++family.shown.generation;
  ++family.shown.rotations;
  family.rotated_at = clock_.now_ms();
  issue(id, family);
  return grant(id, family);
}

Granted<Grant> Issuer::renew(const std::string& id, Family& family) {
  issue_access(id, family);
  return grant(id, family);
}

Granted<Grant> Issuer::reuse(Family& family, Refresh& token) {
  token.reused = true;
  ++family.shown.reuse_detected;
  family.shown.revoked = true;
  return tl::unexpected(invalid_grant("Refresh token reuse detected; please re-authenticate"));
}

bool Issuer::within_grace(const Family& family, const Refresh& token) const {
  return token.generation + 1 == family.shown.generation &&
         clock_.now_ms() - family.rotated_at < ms(options_.reuse_grace);
}

void Issuer::issue(const std::string& id, Family& family) {
  family.current_refresh = fake_token(kRefreshPrefix);
  refresh_[family.current_refresh] = {id, family.shown.generation, false};
  issue_access(id, family);
}

void Issuer::issue_access(const std::string& id, Family& family) {
  family.current_access = new_access_token(family);
  family.access_expires_at = clock_.now_ms() + family.access_ttl_ms;
  bearers_[family.current_access] = {id, false, family.access_expires_at};
}

std::string Issuer::new_access_token(const Family& family) const {
  if (options_.era == Era::kAgentKey) return fake_token(kAccessPrefix);
  const auto now = clock_.now_ms();
  nlohmann::json claims = {
      {"iss", "authdb-portal (simulated)"},
      {"sub", family.shown.account.empty() ? "sim-user" : family.shown.account},
      {"client_id", family.client_id.empty() ? "hermes-cli" : family.client_id},
      {"scope", family.scope},
      {"iat", now / 1000},
      {"exp", (now + family.access_ttl_ms) / 1000},
      {"jti", fake_token(kAccessPrefix)}};
  if (family.shown.account.find('@') != std::string::npos) claims["email"] = family.shown.account;
  return fake_jwt(claims);
}

Grant Issuer::grant(const std::string& id, const Family& family) const {
  const auto left_ms = std::max<std::int64_t>(0, family.access_expires_at - clock_.now_ms());
  // Rounded up, so that a running clock does not turn 900 into 899.
  return {id, family.current_access, family.current_refresh, family.scope, (left_ms + 999) / 1000};
}

TokenState Issuer::state_of_locked(const Refresh& token) const {
  const auto& family = families_.at(token.family).shown;
  const char* state = token.reused                            ? "reused"
                      : family.revoked                        ? "revoked"
                      : token.generation == family.generation ? "current"
                                                              : "spent";
  return {token.family, token.generation, state};
}

const Issuer::Bearer* Issuer::live(const std::string& bearer) const {
  const auto found = bearers_.find(bearer);
  if (found == bearers_.end() || clock_.now_ms() >= found->second.expires_at) return nullptr;
  return families_.at(found->second.family).shown.revoked ? nullptr : &found->second;
}

std::string Issuer::default_scope() const {
  switch (options_.era) {
    case Era::kAgentKey:
      return std::string(kMint);
    case Era::kJwt:
      return std::string(kInvoke);
    case Era::kBoth:
      break;
  }
  return std::string(kInvoke) + ' ' + std::string(kMint);
}

}  // namespace authdb::portal
