// What doctor finds, that looking changes nothing, and that repairing guesses nothing.
#include "store/doctor.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/backup.h"
#include "store/engine.h"
#include "store/files.h"
#include "store/journal.h"
#include "store/key_rotation.h"
#include "store/locked.h"
#include "tests/store/doctor_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST_F(DoctorTest, AHealthyStoreHasNothing) {
  EXPECT_THAT(found(), IsEmpty());
  EXPECT_THAT(mended(), IsEmpty());
}

TEST_F(DoctorTest, P6_LookingChangesNothingWhateverItFinds) {
  die_in_a_request(true);
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(add_key(options().key_file, store.id(), Milliseconds(0)));
  }
  std::ofstream(draft_beside(journal(uid_))) << "leftover";
  script_->sent.clear();
  const auto before = bytes();

  EXPECT_THAT(found(), ElementsAre("answer_unsettled", "key_rotation_unfinished", "leftover"));

  EXPECT_EQ(bytes(), before);
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(DoctorTest, AnAnswerThatWaitsIsSettled) {
  die_in_a_request(true);
  ASSERT_THAT(found(), ElementsAre("answer_unsettled"));
  script_->sent.clear();

  EXPECT_THAT(mended(), ElementsAre("adopted"));

  EXPECT_EQ(current(), "refresh-a-3");
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(DoctorTest, ATokenThatWasSentAndNotAnsweredIsNamedWithItsProcess) {
  die_in_a_request(false);

  const auto findings = examine(options());

  ASSERT_THAT(codes(findings, false), ElementsAre("sent_unanswered"));
  EXPECT_THAT(findings[0].message, HasSubstr("(doomed)"));
  script_->sent.clear();
  EXPECT_THAT(mended(), IsEmpty());
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(DoctorTest, P2_ADatabaseThatWasPutBackTakesItsJournalsTokens) {
  const std::string copy = keep_copy();
  rotate_to(3);
  put_back(copy);
  ASSERT_THAT(found(), ElementsAre("database_older"));

  EXPECT_THAT(mended(), ElementsAre("adopted"));

  EXPECT_EQ(current(), "refresh-a-3");
}

TEST_F(DoctorTest, ACredentialThatOnlyItsJournalKnowsIsBroughtBack) {
  const std::string copy = keep_copy();
  Uid later;
  {
    Store store = open(OpenMode::use);
    later = add_login(store, "later");
    will(grants("refresh-later-2", "access-later-2"));
    ASSERT_TRUE(rotate(store, later, {.force = true}));
  }
  put_back(copy);
  ASSERT_THAT(found(), ElementsAre("journal_alone"));

  EXPECT_THAT(mended(), ElementsAre("adopted"));

  EXPECT_EQ(text(open(OpenMode::look).unseal(later)->refresh_token), "refresh-later-2");
}

TEST_F(DoctorTest, AJournalOfThePastIsMentionedAndTheDatabaseCounts) {
  const std::string older = file_bytes(journal(uid_));
  rotate_to(3);
  std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << older;

  EXPECT_THAT(found(), ElementsAre("journal_older"));

  EXPECT_EQ(current(), "refresh-a-3");
}

TEST_F(DoctorTest, ADamagedJournalIsKeptItsCredentialHeldAndEverythingWorksAgain) {
  damage_head();
  const std::string damaged = file_bytes(journal(uid_));
  ASSERT_THAT(found(), ElementsAre("journal_damaged"));
  ASSERT_FALSE(rotate(open(OpenMode::use), uid_, {.force = true}));

  const auto findings = repair(options());

  EXPECT_THAT(codes(findings, true), ElementsAre("journal_damaged"));
  EXPECT_THAT(codes(findings, false), ElementsAre("set_aside"));
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
  std::string kept;
  for (const auto& entry : fs::directory_iterator(journal(uid_).parent_path())) {
    if (entry.path() != journal(uid_)) kept = file_bytes(entry.path());
  }
  EXPECT_EQ(kept, damaged);
  will(grants("refresh-a-3", "access-a-3"));
  Store store = open(OpenMode::use);
  const auto replayed = rotate(store, uid_, {.force = true, .replay = true});
  ASSERT_TRUE(replayed) << replayed.error().message;
  EXPECT_TRUE(store.remove(uid_));
}

TEST_F(DoctorTest, P1_AfterADamagedJournalWasSetAsideALiveBearerIsServedAndNothingSent) {
  damage_head();
  (void)repair(options());
  script_->sent.clear();
  Store store = open(OpenMode::use);

  const auto served = rotate(store, uid_, {});
  const auto refused = rotate(store, uid_, {.force = true});

  EXPECT_TRUE(served);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::try_later);
  EXPECT_THAT(refused.error().message, HasSubstr("lost, damaged or put back"));
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(DoctorTest, JournalsOfAnotherStoreOrCredentialAreKeptAndReported) {
  Store store = open(OpenMode::use);
  const Uid other = add_login(store, "b");
  will(grants("refresh-b-2", "access-b-2"));
  ASSERT_TRUE(rotate(store, other, {.force = true}));
  const std::string before = file_bytes(journal(other));
  std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << before;

  const auto findings = examine(options());

  ASSERT_THAT(codes(findings, false), ElementsAre("journal_damaged"));
  EXPECT_THAT(findings[0].message, HasSubstr("belongs to another credential"));
  EXPECT_EQ(file_bytes(journal(uid_)), before);
}

// Whoever waited for the damaged file's lock must find the new one, not the one that was renamed.
TEST_F(DoctorTest, AWaiterForADamagedJournalsLockGetsTheNewOne) {
  damage_head();
  (void)repair(options());
  Store first = open(OpenMode::use);
  Store second = open(OpenMode::use);

  const auto locked = LockedCredential::acquire(first, uid_, {Milliseconds(0)});
  const auto refused = LockedCredential::acquire(second, uid_, {Milliseconds(0)});

  EXPECT_TRUE(locked);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
}

// What stands where a journal should, and is none.
struct NoFile {
  const char* name;
  void (*make)(const fs::path& at, const fs::path& elsewhere);
};
class NoFileTest : public DoctorTest, public ::testing::WithParamInterface<NoFile> {
 protected:
  void SetUp() override {
    DoctorTest::SetUp();
    fs::rename(journal(uid_), dir_.path() / "elsewhere");
    GetParam().make(journal(uid_), dir_.path() / "elsewhere");
  }
};
INSTANTIATE_TEST_SUITE_P(
    Of, NoFileTest,
    ::testing::Values(
        NoFile{"link", [](const auto& at, const auto& there) { fs::create_symlink(there, at); }},
        NoFile{"directory", [](const auto& at, const auto&) { fs::create_directory(at); }},
        NoFile{"pipe", [](const auto& at, const auto&) { ::mkfifo(at.c_str(), 0600); }}),
    [](const auto& instance) { return instance.param.name; });

TEST_P(NoFileTest, IsDamageThatNothingIsSentWithAndThatDoctorSetsAside) {
  script_->sent.clear();
  {
    Store store = open(OpenMode::use);
    const auto refused = rotate(store, uid_, {.force = true});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::refused);
  }
  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_THAT(found(), ElementsAre("journal_damaged"));

  EXPECT_THAT(mended({"set_aside"}), ElementsAre("journal_damaged"));

  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(journal(uid_))));
}

