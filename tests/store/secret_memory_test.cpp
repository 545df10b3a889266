// Where secrets are kept: pages of their own, that the kernel is asked to keep out of swap and
// core.
#include "store/secret_memory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "store/secret.h"

namespace authdb {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kToken = "nous_rt_0123456789abcdef0123456789abcdef0123456789abcdef";

// What the kernel says of the mapping that an address is in.
std::string mapping_of(const void* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream maps("/proc/self/smaps");
  std::string found;
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    if (words >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = begin <= wanted && wanted < end;
    }
    if (inside) found += line + "\n";
  }
  return found;
}

// What stands at an address that is no longer ours to read.
std::string bytes_at(const void* address, std::size_t size) {
  std::string bytes(size, '?');
  const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  const auto got = ::pread(memory, bytes.data(), size, reinterpret_cast<off_t>(address));
  ::close(memory);
  return got == static_cast<ssize_t>(size) ? bytes : "gone";
}

// In a process of its own.
bool holds_in_a_child(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0;
}

bool many_are_as_they_were() {
  std::vector<Secret> all;
  for (int n = 0; n < 3'000; ++n) all.push_back(Secret::copy_of(kToken + std::to_string(n)));
  for (int n = 0; n < 3'000; ++n) {
    if (all[static_cast<std::size_t>(n)].reveal() != kToken + std::to_string(n)) return false;
  }
  return true;
}

// Whether this machine lets this process lock as much as the test needs.
bool may_lock() {
  constexpr std::size_t kEnough = 1 << 20;
  void* const pages =
      ::mmap(nullptr, kEnough, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool may = ::mlock2(pages, kEnough, 0) == 0;
  ::munmap(pages, kEnough);
  return may;
}

TEST(SecretMemory, IsLockedAndNotDumped) {
  // Containers may have no such memory at all; then nothing is promised but that it works.
  if (!may_lock()) GTEST_SKIP() << "RLIMIT_MEMLOCK is too small here";
  for (const std::size_t size : {1U, 40U, 5'000U, 100'000U}) {
    const Secret secret = Secret::copy_of(std::string(size, 's'));
    const std::string mapping = mapping_of(secret.reveal().data());

    EXPECT_THAT(mapping, HasSubstr(" dd")) << size;
    EXPECT_THAT(mapping, HasSubstr(" lo")) << size;
    EXPECT_THAT(mapping, Not(HasSubstr("Locked:                0 kB"))) << size;
  }
}

TEST(SecretMemory, GoesOnUnlockedWhereTheLimitIsReached) {
  for (const rlim_t most : {rlim_t{0}, rlim_t{64 << 10}}) {
    EXPECT_TRUE(holds_in_a_child([&] {
      const rlimit limit{most, most};
      ::setrlimit(RLIMIT_MEMLOCK, &limit);
      if (::geteuid() == 0 && ::setuid(4711) != 0) return false;  // root has no limit
      return many_are_as_they_were();
    })) << most;
  }
}

TEST(SecretMemory, WhatWasGivenBackIsWiped) {
  for (const std::size_t size : {40U, 5'000U}) {
    auto secret = std::make_unique<Secret>(Secret::copy_of(std::string(size, 's')));
    const void* const place = secret->reveal().data();
    ASSERT_THAT(bytes_at(place, size), HasSubstr("sssssss"));
    secret.reset();

    EXPECT_THAT(bytes_at(place, size), Not(HasSubstr("s"))) << size;
  }
}

TEST(SecretMemory, ABlockIsUsedAgainAndNeverTwiceAtOnce) {
  char* const first = secret_memory::take(100);
  secret_memory::give_back(first, 100);
  char* const second = secret_memory::take(120);
  char* const third = secret_memory::take(100);

  EXPECT_EQ(first, second);
  EXPECT_NE(second, third);
  EXPECT_EQ(std::string(second, 120), std::string(120, '\0'));
  secret_memory::give_back(second, 120);
  secret_memory::give_back(third, 100);
  EXPECT_EQ(secret_memory::take(0), nullptr);
}

TEST(SecretMemory, OfEverySizeEachByteIsItsOwners) {
  std::vector<Secret> all;
  for (std::size_t size = 0; size < 40'000; size += size < 300 ? 1 : 997) {
    all.push_back(Secret::copy_of(std::string(size, static_cast<char>('a' + size % 26))));
  }
  for (const Secret& secret : all) {
    EXPECT_EQ(secret.reveal(),
              std::string(secret.size(), static_cast<char>('a' + secret.size() % 26)));
  }
}

TEST(SecretMemory, ThreadsTakeAndGiveBackEachOthers) {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<Secret> shared;
  for (int n = 0; n < 4; ++n) {
    threads.emplace_back([&, n] {
      for (int i = 0; i < 2'000; ++i) {
        const std::string text = kToken + std::to_string(n) + "-" + std::to_string(i);
        Secret mine = Secret::copy_of(text);
        EXPECT_EQ(mine.reveal(), text);
        const std::lock_guard guard(mutex);
        shared.push_back(std::move(mine));
        if (shared.size() > 50) shared.erase(shared.begin(), shared.begin() + 25);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(SecretMemory, AChildOfForkTakesMemoryAlthoughItsParentWasAtIt) {
  std::atomic<bool> over = false;
  std::thread busy([&] {
    while (!over) (void)Secret::copy_of(kToken);
  });
  for (int n = 0; n < 20; ++n) EXPECT_TRUE(holds_in_a_child(many_are_as_they_were));
  over = true;
  busy.join();
}

}  // namespace
}  // namespace authdb
