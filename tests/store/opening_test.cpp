// The opening checklist, item by item. Each refusal names what is wrong and leaves everything as it
// was.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "store/store.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class OpeningTest : public StoreTest {
 protected:
  void make_store() {
    Store store = open();
    uid_ = add_login(store);
  }
  // Runs SQL in a program that knows nothing of us.
  void shell(const std::string& sql) {
    ASSERT_EQ(
        std::system(("sqlite3 '" + database().string() + "' '" + sql + "' >/dev/null").c_str()), 0);
  }
  Error refusal(OpenMode mode = OpenMode::create) {
    const auto opened = Store::open(options(), mode);
    EXPECT_FALSE(opened);
    return opened ? Error{} : opened.error();
  }
  Result<Store> open_at(const fs::path& path, OpenMode mode = OpenMode::use) {
    StoreOptions there = options();
    there.path = path;
    return Store::open(there, mode);
  }

  Uid uid_;
};

TEST_F(OpeningTest, WithoutAStoreLookingIsNotFoundAndSaysHowToMakeOne) {
  for (const OpenMode mode : {OpenMode::look, OpenMode::use}) {
    const Error error = refusal(mode);
    EXPECT_EQ(error.code, Errc::not_found);
    EXPECT_THAT(error.hint, HasSubstr("authdb migrate"));
  }
  EXPECT_TRUE(fs::is_empty(dir_.path()));
}

TEST_F(OpeningTest, ANewStoreIsPrivateInEveryFile) {
  make_store();

  EXPECT_EQ(fs::status(dir_.path() / "store").permissions(), fs::perms::owner_all);
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(dir_.path())) {
    EXPECT_EQ(entry.status().permissions() & (fs::perms::group_all | fs::perms::others_all),
              fs::perms::none)
        << entry.path();
    ++files;
  }
  EXPECT_GE(files, 6);
}

TEST_F(OpeningTest, AFileThatOthersCanReachIsRefusedWithTheChmod) {
  make_store();
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0644u, 0666u}) {
    ::chmod(database().c_str(), mode);
    const Error error = refusal();
    EXPECT_EQ(error.code, Errc::refused) << mode;
    EXPECT_THAT(error.hint, HasSubstr("chmod 600 " + database().string()));
  }
}

TEST_F(OpeningTest, AFileThatIsNoStoreIsCalledSoWhateverItsPermissions) {
  fs::create_directories(database().parent_path());
  for (const char* text : {"root:x:0:0:root:/root:/bin/bash\n", "{}", ""}) {
    std::ofstream(database()) << text;
    ::chmod(database().c_str(), 0644);

    const Error error = refusal();

    EXPECT_EQ(error.code, Errc::refused);
    EXPECT_THAT(error.message, HasSubstr("is not an authdb store"));
    EXPECT_THAT(error.hint, Not(HasSubstr("chmod")));
  }
}

TEST_F(OpeningTest, AnAuthDbWithoutItsDirectoryIsStillOne) {
  make_store();
  fs::remove_all(database().string() + ".d");

  EXPECT_THAT(refusal().message, HasSubstr("is missing or incomplete beside auth.db"));
}

TEST_F(OpeningTest, ADirectoryThatOthersCanWriteIsRefused) {
  make_store();
  ::chmod((dir_.path() / "store").c_str(), 0770);

  EXPECT_EQ(refusal().code, Errc::refused);
}

TEST_F(OpeningTest, AJournalsDirectoryThatOthersCanWriteIsRefusedWithItsChmod) {
  make_store();
  const std::string journals = database().string() + ".d";
  ::chmod(journals.c_str(), 0770);

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.hint, HasSubstr("chmod go-w " + journals));
}

