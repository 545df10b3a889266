// The last resort of step 6: both the journal's file system and the database's refuse to be
// written, and a rotated token is in our hands. Its answer goes, sealed, into a file in the runtime
// directory, which recovery reads too. Private to store/.
//
// The directory is named in the attempt's intent before anything is sent, so that a process which
// has no $XDG_RUNTIME_DIR (cron has none) finds the file all the same.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "store/journal.h"

namespace authdb {

// Where a process of ours would put it: $XDG_RUNTIME_DIR/authdb, else /run/user/<uid>/authdb. Empty
// if there is no such directory: then there is no last resort either.
std::filesystem::path rescue_directory();

// Those of a credential that are there: in the directory that its newest attempt names, in this
// process's and in the session's.
std::vector<std::filesystem::path> rescue_files(const JournalPlace& place,
                                                const std::string& named = {});
// Those of all credentials of a store.
std::vector<std::filesystem::path> rescue_files(const std::string& store_id);

// nullopt if it is not whole, or if others could have written it. Throws BackendError if it is ours
// and cannot be read: going on without it could send a token whose successor is in it.
std::optional<CredentialState> read_rescue_file(const std::filesystem::path& path);
Result<void> replace_rescue_file(const std::filesystem::path& path, const CredentialState& state);
// False if there is nowhere to write it.
bool write_rescue_file(const JournalPlace& place, const CredentialState& answered);

}  // namespace authdb
