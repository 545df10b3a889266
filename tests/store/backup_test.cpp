// backup and restore: what people wrote comes back, tokens never go backwards.
#include "store/backup.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "store/doctor.h"
#include "store/key_file.h"
#include "store/key_rotation.h"
#include "store/rotation.h"
#include "tests/store/rotated_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class BackupTest : public RotatedTest {
 protected:
  void set_hold(Hold hold) {
    Store store = open(OpenMode::use);
    auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
    ASSERT_TRUE(locked) << locked.error().message;
    ASSERT_TRUE(LockedCredential::set_hold({&*locked}, hold));
  }
  fs::path file() { return dir_.path() / "backup.db"; }
  void make_backup() {
    const auto done = back_up(open(OpenMode::look), file());
    ASSERT_TRUE(done) << done.error().message;
  }
  Restored must_restore() {
    const auto done = restore(options(), file());
    EXPECT_TRUE(done) << done.error().message << '\n' << done.error().hint;
    return done ? *done : Restored{};
  }
  Error refusal() {
    const auto done = restore(options(), file());
    EXPECT_FALSE(done);
    return done ? Error{} : done.error();
  }
  std::string current() {
    const auto held = open(OpenMode::look).unseal(uid_);
    return held ? text(held->refresh_token) : held.error().message;
  }
  // Everything that the next refresh sends.
  std::vector<std::string> sent_by_next_refresh(const std::string& next) {
    script_->sent.clear();
    script_->replies.clear();
    advance(Seconds(100'000));
    will(grants("refresh-" + next, "access-" + next));
    Store store = open(OpenMode::use);
    (void)rotate(store, uid_, {});
    return script_->sent;
  }
  void shell(const fs::path& database, const std::string& sql) {
    ASSERT_EQ(std::system(("sqlite3 '" + database.string() + "' \"" + sql + "\"").c_str()), 0);
  }
  void drop_database() {
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database().string() + suffix);
  }
};

TEST_F(BackupTest, ABackupIsPrivateWholeAndReplacesNothing) {
  make_backup();

  EXPECT_EQ(fs::status(file()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), {}), 3) << "something else is left";
  const std::string before = file_bytes(file());
  const auto again = back_up(open(OpenMode::look), file());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::usage);
  EXPECT_EQ(file_bytes(file()), before);
  EXPECT_EQ(before.find("refresh-a-2"), std::string::npos);
}

TEST_F(BackupTest, P6_ABackupChangesNothingOfTheStore) {
  const std::string before = file_bytes(database());
  const std::string journal_before = file_bytes(journal(uid_));

  make_backup();

  EXPECT_EQ(file_bytes(database()), before);
  EXPECT_EQ(file_bytes(journal(uid_)), journal_before);
}

TEST_F(BackupTest, ABackupWhileOthersWriteIsConsistent) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    Store store = open(OpenMode::use);
    for (int i = 0; !stop; ++i) {
      const auto number = std::to_string(i);
      add(store, login("w" + number, "access-w" + number, "refresh-w" + number, now()));
    }
  });
  for (int i = 0; i < 5; ++i) {
    const auto copy = dir_.path() / ("copy-" + std::to_string(i));
    const auto done = back_up(open(OpenMode::look), copy);
    EXPECT_TRUE(done) << done.error().message;
    EXPECT_TRUE(restore(options(), copy));
  }
  stop = true;
  writer.join();
}

TEST_F(BackupTest, WhatPeopleWroteComesBack) {
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(store.add_profile("scout"));
    ASSERT_TRUE(store.bind("scout", uid_));
    ASSERT_TRUE(store.set_strategy("scout", "nous", Strategy::least_used));
  }
  make_backup();
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(store.remove_profile("scout"));
    Change change;
    change.credentials.emplace_back();
    change.credentials[0].uid = uid_;
    change.credentials[0].identity = store.find(uid_)->identity;
    change.credentials[0].identity->label = "renamed";
    ASSERT_TRUE(store.apply(change));
  }

  must_restore();

  const Store store = open(OpenMode::look);
  EXPECT_EQ(store.find(uid_)->identity.label, "a");
  ASSERT_EQ(store.pool("scout", "nous")->size(), 1u);
  EXPECT_EQ(store.provider_state("scout", "nous")->strategy, Strategy::least_used);
  EXPECT_EQ(current(), "refresh-a-2");
}

