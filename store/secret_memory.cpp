#include "store/secret_memory.h"

#include <pthread.h>
#include <string.h>  // explicit_bzero
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <new>
#include <utility>

// So that the address sanitizer sees into the pages, as it does with malloc().
#if defined(__SANITIZE_ADDRESS__)
#define AUTHDB_WATCHED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AUTHDB_WATCHED
#endif
#endif
#ifdef AUTHDB_WATCHED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, size) (static_cast<void>(begin), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(begin, size) (static_cast<void>(begin), static_cast<void>(size))
#endif

namespace authdb::secret_memory {
namespace {

// As small as the smallest usual limit. Pages are locked when they are first written to, so those
// that nobody needs cost nothing.
constexpr std::size_t kPages = 64 << 10;
constexpr std::size_t kSmallest = 32;
constexpr std::size_t kLargest = kPages / 4;  // what is larger has pages of its own
constexpr std::size_t kSizes = std::bit_width(kLargest / kSmallest);

std::size_t whole_pages(std::size_t size) {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

char* new_pages(std::size_t size) {
  void* pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  (void)::madvise(pages, size, MADV_DONTDUMP);
  (void)::mlock2(pages, size, MLOCK_ONFAULT);
  return static_cast<char*>(pages);
}

// Blocks of powers of two; a free one holds the address of the next.
class Arena {
 public:
  std::mutex mutex;

  char* take(std::size_t size) {
    char*& first = free_[index_of(size)];
    if (first == nullptr) return cut(rounded(size));
    char* block = first;
    ASAN_UNPOISON_MEMORY_REGION(block, sizeof first);
    ::memcpy(&first, block, sizeof first);
    ::explicit_bzero(block, sizeof first);
    return block;
  }

  void give_back(char* block, std::size_t size) noexcept {
    char*& first = free_[index_of(size)];
    ASAN_UNPOISON_MEMORY_REGION(block, sizeof first);
    ::memcpy(block, &first, sizeof first);
    first = block;
    ASAN_POISON_MEMORY_REGION(block, rounded(size));
  }

 private:
  static std::size_t rounded(std::size_t size) { return std::bit_ceil(std::max(size, kSmallest)); }
  static std::size_t index_of(std::size_t size) {
    return std::bit_width(rounded(size) / kSmallest) - 1;
  }

  char* cut(std::size_t size) {
    if (left_ < size) {  // what is left is less than a quarter, and stays unused
      next_ = new_pages(kPages);
      left_ = kPages;
      ASAN_POISON_MEMORY_REGION(next_, kPages);
    }
    left_ -= size;
    return std::exchange(next_, next_ + size);
  }

  std::array<char*, kSizes> free_{};
  char* next_ = nullptr;
  std::size_t left_ = 0;
};

// Never destroyed: other objects that live as long as the program may have secrets.
Arena& arena() {
  static auto* const instance = new Arena;
  return *instance;
}

// A thread that is in the arena while another forks would leave it locked in the child for ever.
// Registered before every other handler of ours, so that it is the last to be asked: those before
// it wait for threads that may need memory.
[[gnu::constructor(101)]] void prepare_for_fork() {
  ::pthread_atfork([] { arena().mutex.lock(); }, [] { arena().mutex.unlock(); },
                   [] { arena().mutex.unlock(); });
}

}  // namespace

char* take(std::size_t size) {
  if (size == 0) return nullptr;
  if (size > kLargest) return new_pages(whole_pages(size));
  const std::lock_guard guard(arena().mutex);
  char* block = arena().take(size);
  ASAN_UNPOISON_MEMORY_REGION(block, size);
  return block;
}

void give_back(char* block, std::size_t size) noexcept {
  if (block == nullptr) return;
  ::explicit_bzero(block, size);
  if (size > kLargest) {
    ::munmap(block, whole_pages(size));
    return;
  }
  const std::lock_guard guard(arena().mutex);
  arena().give_back(block, size);
}

}  // namespace authdb::secret_memory