TEST_P(NoFileTest, P5_IsNeverInTheWayOfARemoval) {
  const auto removed = open(OpenMode::use).remove(uid_);

  EXPECT_TRUE(removed) << removed.error().message;
}

TEST_P(NoFileTest, IsMovedByOneProcessAndNobodyWaitsForOneThatIsStopped) {
  {
    const Fd other(::open(journal(uid_).parent_path().c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
    const auto removed = open(OpenMode::use).remove(uid_);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, Errc::busy) << removed.error().message;
    EXPECT_FALSE(fs::is_regular_file(fs::symlink_status(journal(uid_))));
  }

  const auto removed = open(OpenMode::use).remove(uid_);
  EXPECT_TRUE(removed) << removed.error().message;
}

TEST_F(DoctorTest, P5_AWriteGateThatIsMissingIsMadeAgain) {
  fs::remove(database().string() + ".d/gate");

  rotate_to(3);

  EXPECT_EQ(current(), "refresh-a-3");
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(DoctorTest, P8_AJournalThatItsOwnerCannotWriteIsFound) {
  fs::permissions(journal(uid_), fs::perms::owner_read);
  const bool root = ::geteuid() == 0;  // who may write all the same
  if (root) {
    ASSERT_EQ(std::system(("chown -R 65534 '" + dir_.path().string() + "'").c_str()), 0);
  }
  const pid_t child = ::fork();
  if (child == 0) {
    if (root && ::setuid(65534) != 0) ::_exit(2);
    const auto alone = examine_journal(open(OpenMode::look), uid_);
    ::_exit(alone && found() == std::vector<std::string>{"journal_read_only"} ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);

  EXPECT_EQ(status, 0);
}

TEST_F(DoctorTest, OldLeftoversAreRemovedAndYoungOnesLeftAlone) {
  const fs::path old = draft_beside(database());
  const fs::path young = draft_beside(journal(uid_));
  const fs::path users_own = database().string() + ".new";
  for (const fs::path& path : {old, young, users_own}) std::ofstream(path) << "half";
  fs::last_write_time(users_own, fs::file_time_type::clock::now() - std::chrono::hours(2));
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(2));
  ASSERT_THAT(found(), ElementsAre("leftover", "leftover"));

  EXPECT_THAT(mended({"leftover"}), ElementsAre("leftover"));

  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(young));
  EXPECT_TRUE(fs::exists(users_own));
}

TEST_F(DoctorTest, AnUnfinishedKeyRotationIsFinished) {
  const auto key = add_key(options().key_file, open(OpenMode::look).id(), Milliseconds(0));
  ASSERT_TRUE(key);
  ASSERT_THAT(found(), Contains("key_rotation_unfinished"));

  EXPECT_THAT(mended({"key_unused"}), ElementsAre("key_rotation_unfinished"));

  EXPECT_EQ(open(OpenMode::look).engine().keys().active(), *key);
  EXPECT_EQ(current(), "refresh-a-2");
}

TEST_F(DoctorTest, AMissingKeyIsDamage) {
  Store store = open(OpenMode::use);
  const std::string old_file = file_bytes(options().key_file);
  ASSERT_TRUE(rotate_key(store));
  std::ofstream(options().key_file, std::ios::trunc) << old_file;

  const auto findings = examine(options());

  ASSERT_THAT(codes(findings, false), ElementsAre("key"));
  EXPECT_EQ(findings[0].severity, Severity::damage);
  EXPECT_THAT(findings[0].message, HasSubstr("not in the file"));
}

TEST_F(DoctorTest, P8_ACellThatIsGoneThoughItsRowShowsItIsDamageAndTakenFromTheJournal) {
  for (const std::string gone : {"access_token = NULL", "refresh_token = NULL",
                                 "access_token = x''", "refresh_token = x''"}) {
    SQLite::Database(database().string(), SQLite::OPEN_READWRITE)
        .exec("UPDATE token_set SET " + gone);
    EXPECT_FALSE(open(OpenMode::look).unseal(uid_)) << gone;
    EXPECT_THAT(found(), ElementsAre("cell_damaged")) << gone;
    EXPECT_FALSE(back_up(open(OpenMode::look), dir_.path() / "backup.db")) << gone;

    const auto held = open(OpenMode::use).unseal(uid_);

    ASSERT_TRUE(held) << gone << held.error().message;
    EXPECT_EQ(text(held->access_token), "access-a-2");
    EXPECT_EQ(text(held->refresh_token), "refresh-a-2");
    EXPECT_THAT(found(), IsEmpty()) << gone;
  }
}

TEST_F(DoctorTest, P8_AJournalThatIsLostIsNamedBeforeAnybodyNeedsIt) {
  const fs::path journal = open(OpenMode::look).engine().place(uid_).path();
  const auto whole = file_bytes(journal);
  for (const std::size_t left : {std::size_t{12288}, std::size_t{4096}, std::size_t{100}}) {
    fs::resize_file(journal, left);
    EXPECT_TRUE(examine_journal(open(OpenMode::look), uid_)) << left;
    std::ofstream(journal, std::ios::binary) << whole;
  }
  EXPECT_FALSE(examine_journal(open(OpenMode::look), uid_));

  fs::remove(journal);

  EXPECT_THAT(found(), ElementsAre("journal_older"));
  EXPECT_TRUE(examine_journal(open(OpenMode::look), uid_));
  fs::remove(journal.parent_path());
  fs::create_symlink("nowhere", journal.parent_path());
  EXPECT_TRUE(examine_journal(open(OpenMode::look), uid_));
}

TEST_F(DoctorTest, P8_WhatCannotBeWrittenIsNamedBeforeAnybodyNeedsIt) {
  const fs::path gate = database().string() + ".d/gate";
  fs::remove(gate);
  EXPECT_FALSE(examine_access(open(OpenMode::look))) << "it is made when it is needed";
  fs::create_directory(gate);

  EXPECT_THAT(found(), ElementsAre("unwritable"));

  fs::remove(gate);
  fs::remove(database().string() + "-wal");
  fs::create_symlink("/nowhere", database().string() + "-wal");
  EXPECT_TRUE(examine_access(open(OpenMode::look)));
}

TEST_F(DoctorTest, AKeyIsRotatedBesideACellThatIsGone) {
  SQLite::Database(database().string(), SQLite::OPEN_READWRITE)
      .exec("UPDATE token_set SET access_token = NULL");

  Store store = open(OpenMode::use);
  const auto rotated = rotate_key(store);

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(text(open(OpenMode::use).unseal(uid_)->access_token), "access-a-2");
}

TEST_F(DoctorTest, P5_WhoeverNeedsACellThatDoesNotOpenTakesItFromTheJournal) {
  SQLite::Database(database().string(), SQLite::OPEN_READWRITE)
      .exec(
          "UPDATE token_set SET access_token = substr(access_token, 1, 50), "
          "refresh_token = substr(refresh_token, 1, 50)");
  ASSERT_FALSE(open(OpenMode::look).unseal(uid_));
  EXPECT_THAT(found(), ElementsAre("cell_damaged", "cell_damaged")) << "looking changes nothing";

  const auto rotated = rotate(open(OpenMode::use), uid_, {});

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(rotated->action, Action::cached);
  EXPECT_EQ(text(rotated->held.access_token), "access-a-2");
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(DoctorTest, ACellThatDoesNotOpenIsFoundAndTakenFromAJournalWithTheSameTokens) {
  for (const std::string column : {"access_token", "refresh_token"}) {
    ASSERT_EQ(std::system(("sqlite3 '" + database().string() + "' \"UPDATE token_set SET " +
                           column + " = cast(substr(" + column +
                           ", 1, 40) || zeroblob(8) || substr(" + column + ", 49) AS blob)\"")
                              .c_str()),
              0);
    const auto findings = examine(options());
    ASSERT_EQ(findings.size(), 1u);
    EXPECT_EQ(findings[0].code, "cell_damaged");
    EXPECT_EQ(findings[0].severity, Severity::damage);
    EXPECT_THAT(findings[0].message, HasSubstr("token_set." + column + " of \"a\" (nous, " + uid_));

    EXPECT_THAT(mended(), ElementsAre("cell_damaged"));

    EXPECT_EQ(current(), "refresh-a-2");
    EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->access_token), "access-a-2");
  }
}

