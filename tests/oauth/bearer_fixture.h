// A real store in a directory of its own, a clock that tests move, and bearers out of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>

#include "fakes.h"
#include "oauth/bearer.h"
#include "store/store.h"

namespace authdb::oauth {

inline constexpr Instant kStart = at_millis(1'790'000'000'000);

// One credential as a test wants it.
struct Seed {
  std::string provider = "nous";
  std::string label = "personal";
  AuthType auth_type = AuthType::oauth;
  BearerKind kind = BearerKind::agent_key;
  std::string source = "device_code";
  std::string scope = "inference:mint_agent_key";
  std::string portal;
  std::string access = "seed-oauth";
  std::string refresh = "seed-refresh";
  std::optional<Seconds> expires_in = Seconds{86400};
  std::string agent_key;
  std::optional<Seconds> key_expires_in;
  std::string profile = "default";
};

// The era in which access tokens are bearers themselves.
inline Seed jwt_seed() {
  Seed seed;
  seed.kind = BearerKind::access_token;
  seed.scope = "inference:invoke";
  return seed;
}

inline Change change_for(const Seed& seed, Instant now) {
  CredentialChange one;
  one.identity.emplace();
  one.identity->provider = seed.provider;
  one.identity->label = seed.label;
  one.identity->auth_type = seed.auth_type;
  one.identity->source = seed.source;
  one.identity->scope = seed.scope;
  one.identity->portal_base_url = seed.portal;
  one.grant.emplace();
  one.grant->access_token = Secret::copy_of(seed.access);
  one.grant->refresh_token = Secret::copy_of(seed.refresh);
  one.grant->bearer_kind = seed.kind;
  if (seed.expires_in) one.grant->expires_at = now + *seed.expires_in;
  if (!seed.agent_key.empty()) {
    one.agent_key.emplace();
    one.agent_key->secret = Secret::copy_of(seed.agent_key);
    if (seed.key_expires_in) one.agent_key->expires_at = now + *seed.key_expires_in;
  }
  one.bindings.push_back({seed.profile, std::nullopt});
  Change change;
  change.credentials.push_back(std::move(one));
  return change;
}

// The wire is a script, unless a test says otherwise.
class BearerTest : public testing::Test {
 protected:
  BearerTest() {
    std::string pattern = testing::TempDir() + "authdb-bearer-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~BearerTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  BearerParts parts() const {
    return {[this]() -> const ProviderRegistry& {
              ++registry_asked_;
              return registry_;
            },
            http_, environment(variables_)};
  }
  StoreOptions options() const {
    StoreOptions out;
    out.path = directory_ / "store" / "auth.db";
    out.key_file = directory_ / "seal.key";
    out.clock = [this] { return at_millis(now_); };
    out.endpoint_for = endpoints(parts(), out.clock);
    return out;
  }
  Store open() const {
    auto store = Store::open(options(), OpenMode::create);
    if (!store) throw std::runtime_error(store.error().message);
    return *store;
  }
  BearerSource source() const { return {open(), parts()}; }
  Uid add(const Seed& seed) {
    const auto applied = open().apply(change_for(seed, at_millis(now_)));
    if (!applied) throw std::runtime_error(applied.error().message);
    return applied->uids.at(0);
  }

  Result<Bearer> bearer(const std::string& rejected = {}, Milliseconds min_ttl = {}) {
    BearerRequest request;
    request.provider = provider_;
    request.rejected = rejected;
    request.min_ttl = min_ttl;
    return source().bearer(request);
  }
  void pass(Milliseconds time) { now_ += time.count(); }

  void answer(int status, const std::string& body) {
    http_script_->answers.push_back(answered(status, body));
  }
  void answer_refresh(const std::string& n, const std::string& more = R"(,"expires_in":86400)") {
    answer(200, R"({"access_token":"REFRESHED-OAUTH-)" + n + R"(","refresh_token":"REFRESHED-RT-)" +
                    n + "\"" + more + "}");
  }
  void answer_mint(const std::string& n, int expires_in = 1800) {
    answer(200, R"({"api_key":"MINTED-)" + n + R"(","key_id":"k","expires_in":)" +
                    std::to_string(expires_in) + "}");
  }
  // `token` and `agent-key`, in the order they were asked.
  std::vector<std::string> asked() const {
    std::vector<std::string> out;
    for (const Seen& seen : http_script_->seen) {
      out.push_back(seen.url.substr(seen.url.rfind('/') + 1));
    }
    return out;
  }

  std::filesystem::path directory_;
  std::atomic<std::int64_t> now_{to_millis(kStart)};
  std::map<std::string, std::string> variables_;
  std::string provider_ = "nous";
  ProviderRegistry registry_ = ProviderRegistry::load("/nonexistent");
  mutable std::atomic<int> registry_asked_{0};
  std::shared_ptr<ScriptedHttp> http_script_ = std::make_shared<ScriptedHttp>();
  std::shared_ptr<HttpTransport> http_ = http_script_;
};

inline std::string text(const Secret& secret) { return std::string(secret.reveal()); }

// The token of a bearer, or what went wrong instead.
inline std::string text(const Result<Bearer>& bearer) {
  return bearer ? text(bearer->token) : "error: " + bearer.error().message;
}

}  // namespace authdb::oauth