TEST_F(OpeningTest, ADirectoryAboveThatOthersCanWriteIsRefusedForStoreAndKey) {
  make_store();
  for (const fs::path& above : {dir_.path(), options().key_file.parent_path()}) {
    const auto before = fs::status(above).permissions();
    ::chmod(above.c_str(), 0777);
    const auto opened = Store::open(options(), OpenMode::use);
    const auto read = opened ? opened->unseal(uid_) : fail(opened.error());
    ASSERT_FALSE(read) << above;
    EXPECT_EQ(read.error().code, Errc::refused) << above;
    EXPECT_THAT(read.error().hint, HasSubstr("chmod go-w " + above.string()));
    fs::permissions(above, before);
  }
}

TEST_F(OpeningTest, InAnotherUsersDirectoryNothingIsLeft) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  const fs::path home = dir_.path() / "home";
  fs::create_directory(home);
  ASSERT_EQ(::chown(home.c_str(), 4711, 4711), 0);

  const auto made = open_at(home / ".local" / "share" / "authdb" / "auth.db", OpenMode::create);

  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::refused);
  EXPECT_THAT(made.error().hint, HasSubstr("sudo -H -u '#4711'"));
  EXPECT_TRUE(fs::is_empty(home));
}

TEST_F(OpeningTest, AnotherUsersStoreIsRefusedEvenForRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  make_store();
  ASSERT_EQ(::chown(database().c_str(), 65534, 65534), 0);

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.hint, HasSubstr("sudo -H -u '#65534'"));
}

TEST_F(OpeningTest, AHardLinkedFileIsRefused) {
  make_store();
  fs::create_hard_link(database(), dir_.path() / "other name");

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.message, HasSubstr("hard links"));
}

TEST_F(OpeningTest, SymbolicLinksAndDotsLeadToOneStore) {
  make_store();
  fs::create_symlink(database(), dir_.path() / "link.db");
  fs::create_directory_symlink(dir_.path() / "store", dir_.path() / "linked");

  for (const fs::path& path : {dir_.path() / "link.db", dir_.path() / "linked" / "auth.db",
                               dir_.path() / "config" / ".." / "store" / "." / "auth.db"}) {
    const auto opened = open_at(path);
    ASSERT_TRUE(opened) << path << ": " << opened.error().message;
    EXPECT_EQ(opened->path(), fs::canonical(database()));
    EXPECT_TRUE(opened->unseal(uid_));
  }
}

TEST_F(OpeningTest, AFileMountedByItselfIsRefused) {
  make_store();
  const fs::path target = dir_.path() / "mounted" / "auth.db";
  fs::create_directory(target.parent_path());
  fs::copy(dir_.path() / "store" / "auth.db.d", dir_.path() / "mounted" / "auth.db.d");
  std::ofstream(target).close();
  if (::mount(database().c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "bind mounts are not allowed here";
  }
  const auto opened = open_at(target);
  ::umount(target.c_str());

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::refused);
  EXPECT_THAT(opened.error().message, HasSubstr("mounted"));
}

TEST_F(OpeningTest, ADirectoryInPlaceOfTheFileIsRefused) {
  fs::create_directories(database());

  EXPECT_EQ(refusal().code, Errc::refused);
}

TEST_F(OpeningTest, AnotherProgramsDatabaseIsRefusedAndLeftAlone) {
  make_store();
  shell("PRAGMA application_id = 7");
  const std::string before = file_bytes(database());

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.message, HasSubstr("not an authdb store"));
  EXPECT_EQ(file_bytes(database()), before);
}

TEST_F(OpeningTest, ANewerSchemaIsRefusedNamingBothVersions) {
  make_store();
  shell("PRAGMA user_version = 2");

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.message, HasSubstr("schema 2"));
}

TEST_F(OpeningTest, ADamagedOrEmptyFileIsRefusedAndLeftAlone) {
  make_store();
  for (const std::string& bytes : {std::string(8192, 'x'), std::string("short"), std::string()}) {
    for (const char* suffix : {"-wal", "-shm"}) fs::remove(database().string() + suffix);
    std::ofstream(database(), std::ios::binary | std::ios::trunc) << bytes;

    EXPECT_EQ(refusal().code, Errc::refused);

    EXPECT_EQ(file_bytes(database()), bytes);
  }
}

