// A stranger on the machine: with the real executable, real files and a second uid.
#include "tests/tools/users.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "tools/portal/portal.h"

namespace authdb::cli {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Every token of the simulator has it.
constexpr const char* kMark = "_SIM_";

std::vector<fs::path> below(const fs::path& top) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(top)) found.push_back(entry.path());
  return found;
}

// All that another user might do to a path. What works is named, and has been done.
std::string done_to(const fs::path& path, const fs::path& tool) {
  std::string done;
  const auto tried = [&](const char* what, bool works) {
    if (works) done += std::string(what) + " " + path.string() + "\n";
  };
  for (const auto& [what, flags] : {std::pair("read", O_RDONLY), std::pair("write", O_WRONLY)}) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
    struct stat st {};
    const bool is_listed = fd >= 0 && ::fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    tried(is_listed ? "list" : what, fd >= 0);
    if (!is_listed) tried("lock", fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) == 0);
    if (fd >= 0) ::close(fd);
  }
  tried("chmod", ::chmod(path.c_str(), 0777) == 0);
  tried("chown", ::chown(path.c_str(), ::geteuid(), ::getegid()) == 0);
  tried("truncate", ::truncate(path.c_str(), 0) == 0);
  tried("set the time of", ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0);
  tried("make a file in", ::mknod((path / "planted").c_str(), S_IFREG | 0600, 0) == 0);
  tried("make a link in", ::symlink(tool.c_str(), (path / "planted").c_str()) == 0);
  tried("make a link beside", ::symlink(tool.c_str(), (path.string() + ".planted").c_str()) == 0);
  tried("replace", ::rename(tool.c_str(), path.c_str()) == 0);
  tried("move away", ::rename(path.c_str(), (path.string() + ".gone").c_str()) == 0);
  tried("delete", ::unlink(path.c_str()) == 0 || ::rmdir(path.c_str()) == 0);
  return done;
}

class UsersTest : public UsersOfAMachine {
 protected:
  void SetUp() override {
    UsersOfAMachine::SetUp();
    if (IsSkipped()) return;
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    env_["NOUS_INFERENCE_BASE_URL"] = portal_.base_url() + "/v1";
  }
  // A Hermes that has been careless with its file.
  void lay_out_hermes(const fs::path& directory) {
    const auto grant = portal_.create_grant();
    const nlohmann::json row{{"id", "a1b2c3"},
                             {"label", "work"},
                             {"auth_type", "oauth"},
                             {"source", "manual:device_code"},
                             {"access_token", grant.access_token},
                             {"refresh_token", grant.refresh_token},
                             {"scope", grant.scope},
                             {"expires_at", "2037-01-01T00:00:00Z"}};
    const nlohmann::json tree{{"version", 1},
                              {"credential_pool", {{"nous", nlohmann::json::array_t{row}}}}};
    file_of(kOwner, directory / "auth.json", tree.dump(2), 0644);
  }
  Ran stranger_runs(const std::vector<std::string>& words) {
    file_of(kStranger, dir_ / "stdin", "");
    Plumbing plumbing;
    plumbing.stdin_path = dir_ / "stdin";
    plumbing.user = kStranger;
    plumbing.program = dir_ / "program/bin/authdb";
    return Child(words, env_, plumbing).finish();
  }
  fs::path data() const { return home() / ".local/share/authdb"; }
  fs::path config() const { return home() / ".config/authdb"; }

  portal::Portal portal_;
};

