// Dialects: how one provider's token endpoint spells what all of them mean.
//
// A further provider (JSON bodies, MiniMax's status field, nested errors) is a row of kDialects
// and the functions it names; the rotation behind it is the same.
#pragma once

#include <httplib.h>

#include "tools/portal/answer.h"
#include "tools/portal/oauth_error.h"
#include "tools/portal/world.h"

namespace authdb::portal {

struct TokenRequest {
  std::string grant_type{};
  std::string client_id{};
  std::string refresh_token{};
  std::string refresh_in{};  // body | header; empty without a refresh token
  std::string device_code{};
  std::string code{};
  std::string code_verifier{};
  std::string redirect_uri{};
  std::string user_code{};
  std::string state{};
};

struct Dialect {
  const char* name;
  const char* token_path;
  TokenRequest (*read)(const httplib::Request& request);
  bool (*accepts)(const Options& options, const TokenRequest& request);  // the token's transport
  nlohmann::json (*success)(const World& world, const Grant& grant);
  nlohmann::json (*failure)(const OauthError& error);
};

extern const Dialect kNous;      // POST /api/oauth/token
extern const Dialect kStandard;  // POST /oauth/token, RFC 6749
extern const Dialect kJson;      // POST /v1/oauth/token, bodies in JSON

// MiniMax's answer to a poll for a user code: always 200, and a `status`.
Answer user_code_answer(const Granted<Grant>& granted);

}  // namespace authdb::portal
