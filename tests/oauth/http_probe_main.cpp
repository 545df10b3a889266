// Without an argument the program itself makes the request, else the library of that name does.
#include <dlfcn.h>

extern "C" void http_probe();

int main(int count, char** words) {
  if (count < 2) {
    http_probe();
    return 0;
  }
  void* library = ::dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 1;
  reinterpret_cast<void (*)()>(::dlsym(library, "http_probe"))();
  return 0;
}
