// The device authorization grant (RFC 8628): a code on this screen, approved in a browser anywhere.
#pragma once

#include "oauth/login.h"

namespace authdb::oauth {

Result<LoginAnswer> device_login(const LoginParts& parts);

}  // namespace authdb::oauth
