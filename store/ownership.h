// Who else could read, change or replace what is kept at a path.
//
// Trusted are this process's effective user and root, who can do anything anyway. Everything here
// looks by name, and opens nothing.
#pragma once

#include <sys/types.h>

#include <filesystem>

#include "store/result.h"

namespace authdb {

// True for this user and root. In a user namespace that has a place for neither root nor others,
// the one number that stands for all of them counts as root (user_namespaces(7)).
bool is_trusted_owner(uid_t owner);

// That `path` is of somebody else, and as whom to run instead.
Error belongs_to(const std::filesystem::path& path, uid_t owner);

// refused unless `path` is a regular file of this user that nobody else can read or write; the
// message names the chmod or the user that mends it.
Result<void> check_private(const std::filesystem::path& path);

// As check_private(), for a secret that the system puts into place: it may be root's own file that
// nobody can write and only its group can read, as systemd's credentials and the secrets that
// containers mount are.
Result<void> check_private_or_handed(const std::filesystem::path& path);

// refused if another user could put something else in the place of `path`, a file or a directory,
// there or not yet: every directory on the way to it, through every link, must be of a trusted
// owner and writable for nobody else. A sticky one (/tmp) will do for directories, not for files,
// since SQLite puts others beside its own.
Result<void> check_irreplaceable(const std::filesystem::path& path);

// As check_irreplaceable(), for a file that somebody names to be written as a whole (draft.h). It
// may be in a sticky directory: nothing is put beside it, and there nobody moves what is another's.
// What stands at `path` itself is not looked at: no link is followed there.
Result<void> check_output(const std::filesystem::path& path);

// refused unless `path` is a regular file that this process may believe, as code or as the
// authorities of servers: of a trusted owner, writable for nobody else, and irreplaceable. Trusted
// is also whoever owns the program that runs, or a directory on the way to it: they could have
// changed the program itself.
Result<void> check_loadable(const std::filesystem::path& path);

}  // namespace authdb
