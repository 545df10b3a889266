// A long-lived process that uses the library as a gateway does: two threads that ask for bearers,
// and a fork() in the middle whose child goes on using the store.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace authdb::prove {

struct WorkerOptions {
  std::string profile;
  std::chrono::milliseconds life{1000};
  std::uint64_t seed = 0;
};

// The store and the portal come from the environment, as they do for the command. Prints `pid N`
// for every process it makes and `bearers N` at its end. Exit code: 0, or that of an error that
// must not happen, which it prints.
int work(const WorkerOptions& options);

}  // namespace authdb::prove
