#include "tools/portal/oauth_endpoints.h"

#include "tools/portal/fake_token.h"

namespace authdb::portal {
namespace {

using nlohmann::json;

constexpr const char* kDeviceGrant = "urn:ietf:params:oauth:grant-type:device_code";
constexpr const char* kUserCodeGrant = "urn:ietf:params:oauth:grant-type:user_code";

Answer oauth_error(int status, const char* code, const char* description) {
  return json_answer(status, {{"error", code}, {"error_description", description}});
}

std::string bearer_of(const httplib::Request& request) {
  constexpr std::string_view kScheme = "Bearer ";
  const auto header = request.get_header_value("Authorization");
  return header.rfind(kScheme, 0) == 0 ? header.substr(kScheme.size()) : std::string{};
}

std::string hidden(const std::string& token) { return token.empty() ? "" : fingerprint(token); }

// Only to ourselves: an open redirector has no place on a developer's machine.
bool is_loopback_url(const std::string& url) {
  return url.rfind("http://127.0.0.1:", 0) == 0 || url.rfind("http://localhost:", 0) == 0 ||
         url.rfind("http://[::1]:", 0) == 0;
}

// RFC 6749 section 2.3.1, in either place.
bool proves_client(const std::string& secret, const TokenRequest& request) {
  if (secret.empty() || request.client_secret == secret) return true;
  const auto encoded = [](const std::string& text) {
    return httplib::detail::encode_query_param(text);
  };
  return request.authorization ==
         httplib::make_basic_authentication_header(encoded(request.client_id), encoded(secret))
             .second;
}

Delivery delivery_of(const Fault& fault) {
  Delivery delivery;
  delivery.cut_after = fault.cut_after;
  delivery.drip = fault.drip;
  delivery.endless = fault.endless;
  return delivery;
}

}  // namespace

OauthEndpoints::OauthEndpoints(World& world, HttpFront& front) : world_(world) {
  add_token_routes(front);
  add_login_routes(front);
  add_bearer_routes(front);
}

void OauthEndpoints::add_token_routes(HttpFront& front) {
  for (const Dialect& dialect : kDialects) add_token_route(front, dialect);
  front.Post("/oauth/revoke", [this](const auto& request, auto& response) {
    const auto token = request.get_param_value("token");
    auto seen = record(Endpoint::kRevoke, request);
    seen.family = world_.issuer.family_of(token);
    const auto revoke = [this, family = seen.family] {
      world_.issuer.revoke(family);
      return json_answer(200, json::object());  // RFC 7009: also for a token nobody knows
    };
    serve(std::move(seen), revoke, response);
  });
}

void OauthEndpoints::add_login_routes(HttpFront& front) {
  front.Post("/api/oauth/device/code", [this](const auto& request, auto& response) {
    serve(
        record(Endpoint::kDevice, request), [&] { return device_code(request); }, response);
  });
  const auto device_route = [&](const char* path,
                                Answer (OauthEndpoints::*answer)(const httplib::Request&)) {
    front.Post(path, [this, answer](const auto& request, auto& response) {
      serve(
          record(Endpoint::kDevice, request), [&] { return (this->*answer)(request); }, response);
    });
  };
  device_route("/api/accounts/deviceauth/usercode", &OauthEndpoints::codex_user_code);
  device_route("/api/accounts/deviceauth/token", &OauthEndpoints::codex_device_token);
  device_route("/oauth/code", &OauthEndpoints::minimax_code);
  front.Get("/oauth/authorize", [this](const auto& request, auto& response) {
    serve(
        record(Endpoint::kAuthorize, request), [&] { return authorize(request); }, response);
  });
  const auto document = [&](const char* path, Answer (OauthEndpoints::*answer)() const) {
    front.Get(path, [this, answer](const auto& request, auto& response) {
      serve(
          record(Endpoint::kDiscovery, request), [&] { return (this->*answer)(); }, response);
    });
  };
  document("/.well-known/openid-configuration", &OauthEndpoints::discovery);
  document("/xai-oauth/.well-known/openid-configuration", &OauthEndpoints::xai_discovery);
}

void OauthEndpoints::add_bearer_routes(HttpFront& front) {
  front.Post("/api/oauth/agent-key", [this](const auto& request, auto& response) {
    serve(
        record(Endpoint::kAgentKey, request), [&] { return agent_key(request); }, response);
  });
  const auto infer_route = [this](const auto& request, auto& response) {
    serve(
        record(Endpoint::kInference, request), [&] { return infer(request); }, response);
  };
  front.Post("/v1/chat/completions", infer_route);
  front.Get("/v1/models", infer_route);
}

void OauthEndpoints::add_token_route(HttpFront& front, const Dialect& dialect) {
  front.Post(dialect.token_path, [this, &dialect](const auto& request, auto& response) {
    const TokenRequest form = dialect.read(request);
    auto seen = record(Endpoint::kToken, request);
    seen.grant_type = form.grant_type;
    seen.refresh_token = hidden(form.refresh_token);
    seen.refresh_in = form.refresh_in;
    seen.family = world_.issuer.family_of(form.refresh_token);
    serve(
        std::move(seen), [&] { return token(dialect, form); }, response);
  });
}

void OauthEndpoints::serve(RequestRecord record, const Process& process,
                           httplib::Response& response) {
  Exchange& exchange = Exchange::current();
  const auto endpoint = record.endpoint;
  const auto grant_type = record.grant_type;
  const auto family = record.family;
  exchange.flight = world_.ledger.arrive(
      std::move(record), [&connection = exchange.connection] { return connection.hung_up(); });
  const Fault fault = world_.faults.take(endpoint, grant_type, family);
  const auto answer = answer_with(fault, world_.pauses, process);
  exchange.delivery = delivery_of(fault);
  if (!answer) {
    exchange.delivery.cut_after = 0;
    return;
  }
  exchange.flight->answered(answer->status);
  write(*answer, response);
  response.set_header("Date", http_date(world_.clock.now_ms()));
}

RequestRecord OauthEndpoints::record(Endpoint endpoint, const httplib::Request& request) const {
  const auto bearer = bearer_of(request);
  RequestRecord record;
  record.at_ms = world_.clock.now_ms();
  record.endpoint = endpoint;
  record.method = request.method;
  record.path = request.path;
  record.user_agent = request.get_header_value("User-Agent");
  record.bearer = hidden(bearer);
  record.family = world_.issuer.family_of(bearer);
  return record;
}

Answer OauthEndpoints::token(const Dialect& dialect, const TokenRequest& request) {
  if (request.grant_type == kUserCodeGrant) {
    return user_code_answer(
        login(world_.approvals.redeem_user_code(request.user_code, request.code_verifier)));
  }
  const auto grant = exchange(dialect, request);
  if (!grant) return dialect.failure(grant.error());
  return json_answer(200, dialect.success(world_, *grant));
}

Granted<Grant> OauthEndpoints::exchange(const Dialect& dialect, const TokenRequest& request) {
  if (!proves_client(world_.options.client_secret, request)) {
    return tl::unexpected(OauthError{401, "invalid_client", "Client authentication failed"});
  }
  if (request.grant_type == "refresh_token") {
    if (request.refresh_token.empty() || !dialect.accepts(world_.options, request)) {
      return tl::unexpected(OauthError{400, "invalid_request",
                                       "refresh_token is missing, or not where it is expected"});
    }
    return world_.issuer.refresh(request.refresh_token, request.client_id, dialect.rotates);
  }
  if (request.grant_type == kDeviceGrant) {
    return login(world_.approvals.redeem_device(request.device_code, request.code_verifier));
  }
  if (request.grant_type == "authorization_code") {
    return login(world_.approvals.redeem_authorization(
        request.code, {request.code_verifier, request.redirect_uri, request.state}));
  }
  return tl::unexpected(OauthError{400, "unsupported_grant_type", "grant_type is not supported"});
}

Granted<Grant> OauthEndpoints::login(const Granted<GrantRequest>& approved) {
  return approved.map(
      [this](const GrantRequest& request) { return world_.issuer.create(request); });
}

Answer OauthEndpoints::device_code(const httplib::Request& request) {
  GrantRequest grant;
  grant.client_id = request.get_param_value("client_id");
  grant.scope = request.get_param_value("scope");
  if (grant.client_id.empty()) return oauth_error(400, "invalid_request", "client_id is missing");
  const auto code = world_.approvals.start_device(grant, request.get_param_value("code_challenge"));
  const auto verification_uri = world_.base_url + "/device";
  return json_answer(
      200, {{"device_code", code.device_code},
            {"user_code", code.user_code},
            {"verification_uri", verification_uri},
            {"verification_uri_complete", verification_uri + "?user_code=" + code.user_code},
            {"expires_in", world_.options.device_ttl.count()},
            {"interval", world_.options.device_interval.count()}});
}

// OpenAI's own device login: it polls for an authorization code whose verifier the server drew.
Answer OauthEndpoints::codex_user_code(const httplib::Request& request) {
  const auto body = json::parse(request.body, nullptr, false);
  if (!body.is_object() || !body.contains("client_id")) {
    return oauth_error(400, "invalid_request", "expected JSON with a client_id");
  }
  GrantRequest grant;
  grant.client_id = body.value("client_id", "");
  const auto code = world_.approvals.start_device(grant);
  return json_answer(200, {{"device_auth_id", code.device_code},
                           {"user_code", code.user_code},
                           {"interval", std::to_string(world_.options.device_interval.count())}});
}

Answer OauthEndpoints::codex_device_token(const httplib::Request& request) {
  const auto body = json::parse(request.body, nullptr, false);
  if (!body.is_object()) return oauth_error(400, "invalid_request", "expected JSON");
  const auto approved = world_.approvals.redeem_device(body.value("device_auth_id", ""));
  if (!approved) {
    const bool pending = approved.error().code == "authorization_pending";
    OauthError error = approved.error();
    error.status = pending ? 403 : 400;
    return kNous.failure(error);
  }
  const auto verifier = fake_token("verifier_SIM_") + fake_token("_");
  const auto challenge = pkce_challenge(verifier);
  const auto code = world_.approvals.start_authorization(
      {*approved, world_.base_url + "/deviceauth/callback", challenge, ""});
  return json_answer(
      200,
      {{"authorization_code", code}, {"code_verifier", verifier}, {"code_challenge", challenge}});
}

Answer OauthEndpoints::minimax_code(const httplib::Request& request) {
  const auto field = [&](const char* name) { return request.get_param_value(name); };
  if (field("response_type") != "code" || field("code_challenge_method") != "S256" ||
      field("code_challenge").empty() || !request.has_header("x-request-id")) {
    return oauth_error(400, "invalid_request", "needs response_type, PKCE S256 and x-request-id");
  }
  GrantRequest grant;
  grant.client_id = field("client_id");
  grant.scope = field("scope");
  const auto code = world_.approvals.start_device(grant, field("code_challenge"));
  return json_answer(200, {{"user_code", code.user_code},
                           {"verification_uri", world_.base_url + "/device"},
                           {"expired_in", world_.options.device_ttl.count()},
                           {"interval", world_.options.device_interval.count() * 1000},
                           {"state", field("state")}});
}

// The user who says yes is simulated too, so this goes straight back with a code; with code=true it
// shows what is to be pasted instead.
Answer OauthEndpoints::authorize(const httplib::Request& request) {
  const auto field = [&](const char* name) { return request.get_param_value(name); };
  const auto redirect_uri = field("redirect_uri");
  if (field("response_type") != "code" || field("client_id").empty() ||
      field("code_challenge").empty() || field("code_challenge_method") != "S256") {
    return oauth_error(400, "invalid_request", "needs response_type=code, client_id, PKCE S256");
  }
  const bool shown = field("code") == "true";
  if (!shown && !is_loopback_url(redirect_uri)) {
    return oauth_error(400, "invalid_request", "redirect_uri must be http on loopback");
  }
  GrantRequest grant;
  grant.client_id = field("client_id");
  grant.scope = field("scope");
  const auto code = world_.approvals.start_authorization(
      {std::move(grant), redirect_uri, field("code_challenge"), field("state")});
  if (shown) return json_answer(200, {{"paste", code + "#" + field("state")}});
  Answer answer = json_answer(302, json::object());
  answer.headers.emplace_back(
      "Location",
      httplib::append_query_params(
          redirect_uri, {{"code", code}, {"state", field("state")}, {"iss", world_.base_url}}));
  return answer;
}

Answer OauthEndpoints::agent_key(const httplib::Request& request) {
  if (world_.options.era == Era::kJwt) {
    return oauth_error(404, "not_found", "Agent keys are retired; the access token is the bearer");
  }
  const auto body = json::parse(request.body, nullptr, false);
  if (!body.is_object() || !body.value("min_ttl_seconds", json(0)).is_number_integer()) {
    return oauth_error(400, "invalid_request", "expected JSON with an integer min_ttl_seconds");
  }
  const auto key = world_.issuer.mint(bearer_of(request));
  if (!key) return kNous.failure(key.error());
  return json_answer(200, {{"api_key", key->api_key},
                           {"key_id", key->key_id},
                           {"expires_at", iso8601(key->expires_at_ms)},
                           {"expires_in", key->expires_in},
                           {"reused", false}});
}

Answer OauthEndpoints::infer(const httplib::Request& request) {
  if (!world_.issuer.may_infer(bearer_of(request))) {
    return json_answer(401, {{"error", {{"code", "invalid_api_key"}, {"message", "401"}}}});
  }
  const char* model = "Hermes-4-405B";
  if (request.method == "GET") {
    const json only = {{"id", model}, {"object", "model"}};
    return json_answer(200, {{"object", "list"}, {"data", json::array({only})}});
  }
  const json choice = {{"index", 0},
                       {"finish_reason", "stop"},
                       {"message", {{"role", "assistant"}, {"content", "simulated"}}}};
  return json_answer(200, {{"id", "chatcmpl-SIM"},
                           {"object", "chat.completion"},
                           {"model", model},
                           {"choices", json::array({choice})}});
}

Answer OauthEndpoints::discovery() const {
  const auto& url = world_.base_url;
  return json_answer(200, {{"issuer", url},
                           {"authorization_endpoint", url + "/oauth/authorize"},
                           {"token_endpoint", url + "/oauth/token"},
                           {"device_authorization_endpoint", url + "/api/oauth/device/code"},
                           {"revocation_endpoint", url + "/oauth/revoke"},
                           {"authorization_response_iss_parameter_supported", true}});
}

// An issuer whose URL has a path, and a document in only one of the two places.
Answer OauthEndpoints::xai_discovery() const {
  const auto issuer = world_.base_url + "/xai-oauth";
  return json_answer(200, {{"issuer", issuer},
                           {"authorization_endpoint", issuer + "/oauth2/authorize"},
                           {"token_endpoint", issuer + "/oauth2/token"}});
}

}  // namespace authdb::portal
