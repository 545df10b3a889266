// One credential's bearer: what is cached if it will do, else what a refresh or a mint yields.
// bearer.cpp chooses the credential; nothing else uses this.
//
// Thread safety: one object per call.
#pragma once

#include "oauth/agent_key.h"
#include "oauth/bearer.h"
#include "store/rotation.h"
#include "store/store.h"

namespace authdb::oauth {

class Serving {
 public:
  Serving(const Store& store, const BearerParts& parts, const BearerRequest& request)
      : store_(store), parts_(parts), request_(request) {}

  // A live bearer of this credential. Errors: as BearerSource::bearer().
  Result<Bearer> serve(const Credential& row) const;
  Result<Bearer> refresh(const Credential& row, bool replay) const;
  Result<Bearer> mint(const Credential& row) const;
  // That the rejected bearer is of this credential and of no use, where nobody can replace it now.
  void remember_rejected(const Credential& row) const;

 private:
  Result<Bearer> serve_by_kind(const Credential& row) const;
  // Read anew each time: a lock may have been waited for.
  Instant now() const { return store_.now(); }
  Result<Bearer> api_key(const Credential& row) const;
  Result<Secret> key_in_environment(const Credential& row) const;
  Result<Bearer> access_token(const Credential& row) const;
  Result<Rotated> rotate_rejected(const Credential& row, const RotateRequest& want) const;
  Result<Bearer> agent_key(const Credential& row) const;
  Result<Bearer> without_refresh_token(const Credential& row) const;

  Result<Bearer> mint_under(LockedCredential& lock, const Provider& provider,
                            bool ignore_rest) const;
  MintAnswer ask_for_key(LockedCredential& lock, const Held& held, const Provider& provider) const;
  Result<Bearer> mint_failure(LockedCredential& lock, const Held& held,
                              const MintAnswer& answer) const;
  bool is_unheard_of() const;
  void note_unheard_of(LockedCredential& lock) const;
  Error rejected_anew(const LockedCredential& lock) const;
  Result<void> note_rejection(LockedCredential& lock) const;
  Result<Bearer> reject(const Credential& row, const std::string& why) const;

  Result<const Provider*> known_provider(const Identity& identity) const;
  Result<Bearer> cached(const Credential& row, BearerKind kind, std::string warning) const;
  Result<Bearer> cached_or(const Credential& row, const Error& error) const;
  Error with_hint(Error error, const Credential& row) const;
  Bearer make(const Credential& row, BearerKind kind, Secret token, Action action) const;
  Error not_locked(const Credential& row, Error error) const;
  std::string name_of(const Credential& row) const;
  tl::unexpected<Error> login_needed(const Credential& row, const std::string& what) const;

  const Store& store_;
  const BearerParts& parts_;
  const BearerRequest& request_;
};

}  // namespace authdb::oauth