TEST_F(UsersTest, NothingThatIsWrittenCanBeReadListedLockedDeletedOrReplacedByAStranger) {
  lay_out_hermes(home() / ".hermes");
  give(home() / ".hermes", kOwner, 0755);
  must_own({"migrate", "--cutover"});
  must_own({"add", "openrouter"}, "sk-or-v1_SIM_1");
  must_own({"refresh", "nous"});
  must_own({"token", "nous"});
  must_own({"backup", home() / "backup.db"});
  must_own({"export", "-o", home() / "export.json"});
  must_own({"export", "--reveal-refresh", "-o", home() / "copy.json"});
  must_own({"key", "rotate"});
  must_own({"token", "nous"});
  const std::vector<fs::path> all = below(home());
  ASSERT_THAT(all, testing::SizeIs(testing::Ge(16U)));
  const std::set<fs::path> tools{home() / ".hermes"};

  const std::string done = as(kStranger, [&] {
    std::string text;
    for (const fs::path& path : all) {
      const fs::path tool = strangers() / "tool";
      const int made = ::open(tool.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
      if (made >= 0) ::close(made);
      text += done_to(path, tool);
    }
    return text;
  });

  // A directory that the tool has made is the tool's affair.
  EXPECT_THAT(done, AnyOf(IsEmpty(), testing::Eq("list " + (home() / ".hermes").string() + "\n")));
  EXPECT_EQ(below(home()), all);
  must_own({"token", "nous"});
}

TEST_F(UsersTest, AStoreThatWasLeftOpenToAllIsRefusedToAStrangerAndToItsOwner) {
  must_own({"add", "openrouter"}, "sk-or-v1_SIM_1");
  for (const auto& path : below(home())) {
    ::chmod(path.c_str(), fs::is_directory(path) ? 0777 : 0666);
  }

  for (const char* word : {"token", "status", "list"}) {
    const auto theirs = stranger_runs({word, "openrouter"});
    EXPECT_EQ(theirs.status, 7) << testing::PrintToString(theirs);
    EXPECT_THAT(theirs.out + theirs.err, AllOf(Not(HasSubstr(kMark)), HasSubstr("user 4711")));
    const auto ours = own({word, "openrouter"});
    EXPECT_EQ(ours.status, 7) << testing::PrintToString(ours);
    EXPECT_THAT(ours.err, HasSubstr("chmod "));
  }
}

// The store, its key and its backups, in every kind of place that a stranger was first in.
TEST_F(UsersTest, NothingIsMadeWhereAStrangerHasBeenFirst) {
  const fs::path sticky = dir_ / "tmp";
  fs::create_directories(sticky / "taken");
  give(sticky, 0, 01777);
  give(sticky / "taken", kStranger, 0777);
  fs::create_directory(home() / "mine");
  give(home() / "mine", kOwner, 0700);
  fs::create_directory_symlink(home() / "mine", sticky / "link");
  ::lchown((sticky / "link").c_str(), kStranger, kStranger);
  file_of(kStranger, sticky / "auth.db", "", 0666);
  fs::create_symlink(home() / "mine/elsewhere", sticky / "dangling");
  ::lchown((sticky / "dangling").c_str(), kStranger, kStranger);
  ::mkfifo((sticky / "pipe").c_str(), 0666);
  give(sticky / "pipe", kStranger, 0666);
  const auto all = [&] {
    std::vector<fs::path> found;
    for (const fs::path& top : {sticky, strangers(), home() / "mine"}) {
      for (const fs::path& path : below(top)) found.push_back(path);
    }
    return found;
  };
  const auto before = all();

  for (const fs::path& place :
       {strangers() / "auth.db", sticky / "taken/auth.db", sticky / "link/auth.db",
        sticky / "auth.db", sticky / "dangling", sticky / "pipe"}) {
    const auto as_store = own({"--store", place, "add", "openrouter"}, "sk-or-v1_SIM_1");
    EXPECT_EQ(as_store.status, 7) << place << testing::PrintToString(as_store);
    env_["AUTHDB_KEY_FILE"] = place;
    const auto as_key = own({"add", "openrouter"}, "sk-or-v1_SIM_1");
    EXPECT_EQ(as_key.status, 7) << place << testing::PrintToString(as_key);
    env_.erase("AUTHDB_KEY_FILE");
  }
  EXPECT_EQ(all(), before);

  constexpr int kTaken = 2;
  constexpr int kRefused = 7;
  must_own({"add", "openrouter"}, "sk-or-v1_SIM_1");
  for (const fs::path& place : {strangers() / "out", sticky / "taken/out", sticky / "auth.db",
                                sticky / "dangling", sticky / "pipe"}) {
    for (const auto& words : {std::vector<std::string>{"backup", place},
                              std::vector<std::string>{"export", "-o", place}}) {
      const auto ran = own(words);
      EXPECT_THAT(ran.status, AnyOf(kTaken, kRefused)) << place << testing::PrintToString(ran);
    }
  }
  EXPECT_THAT(below(home() / "mine"), IsEmpty());
  EXPECT_EQ(fs::file_size(sticky / "auth.db"), 0U);
}

TEST_F(UsersTest, AToolsFileThatAStrangerCanReplaceIsNotCutOver) {
  lay_out_hermes(strangers());
  give(strangers() / "auth.json", kStranger, 0644);
  const std::string before = read_file(strangers() / "auth.json");

  const auto ran = own({"migrate", "--cutover", strangers() / "auth.json"});

  EXPECT_EQ(ran.status, 7) << testing::PrintToString(ran);
  EXPECT_EQ(read_file(strangers() / "auth.json"), before);
}

// In a directory that everybody can write, names are anybody's; what is in our files is not.
TEST_F(UsersTest, AStrangerWhoRacesForTheNamesOfFilesGetsNoTokenAndLeadsNoWriteElsewhere) {
  const fs::path shared = dir_ / "shared";
  lay_out_hermes(shared);
  give(shared, 0, 0777);
  file_of(kOwner, home() / "precious", "mine", 0600);
  const fs::path stop = dir_ / "stop";
  must_own({"migrate", "--cutover", shared / "auth.json"});
  std::string stolen = "nobody raced";
  std::thread race([&] {
    stolen = as(kStranger, [&] {
      std::string found;
      for (int round = 0; !fs::exists(stop) || round < 2; ++round) {
        std::error_code gone;
        for (const auto& entry : fs::directory_iterator(shared, gone)) {
          const fs::path path = entry.path();
          if (read_file(path).find(kMark) != std::string::npos) found += path.string() + "\n";
          ::unlink(path.c_str());
          if (round % 3 == 0) (void)::symlink((home() / "precious").c_str(), path.c_str());
          if (round % 3 == 1) ::close(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666));
        }
        if (round == 0) ::close(::open((strangers() / "racing").c_str(), O_CREAT, 0600));
      }
      return found;
    });
  });
  while (!fs::exists(strangers() / "racing")) std::this_thread::yield();
  for (int round = 0; round < 12; ++round) {
    EXPECT_EQ(own({"export", "--reveal-refresh", "-o", shared / "export.json"}).status, 7);
    EXPECT_EQ(own({"backup", shared / "backup.db"}).status, 7);
    must_own({"refresh", "nous"});  // and writes auth.json anew, if it may
  }
  write_file(stop, "");
  race.join();

  EXPECT_THAT(stolen, IsEmpty());
  EXPECT_EQ(read_file(home() / "precious"), "mine");
  for (const fs::path& path : below(shared)) {
    struct stat st {};
    ASSERT_EQ(::lstat(path.c_str(), &st), 0);
    if (st.st_uid != kStranger || !S_ISREG(st.st_mode)) continue;
    EXPECT_THAT(read_file(path), Not(HasSubstr(kMark))) << path;
  }
}

}  // namespace
}  // namespace authdb::cli