TEST_F(OpeningTest, AStoreWithoutItsJournalsDirectoryIsRefused) {
  make_store();
  fs::rename(dir_.path() / "store" / "auth.db.d", dir_.path() / "aside");

  EXPECT_EQ(refusal().code, Errc::refused);
  EXPECT_FALSE(fs::exists(dir_.path() / "store" / "auth.db.d"));
}

TEST_F(OpeningTest, ADatabaseOfAnotherStoreIsRefused) {
  make_store();
  std::ofstream(dir_.path() / "store" / "auth.db.d" / "store", std::ios::trunc) << "other\n";

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.message, HasSubstr("different stores"));
}

TEST_F(OpeningTest, WithoutTheKeyMetadataAndViewsStillWork) {
  make_store();
  fs::remove(options().key_file);

  const Store store = open(OpenMode::look);

  EXPECT_EQ(store.list({})->size(), 1u);
  EXPECT_EQ(store.query("SELECT * FROM freshness")->rows.size(), 1u);
  EXPECT_EQ(store.unseal(uid_).error().code, Errc::refused);
}

// SQLite would replay the old log into the new file.
TEST_F(OpeningTest, P2_AMissingDatabaseWhoseLogIsStillThereIsRefused) {
  {
    Store store = open();
    CredentialChange key = login("key", "sk-1", "", now());
    key.identity->auth_type = AuthType::api_key;
    add(store, std::move(key));
    fs::copy(database().string() + "-wal", dir_.path() / "log");
  }
  fs::remove(database());
  fs::copy(dir_.path() / "log", database().string() + "-wal");

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_FALSE(fs::exists(database()));
}

TEST_F(OpeningTest, LeftoversOfACrashWhileCreatingAreSweptAway) {
  fs::create_directories(dir_.path() / "store");
  ::chmod((dir_.path() / "store").c_str(), 0700);
  const fs::path draft = draft_beside(database());
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    std::ofstream(draft.string() + suffix) << "half a store";
  }

  Store store = open();

  EXPECT_TRUE(store.add_profile("works"));
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    EXPECT_FALSE(fs::exists(draft.string() + suffix)) << suffix;
  }
}

TEST_F(OpeningTest, ProcessesCreatingAtOnceMakeOneStoreWithOneKey) {
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(go[1]);
      char byte = 0;
      (void)!::read(go[0], &byte, 1);  // all at once, when the parent lets go
      auto store = Store::open(options(), OpenMode::create);
      const std::string name = std::to_string(i);
      Change change;
      change.credentials.push_back(login(name, "access-" + name, "refresh-" + name, now()));
      ::_exit(store && store->apply(change) ? 0 : 1);
    }
    children.push_back(child);
  }
  ::close(go[0]);
  ::close(go[1]);
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }

  const Store store = open(OpenMode::look);
  const auto all = store.list({});
  ASSERT_EQ(all->size(), 6u);
  for (const Credential& row : *all) EXPECT_TRUE(store.unseal(row.uid));
}

TEST_F(OpeningTest, ADeletedWorkingDirectoryIsAnErrorNotAnException) {
  const pid_t child = ::fork();
  if (child == 0) {
    const fs::path gone = dir_.path() / "gone";
    fs::create_directory(gone);
    fs::current_path(gone);
    fs::remove(gone);
    StoreOptions relative = options();
    relative.path = "auth.db";
    int answer = 1;
    try {
      answer = Store::open(relative, OpenMode::create) ? 2 : 0;
    } catch (...) {
      answer = 3;
    }
    ::_exit(answer);
  }
  int status = 0;
  ::waitpid(child, &status, 0);

  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(OpeningTest, ALogOfManyWritesStaysSmall) {
  Store store = open();
  const Uid uid = add_login(store);
  for (int i = 0; i < 1500; ++i) ASSERT_TRUE(store.touch(uid));

  EXPECT_LT(fs::file_size(database().string() + "-wal"), 2u << 20);
}

}  // namespace
}  // namespace authdb::test