TEST_F(BackupTest, P2_NewerTokensStayAndTheBackupsCountAsSpent) {
  make_backup();
  rotate_to(3);
  rotate_to(4);

  const Restored done = must_restore();

  EXPECT_EQ(done.newer, 1);
  EXPECT_EQ(done.held, 0);
  EXPECT_EQ(current(), "refresh-a-4");
  EXPECT_TRUE(*open(OpenMode::look).retired(hash("refresh-a-2")));
  EXPECT_THAT(sent_by_next_refresh("5"), ElementsAre("refresh-a-4"));
}

TEST_F(BackupTest, WhereTokensGoComesBackOnlyWithTheTokensThatWentThere) {
  const auto put_portal = [&](const std::string& portal) {
    Store store = open(OpenMode::use);
    Change change;
    change.credentials.emplace_back();
    change.credentials[0].uid = uid_;
    change.credentials[0].identity = store.find(uid_)->identity;
    change.credentials[0].identity->portal_base_url = portal;
    change.credentials[0].identity->ca_file = "/ca/" + portal;
    ASSERT_TRUE(store.apply(change));
  };
  const auto portal = [&] {
    const Identity identity = open(OpenMode::look).find(uid_)->identity;
    EXPECT_EQ(identity.ca_file, "/ca/" + identity.portal_base_url);
    return identity.portal_base_url;
  };
  put_portal("of-then");
  make_backup();

  put_portal("of-now");
  must_restore();
  EXPECT_EQ(portal(), "of-then");

  put_portal("of-now");
  will(grants("refresh-a-3", ""));  // so the bearer is still the one that the backup has
  (void)rotate(open(OpenMode::use), uid_, {.force = true});
  ASSERT_EQ(current(), "refresh-a-3");
  must_restore();
  EXPECT_EQ(portal(), "of-now");

  rotate_to(4);
  must_restore();
  EXPECT_EQ(portal(), "of-now");

  drop_database();
  must_restore();
  EXPECT_EQ(current(), "refresh-a-4");  // its journal has it, and where it goes
  EXPECT_EQ(portal(), "of-now");
}

TEST_F(BackupTest, WhatOnlyTheStoreHasStays) {
  make_backup();
  Store store = open(OpenMode::use);
  const Uid later = add_login(store, "later");

  must_restore();

  EXPECT_EQ(text(open(OpenMode::look).unseal(later)->refresh_token), "refresh-later-1");
  EXPECT_EQ(open(OpenMode::look).pool("default", "nous")->size(), 2u);
}

TEST_F(BackupTest, WhatWasRemovedSinceComesBackWithItsToken) {
  make_backup();
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));

  const Restored done = must_restore();

  EXPECT_EQ(done.back, 1);
  EXPECT_EQ(current(), "refresh-a-2");
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::none);
  EXPECT_THAT(sent_by_next_refresh("3"), ElementsAre("refresh-a-2"));
}

TEST_F(BackupTest, P2_OfWhatComesBackFromRemovalTheHoldIsThatOfNow) {
  set_hold(Hold::handed_over);
  make_backup();
  set_hold(Hold::none);
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));

  must_restore();

  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::none);
}

TEST_F(BackupTest, P2_WhatWasRotatedAndThenRemovedStaysRemoved) {
  make_backup();
  rotate_to(3);
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));

  must_restore();

  EXPECT_EQ(open(OpenMode::look).find(uid_).error().code, Errc::not_found);
  EXPECT_TRUE(*open(OpenMode::look).retired(hash("refresh-a-3")));
}

