// How many files a process may have open. Who changes many credentials holds a lock of each, which
// is a descriptor each, and a shell usually allows 1,024.
#pragma once

#include <cstddef>

#include "store/result.h"

namespace authdb {

// Sees to it that `more` files can be opened, and the few that are opened beside locks: raises the
// soft limit of this process as far as that needs it. try_later, naming `ulimit -n`, if the hard
// limit is too low; nothing has been done then. To be called before the first of many is opened.
Result<void> room_for_descriptors(std::size_t more);

}  // namespace authdb
