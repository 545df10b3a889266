#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

class KeyTest : public CommandTest {
 protected:
  KeyTest() { must({"add", "openrouter"}, "sk-key-1"); }
  std::string token() { return must({"token", "openrouter"}).out; }
};

TEST_F(KeyTest, RotatesAndPrunesAndTokensAreStillThere) {
  const auto rotated = must_json({"key", "rotate"});
  EXPECT_FALSE(rotated["resumed"]);
  EXPECT_EQ(rotated["cells"], 1);
  EXPECT_THAT(rotated["left"], SizeIs(0));
  EXPECT_EQ(token(), "sk-key-1\n");

  const auto pruned = must_json({"key", "prune"});
  EXPECT_THAT(pruned["dropped"], SizeIs(1));
  ASSERT_THAT(pruned["kept"], SizeIs(1));
  EXPECT_EQ(pruned["kept"][0]["key"], rotated["key"]);
  EXPECT_EQ(token(), "sk-key-1\n");
}

TEST_F(KeyTest, NoKeyReachesTheScreen) {
  const auto before = read_file(dir_ / "key/seal.key");
  const auto rotated = must({"key", "rotate", "-v"});
  const auto pruned = must({"key", "prune", "-v"});
  for (const auto& file : {before, read_file(dir_ / "key/seal.key")}) {
    const auto key = file.substr(file.rfind(' ') + 1, 64);
    for (const auto& ran : {rotated, pruned})
      EXPECT_EQ((ran.out + ran.err).find(key), std::string::npos);
  }
  EXPECT_THAT(rotated.out, AllOf(StartsWith("Key "), HasSubstr("1 cell and 0 journals")));
}

TEST_F(KeyTest, AnotherWordIsAUsageError) {
  const auto ran = run({"key", "rotat"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, AllOf(StartsWith("authdb: there is no `key rotat`\n"), HasSubstr("prune")));
}

TEST_F(KeyTest, WithoutItsKeyFileNothingIsRotated) {
  std::filesystem::remove(dir_ / "key/seal.key");
  const auto ran = run({"key", "rotate"});
  EXPECT_EQ(ran.status, 7);
  EXPECT_THAT(ran.err, HasSubstr("is missing"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "key/seal.key"));
}

TEST_F(KeyTest, AnOlderKeyFileIsNamedAsSuch) {
  const auto older = read_file(dir_ / "key/seal.key");
  const auto key = must_json({"key", "rotate"})["key"].get<std::string>();
  write_file(dir_ / "key/seal.key", older);
  const auto ran = run({"token", "openrouter"});
  EXPECT_EQ(ran.status, 7);
  EXPECT_THAT(ran.err,
              AllOf(HasSubstr("key " + key + ", which is not in the file"), HasSubstr("old copy")));
}

TEST_F(KeyTest, WithoutAStoreThereIsNothingToSeal) {
  std::filesystem::remove_all(dir_ / "store");
  EXPECT_EQ(run({"key", "rotate"}).status, 3);
  EXPECT_EQ(run({"key", "prune"}).status, 3);
}

}  // namespace
}  // namespace authdb::cli