TEST_F(BackupTest, RestoringNeverRemoves) {
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));
  make_backup();
  Store store = open(OpenMode::use);
  CredentialChange back;
  back.uid = uid_;
  back.planned_against = 2;
  back.restore = true;
  Change change;
  change.credentials.push_back(std::move(back));
  ASSERT_TRUE(store.apply(change));

  must_restore();

  EXPECT_EQ(current(), "refresh-a-2");
}

TEST_F(BackupTest, TheDeadStayDeadAndACooldownOfThenComesBack) {
  Store store = open(OpenMode::use);
  const Uid other = add_login(store, "b");
  ASSERT_TRUE(store.report(other, {.http_status = 429}));
  make_backup();
  ASSERT_TRUE(store.reset(other));
  will({.status = 400, .body = R"({"error":"invalid_grant"})"});
  ASSERT_FALSE(rotate(store, uid_, {.force = true}));

  must_restore();

  EXPECT_EQ(open(OpenMode::look).find(uid_)->health.status, Status::dead);
  EXPECT_EQ(open(OpenMode::look).find(other)->health.status, Status::exhausted);
}

TEST_F(BackupTest, ADeletedDatabaseIsMadeAnewAndEachJournalsNewerTokenTaken) {
  make_backup();
  rotate_to(3);
  rotate_to(4);
  drop_database();

  const Restored done = must_restore();

  EXPECT_TRUE(done.rebuilt);
  EXPECT_EQ(done.adopted, 1);
  EXPECT_EQ(done.held, 0);
  EXPECT_EQ(current(), "refresh-a-4");
  for (const char* spent : {"refresh-a-1", "refresh-a-2", "refresh-a-3"}) {
    EXPECT_TRUE(*open(OpenMode::look).retired(hash(spent))) << spent;
  }
  EXPECT_THAT(sent_by_next_refresh("5"), ElementsAre("refresh-a-4"));
}

TEST_F(BackupTest, ADamagedDatabaseIsSetAsideAndMadeAnew) {
  make_backup();
  rotate_to(3);
  for (const std::string& bytes :
       {std::string(8192, 'x'), std::string(8192, '\0'), std::string("short"), std::string()}) {
    drop_database();
    std::ofstream(database(), std::ios::binary) << bytes;
    ::chmod(database().c_str(), 0600);

    const Restored done = must_restore();

    EXPECT_TRUE(done.rebuilt);
    EXPECT_EQ(file_bytes(done.set_aside), bytes);
    fs::remove(done.set_aside);
    EXPECT_EQ(current(), "refresh-a-3");
  }
  EXPECT_THAT(sent_by_next_refresh("4"), ElementsAre("refresh-a-3"));
}

TEST_F(BackupTest, ACredentialThatOnlyItsJournalRemembersComesBack) {
  make_backup();
  Uid later;
  {
    Store store = open(OpenMode::use);
    later = add_login(store, "later");
    will(grants("refresh-later-2", "access-later-2"));
    ASSERT_TRUE(rotate(store, later, {.force = true}));
  }
  drop_database();

  const Restored done = must_restore();

  EXPECT_GE(done.adopted, 1);
  const auto held = open(OpenMode::look).unseal(later);
  ASSERT_TRUE(held) << held.error().message;
  EXPECT_EQ(text(held->refresh_token), "refresh-later-2");
  EXPECT_EQ(held->row.identity.label, "later");
  EXPECT_EQ(held->row.generation, 2);
}

// Nothing on this machine knows what came after the backup.
TEST_F(BackupTest, WithoutJournalsEveryGrantComesBackOnHold) {
  make_backup();
  fs::remove_all(dir_.path() / "store");

  const Restored done = must_restore();

  EXPECT_TRUE(done.rebuilt);
  EXPECT_EQ(done.held, 1);
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
  EXPECT_EQ(current(), "refresh-a-2");
}

