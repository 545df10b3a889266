// Dialects: how one provider's token endpoint spells what all of them mean.
//
// A further provider is a row of kDialects and the functions it names; the rotation behind it is
// the same.
#pragma once

#include <httplib.h>

#include <array>

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
  std::string client_secret{};  // of the body
  std::string authorization{};  // the header
};

struct Dialect {
  const char* name;
  const char* token_path;
  TokenRequest (*read)(const httplib::Request& request);
  bool (*accepts)(const Options& options, const TokenRequest& request);  // the token's transport
  nlohmann::json (*success)(const World& world, const Grant& grant);
  Answer (*failure)(const OauthError& error);
  bool rotates = true;  // false: the refresh token stays, and no answer repeats it
};

// The real paths of Nous and of RFC 6749; the others have their provider's id before theirs.
extern const std::array<Dialect, 9> kDialects;
extern const Dialect& kNous;

// MiniMax's answer to a poll for a user code: always 200, and a `status`.
Answer user_code_answer(const Granted<Grant>& granted);

}  // namespace authdb::portal
