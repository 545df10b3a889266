// Keeps access tokens fresh before anybody asks for them: for copies that other tools read, and for
// sessions that would idle away. Refreshes each grant its provider's lead before it expires, at
// most a few at once, and never one that is dead or held; that an account is cooling down does not
// matter here. While the token endpoint of a grant rests after a failure it is not asked.
//
// Grants that expire together, here or on many machines, must not all go to the token endpoint in
// the same second. So each is taken up earlier by its head start, up to a tenth of the lead, which
// its uid and generation decide: never later than the lead, the same whoever asks and however
// often, and another after each rotation.
//
// Thread safety: one object is one thread's; any number of processes may keep one store fresh.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "oauth/bearer.h"
#include "store/store.h"

namespace authdb::oauth {

// What became of one grant that was due.
struct Renewal {
  Credential row;                 // as it stood before
  std::optional<Credential> now;  // as it stands; empty: see `error`
  Error error;
  // Nothing was sent, because the token endpoint rests until then; `error` says so too.
  std::optional<Instant> rests_until;
  std::string warning;
};

struct FreshPass {
  std::vector<Renewal> renewals;
  Instant next_at{};  // when to look again; never more than five minutes away
};

struct KeepFreshOptions {
  std::string profile = {};  // only its credentials; empty: all
  // Asked before each grant, from several threads; the refreshes under way are finished all the
  // same.
  std::function<bool()> stop = {};
  // Grants that somebody needs fresh earlier than their provider's lead says, and by when at the
  // latest; asked in each pass.
  std::function<Result<std::map<Uid, Instant>>()> wanted = {};
};

class KeepFresh {
 public:
  KeepFresh(Store store, BearerParts parts, KeepFreshOptions options = {})
      : store_(std::move(store)), parts_(std::move(parts)), options_(std::move(options)) {}

  // Refreshes what is due now, or was obtained by a clock that was ahead. What has failed is tried
  // again after a minute, two, four, … an hour.
  Result<FreshPass> pass();

  // When keep-fresh takes a grant up: `lead` and its head start before it expires, but one that
  // this store obtained itself not before half its life. nullopt: nobody knows when it expires.
  static std::optional<Instant> due_at(const Credential& row, Seconds lead);

 private:
  struct Failure {
    std::int64_t generation = 0;
    int count = 0;
    Instant at{};  // of the last
    Instant not_before{};
  };
  Seconds lead_of(const Credential& row) const;
  Milliseconds longest_head_start() const;
  using Wanted = std::map<Uid, Instant>;
  Result<std::vector<Credential>> candidates(Instant by, const Wanted& wanted) const;
  std::optional<Instant> turn_of(const Credential& row, const Wanted& wanted, Instant now) const;
  Renewal renew(const Credential& row) const;
  std::string profile_for(const Credential& row) const;
  void rotate_unless_resting(Renewal& renewal) const;
  void renew_all(std::vector<Renewal>& renewals) const;
  void remember(const Renewal& renewal);

  Store store_;
  BearerParts parts_;
  KeepFreshOptions options_;
  std::map<Uid, Failure> failures_;
};

}  // namespace authdb::oauth
