// The command wipes each block of memory that C++ gives back: strings, vectors and the JSON
// parser's buffers held tokens, and only Secret wipes its own. A process of a millisecond gives
// back so little that it costs nothing.
#include <malloc.h>
#include <string.h>  // explicit_bzero

#include <cstdlib>
#include <new>

void* operator new(std::size_t size) {
  for (;;) {
    if (void* block = std::malloc(size == 0 ? 1 : size)) return block;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

// Arrays and the forms that do not throw come here, too.
void operator delete(void* block) noexcept {
  if (block == nullptr) return;
  explicit_bzero(block, malloc_usable_size(block));
  std::free(block);
}

void operator delete(void* block, std::size_t) noexcept { operator delete(block); }
