// Whose grant an answer brings, as far as it says so. Nothing here is verified: good enough to
// notice another account's grant, never to trust somebody's word about who he is. Pure,
// thread-safe.
#pragma once

#include <string>

#include "oauth/token_answer.h"

namespace authdb::oauth {

struct GrantOwner {
  std::string account;  // an account's id where the provider has such a thing; empty: unknown
  std::string subject;  // of the access token, else of the id token, else stated; empty: unknown
};

// The access token comes first because the store keeps it: what it says can be compared with what
// the next one says. Some issuers give the id token another subject.
GrantOwner owner_of(const TokenAnswer& answer);

}  // namespace authdb::oauth