TEST_F(BackupTest, ABackupThatIsNewerThanRowAndJournalComesBackOnHold) {
  fs::copy(dir_.path() / "store", dir_.path() / "older", fs::copy_options::recursive);
  rotate_to(3);
  make_backup();
  fs::remove_all(dir_.path() / "store");
  fs::rename(dir_.path() / "older", dir_.path() / "store");

  const Restored done = must_restore();

  EXPECT_EQ(done.held, 1);
  const auto row = open(OpenMode::look).find(uid_);
  EXPECT_EQ(row->generation, 3);
  EXPECT_EQ(row->hold, Hold::uncertain);
  EXPECT_TRUE(*open(OpenMode::look).retired(hash("refresh-a-2")));
  EXPECT_EQ(current(), "refresh-a-3");
}

TEST_F(BackupTest, RestoringTwiceChangesNothingMore) {
  make_backup();
  rotate_to(3);
  must_restore();
  const auto dump = [&] {
    const Store store = open(OpenMode::look);
    std::string all;
    for (const char* sql : {"SELECT uid, family, generation, hold, label FROM freshness",
                            "SELECT * FROM family", "SELECT * FROM pool"}) {
      const auto result = store.query(sql);
      for (const auto& row : result->rows) {
        for (const Cell& cell : row) {
          if (const auto* text = std::get_if<std::string>(&cell)) all += *text + "|";
          if (const auto* number = std::get_if<std::int64_t>(&cell)) {
            all += std::to_string(*number) + "|";
          }
        }
      }
    }
    return all;
  };
  const std::string once = dump();

  must_restore();

  EXPECT_EQ(dump(), once);
}

TEST_F(BackupTest, WhatIsNoBackupOfThisStoreIsRefusedAndNothingChanges) {
  make_backup();
  const std::string good = file_bytes(file());
  const std::string before = file_bytes(database());
  const auto put = [&](const std::string& bytes) {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << bytes;
  };

  put("garbage");
  EXPECT_EQ(refusal().code, Errc::refused);
  put("");
  EXPECT_EQ(refusal().code, Errc::refused);
  put(good.substr(0, good.size() / 2));
  EXPECT_EQ(refusal().code, Errc::refused);
  put(good);
  shell(file(), "PRAGMA user_version = 2");
  EXPECT_THAT(refusal().message, HasSubstr("newer authdb (schema 2"));
  put(good);
  shell(file(), "PRAGMA application_id = 7");
  EXPECT_THAT(refusal().message, HasSubstr("no backup"));
  put(good);
  shell(file(), "UPDATE meta SET value = 'other' WHERE key = 'store_id'");
  EXPECT_THAT(refusal().message, HasSubstr("of store other"));
  fs::remove(file());
  EXPECT_EQ(refusal().code, Errc::not_found);
  EXPECT_EQ(file_bytes(database()), before);
}

// What SQLite would run, or believe, once it is in auth.db.
TEST_F(BackupTest, ABackupWithAnAlteredSchemaIsRefusedNamingWhatIsStrange) {
  make_backup();
  const std::string whole = file_bytes(file());
  const std::string before = file_bytes(database());
  struct Case {
    const char* sql;
    const char* named;
  };
  for (const Case& one : {
           Case{"CREATE TRIGGER thief AFTER UPDATE ON token_set BEGIN DELETE FROM attempt; END",
                "trigger thief"},
           Case{"CREATE TABLE loot (cell)", "table loot"},
           Case{"CREATE VIEW token AS SELECT 1", "view token"},
           Case{"CREATE INDEX lure ON health (status)", "index lure"},
           Case{"DROP VIEW family; CREATE VIEW family AS SELECT 1 AS uid", "view family"},
           Case{"DROP TRIGGER token_set_ratchet_update", "trigger token_set_ratchet_update"},
           Case{"DROP VIEW freshness", "view freshness"},
           Case{"ALTER TABLE credential ADD COLUMN spare TEXT", "table credential"},
           Case{"ALTER TABLE health RENAME TO hidden; CREATE VIEW health AS SELECT * FROM hidden",
                "table hidden"},
           // One blank of it, by hand.
           Case{"PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, "
                "'a generation', 'a  generation') WHERE name = 'token_set_generation'",
                "trigger token_set_generation"},
           Case{"UPDATE meta SET value = 1 WHERE key = 'schema_minor'", "step 1"},
       }) {
    SCOPED_TRACE(one.sql);
    fs::remove(file());
    std::ofstream(file(), std::ios::binary) << whole;
    shell(file(), one.sql);

    const Error error = refusal();

    EXPECT_EQ(error.code, Errc::refused) << error.message;
    EXPECT_THAT(error.message, HasSubstr(one.named));
    EXPECT_FALSE(error.hint.empty());
    EXPECT_EQ(file_bytes(database()), before);
  }
}

