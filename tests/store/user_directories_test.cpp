// Which directories are the user's, and that no other ones are.
#include "store/user_directories.h"

#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <map>

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class UserDirectoriesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) {
      const char* value = ::getenv(name);
      if (value != nullptr) before_[name] = value;
      ::unsetenv(name);
    }
  }
  void TearDown() override {
    for (const char* name : kNames) ::unsetenv(name);
    for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  static void set(const char* name, const char* value) { ::setenv(name, value, 1); }
  static fs::path of_password_database() { return ::getpwuid(::geteuid())->pw_dir; }

  static constexpr std::array kNames = {"HOME",         "XDG_DATA_HOME",   "XDG_CONFIG_HOME",
                                        "AUTHDB_STORE", "AUTHDB_KEY_FILE", "CREDENTIALS_DIRECTORY"};
  std::map<std::string, std::string> before_;
};

TEST_F(UserDirectoriesTest, AHomeThatIsNoAbsolutePathIsThatOfThePasswordDatabase) {
  EXPECT_EQ(home_directory(), of_password_database());
  for (const char* home : {"", ".", "here", "../there"}) {
    set("HOME", home);
    EXPECT_EQ(home_directory(), of_password_database()) << home;
    EXPECT_TRUE(default_store_path().is_absolute());
    EXPECT_TRUE(default_key_path().is_absolute());
  }
  set("HOME", "/somewhere");
  EXPECT_EQ(home_directory(), "/somewhere");
}

TEST_F(UserDirectoriesTest, AVariableThatIsNoAbsolutePathCountsAsNotSet) {
  set("HOME", "/home/ada");
  for (const char* value : {"", ".", "data"}) {
    set("XDG_DATA_HOME", value);
    set("XDG_CONFIG_HOME", value);
    EXPECT_EQ(default_store_path(), "/home/ada/.local/share/authdb/auth.db") << value;
    EXPECT_EQ(default_key_path(), "/home/ada/.config/authdb/seal.key") << value;
  }
  set("XDG_DATA_HOME", "/data");
  set("XDG_CONFIG_HOME", "/config");
  EXPECT_EQ(default_store_path(), "/data/authdb/auth.db");
  EXPECT_EQ(default_key_path(), "/config/authdb/seal.key");
}

// A container's user that has no entry.
TEST_F(UserDirectoriesTest, WithoutAHomeNothingIsMadeAndTheWayOutIsSaid) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody without an entry";
  const TemporaryDirectory here;
  ::chmod(here.path().c_str(), 0777);
  const pid_t child = ::fork();
  if (child == 0) {
    fs::current_path(here.path());
    if (::setuid(987654) != 0) ::_exit(2);
    const auto made = Store::open({}, OpenMode::create);
    const bool told = !made && made.error().code == Errc::refused &&
                      made.error().hint.find("--store") != std::string::npos;
    ::_exit(told && home_directory().empty() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);

  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(fs::is_empty(here.path()));
}

}  // namespace
}  // namespace authdb::test
