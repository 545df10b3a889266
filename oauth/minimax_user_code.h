// MiniMax's login: a device login whose polls name the user code, carry a PKCE verifier, and are
// answered with 200 and a `status`.
#pragma once

#include "oauth/login.h"

namespace authdb::oauth {

Result<LoginAnswer> minimax_user_code_login(const LoginParts& parts);

}  // namespace authdb::oauth
