// What is put into place as a whole, and what may be in its way.
#include "store/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/draft.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class FilesTest : public ::testing::Test {
 protected:
  fs::path file(const std::string& name = "auth.json") const { return dir_.path() / name; }
  void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
  int entries() const {
    return static_cast<int>(std::distance(fs::directory_iterator(dir_.path()), {}));
  }
  Error refusal(const fs::path& path) {
    const auto replaced = replace_durable(path, Secret::copy_of("new"));
    EXPECT_FALSE(replaced);
    return replaced ? Error{} : replaced.error();
  }
  fs::path draft_of(const std::string& name) {
    const fs::path draft = draft_beside(file(name));
    write(draft, "a token");
    return draft;
  }

  TemporaryDirectory dir_;
};

TEST_F(FilesTest, WhatIsReplacedIsPrivateFromThenOn) {
  write(file(), "old");
  fs::permissions(file(), fs::perms(0644));

  ASSERT_TRUE(replace_durable(file(), Secret::copy_of("new")));

  EXPECT_EQ(file_bytes(file()), "new");
  EXPECT_EQ(fs::status(file()).permissions(), fs::perms(0600));
  EXPECT_EQ(entries(), 1);
}

TEST_F(FilesTest, TheUmaskMakesNothingLessOrMorePrivate) {
  for (const mode_t mask : {0u, 0277u, 0777u}) {
    const mode_t before = ::umask(mask);
    const auto made = create_durable(file(std::to_string(mask)), Secret::copy_of("x"));
    ::umask(before);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(fs::status(file(std::to_string(mask))).permissions(), fs::perms(0600));
  }
}

TEST_F(FilesTest, NoFileIsMadeWhereThereIsNoneToReplace) {
  EXPECT_FALSE(replace_durable(file("absent"), Secret::copy_of("new")));

  EXPECT_EQ(entries(), 0);
}

TEST_F(FilesTest, WhatIsNoFileOfThisUserByThisNameAloneIsNotReplaced) {
  write(file("real"), "old");
  fs::create_symlink(file("real"), file("link"));
  fs::create_directory(file("directory"));
  ::mkfifo(file("fifo").c_str(), 0600);
  write(file("one"), "old");
  fs::create_hard_link(file("one"), file("two"));

  for (const char* name : {"link", "directory", "fifo", "one"}) {
    EXPECT_EQ(refusal(file(name)).code, Errc::refused) << name;
  }

  EXPECT_EQ(file_bytes(file("real")), "old");
  EXPECT_EQ(file_bytes(file("two")), "old");
  EXPECT_EQ(entries(), 6) << "nothing is left over";
}

TEST_F(FilesTest, WhatIsNoFileIsNeitherWaitedForNorReadAndIsCalledWhatItIs) {
  ::mkfifo(file("fifo").c_str(), 0600);
  fs::create_symlink(file("fifo"), file("link"));
  fs::create_directory(file("directory"));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  file("socket").string().copy(address.sun_path, sizeof address.sun_path - 1);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::vector<std::pair<fs::path, std::string>> all{{file("fifo"), "is a pipe"},
                                                          {file("link"), "is a pipe"},
                                                          {file("directory"), "is a directory"},
                                                          {file("socket"), "is a socket"},
                                                          {"/dev/zero", "is a device"}};
  for (const auto& [path, what] : all) {
    const auto read = read_file(path, 100);
    ASSERT_FALSE(read) << path;
    EXPECT_EQ(read.error().code, Errc::refused);
    EXPECT_THAT(read.error().message, HasSubstr(path.string() + " " + what));
    EXPECT_FALSE(open_to_read(path)) << path;
  }
}

TEST_F(FilesTest, OnlyWhatIsStillAsItWasReadIsReplaced) {
  write(file(), "old");

  const auto refused = replace_if_same(file(), Secret::copy_of("read"), Secret::copy_of("new"));
  EXPECT_FALSE(refused.value());
  EXPECT_EQ(file_bytes(file()), "old");
  EXPECT_EQ(entries(), 1);

  const auto done = replace_if_same(file(), Secret::copy_of("old"), Secret::copy_of("new"));
  EXPECT_TRUE(done.value());
  EXPECT_EQ(file_bytes(file()), "new");
  EXPECT_EQ(entries(), 1);
}

TEST_F(FilesTest, AFileThatSomebodyHasOpenToWriteIsNotReplaced) {
  write(file(), "old");
  Fd writer(::open(file().c_str(), O_WRONLY | O_CLOEXEC));
  const Fd reader(::open(file().c_str(), O_RDONLY | O_CLOEXEC));

  EXPECT_FALSE(replace_if_same(file(), Secret::copy_of("old"), Secret::copy_of("new")).value());
  ASSERT_EQ(::pwrite(writer.get(), "his", 3, 0), 3);
  EXPECT_EQ(file_bytes(file()), "his");
  EXPECT_EQ(entries(), 1);

  writer = Fd();
  EXPECT_TRUE(replace_if_same(file(), Secret::copy_of("his"), Secret::copy_of("new")).value());
}

