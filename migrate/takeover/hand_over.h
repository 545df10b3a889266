// The way back: a tool's file gets the live pair, and from then on the tool spends (DESIGN 8).
//
// Under the tool's lock and those of every credential that the file shows, in this order, all of
// them are put on hold as handed over in one transaction, and then the file is replaced: meanwhile
// nobody refreshes, replaces or removes what is written. Killed between, nobody spends, and doing
// it again finishes it. The store notes which file was given which login: the next migration of
// that file takes the login back, and a copy of it elsewhere does not. Until then it is given to
// no other file, for a single-use token in two files has two spenders.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "store/store.h"

namespace authdb::migrate {

struct HandedOver {
  std::filesystem::path path;
  std::vector<Credential> credentials;
  std::vector<std::string> warnings;  // for people
};

// What becomes of a login in the file that another file was given already. `refuse`: nothing is
// handed over. `leave`: it stays as it is there, with a warning, and the others are handed over, if
// there are any.
enum class GivenElsewhere { refuse, leave };

// `file`: a file of the tool that shows grants of this store, as a projection or as it was when it
// was imported. `wait` is for the tool's lock; each credential's has the store's own.
//
// Errors: not_found (no such file, or nothing of ours in it); try_later (a grant in it is
// uncertain; a full disk; the file changed each time it was read); refused (in conflict, given to
// another file already, or the file cannot be read); busy. Whatever failed, a file that is as it
// was is not handed over: the store spends on. The message says where that could not be had, and
// then only the tool may spend, or nobody until it is done again.
Result<HandedOver> hand_over(Store& store, const std::filesystem::path& file, Milliseconds wait,
                             GivenElsewhere given = GivenElsewhere::refuse);

// The file that was given the login, which is handed over. nullopt: nobody knows any more.
Result<std::optional<std::filesystem::path>> place_of_hand_over(const Store& store, const Uid& uid);

// That file, if it has no refresh token of that provider: the hand-over was cut off, or the tool
// has logged out. Nobody renews the login until it is handed over again, or taken back. nullopt: it
// has one, or which file it is nobody knows.
Result<std::optional<std::filesystem::path>> unfinished_hand_over(const Store& store,
                                                                  const Credential& row);

// Whether there is such a file for `profile`: the projections that it has, else the files it was
// imported from.
Result<std::vector<std::filesystem::path>> files_of_profile(const Store& store,
                                                            const std::string& profile);

}  // namespace authdb::migrate
