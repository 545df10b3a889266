#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

#include "store/fingerprint.h"
#include "store/secret.h"

namespace authdb {
namespace {

// What must not compile.
template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};
template <typename T>
concept Comparable = requires(const T& a, const T& b) {
  a == b;
};
template <typename T>
concept RevealsTemporaries = requires(T&& value) {
  std::move(value).reveal();
};
template <typename T>
concept RevealsNamed = requires(const T& value) {
  value.reveal();
};

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(std::is_nothrow_move_constructible_v<Secret>);
static_assert(std::is_nothrow_move_assignable_v<Secret>);
static_assert(!Printable<Secret>);
static_assert(!Comparable<Secret>);
static_assert(RevealsNamed<Secret> && !RevealsTemporaries<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string> && !std::is_convertible_v<Secret, bool>);
static_assert(!std::is_convertible_v<std::string, Secret>, "a string becomes secret only by name");

// The block whose release is awaited; its address is cleared once it was seen to hold no token.
struct Freed {
  char* data = nullptr;
  std::size_t size = 0;
};
Freed g_freed;
bool g_watching = false;

const std::string kToken = "nous_rt_0123456789abcdef0123456789abcdef0123456789abcdef";

bool holds(const char* data, std::size_t size, std::string_view wanted) {
  return std::string_view(data, size).find(wanted.substr(0, 16)) != std::string_view::npos;
}

// Runs `act`, which must free `buffer`, and says whether the token was gone by then.
template <typename Act>
bool wiped_by(const char* buffer, std::size_t size, Act act) {
  g_freed = {const_cast<char*>(buffer), size};
  g_watching = true;
  act();
  g_watching = false;
  return g_freed.data == nullptr;
}

}  // namespace
}  // namespace authdb

// Looks at the watched block in the moment it is given back. Not inlined, or the compiler sees
// malloc() meet a delete and warns.
[[gnu::noinline]] void operator delete(void* block) noexcept {
  using namespace authdb;
  if (g_watching && block == g_freed.data) {
    g_watching = false;
    if (!holds(static_cast<const char*>(block), g_freed.size, kToken)) g_freed.data = nullptr;
  }
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept {
  ::operator delete(block);
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* block = ::operator new(size, std::nothrow)) return block;
  throw std::bad_alloc();
}

namespace authdb {
namespace {

TEST(Secret, IsWipedWhenItIsDestroyed) {
  auto secret = std::make_unique<Secret>(Secret::copy_of(kToken));
  const std::string_view text = secret->reveal();

  EXPECT_TRUE(wiped_by(text.data(), text.size(), [&] { secret.reset(); }));
}

TEST(Secret, IsWipedWhenAnotherIsMovedIntoIt) {
  Secret secret = Secret::copy_of(kToken);
  const std::string_view text = secret.reveal();

  EXPECT_TRUE(
      wiped_by(text.data(), text.size(), [&] { secret = Secret::copy_of("something else"); }));
}

TEST(Secret, AMovedOneLeavesNothingBehindAndCopiesNothing) {
  Secret source = Secret::copy_of(kToken);
  const char* const buffer = source.reveal().data();

  const Secret target = std::move(source);

  EXPECT_EQ(target.reveal().data(), buffer);
  EXPECT_TRUE(source.empty());  // NOLINT(bugprone-use-after-move): that is the promise
}

TEST(Secret, TakingAStringWipesTheString) {
  std::string text = kToken;
  const char* const buffer = text.data();

  const Secret secret = Secret::take(std::move(text));

  EXPECT_EQ(secret.reveal(), kToken);
  EXPECT_FALSE(holds(buffer, kToken.size(), kToken));
}

TEST(Secret, AssignedToItselfItKeepsItsContent) {
  Secret secret = Secret::copy_of(kToken);
  Secret& same = secret;

  secret = std::move(same);

  EXPECT_EQ(secret.reveal(), kToken);
}

TEST(Secret, ACloneIsIndependent) {
  Secret secret = Secret::copy_of(kToken);
  const Secret clone = secret.clone();

  secret = Secret();

  EXPECT_EQ(clone.reveal(), kToken);
}

TEST(Fingerprint, IsSha256AndSixteenHexDigits) {
  EXPECT_EQ(fingerprint(token_hash(std::string_view("abc"))), "sha256:ba7816bf8f01cfea");
  EXPECT_EQ(fingerprint(Secret::copy_of("abc")), "sha256:ba7816bf8f01cfea");
}

TEST(Fingerprint, OfNothingIsThatOfNoBytes) {
  EXPECT_EQ(fingerprint(Secret()), "sha256:e3b0c44298fc1c14");
}

}  // namespace
}  // namespace authdb
