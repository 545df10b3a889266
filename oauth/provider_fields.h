// The text fields of a provider by the names that provider files use: one list for reading files,
// for the environment's overrides and for the hosts a provider may talk to.
#pragma once

#include <array>
#include <string_view>

#include "oauth/provider.h"

namespace authdb::oauth {

struct TextField {
  std::string_view name;
  std::string Provider::*member;
  bool is_endpoint;  // a URL, or a path below portal_base_url, of the provider's own
};

inline constexpr std::array<TextField, 23> kTextFields{{
    {"id", &Provider::id, false},
    {"name", &Provider::name, false},
    {"issuer", &Provider::issuer, true},
    {"token_endpoint", &Provider::token_endpoint, true},
    {"revocation_endpoint", &Provider::revocation_endpoint, true},
    {"login", &Provider::login, false},
    {"device_authorization_endpoint", &Provider::device_authorization_endpoint, true},
    {"device_token_endpoint", &Provider::device_token_endpoint, true},
    {"verification_uri", &Provider::verification_uri, true},
    {"authorization_endpoint", &Provider::authorization_endpoint, true},
    {"portal_base_url", &Provider::portal_base_url, true},
    {"inference_base_url", &Provider::inference_base_url, true},
    {"redirect_uri", &Provider::redirect_uri, false},
    {"client_id", &Provider::client_id, false},
    {"client_auth", &Provider::client_auth, false},
    {"client_secret_env", &Provider::client_secret_env, false},
    {"scope", &Provider::scope, false},
    {"token_body", &Provider::token_body, false},
    {"code_body", &Provider::code_body, false},
    {"revocation_body", &Provider::revocation_body, false},
    {"refresh_token_in", &Provider::refresh_token_in, false},
    {"ca_file", &Provider::ca_file, false},
    {"login_hint", &Provider::login_hint, false},
}};

}  // namespace authdb::oauth
