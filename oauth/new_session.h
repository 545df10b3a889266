// Puts what a login yielded into the store. A grant is replaced only now that the new one is in
// hand: the same account's credential moves to its next family, another account becomes a new
// credential, and nothing is ever overwritten.
//
// Thread-safe as the store is.
#pragma once

#include <string>
#include <vector>

#include "oauth/login.h"
#include "store/store.h"

namespace authdb::oauth {

struct KeepOptions {
  std::string profile = "default";  // made if there is none; the credential is bound to it
  std::string label;  // names the credential that is logged in again, or a new one; may be empty
};

struct KeptSession {
  Uid uid;
  bool renewed = false;  // an existing credential; false: a new one
  std::string warning;   // for a person
};

// Before the login begins: usage if `label` names several credentials of the provider, or an API
// key; and whatever keeps the store from being written. The value is for a person: what is wrong
// with the credentials that may be meant, so that a login of theirs may become a new one.
Result<std::vector<std::string>> check_keepable(Store& store, const std::string& provider,
                                                const std::string& label);

// Which credential it is: the one with this very refresh token; else one of the same account, the
// labelled before the dead before the profile's own; else the one that `label` names, unless it is
// known to be another account's; without a label the profile's one ended login of nobody knows
// whom; else a new one. Status, cooldown and hold are lifted, and the
// profile no longer shuns its source.
//
// A login that was approved is kept. Where the credential cannot be renewed (its journal is
// damaged, another process does not let go of it), it becomes a new one, and the warning says so.
// What is busy is waited for, at most Store::lock_wait(). An error means that the store cannot be
// written at all: nothing has changed, and the session is in `session` alone.
Result<KeptSession> keep_session(Store& store, const NewSession& session,
                                 const KeepOptions& options);

// A credential of the account that `session` is known to be of; nullopt: none is known to be.
Result<std::optional<Credential>> same_account(const Store& store, const NewSession& session);

}  // namespace authdb::oauth
