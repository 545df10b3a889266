#include "tools/portal/dialect.h"

namespace authdb::portal {
namespace {

constexpr const char* kRefreshHeader = "x-nous-refresh-token";

TokenRequest read_form(const httplib::Request& request) {
  const auto field = [&](const char* name) { return request.get_param_value(name); };
  TokenRequest form{
      field("grant_type"),  field("client_id"), field("refresh_token"), "",
      field("device_code"), field("code"),      field("code_verifier"), field("redirect_uri")};
  if (!form.refresh_token.empty()) form.refresh_in = "body";
  return form;
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

}  // namespace authdb::portal
