#include "migrate/source_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;
using testing::TempDir;

TEST(SourceFile, YieldsTheBytesAndTheirHash) {
  const TempDir dir;
  const auto path = dir.write("auth.json", "abc");

  const auto read = read_source(path);

  ASSERT_TRUE(read);
  EXPECT_EQ(read->text.reveal(), "abc");
  EXPECT_EQ(read->sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(SourceFile, ALinkIsFollowed) {
  const TempDir dir;
  fs::create_symlink(dir.write("real.json", "abc"), dir.path() / "auth.json");

  EXPECT_TRUE(read_source(dir.path() / "auth.json"));
}

TEST(SourceFile, AMissingFileIsNotAnEmptyOne) {
  const auto read = read_source("/nonexistent/auth.json");

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::not_found);
  EXPECT_THAT(read.error().message, HasSubstr("/nonexistent/auth.json"));
}

TEST(SourceFile, AnUnreadableFileIsNotAnEmptyOne) {
  const TempDir dir;
  const auto path = dir.path() / "auth.json";
  fs::create_symlink(path, path);  // root may read any file, but not this

  const auto read = read_source(path);

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::refused);
  EXPECT_THAT(read.error().message, HasSubstr(path.string()));
}

TEST(SourceFile, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  const TempDir dir;
  const auto fifo = dir.path() / "auth.json";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);

  EXPECT_EQ(read_source(fifo).error().code, Errc::refused);
  EXPECT_EQ(read_source(dir.path()).error().code, Errc::refused);
  EXPECT_EQ(read_source("/dev/zero").error().code, Errc::refused);
}

TEST(SourceFile, AHugeFileIsRefusedByItsSizeAlone) {
  const TempDir dir;
  const auto path = dir.write("auth.json", "");
  ASSERT_EQ(::truncate(path.c_str(), (256LL << 20) + 1), 0);  // sparse: takes no room

  const auto read = read_source(path);

  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("256 MiB"));
}

TEST(SourceFile, AFileThatChangesMeanwhileIsReadAgain) {
  const TempDir dir;
  const auto path = dir.write("auth.json", "old");
  int readings = 0;

  const auto read = read_source(path, [&] {
    if (++readings == 1) dir.write("auth.json", "newer");
  });

  ASSERT_TRUE(read);
  EXPECT_EQ(read->text.reveal(), "newer");
  EXPECT_EQ(readings, 2);
}

TEST(SourceFile, AFileThatIsReplacedMeanwhileIsReadAgain) {
  const TempDir dir;
  const auto path = dir.write("auth.json", "old");
  int readings = 0;

  const auto read = read_source(path, [&] {
    if (++readings == 1) fs::rename(dir.write("auth.json.tmp", "new"), path);
  });

  ASSERT_TRUE(read);
  EXPECT_EQ(read->text.reveal(), "new");
}

TEST(SourceFile, AFileThatKeepsChangingIsRefused) {
  const TempDir dir;
  const auto path = dir.write("auth.json", "x");
  std::string text = "x";

  const auto read = read_source(path, [&] { dir.write("auth.json", text += "x"); });

  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::try_later);
}

}  // namespace
}  // namespace authdb::migrate
