// Memory for secrets. It is not in core dumps, and not in swap as far as RLIMIT_MEMLOCK allows:
// what goes beyond is not locked, and nothing says so, because a token is still needed then.
//
// Blocks are cut out of pages that hold nothing else, and these are locked as a whole, for good:
// mlock(2) does not nest, so that to unlock one secret would unlock its neighbours. A child of
// fork() has a copy without the lock, as the kernel wants it.
//
// Thread safety: any thread. After fork() the child may go on.
#pragma once

#include <cstddef>

namespace authdb::secret_memory {

// Throws std::bad_alloc. nullptr where `size` is 0.
char* take(std::size_t size);
// Wipes it. `size` as it was asked for.
void give_back(char* block, std::size_t size) noexcept;

}  // namespace authdb::secret_memory
