// What is lost of a store, or cannot be opened, and is made anew from what is left.
#include "store/sqlite/rebuild.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sys/stat.h>

#include "store/backup.h"
#include "store/engine.h"
#include "tests/store/doctor_fixture.h"

namespace authdb::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RebuildTest : public DoctorTest {};

TEST_F(RebuildTest, P5_AMissingDatabaseIsMadeAnewFromTheJournalsAlone) {
  drop_database();

  EXPECT_THAT(mended(), ElementsAre("database_lost", "adopted"));

  EXPECT_EQ(current(), "refresh-a-2");
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::none);
  EXPECT_TRUE(*open(OpenMode::look).retired(token_hash("refresh-a-1")));
  EXPECT_THAT(mended(), IsEmpty());
  rotate_to(3);
  EXPECT_EQ(current(), "refresh-a-3");
}

TEST_F(RebuildTest, P5_ADamagedDatabaseIsKeptAndMadeAnewFromTheJournalsAlone) {
  for (const std::string& bytes : {std::string(8192, 'x'), std::string("short"), std::string()}) {
    put_back(bytes);

    EXPECT_THAT(mended({"set_aside"}), ElementsAre("database_lost", "adopted")) << bytes.size();

    EXPECT_EQ(current(), "refresh-a-2");
    for (const auto& entry : fs::directory_iterator(database().parent_path())) {
      if (entry.path().string().find(".damaged-") == std::string::npos) continue;
      EXPECT_EQ(file_bytes(entry.path()), bytes);
      fs::remove(entry.path());
    }
  }
}

// It may have more than the journals: API keys, profiles.
TEST_F(RebuildTest, ADatabaseThatCanBeOpenedStaysHoweverDamaged) {
  std::string bytes = keep_copy();
  std::fill(bytes.end() - 4096, bytes.end(), 'x');
  put_back(bytes);

  const auto findings = repair(options());

  EXPECT_THAT(codes(findings, true), Not(Contains("database_lost")));
  EXPECT_THAT(codes(findings, false), Contains("database"));
  EXPECT_EQ(fs::file_size(database()), bytes.size());
}

TEST_F(RebuildTest, ADatabaseIsNotMadeAnewWithoutTheKeyOfItsJournals) {
  const std::string key = file_bytes(options().key_file);
  drop_database();
  fs::remove(options().key_file);
  ASSERT_TRUE(Sealer::create(options().key_file, "another-store"));

  EXPECT_THAT(mended({"database_lost"}), IsEmpty());

  EXPECT_FALSE(fs::exists(database()));
  EXPECT_NE(file_bytes(options().key_file), key);
}

TEST_F(RebuildTest, ADatabaseThatIsAnotherProgramsIsLeftAlone) {
  drop_database();
  SQLite::Database(database().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("CREATE TABLE theirs (a)");
  ::chmod(database().c_str(), 0600);
  const std::string theirs = file_bytes(database());

  EXPECT_THAT(mended({"database_lost"}), IsEmpty());

  EXPECT_EQ(file_bytes(database()), theirs);
}

TEST_F(RebuildTest, ADamagedJournalOfALoginThatTheDatabaseDoesNotKnowIsKept) {
  const std::string older = keep_copy();
  damage_head();
  drop_database();
  EXPECT_THAT(codes(repair(options()), false), Contains("journal_damaged"));

  put_back(older);
  (void)repair(options());

  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
}

TEST_F(RebuildTest, P1_ALostDirectoryIsMadeAnewAndNothingSentThatMayHaveBeen) {
  const fs::path directory = database().string() + ".d";
  fs::remove_all(directory);
  const auto without = Store::open(options(), OpenMode::use);
  ASSERT_FALSE(without);
  EXPECT_THAT(without.error().hint, HasSubstr("doctor --repair"));

  EXPECT_THAT(codes(repair(options()), true), Contains("directory_lost"));

  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
  EXPECT_EQ(current(), "refresh-a-2");
  script_->sent.clear();
  (void)rotate(open(OpenMode::use), uid_, {});
  EXPECT_THAT(sent(), IsEmpty()) << "its bearer lives";
  EXPECT_THAT(codes(repair(options()), true), Not(Contains("directory_lost")));
}

// Whoever had to wait for the gate finds what another process has made.
TEST_F(RebuildTest, P5_AWholeDatabaseIsNotSetAsideByWhoeverComesLater) {
  const fs::path backup = dir_.path() / "backup.db";
  ASSERT_TRUE(back_up(open(OpenMode::look), backup));
  rotate_to(3);
  const sqlite::StoreFiles files{database(), database().string() + ".d", open(OpenMode::look).id()};

  const auto rebuilt =
      sqlite::rebuild_from(backup, files, {uid_}, options().clock, Milliseconds(0));

  ASSERT_TRUE(rebuilt) << rebuilt.error().message;
  EXPECT_FALSE(rebuilt->has_value());
  EXPECT_EQ(current(), "refresh-a-3");
}

}  // namespace
}  // namespace authdb::test
