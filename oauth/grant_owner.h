// Whose grant an answer brings, as far as it says so. Nothing here is verified: good enough to
// notice another account's grant, never to trust somebody's word about who he is. Pure,
// thread-safe.
#pragma once

#include <string>

#include "oauth/token_answer.h"
#include "store/credential.h"

namespace authdb::oauth {

struct GrantOwner {
  std::string account;  // an account's id where the provider has such a thing; empty: unknown
  Subjects subject;     // empty: unknown
};

GrantOwner owner_of(const TokenAnswer& answer);

}  // namespace authdb::oauth
