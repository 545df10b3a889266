#include "store/files.h"

#include "store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;

TEST(ReplaceDurable, KeepsTheModeAndLeavesNothingBeside) {
  const TemporaryDirectory dir;
  const fs::path file = dir.path() / "auth.json";
  std::ofstream(file) << "old";
  fs::permissions(file, fs::perms(0640));
  std::ofstream(file.string() + ".authdb-new") << "of a process that died";

  ASSERT_TRUE(replace_durable(file, Secret::copy_of("new")));

  EXPECT_EQ(file_bytes(file), "new");
  EXPECT_EQ(fs::status(file).permissions(), fs::perms(0640));
  EXPECT_FALSE(fs::exists(file.string() + ".authdb-new"));
}

TEST(ReplaceDurable, MakesNoFileWhereThereIsNone) {
  const TemporaryDirectory dir;

  EXPECT_FALSE(replace_durable(dir.path() / "absent", Secret::copy_of("new")));
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

}  // namespace
}  // namespace authdb::test
