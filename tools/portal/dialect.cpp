#include "tools/portal/dialect.h"

namespace authdb::portal {
namespace {

constexpr const char* kRefreshHeader = "x-nous-refresh-token";

template <typename Field>
TokenRequest read_body(const Field& field) {
  TokenRequest body{
      field("grant_type"),  field("client_id"), field("refresh_token"), "",
      field("device_code"), field("code"),      field("code_verifier"), field("redirect_uri"),
      field("user_code"),   field("state")};
  if (!body.refresh_token.empty()) body.refresh_in = "body";
  return body;
}

TokenRequest read_form(const httplib::Request& request) {
  TokenRequest form = read_body([&](const char* name) { return request.get_param_value(name); });
  form.client_secret = request.get_param_value("client_secret");
  form.authorization = request.get_header_value("Authorization");
  return form;
}

TokenRequest read_json(const httplib::Request& request) {
  const auto json = nlohmann::json::parse(request.body, nullptr, false);
  return read_body([&](const char* name) {
    const auto found = json.is_object() ? json.find(name) : json.end();
    return found != json.end() && found->is_string() ? found->template get<std::string>()
                                                     : std::string();
  });
}

TokenRequest read_form_or_json(const httplib::Request& request) {
  const auto type = request.get_header_value("Content-Type");
  return type.rfind("application/json", 0) == 0 ? read_json(request) : read_form(request);
}

TokenRequest read_form_or_header(const httplib::Request& request) {
  TokenRequest form = read_form(request);
  if (request.has_header(kRefreshHeader)) {
    form.refresh_token = request.get_header_value(kRefreshHeader);
    form.refresh_in = "header";
  }
  return form;
}

bool accepts_configured(const Options& options, const TokenRequest& request) {
  if (options.refresh_in == RefreshIn::kEither) return true;
  return request.refresh_in == (options.refresh_in == RefreshIn::kHeader ? "header" : "body");
}

bool accepts_body(const Options&, const TokenRequest&) { return true; }

nlohmann::json standard_answer(const World&, const Grant& grant) {
  return {{"access_token", grant.access_token},
          {"refresh_token", grant.refresh_token},
          {"expires_in", grant.expires_in},
          {"token_type", "Bearer"},
          {"scope", grant.scope}};
}

nlohmann::json codex_answer(const World&, const Grant& grant) {
  return {{"access_token", grant.access_token},
          {"refresh_token", grant.refresh_token},
          {"id_token", grant.access_token},
          {"expires_in", grant.expires_in}};
}

nlohmann::json qwen_answer(const World&, const Grant& grant) {
  return {{"status", "success"},
          {"access_token", grant.access_token},
          {"refresh_token", grant.refresh_token},
          {"token_type", "Bearer"},
          {"expires_in", grant.expires_in},
          {"resource_url", "portal.qwen.ai"}};
}

// The expiry is a moment in milliseconds here; others of its servers give seconds.
nlohmann::json minimax_answer(const World& world, const Grant& grant) {
  return {{"status", "success"},
          {"access_token", grant.access_token},
          {"refresh_token", grant.refresh_token},
          {"token_type", "Bearer"},
          {"expired_in", world.clock.now_ms() + 1000 * grant.expires_in}};
}

nlohmann::json spotify_answer(const World& world, const Grant& grant) {
  auto answer = standard_answer(world, grant);
  answer.erase("refresh_token");
  return answer;
}

Answer flat_error(const OauthError& error) {
  return json_answer(error.status,
                     {{"error", error.code}, {"error_description", error.description}});
}

// The reason is a code of its own, one level down.
Answer codex_error(const OauthError& error) {
  const bool reused = error.description.find("reuse detected") != std::string::npos;
  return json_answer(reused ? 401 : error.status,
                     {{"error",
                       {{"code", reused ? "refresh_token_reused" : error.code},
                        {"type", "invalid_request_error"},
                        {"message", error.description}}}});
}

// Says no with 200.
Answer minimax_error(const OauthError& error) {
  return json_answer(200, {{"status", "error"}, {"message", error.description}});
}

}  // namespace

const std::array<Dialect, 9> kDialects{{
    {"nous", "/api/oauth/token", read_form_or_header, accepts_configured, nous_answer, flat_error},
    {"standard", "/oauth/token", read_form, accepts_body, standard_answer, flat_error},
    {"json", "/v1/oauth/token", read_json, accepts_body, standard_answer, flat_error},
    {"openai-codex", "/openai-codex/oauth/token", read_form, accepts_body, codex_answer,
     codex_error},
    {"anthropic", "/anthropic/v1/oauth/token", read_form_or_json, accepts_body, standard_answer,
     flat_error},
    {"xai-oauth", "/xai-oauth/oauth2/token", read_form, accepts_body, standard_answer, flat_error},
    {"qwen-oauth", "/qwen-oauth/api/v1/oauth2/token", read_form, accepts_body, qwen_answer,
     flat_error},
    {"minimax-oauth", "/minimax-oauth/oauth/token", read_form, accepts_body, minimax_answer,
     minimax_error},
    {"spotify", "/spotify/api/token", read_form, accepts_body, spotify_answer, flat_error, false},
}};
const Dialect& kNous = kDialects[0];

Answer user_code_answer(const Granted<Grant>& granted) {
  if (granted) {
    return json_answer(200, {{"status", "success"},
                             {"access_token", granted->access_token},
                             {"refresh_token", granted->refresh_token},
                             {"token_type", "Bearer"},
                             {"expired_in", granted->expires_in}});
  }
  const bool pending = granted.error().code == "authorization_pending";
  return json_answer(
      200, {{"status", pending ? "pending" : "error"}, {"message", granted.error().description}});
}

}  // namespace authdb::portal
