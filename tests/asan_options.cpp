// What the address sanitizer is told where its variable is not: tests run the command with an
// environment of their own.

// Else its leak check may follow the thread-local storage of a module that is gone, and crash.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer's name
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "intercept_tls_get_addr=0"; }
