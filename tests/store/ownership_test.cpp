// Who else could put something else in the place of a file, told by the directories on the way.
#include "store/ownership.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr uid_t kSomebodyElse = 4711;

class OwnershipTest : public ::testing::Test {
 protected:
  OwnershipTest() {
    fs::create_directories(at("a/b/c"));
    std::ofstream(at("a/b/c/file")) << "x";
    for (const char* name : {"a", "a/b", "a/b/c"}) chmod(name, 0700);
    chmod("a/b/c/file", 0600);
  }
  fs::path at(const std::string& name) const { return dir_.path() / name; }
  void chmod(const std::string& name, mode_t mode) { ::chmod(at(name).c_str(), mode); }
  void give_away(const std::string& name) {
    ASSERT_EQ(::lchown(at(name).c_str(), kSomebodyElse, kSomebodyElse), 0);
  }
  Error refusal(const std::string& name) {
    const auto checked = check_irreplaceable(at(name));
    EXPECT_FALSE(checked) << name;
    return checked ? Error{} : checked.error();
  }
  // In a process of that user.
  static bool holds_for(uid_t user, const std::function<bool()>& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(::setuid(user) == 0 && body() ? 0 : 1);
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  TemporaryDirectory dir_;
};

class UsersTest : public OwnershipTest {
 protected:
  void SetUp() override {
    // Files of several users are made here.
    if (::geteuid() != 0) GTEST_SKIP() << "only root can act for other users";
    ::chmod(dir_.path().c_str(), 0755);
  }
};

TEST_F(OwnershipTest, WhatOnlyThisUserAndRootCanReplaceIsFine) {
  EXPECT_TRUE(check_irreplaceable(at("a/b/c/file")));
  EXPECT_TRUE(check_irreplaceable(at("a/b/c")));
  EXPECT_TRUE(check_irreplaceable(at("a/b/c/not there yet")));
  EXPECT_TRUE(check_irreplaceable(at("a/b/not/there/yet")));
}

TEST_F(OwnershipTest, ADirectoryOnTheWayThatOthersCanWriteIsRefusedWithItsChmod) {
  for (const mode_t mode : {0720u, 0702u, 0777u}) {
    for (const char* name : {"a", "a/b", "a/b/c"}) {
      chmod(name, mode);
      for (const char* what : {"a/b/c/file", "a/b/c/not there yet"}) {
        EXPECT_EQ(refusal(what).code, Errc::refused) << name;
        EXPECT_THAT(refusal(what).hint, HasSubstr("chmod go-w " + at(name).string()));
      }
      chmod(name, 0700);
    }
  }
  chmod("a", 0777);
  EXPECT_EQ(refusal("a/not/there/yet").code, Errc::refused);
}

TEST_F(OwnershipTest, AStickyDirectoryWillDoAboveDirectoriesAndNotForFiles) {
  chmod("a/b", 01777);
  EXPECT_TRUE(check_irreplaceable(at("a/b/c/file")));
  EXPECT_TRUE(check_irreplaceable(at("a/b/new/file")));
  chmod("a/b/c", 01777);

  EXPECT_EQ(refusal("a/b/c/file").code, Errc::refused);
  EXPECT_EQ(refusal("a/b/c/not there yet").code, Errc::refused);
}

TEST_F(OwnershipTest, EveryLinkOnTheWayIsFollowedWithWhatIsAboveIt) {
  fs::create_directory(at("open"));
  fs::create_directory_symlink(at("a/b"), at("open/link"));
  fs::create_directory_symlink("../../open/link/c", at("a/b/relative"));
  EXPECT_TRUE(check_irreplaceable(at("a/b/relative/file")));
  chmod("open", 0777);

  EXPECT_EQ(refusal("open/link/c/file").code, Errc::refused);
  EXPECT_EQ(refusal("a/b/relative/file").code, Errc::refused);
  EXPECT_EQ(refusal("a/../open/../open/link/c").code, Errc::refused);
}

TEST_F(OwnershipTest, DotsHideNoDirectoryThatOthersCanWrite) {
  chmod("a/b", 01777);

  EXPECT_EQ(refusal("a/b/c/..").code, Errc::refused);
  EXPECT_EQ(refusal("a/b/c/../file").code, Errc::refused);
}

TEST_F(OwnershipTest, NoFileIsWrittenWhereOthersCouldReplaceItAndTheMessageSaysWhatToDo) {
  for (const char* output : {"a/b/c/new", "a/b/c/file", "a/b/c/gone/new", "a/b/c/../c/new"}) {
    EXPECT_TRUE(check_output(at(output))) << output;
    for (const char* name : {"a", "a/b", "a/b/c"}) {
      chmod(name, 0770);
      const auto checked = check_output(at(output));
      chmod(name, 0700);

      ASSERT_FALSE(checked) << output << " below " << name;
      EXPECT_EQ(checked.error().code, Errc::refused);
      EXPECT_THAT(checked.error().message, HasSubstr(at(name).string()));
      EXPECT_THAT(checked.error().hint, HasSubstr("chmod go-w " + at(name).string()));
      EXPECT_THAT(checked.error().hint, HasSubstr("another directory"));
    }
  }
}

TEST_F(OwnershipTest, AnOutputMayBeInAStickyDirectoryAndNoLinkIsFollowedInItsPlace) {
  chmod("a/b/c", 01777);
  fs::create_symlink("/proc/self/nowhere", at("a/b/c/link"));

  EXPECT_TRUE(check_output(at("a/b/c/new")));
  EXPECT_TRUE(check_output(at("a/b/c/link"))) << "who writes replaces or refuses it";
}

TEST_F(OwnershipTest, ALoopOfLinksIsAnError) {
  fs::create_directory_symlink("two", at("one"));
  fs::create_directory_symlink("one", at("two"));

  EXPECT_FALSE(check_irreplaceable(at("one/file")));
}

TEST_F(OwnershipTest, AFileThatIsALinkToNowhereIsRefused) {
  fs::create_symlink("gone", at("a/b/c/link"));

  for (const auto& checked :
       {check_private(at("a/b/c/link")), check_private_or_handed(at("a/b/c/link"))}) {
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().code, Errc::refused);
    EXPECT_THAT(checked.error().message, HasSubstr("leads nowhere"));
  }
}

