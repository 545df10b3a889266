// The endpoints a client talks to: tokens, device codes, agent keys, inference.
#pragma once

#include "tools/portal/dialect.h"
#include "tools/portal/http_front.h"
#include "tools/portal/world.h"

namespace authdb::portal {

class OauthEndpoints {
 public:
  // Adds the routes to `front`. The world and this object must outlive it.
  OauthEndpoints(World& world, HttpFront& front);

 private:
  using Process = std::function<Answer()>;

  void add_token_routes(HttpFront& front);
  void add_login_routes(HttpFront& front);
  void add_bearer_routes(HttpFront& front);
  void add_token_route(HttpFront& front, const Dialect& dialect);

  // Counts the request, lets it meet its fault, answers.
  void serve(RequestRecord record, const Process& process, httplib::Response& response);
  RequestRecord record(Endpoint endpoint, const httplib::Request& request) const;

  Answer token(const Dialect& dialect, const TokenRequest& request);
  Granted<Grant> exchange(const Dialect& dialect, const TokenRequest& request);
  Granted<Grant> login(const Granted<GrantRequest>& approved);
  Answer device_code(const httplib::Request& request);
  Answer codex_user_code(const httplib::Request& request);
  Answer codex_device_token(const httplib::Request& request);
  Answer minimax_code(const httplib::Request& request);
  Answer authorize(const httplib::Request& request);
  Answer agent_key(const httplib::Request& request);
  Answer infer(const httplib::Request& request);
  Answer discovery() const;
  Answer xai_discovery() const;

  World& world_;
};

}  // namespace authdb::portal
