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
  return read_body([&](const char* name) { return request.get_param_value(name); });
}

TokenRequest read_json(const httplib::Request& request) {
  const auto json = nlohmann::json::parse(request.body, nullptr, false);
  return read_body([&](const char* name) {
    const auto found = json.is_object() ? json.find(name) : json.end();
    return found != json.end() && found->is_string() ? found->template get<std::string>()
                                                     : std::string();
  });
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

nlohmann::json flat_error(const OauthError& error) {
  return {{"error", error.code}, {"error_description", error.description}};
}

}  // namespace

const Dialect kNous{"nous",      "/api/oauth/token", read_form_or_header, accepts_configured,
                    nous_answer, flat_error};
const Dialect kStandard{"standard",   "/oauth/token",  read_form,
                        accepts_body, standard_answer, flat_error};
const Dialect kJson{"json",       "/v1/oauth/token", read_json,
                    accepts_body, standard_answer,   flat_error};

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