TEST_F(OwnershipTest, CodeThatOthersCanWriteOrReplaceIsNotLoadable) {
  ASSERT_TRUE(check_loadable(at("a/b/c/file")));
  for (const mode_t mode : {0620u, 0602u}) {
    chmod("a/b/c/file", mode);
    const auto checked = check_loadable(at("a/b/c/file"));
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().message, HasSubstr(at("a/b/c/file").string()));
    EXPECT_EQ(checked.error().hint, "chmod go-w " + at("a/b/c/file").string());
  }
  chmod("a/b/c/file", 0644);
  EXPECT_TRUE(check_loadable(at("a/b/c/file")));

  chmod("a/b", 0777);
  const auto checked = check_loadable(at("a/b/c/file"));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().hint, "chmod go-w " + at("a/b").string());
  EXPECT_FALSE(check_loadable(at("a")));
}

TEST_F(UsersTest, AnotherUsersCodeIsNotLoadable) {
  for (const char* name : {"a/b/c/file", "a/b"}) {
    give_away(name);
    const auto checked = check_loadable(at("a/b/c/file"));
    ASSERT_FALSE(checked) << name;
    EXPECT_THAT(checked.error().message, HasSubstr(at(name).string() + " belongs to user 4711"));
    ASSERT_EQ(::lchown(at(name).c_str(), 0, 0), 0);
  }
}

TEST_F(UsersTest, ADirectoryOrLinkOnTheWayThatIsAnotherUsersIsRefusedEvenForRoot) {
  give_away("a/b");
  EXPECT_EQ(refusal("a/b/c/file").code, Errc::refused);
  EXPECT_THAT(refusal("a/b/c/file").message, HasSubstr(at("a/b").string() + " belongs to"));
  EXPECT_THAT(refusal("a/b/c/file").hint, HasSubstr("sudo -H -u '#4711'"));
  fs::create_directory_symlink(at("a"), at("link"));
  give_away("link");

  EXPECT_THAT(refusal("link").message, HasSubstr(at("link").string() + " belongs to"));
}

TEST_F(UsersTest, NothingIsWrittenInADirectoryOfAnotherUserWhoeverAsks) {
  give_away("a/b");

  const auto checked = check_output(at("a/b/c/new"));

  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, Errc::refused);
  EXPECT_THAT(checked.error().message, HasSubstr("belongs to user 4711"));
  EXPECT_THAT(checked.error().hint, HasSubstr("another directory"));
}

TEST_F(UsersTest, RootsDirectoriesAreNobodysDanger) {
  chmod("a", 0755);
  chmod("a/b", 0755);
  give_away("a/b/c");

  EXPECT_TRUE(
      holds_for(kSomebodyElse, [&] { return check_irreplaceable(at("a/b/c/file")).has_value(); }));
}

TEST_F(UsersTest, AStoreInADirectoryThatIsClosedToThemIsRefusedToOthers) {
  EXPECT_TRUE(holds_for(kSomebodyElse, [&] {
    StoreOptions options;
    options.path = at("a/b/auth.db");
    const auto opened = Store::open(options, OpenMode::look);
    return !opened && opened.error().code == Errc::refused;
  }));
}

// As in a sandbox: root has no place there, and is shown as the number for those who have none.
TEST_F(UsersTest, InANamespaceWithoutRootWhatBelongsToNobodyThereIsTrusted) {
  give_away("a");
  give_away("a/b");
  give_away("a/b/c");
  give_away("a/b/c/file");
  constexpr int kNotPermitted = 2;
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string map = std::to_string(kSomebodyElse) + " " + std::to_string(kSomebodyElse);
    const bool alone = ::setuid(kSomebodyElse) == 0 && ::prctl(PR_SET_DUMPABLE, 1) == 0 &&
                       ::unshare(CLONE_NEWUSER) == 0;
    const bool mapped =
        alone && (std::ofstream("/proc/self/uid_map") << map + " 1" << std::flush).good();
    if (!mapped) ::_exit(kNotPermitted);
    ::_exit(check_irreplaceable(at("a/b/c/file")) ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  // Containers often allow no namespaces inside of them.
  if (WEXITSTATUS(status) == kNotPermitted) GTEST_SKIP() << "no user namespaces here";

  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(UsersTest, ASecretOfRootsIsTakenWhereOnlyItsGroupCanReadItAndNobodyCanWriteIt) {
  for (const char* name : {"a", "a/b", "a/b/c"}) chmod(name, 0755);
  const auto taken = [&](mode_t mode) {
    chmod("a/b/c/file", mode);
    return holds_for(kSomebodyElse,
                     [&] { return check_private_or_handed(at("a/b/c/file")).has_value(); });
  };

  EXPECT_TRUE(taken(0400));
  EXPECT_TRUE(taken(0440));
  for (const mode_t mode : {0444u, 0404u, 0640u, 0600u, 0460u, 0666u}) EXPECT_FALSE(taken(mode));
  EXPECT_FALSE(
      holds_for(kSomebodyElse, [&] { return check_private(at("a/b/c/file")).has_value(); }));
}

}  // namespace
}  // namespace authdb::test
