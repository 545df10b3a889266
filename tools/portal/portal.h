// Portal is a simulated OAuth portal on a loopback port: strict single-use refresh tokens, reuse
// detection that kills the whole family, agent keys, device and browser login, an inference
// endpoint, and every fault a network or a server can come up with.
//
//   Portal portal;                                          // listening when constructed
//   const auto grant = portal.create_grant();
//   portal.add_fault({.drop = When::kAfter});               // rotates, then answers nothing
//   … POST grant.refresh_token to portal.base_url() + "/api/oauth/token" …
//   EXPECT_EQ(portal.token(grant.refresh_token).posts, 1);
//
// It is an independent check, so it shares no code with store/ or oauth/. Over HTTP it serves
//   POST /api/oauth/token          Nous dialect: refresh_token in the body or x-nous-refresh-token
//   POST /oauth/token              RFC 6749: refresh_token, device_code, authorization_code (PKCE)
//   POST /v1/oauth/token           the same with bodies in JSON
//   POST /PROVIDER/…               the dialects of the other providers (dialect.cpp)
//   POST /api/oauth/device/code    GET /oauth/authorize    POST /oauth/revoke
//   POST /api/accounts/deviceauth/usercode, …/token        Codex's device login
//   POST /oauth/code               MiniMax's user code, polled for at /oauth/token
//   POST /api/oauth/agent-key      POST /v1/chat/completions    GET /v1/models
//   GET  /.well-known/openid-configuration
//   /_control/…                    everything below as JSON; `authdb-portal --help` lists it
//
// Every token it makes is visibly fake (nrt_SIM_…, nat_SIM_…, sk-nous-SIM-…) and unique.
// Thread-safe. Any number of portals may run in one process.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/portal/counters.h"
#include "tools/portal/fake_token.h"
#include "tools/portal/fault.h"
#include "tools/portal/issuer.h"
#include "tools/portal/ledger.h"
#include "tools/portal/options.h"

namespace authdb::portal {

class Portal {
 public:
  // Throws std::invalid_argument for an address beyond loopback, std::system_error when it cannot
  // listen there.
  explicit Portal(const Options& options = {});
  ~Portal();  // stops

  std::string base_url() const;  // http://127.0.0.1:PORT, no slash at the end

  // Ends delays, closes every connection and waits for their threads. Idempotent. Counters and
  // requests can still be read.
  void stop();

  // A live grant, as if somebody had logged in.
  Grant create_grant(const GrantRequest& request = {});
  // Registers tokens made elsewhere as one live family, and returns it.
  std::string adopt(const Adoption& adoption);
  // Kills a family: its bearers get 401, its refresh tokens "Refresh session has been revoked".
  bool revoke(const std::string& family);  // false: no such family

  bool approve_device(const std::string& user_code, const std::string& account = {});
  bool deny_device(const std::string& user_code);

  void add_fault(const Fault& fault);
  void clear_faults();  // requests already delayed stay so
  int delayed() const;  // requests that a fault makes wait now
  void release();       // ends the delays under way

  std::int64_t now_ms() const;
  void set_now_ms(std::int64_t now_ms);
  void advance(std::chrono::milliseconds by);
  void freeze(bool frozen = true);

  Counters counters() const;
  TokenCounters token(const std::string& refresh_token) const;  // all zero when never seen
  int in_flight() const;                        // requests of clients that still wait
  std::vector<RequestRecord> requests() const;  // in order of arrival; control calls excepted

  // Blocks until `done` holds; asked again whenever a request arrives, is answered or ends.
  // False: `limit` has passed first.
  bool wait_until(const std::function<bool()>& done,
                  std::chrono::milliseconds limit = std::chrono::seconds(30)) const;

  void reset();  // as constructed, on the same port; also the clock

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace authdb::portal