TEST_F(BackupTest, AnAlteredBackupIsNotTakenForAMissingDatabaseEither) {
  make_backup();
  shell(file(), "CREATE TRIGGER thief AFTER UPDATE ON token_set BEGIN DELETE FROM attempt; END");
  drop_database();

  EXPECT_THAT(refusal().message, HasSubstr("trigger thief"));
  EXPECT_FALSE(fs::exists(database()));
}

TEST_F(BackupTest, WhatAnalyzeLeavesInABackupIsNotStrange) {
  make_backup();
  shell(file(), "ANALYZE");

  must_restore();
}

TEST_F(BackupTest, ABackupOfALaterStepIsLeftToTheProgramThatMadeIt) {
  make_backup();
  shell(file(), "CREATE TABLE later (x); UPDATE meta SET value = 99 WHERE key = 'schema_minor'");

  EXPECT_THAT(refusal().hint, HasSubstr("newer authdb"));
}

TEST_F(BackupTest, NoBackupIsMadeThatRestoreWouldRefuse) {
  shell(database(), "CREATE VIEW mine AS SELECT 1");

  const auto done = back_up(open(OpenMode::look), file());

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::refused);
  EXPECT_THAT(done.error().message, HasSubstr("view mine"));
  EXPECT_FALSE(fs::exists(file()));
}

TEST_F(BackupTest, P5_ABackupOfWhichACellDoesNotOpenIsRefusedAndTheLiveLoginStays) {
  make_backup();
  rotate_to(3);
  const fs::path whole = dir_.path() / "whole.db";
  fs::copy_file(file(), whole);
  const char* const kDamage[] = {
      "UPDATE token_set SET generation = generation + 64",
      ("UPDATE token_set SET access_token = cast(substr(access_token, 1, 40) || zeroblob(8) || "
       "substr(access_token, 49) AS blob)"),
      "UPDATE token_set SET refresh_token = substr(refresh_token, 1, 50)"};
  for (const char* damage : kDamage) {
    fs::copy_file(whole, file(), fs::copy_options::overwrite_existing);
    shell(file(), damage);
    const std::string before = file_bytes(database());

    const Error error = refusal();

    EXPECT_EQ(error.code, Errc::refused);
    EXPECT_THAT(error.message, HasSubstr(" of \"a\" (nous, " + uid_ + ") does not open"));
    EXPECT_THAT(error.message, HasSubstr("token_set."));
    EXPECT_EQ(file_bytes(database()), before);
    EXPECT_EQ(current(), "refresh-a-3");
  }
  drop_database();
  EXPECT_EQ(refusal().code, Errc::refused);
  EXPECT_FALSE(fs::exists(database())) << "made anew from cells that do not open";
}

TEST_F(BackupTest, NoBackupIsMadeOfCellsThatDoNotOpen) {
  shell(database(), "UPDATE token_set SET generation = generation + 64");

  const auto done = back_up(open(OpenMode::look), file());

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::refused);
  EXPECT_THAT(done.error().message, HasSubstr("token_set.access_token of \"a\""));
  EXPECT_FALSE(fs::exists(file()));
}

// The login that comes next is held against it.
TEST_F(BackupTest, P5_WhoseALoginIsIsNotForgottenWithWhatTheBackupKnew) {
  make_backup();
  for (const bool rotated : {false, true}) {
    if (rotated) rotate_to(3);
    shell(database(), "UPDATE credential SET account = 'learnt since'");

    must_restore();

    EXPECT_EQ(open(OpenMode::look).find(uid_)->identity.account, "learnt since") << rotated;
  }
}