TEST_F(FilesTest, WhatCameOutOfItsPlaceWhenSomebodyDiedIsKeptAndADraftIsNot) {
  write(file(), "old");
  write(file("draft"), "a draft");
  struct stat st {};
  ASSERT_EQ(::stat(file("draft").c_str(), &st), 0);
  const fs::path unused = file(".auth.json.authdb-" + std::to_string(st.st_ino) + "-abcdefgh2345");
  fs::rename(file("draft"), unused);
  write(file(".auth.json.authdb-1-abcdefgh2345"), "a login");

  ASSERT_TRUE(replace_durable(file(), Secret::copy_of("new")));

  EXPECT_FALSE(fs::exists(unused));
  EXPECT_EQ(entries(), 2);
  for (const auto& entry : fs::directory_iterator(dir_.path())) {
    if (entry.path() == file()) continue;
    EXPECT_THAT(entry.path().filename().string(), ::testing::StartsWith("auth.json.displaced-"));
    EXPECT_EQ(file_bytes(entry.path()), "a login");
  }
}

TEST_F(FilesTest, AnotherUsersFileOrDirectoryIsRefusedWithTheWayOut) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  write(file(), "old");
  ASSERT_EQ(::chown(file().c_str(), 4711, 0), 0);
  EXPECT_EQ(refusal(file()).code, Errc::refused);
  EXPECT_THAT(refusal(file()).hint, HasSubstr("sudo -H -u '#4711'"));
  ASSERT_EQ(::chown(file().c_str(), 0, 0), 0);
  ASSERT_EQ(::chown(dir_.path().c_str(), 4711, 0), 0);

  EXPECT_THAT(refusal(file()).hint, HasSubstr("sudo -H -u '#4711'"));

  EXPECT_EQ(file_bytes(file()), "old");
}

// The directory's owner puts a link in the place of whatever is unfinished: nothing is followed.
TEST_F(FilesTest, NothingIsDoneToWhatALinkInThePlaceOfADraftLeadsTo) {
  write(file("victim"), "roots own");
  fs::permissions(file("victim"), fs::perms(0600));
  auto draft = Draft::make(file());
  ASSERT_TRUE(draft && draft->begin());
  fs::remove(draft->path());
  fs::create_symlink(file("victim"), draft->path());

  ASSERT_TRUE(draft->replace());

  EXPECT_EQ(file_bytes(file("victim")), "roots own");
  EXPECT_EQ(fs::status(file("victim")).permissions(), fs::perms(0600));
}

TEST_F(FilesTest, WhatADirectoryIsCalledLaterLeadsNothingElsewhere) {
  fs::create_directory(file("here"));
  fs::create_directory(file("elsewhere"));
  auto draft = Draft::make(file("here") / "auth.json");
  ASSERT_TRUE(draft);
  fs::rename(file("here"), file("moved"));
  fs::create_symlink(file("elsewhere"), file("here"));

  ASSERT_TRUE(draft->write(Secret::copy_of("a token")));
  ASSERT_TRUE(draft->replace());

  EXPECT_EQ(file_bytes(file("moved") / "auth.json"), "a token");
  EXPECT_TRUE(fs::is_empty(file("elsewhere")));
}

TEST_F(FilesTest, DraftsOfTheDeadAreSweptAndThoseOfTheLivingAndOfOthersAreNot) {
  write(file(), "old");
  const fs::path dead = draft_of("auth.json");
  const fs::path at_work = draft_of("auth.json");
  const fs::path of_a_copy = draft_of("auth.json.migrated-20260921T141320Z");
  const fs::path of_another_file = draft_of("auth.jso");
  const fs::path users_own = file("auth.json.new");
  write(users_own, "the user's");
  const Fd holder(::open(at_work.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(holder.get(), LOCK_EX), 0);

  ASSERT_TRUE(replace_durable(file(), Secret::copy_of("new")));

  EXPECT_FALSE(fs::exists(dead));
  EXPECT_FALSE(fs::exists(of_a_copy));
  EXPECT_TRUE(fs::exists(at_work));
  EXPECT_TRUE(fs::exists(of_another_file));
  EXPECT_TRUE(fs::exists(users_own));
}

TEST_F(FilesTest, OnlyWhatWeCallADraftIsOne) {
  EXPECT_EQ(name_of_draft(".auth.db.authdb-abcdefgh2345"), "auth.db");
  EXPECT_EQ(name_of_draft(".auth.db.authdb-abcdefgh2345-wal"), "auth.db");
  for (const char* name :
       {"auth.db.authdb-abcdefgh2345", ".auth.db.authdb-abcdefgh234",
        ".auth.db.authdb-ABCDEFGH2345", "auth.db.new", ".authdb-abcdefgh2345", "auth.db", ""}) {
    EXPECT_EQ(name_of_draft(name), "") << name;
  }
}

}  // namespace
}  // namespace authdb::test
