// The way back: a tool's file gets the live pair, and from then on the tool spends (DESIGN 8).
//
// Under the tool's lock every credential that the file shows is put on hold as handed over first,
// and then the file is replaced. Killed between, nobody spends, and doing it again finishes it. The
// next migration of the file takes it back.
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

// `file`: a file of the tool that shows grants of this store, as a projection or as it was when it
// was imported. Errors: not_found (no such file, or nothing of ours in it); try_later (a grant in
// it is uncertain); refused (in conflict, or the file cannot be read); busy.
Result<HandedOver> hand_over(Store& store, const std::filesystem::path& file, Milliseconds wait);

// Whether there is such a file for `profile`: the projections that it has, else the files it was
// imported from.
Result<std::vector<std::filesystem::path>> files_of_profile(const Store& store,
                                                            const std::string& profile);

}  // namespace authdb::migrate
