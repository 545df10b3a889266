// Keeps access tokens fresh before anybody asks for them: for copies that other tools read, and for
// sessions that would idle away. Refreshes each grant its provider's lead before it expires, at
// most a few at once, and never one that is dead or held; that an account is cooling down does not
// matter here.
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
  std::string warning;
};

struct FreshPass {
  std::vector<Renewal> renewals;
  Instant next_at{};  // when to look again; never more than five minutes away
};

class KeepFresh {
 public:
  // `profile`: only its credentials; empty: all. `stop` is asked before each grant and may be
  // called from several threads; the refreshes under way are finished all the same.
  KeepFresh(Store store, BearerParts parts, std::string profile, std::function<bool()> stop = {});

  // Refreshes what is due now. What has failed is tried again after a minute, two, four, … an hour.
  Result<FreshPass> pass();

  // When keep-fresh takes a grant up: `lead` and a little more, different for each, before it
  // expires, but one that this store obtained itself not before half its life.
  static std::optional<Instant> due_at(const Credential& row, Seconds lead);

 private:
  struct Failure {
    std::int64_t generation = 0;
    int count = 0;
    Instant not_before{};
  };
  Seconds lead_of(const Credential& row) const;
  Milliseconds longest_head_start() const;
  std::optional<Instant> turn_of(const Credential& row) const;
  Renewal renew(const Credential& row) const;
  void remember(const Renewal& renewal);

  Store store_;
  BearerParts parts_;
  std::string profile_;
  std::function<bool()> stop_;
  std::map<Uid, Failure> failures_;
};

}  // namespace authdb::oauth
