#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
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

const std::string kToken = "nous_rt_0123456789abcdef0123456789abcdef0123456789abcdef";

bool holds(std::string_view text, std::string_view wanted) {
  return text.find(wanted.substr(0, 16)) != std::string_view::npos;
}

// What stands at an address that is not ours to read any more.
std::string bytes_at(const char* address, std::size_t size) {
  std::string bytes(size, '?');
  const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  const auto got = ::pread(memory, bytes.data(), size, reinterpret_cast<off_t>(address));
  ::close(memory);
  EXPECT_EQ(got, static_cast<ssize_t>(size));
  return bytes;
}

// Runs `act`, which must free `buffer`, and says whether the token was there before and is gone.
template <typename Act>
bool wiped_by(const char* buffer, std::size_t size, Act act) {
  const bool was_there = holds(bytes_at(buffer, size), kToken);
  act();
  return was_there && !holds(bytes_at(buffer, size), kToken.substr(kToken.size() - 16));
}

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
  EXPECT_FALSE(holds({buffer, kToken.size()}, kToken));
}

TEST(Secret, TakingAVectorWipesTheVector) {
  std::vector<char> bytes(kToken.begin(), kToken.end());
  const char* const buffer = bytes.data();

  const Secret secret(std::move(bytes));

  EXPECT_EQ(secret.reveal(), kToken);
  EXPECT_FALSE(holds({buffer, kToken.size()}, kToken));
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
