#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

class BackupCommandTest : public CommandTest {
 protected:
  BackupCommandTest() {
    must({"add", "openrouter", "--label", "spare"}, "sk-key-1");
    must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  }
  std::string file() const { return dir_ / "backup.db"; }
  void refresh(const std::string& number) {
    http_->answer(200,
                  grant_json({"access-token-ALPHA-" + number, "refresh-token-ALPHA-" + number}));
    must({"refresh", "acme"});
  }
};

TEST_F(BackupCommandTest, ARemovedKeyComesBackFromABackup) {
  const auto backed_up = must_json({"backup", file()});
  EXPECT_EQ(backed_up["credentials"], 2);
  EXPECT_EQ(backed_up["file"], file());
  must({"remove", "openrouter", "spare"});

  const auto restored = must_json({"restore", file()});

  EXPECT_EQ(restored["back"], 1);
  EXPECT_FALSE(restored["rebuilt"]);
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-1\n");
}

TEST_F(BackupCommandTest, ADeletedDatabaseComesBackWithTheNewestTokens) {
  must({"backup", file()});
  refresh("2");
  std::filesystem::remove(store_path());
  for (const char* suffix : {"-wal", "-shm"})
    std::filesystem::remove(store_path().string() + suffix);
  EXPECT_THAT(run({"token", "acme"}).err, HasSubstr("authdb restore FILE"));

  const auto ran = must({"restore", file()});

  EXPECT_THAT(ran.out,
              AllOf(StartsWith("Restored 2 credentials\n"), HasSubstr("1 got their newest")));
  EXPECT_THAT(ran.err, HasSubstr("Restart programs"));
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-2\n");
}

TEST_F(BackupCommandTest, WhatIsSaidToBeKeptIsThere) {
  must({"backup", file()});
  const auto wal = store_path().string() + "-wal";
  for (const char* log : {"", "the log of a database that is missing"}) {
    std::filesystem::remove(store_path());
    write_file(wal, log);

    const auto kept = must_json({"restore", file()})["set_aside"];

    EXPECT_EQ(kept.is_null(), *log == '\0') << kept;
    if (!kept.is_string()) continue;
    EXPECT_EQ(read_file(kept.get<std::string>()), log);
  }
}

TEST_F(BackupCommandTest, ABackupReplacesNothing) {
  write_file(file(), "precious");
  const auto ran = run({"backup", file()});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, AllOf(StartsWith("authdb: there is a file already: "), HasSubstr("\n  ")));
  EXPECT_EQ(read_file(file()), "precious");
}

TEST_F(BackupCommandTest, ABackupIntoADirectoryThatIsNotThereFailsInWords) {
  const auto ran = run({"backup", dir_ / "nowhere/backup.db"});
  EXPECT_NE(ran.status, 0);
  EXPECT_THAT(ran.err, HasSubstr("No such file or directory"));
}

TEST_F(BackupCommandTest, WhatIsNoBackupIsRefused) {
  EXPECT_EQ(run({"restore", dir_ / "nowhere"}).status, 3);
  write_file(file(), "garbage");
  const auto ran = run({"restore", file()});
  EXPECT_EQ(ran.status, 7);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("is no backup of an authdb store"), HasSubstr("\n  "),
                             Not(HasSubstr("authdb restore FILE"))));
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-key-1\n");
}

TEST_F(BackupCommandTest, NoSecretIsInABackupOrInWhatIsSaidOfIt) {
  const auto ran = must({"backup", file(), "-v"});
  const auto restored = must({"restore", file(), "-v"});
  const auto text = read_file(file()) + ran.out + ran.err + restored.out + restored.err;
  for (const char* secret : {"sk-key-1", "access-token-ALPHA-1", "refresh-token-ALPHA-1"}) {
    EXPECT_EQ(text.find(secret), std::string::npos) << secret;
  }
}

}  // namespace
}  // namespace authdb::cli
