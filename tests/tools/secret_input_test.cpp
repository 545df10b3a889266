#include "tools/secret_input.h"

#include <fcntl.h>
#include <unistd.h>

#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

TEST(ReadAll, KeepsEveryByte) {
  std::string text(100'000, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i % 251);
  std::istringstream in(text);
  const auto read = read_all(in);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->reveal(), text);
}

TEST(ReadAll, RefusesMoreThanAMebibyte) {
  std::istringstream fits(std::string(1 << 20, 'x'));
  std::istringstream more(std::string((1 << 20) + 1, 'x'));
  EXPECT_TRUE(read_all(fits));
  const auto read = read_all(more);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::usage);
}

TEST(WipingInput, ReadsADescriptorToItsEnd) {
  const TempDir dir;
  const std::string text(10'000, 'k');
  write_file(dir / "input", text);
  const int descriptor = ::open((dir / "input").c_str(), O_RDONLY | O_CLOEXEC);
  WipingInput bytes(descriptor);
  std::istream in(&bytes);
  const auto read = read_all(in);
  ::close(descriptor);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->reveal(), text);
}

struct ReadSecretTest : testing::Test {
  Result<Secret> read(const std::string& input) {
    in.str(input);
    return read_secret(context, "Key: ");
  }
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  Context context{in, out, err};
};

TEST_F(ReadSecretTest, WhiteSpaceAroundASecretIsNoPartOfIt) {
  const auto secret = read("  sk-key-1 \r\n");
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret->reveal(), "sk-key-1");
}

TEST_F(ReadSecretTest, NothingIsNoSecret) {
  EXPECT_EQ(read("").error().code, Errc::usage);
  EXPECT_EQ(read(" \n").error().code, Errc::usage);
}

TEST_F(ReadSecretTest, TwoLinesAreNoSecretAndAreNotRepeated) {
  const auto secret = read("sk-key-1\nsk-key-2\n");
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().code, Errc::usage);
  EXPECT_THAT(secret.error().message + secret.error().hint,
              testing::Not(testing::HasSubstr("sk-key")));
}

TEST_F(ReadSecretTest, APersonIsAskedInsteadOfStdin) {
  context.ask = [](std::string_view) -> Result<Secret> { return Secret::copy_of("sk-typed\n"); };
  const auto secret = read("sk-piped");
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret->reveal(), "sk-typed");
}

}  // namespace
}  // namespace authdb::cli
