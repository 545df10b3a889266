// The authorization code with PKCE in the browser of this machine (RFC 8252, RFC 7636).
#pragma once

#include "oauth/login.h"

namespace authdb::oauth {

Result<LoginAnswer> loopback_login(const LoginParts& parts);

}  // namespace authdb::oauth
