// OpenAI's own device login: the server draws the PKCE pair, and what is polled for is an
// authorization code and its verifier, which then buy the grant.
#pragma once

#include "oauth/login.h"

namespace authdb::oauth {

Result<LoginAnswer> codex_device_login(const LoginParts& parts);

}  // namespace authdb::oauth