TEST_F(DoctorTest, P1_ACellThatDoesNotOpenIsNotReplacedByOtherTokens) {
  ASSERT_EQ(std::system(("sqlite3 '" + database().string() +
                         "' 'UPDATE token_set SET generation = generation + 64'")
                            .c_str()),
            0);
  EXPECT_THAT(found(), Contains("cell_damaged"));

  const auto findings = codes(repair(options()), false);

  EXPECT_THAT(findings, Contains("cell_damaged"));
  script_->sent.clear();
  (void)rotate(open(OpenMode::use), uid_, {.force = true});
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(DoctorTest, ARetiredTokenThatIsCurrentIsFound) {
  const std::string command =
      "sqlite3 '" + database().string() +
      "' \"DROP TRIGGER retired_token_not_current; INSERT INTO retired_token SELECT refresh_hash, "
      "credential, family, generation, 0, 'spent' FROM token_set\"";
  ASSERT_EQ(std::system(command.c_str()), 0);

  const auto findings = examine(options());

  ASSERT_THAT(codes(findings, false), ElementsAre("schema", "database"));
  EXPECT_THAT(findings[1].message, HasSubstr("is retired"));
}

TEST_F(DoctorTest, WhatAuthdbHasNotPutIntoTheSchemaIsNamed) {
  const std::string command =
      "sqlite3 '" + database().string() +
      "' \"CREATE TRIGGER thief AFTER UPDATE ON token_set BEGIN DELETE FROM "
      "attempt; END\"";
  ASSERT_EQ(std::system(command.c_str()), 0);

  const auto findings = examine(options());

  ASSERT_THAT(codes(findings, false), ElementsAre("schema"));
  EXPECT_EQ(findings[0].severity, Severity::damage);
  EXPECT_THAT(findings[0].message, HasSubstr("trigger thief"));
  EXPECT_THAT(findings[0].hint, HasSubstr("authdb restore"));
}

TEST_F(DoctorTest, WhatKeepsAStoreFromOpeningIsAFinding) {
  ::chmod(database().c_str(), 0644);

  const auto findings = examine(options());

  ASSERT_THAT(codes(findings, false), ElementsAre("open"));
  EXPECT_EQ(findings[0].severity, Severity::damage);
  EXPECT_THAT(findings[0].hint, HasSubstr("chmod 600"));
}

}  // namespace
}  // namespace authdb::test
