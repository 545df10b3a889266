// A login whose page shows the code instead of sending it back: the person pastes `code#state`.
#pragma once

#include "oauth/login.h"

namespace authdb::oauth {

Result<LoginAnswer> pasted_code_login(const LoginParts& parts);

}  // namespace authdb::oauth