TEST_F(BackupTest, ABackupOfNoSchemaOfOursIsRefused) {
  make_backup();
  shell(file(), "PRAGMA user_version = 0");

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.message, HasSubstr("is damaged"));
}

TEST_F(BackupTest, NoBackupIsMadeOfACellThatNamesAKeyNobodyHas) {
  shell(database(),
        "UPDATE token_set SET access_token = cast(substr(access_token, 1, 2) || zeroblob(4) || "
        "substr(access_token, 7) AS blob)");

  const auto done = back_up(open(OpenMode::look), file());

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::refused);
  EXPECT_THAT(done.error().message, HasSubstr("sealed with key "));
  EXPECT_FALSE(fs::exists(file()));
}

TEST_F(BackupTest, KeysThatAreDrawnAndPrunedMeanwhileAreNotMissed) {
  std::atomic<bool> over{false};
  std::thread custodian([&] {
    Store store = open(OpenMode::use);
    while (!over) {
      EXPECT_TRUE(rotate_key(store));
      EXPECT_TRUE(prune_keys(store));
    }
  });
  for (int i = 0; i < 60; ++i) {
    const auto made = back_up(open(OpenMode::look), file().string() + std::to_string(i));
    EXPECT_TRUE(made) << made.error().message;
    for (const Finding& finding : examine(options())) EXPECT_NE(finding.code, "key_missing");
  }
  over = true;
  custodian.join();
}

TEST_F(BackupTest, APipeIsNoBackupAndNobodyWaitsForItsWriter) {
  make_backup();
  const fs::path log = file().string() + "-wal";
  ASSERT_EQ(::mkfifo(log.c_str(), 0600), 0);
  EXPECT_THAT(refusal().message, HasSubstr(log.string() + " is a pipe"));
  fs::remove(file());
  fs::rename(log, file());

  EXPECT_EQ(refusal().code, Errc::refused);
  EXPECT_THAT(refusal().message, HasSubstr(file().string() + " is a pipe"));
}

TEST_F(BackupTest, ABackupWhoseKeyWasPrunedIsRefusedNamingTheKey) {
  make_backup();
  const auto old_key = read_keys(options().key_file);
  Store store = open(OpenMode::use);
  ASSERT_TRUE(rotate_key(store));
  ASSERT_TRUE(prune_keys(store));

  const Error error = refusal();

  EXPECT_EQ(error.code, Errc::refused);
  EXPECT_THAT(error.message, HasSubstr(hex(old_key->front().id)));
  EXPECT_EQ(current(), "refresh-a-2");
}

TEST_F(BackupTest, ABackupFromBeforeAKeyRotationIsRestoredWithBothKeysThere) {
  make_backup();
  Store store = open(OpenMode::use);
  ASSERT_TRUE(rotate_key(store));
  drop_database();

  must_restore();

  EXPECT_EQ(current(), "refresh-a-2");
  Store again = open(OpenMode::use);
  EXPECT_TRUE(rotate_key(again)->resumed);
  EXPECT_EQ(current(), "refresh-a-2");
}

// Wherever it dies, the next open finds the old state or the new one, and restoring again finishes.
TEST_F(BackupTest, P4_KilledAnywhereARestoreLeavesTheOldStateOrTheNew) {
  make_backup();
  rotate_to(3);
  for (int delay_us = 0; delay_us < 8000; delay_us += 500) {
    drop_database();
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      (void)!::write(ready[1], "x", 1);
      (void)restore(options(), file());
      ::_exit(0);
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(delay_us));  // where it dies is the point
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);

    if (fs::exists(database())) {
      Store store = open(OpenMode::use);
      const auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(1000)});
      ASSERT_TRUE(locked) << locked.error().message;
      EXPECT_EQ(text(locked->held().refresh_token), "refresh-a-3");
    } else {
      EXPECT_EQ(Store::open(options(), OpenMode::create).error().code, Errc::refused);
    }
    must_restore();
    ASSERT_EQ(current(), "refresh-a-3");
  }
}

}  // namespace
}  // namespace authdb::test
