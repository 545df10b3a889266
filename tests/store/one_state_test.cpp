// The journal's record is a credential's whole state: what it knows survives an older database, an
// answer that cannot be settled, a lost journal; and nothing is sent while something waits in it.
#include <unistd.h>

#include "store/backup.h"
#include "store/doctor.h"
#include "tests/store/one_state_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// ---- holds and removals outlive the database ----------------------------------------------------

TEST_F(OneStateTest, P1_ATokenThatWasHandedOverIsNotSentWhenAnOlderDatabaseIsPutBack) {
  const std::string before = copy_of_database();
  put_on_hold(Hold::handed_over);
  put_back(before);
  will(grants("refresh-a-3", "access-a-3"));

  EXPECT_FALSE(refresh());

  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::handed_over);
}

TEST_F(OneStateTest, P2_ALoginThatWasRemovedStaysRemovedWhenAnOlderDatabaseIsPutBack) {
  const std::string before = copy_of_database();
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));
  put_back(before);

  EXPECT_EQ(refresh().error().code, Errc::not_found);

  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(open(OpenMode::look).find(uid_).error().code, Errc::not_found);
}

TEST_F(OneStateTest, P2_UndoAfterAnOlderDatabaseWasPutBackTakesTheNewestGrant) {
  const std::string before = copy_of_database();
  rotate_to(3);
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));
  put_back(before);
  EXPECT_EQ(refresh().error().code, Errc::not_found);

  Store store = open(OpenMode::use);
  CredentialChange change;
  change.uid = uid_;
  change.planned_against = 3;
  change.restore = true;
  Change all;
  all.credentials.push_back(std::move(change));
  const auto undone = store.apply(all);

  ASSERT_TRUE(undone) << undone.error().message;
  EXPECT_EQ(text(store.unseal(uid_)->refresh_token), "refresh-a-3");
}

TEST_F(OneStateTest, AHoldThatEndedStaysEndedWhenAnOlderDatabaseIsPutBack) {
  put_on_hold(Hold::handed_over);
  const std::string before = copy_of_database();
  put_on_hold(Hold::none);
  put_back(before);
  will(grants("refresh-a-3", "access-a-3"));

  EXPECT_TRUE(refresh());
}

TEST_F(OneStateTest, P2_ARemovedLoginThatOnlyItsJournalKnowsDoesNotComeBackAlive) {
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));
  const auto kept = dir_.path() / "backup.db";
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(back_up(store, kept));
  }
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database().string() + suffix);

  ASSERT_TRUE(restore(options(), kept));

  EXPECT_EQ(open(OpenMode::look).find(uid_).error().code, Errc::not_found);
}

// ---- a journal that was lost --------------------------------------------------------------------

TEST_F(OneStateTest, P4_AfterItsJournalWasDeletedATokenCountsAsSent) {
  fs::remove(journal(uid_));
  will(grants("refresh-a-3", "access-a-3"));

  EXPECT_FALSE(refresh());

  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
}

TEST_F(OneStateTest, P4_AfterAnOlderJournalWasPutBackATokenCountsAsSent) {
  const std::string older = file_bytes(journal(uid_));
  rotate_to(3);
  std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << older;

  EXPECT_FALSE(refresh());

  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-a-3");
}

// ---- answers that cannot be settled -------------------------------------------------------------

TEST_F(OneStateTest, P1_AfterAnAnswerThatCouldNotBeSettledTheSameLockSendsNothing) {
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(20);
  Store store = *Store::open(impatient, OpenMode::use);
  auto locked = lock(store);
  std::optional<Result<std::optional<FileLock>>> outsider;
  Reply rotated = grants("refresh-a-3", "access-a-3");
  rotated.meanwhile = [&] {
    outsider = FileLock::acquire(database().string() + ".d/gate", Milliseconds(0));
  };
  will(rotated);
  const auto first = locked->rotate({.force = true});
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_THAT(first->warning, HasSubstr("is safe in its journal"));
  outsider.reset();

  const auto second = locked->rotate({.force = true});

  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("nothing is sent before it is settled"));
  EXPECT_THAT(sent(), ElementsAre("refresh-a-2"));
  locked = fail(Errc::unexpected, "let go");
  // The wait that was given up above may still be in the queue for a moment.
  ASSERT_TRUE(LockedCredential::acquire(store, uid_, {Milliseconds(5000)}));
  EXPECT_EQ(text(store.unseal(uid_)->refresh_token), "refresh-a-3");
}

TEST_F(OneStateTest, P5_ATokenThatIsAlreadyAnotherCredentialsDoesNotBrickThisOne) {
  Store store = open(OpenMode::use);
  add_login(store, "b");
  will(grants("refresh-b-1", "access-a-3"));

  const auto rotated = rotate(store, uid_, {.force = true});

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(text(rotated->held.access_token), "access-a-3");
  EXPECT_EQ(store.find(uid_)->refresh_hash, std::nullopt);
  EXPECT_EQ(outcomes().back(), "superseded");
  EXPECT_EQ(rotate(store, uid_, {.force = true}).error().code, Errc::login_needed);
  EXPECT_TRUE(log_in("refresh-new"));
  EXPECT_TRUE(store.remove(uid_));
}

TEST_F(OneStateTest, P2_ATokenThatWasSpentBeforeDoesNotBecomeCurrentByAnAnswer) {
  will(grants("refresh-a-1", "access-a-3"));

  ASSERT_TRUE(refresh());

  EXPECT_EQ(open(OpenMode::look).find(uid_)->refresh_hash, std::nullopt);
}

TEST_F(OneStateTest, P5_WithoutItsProviderAnAnswerWaitsAndRemoveAndLoginWork) {
  leave_an_answer(grants("refresh-a-3", "access-a-3"));
  {
    Store store = *Store::open(without_providers(), OpenMode::use);
    const auto refused = rotate(store, uid_, {.force = true});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::refused);
    EXPECT_TRUE(log_in("refresh-new", store));
  }
  EXPECT_EQ(outcomes().back(), "superseded");
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-new");
}

TEST_F(OneStateTest, P5_WithoutItsProviderALoginWithAWaitingAnswerCanBeRemoved) {
  leave_an_answer(grants("refresh-a-3", "access-a-3"));
  Store store = *Store::open(without_providers(), OpenMode::use);

  EXPECT_TRUE(store.remove(uid_));
}

TEST_F(OneStateTest, P5_ADamagedJournalStandsNeitherInTheWayOfRemoveNorOfLogin) {
  const auto damage = [&] {
    std::fstream(journal(uid_), std::ios::in | std::ios::out | std::ios::binary).put('X');
  };
  damage();
  EXPECT_TRUE(log_in("refresh-new"));
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::none);
  damage();
  EXPECT_TRUE(open(OpenMode::use).remove(uid_));
}

TEST_F(OneStateTest, P4_ARefusalThatWasJournalledIsARefusalForTheNextHolderToo) {
  leave_an_answer({200, R"({"error":"invalid_grant"})"});
  advance(Seconds(1000));

  const auto after = refresh({});

  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, Errc::login_needed);
  EXPECT_EQ(open(OpenMode::look).find(uid_)->health.status, Status::dead);
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(OneStateTest, AnAnswerForAnotherAccountIsKeptAndNeverServed) {
  Reply mine = grants("refresh-a-3", "access-a-3");
  mine.body.insert(1, R"("sub":"me",)");
  will(mine);
  ASSERT_TRUE(refresh());
  Reply theirs = grants("refresh-z-1", "access-z-1");
  theirs.body.insert(1, R"("sub":"somebody else",)");
  will(theirs);

  const auto misdirected = refresh();

  ASSERT_FALSE(misdirected);
  EXPECT_THAT(misdirected.error().message, HasSubstr("another account"));
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->access_token), "access-a-3");
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::conflict);
  script_->sent.clear();
  EXPECT_FALSE(refresh());
  EXPECT_THAT(sent(), IsEmpty());
  const auto findings = examine(options());
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(),
                          [](const Finding& one) { return one.code == "answer_kept"; }));
  EXPECT_TRUE(log_in("refresh-new"));
}

TEST_F(OneStateTest, P4_AnAnswerLongerThanTheLastOneFitsTheJournal) {
  const std::string long_token(40'000, 'x');
  for (int i = 0; i < 3; ++i) {
    will(grants("refresh-" + std::to_string(i) + long_token, "access-" + std::to_string(i)));
    ASSERT_TRUE(refresh());
  }
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->access_token), "access-2");
}

// ---- losses and rests ---------------------------------------------------------------------------

TEST_F(OneStateTest, OneRequestThatWasLostIsCountedOnceHoweverManyLookAtIt) {
  advance(Seconds(1000));
  will({.silence = true});
  ASSERT_FALSE(refresh({}));

  for (int i = 0; i < 3; ++i) {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(lock(store));
  }

  EXPECT_EQ(open(OpenMode::look).find(uid_)->renewal.losses.count, 1);
  EXPECT_THAT(outcomes(), ElementsAre("committed", "uncertain"));
}

TEST_F(OneStateTest, ALossOfATokenThatWasRotatedSinceIsNotHeldAgainstTheNextOne) {
  advance(Seconds(1000));
  will({.silence = true});
  ASSERT_FALSE(refresh({}));
  rotate_to(3);
  advance(Seconds(1000));
  will({400, R"({"error":"invalid_grant","error_description":"reuse detected"})"});

  const auto dead = refresh({});

  ASSERT_FALSE(dead);
  EXPECT_THAT(dead.error().hint, HasSubstr("sent that token only once"));
}

TEST_F(OneStateTest, P8_ReuseIsNotBlamedOnOthersAloneWhereThisStoreHadSentTheTokenBefore) {
  advance(Seconds(1000));
  will({429, "slow down"});
  ASSERT_FALSE(refresh({}));
  advance(Seconds(1000));
  will({400, R"({"error":"invalid_grant","error_description":"reuse detected"})"});

  const auto dead = refresh({});

  ASSERT_FALSE(dead);
  EXPECT_THAT(dead.error().hint, HasSubstr("This store had sent that token 1 time before"));
  EXPECT_THAT(dead.error().hint, Not(HasSubstr("only once")));
}

TEST_F(OneStateTest, ALossOutlivesTheLedgerAndAnOlderDatabase) {
  const std::string before = copy_of_database();
  advance(Seconds(1000));
  will({.silence = true});
  ASSERT_FALSE(refresh({}));
  put_back(before);
  will({400, R"({"error":"invalid_grant","error_description":"reuse detected"})"});

  const auto dead = refresh({});

  ASSERT_FALSE(dead);
  EXPECT_THAT(dead.error().hint, HasSubstr("our own lost answer"));
}

TEST_F(OneStateTest, WhoeverWaitedAdoptsAFailureAndRestsDoubleUpToAMinute) {
  advance(Seconds(1000));
  for (const int rest : {1, 2, 4, 8, 16, 32, 60, 60}) {
    will({.before_send = true});
    ASSERT_FALSE(refresh({}));
    const auto asked = sent().size();
    EXPECT_FALSE(refresh({}));
    EXPECT_EQ(sent().size(), asked) << "asked again within " << rest << " s";
    advance(Seconds(rest));
  }
  EXPECT_THAT(sent(), SizeIs(8));
}

TEST_F(OneStateTest, AnUnknownRefusalThatGoesOnForAnHourIsALoginThatIsProbablyNeeded) {
  advance(Seconds(1000));
  for (int i = 0; i < 4; ++i) {
    will({.status = 418, .body = "{}"});
    EXPECT_EQ(refresh({}).error().code, Errc::try_later) << i;
    advance(std::chrono::minutes(15));
  }
  will({.status = 418, .body = "{}"});

  const auto after = refresh({});

  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, Errc::login_needed);
  EXPECT_THAT(after.error().message, HasSubstr("a login is probably needed"));
  const auto row = open(OpenMode::look).query("SELECT needs_login FROM freshness");
  EXPECT_EQ(std::get<std::int64_t>(row->rows.at(0).at(0)), 1);
}

TEST_F(OneStateTest, AReportThatComesDuringARefreshIsNotOverwrittenByItsSuccess) {
  Store store = open(OpenMode::use);
  Reply rotated = grants("refresh-a-3", "access-a-3");
  rotated.meanwhile = [&] {
    Report report;
    report.http_status = 429;
    report.reset_at = now() + Seconds(3600);
    ASSERT_TRUE(store.report(uid_, report));
  };
  will(rotated);

  ASSERT_TRUE(rotate(store, uid_, {.force = true}));

  EXPECT_EQ(store.find(uid_)->health.status, Status::exhausted);
}

// ---- rejected bearers ---------------------------------------------------------------------------

TEST_F(OneStateTest, P8_ABearerThatWasRejectedIsServedToNobodyUntilItIsReplaced) {
  Store store = open(OpenMode::use);
  lock(store)->note_rejected(fingerprint(Secret::copy_of("access-a-2")));
  will({.before_send = true});

  EXPECT_FALSE(rotate(store, uid_, {})) << "it still lives, and was rejected";

  advance(Seconds(1));
  will(grants("refresh-a-3", "access-a-3"));
  EXPECT_EQ(text(rotate(store, uid_, {})->held.access_token), "access-a-3");
}

TEST_F(OneStateTest, P8_ARefreshThatReturnsTheRejectedBearerDoesNotServeIt) {
  Store store = open(OpenMode::use);
  const std::string rejected = fingerprint(Secret::copy_of("access-a-2"));
  lock(store)->note_rejected(rejected);
  will(grants("refresh-a-3", "access-a-2"));

  EXPECT_FALSE(rotate(store, uid_, {.rejected = rejected}));
  EXPECT_FALSE(rotate(store, uid_, {})) << "and nothing is spent for it again at once";

  EXPECT_THAT(sent(), SizeIs(1));
  EXPECT_EQ(text(store.unseal(uid_)->refresh_token), "refresh-a-3");
}

TEST_F(OneStateTest, P8_ARejectionThatTheDatabaseCouldNotTakeIsRemembered) {
  {
    Store store = open_impatient();
    const FileLock outsider = lock_database();
    lock(store)->note_rejected(fingerprint(Secret::copy_of("access-a-2")));
  }
  will({.before_send = true});

  EXPECT_FALSE(refresh({.force = true}));
  EXPECT_EQ(row().renewal.rejected, fingerprint(Secret::copy_of("access-a-2")));
  EXPECT_FALSE(refresh({})) << "it still lives, and was rejected";
}

TEST_F(OneStateTest, P8_ARejectionIsRememberedWhereAnOlderDatabaseIsPutBack) {
  const std::string before = copy_of_database();
  {
    Store store = open(OpenMode::use);
    lock(store)->note_rejected(fingerprint(Secret::copy_of("access-a-2")));
  }
  put_back(before);
  will({.before_send = true});

  EXPECT_FALSE(refresh({.force = true}));
  EXPECT_FALSE(refresh({}));
}

TEST_F(OneStateTest, P1_AnAnswerThatWaitedIsNotGivenATokenThatOnlyAnotherJournalHas) {
  const Uid other = add_second_login();
  const std::string older = copy_of_database();
  rotate_second_login(other);
  leave_an_answer(grants("refresh-b-2", "access-a-3"));
  put_back(older);
  script_->sent.clear();

  (void)refresh();
  Store again = open(OpenMode::use);
  const auto rotated = rotate(again, other, {.force = true});

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(text(again.unseal(other)->refresh_token), "refresh-b-2");
  EXPECT_THAT(sent(), IsEmpty()) << "it is taken from its journal, and is good";
  EXPECT_FALSE(again.find(uid_)->refresh_hash);
}

TEST_F(OneStateTest, P1_AnAnswerThatWaitedIsNotGivenATokenThatOnlyAnotherJournalKnowsAsSpent) {
  const Uid other = add_second_login();
  const std::string older = copy_of_database();
  rotate_second_login(other);
  {
    Store store = open(OpenMode::use);
    will(grants("refresh-b-3", "access-b-3"));
    ASSERT_TRUE(rotate(store, other, {.force = true}));
  }
  leave_an_answer(grants("refresh-b-2", "access-a-3"));
  put_back(older);

  (void)refresh();

  EXPECT_FALSE(row().refresh_hash);
}

TEST_F(OneStateTest, P5_ATokenThatAnAnswerGaveToAnotherIsItsJournalsAgain) {
  const Uid other = add_second_login();
  const std::string older = copy_of_database();
  rotate_second_login(other);
  put_back(older);
  will(grants("refresh-b-2", "access-a-3"));
  ASSERT_TRUE(refresh()) << "this database does not know whose it is";
  script_->sent.clear();
  will(grants("refresh-b-3", "access-b-3"));

  Store again = open(OpenMode::use);
  EXPECT_TRUE(lock(again)) << "no lock is refused";
  const auto locked = LockedCredential::acquire(again, other, {Milliseconds(0)});

  EXPECT_TRUE(locked) << locked.error().message;
}

// ---- what stands in clear -----------------------------------------------------------------------

TEST_F(OneStateTest, P7_AnAccountThatIsATokenIsNotStoredInClear) {
  Reply reply = grants("", "access-a-3");
  reply.body.insert(1, R"("sub":"refresh-a-2",)");
  leave_an_answer(reply);

  ASSERT_TRUE(refresh());

  EXPECT_EQ(row().identity.account, "");
}

TEST_F(OneStateTest, P1_TheFirstIntentIsNotWrittenWhereTheRowCannotTellThatThereIsAJournal) {
  Store store = open_impatient();
  const Uid fresh = add_login(store, "fresh");
  fs::remove(journal(fresh));  // as after an import, which begins none
  will(grants("refresh-fresh-2", "access-fresh-2"));
  const FileLock outsider = lock_database();

  EXPECT_FALSE(rotate(store, fresh, {.force = true}));

  EXPECT_THAT(sent(), IsEmpty());
}

// ---- death between the commit and the journal ---------------------------------------------------

TEST_F(OneStateTest, P4_ANoForGoodThatTheJournalWasNotToldOfOutlivesTheDatabaseAllTheSame) {
  const std::string older = copy_of_database();
  std::string in_flight;
  Reply no{400, R"({"error":"invalid_grant"})"};
  no.meanwhile = [&] { in_flight = file_bytes(journal(uid_)); };
  will(no);
  ASSERT_FALSE(refresh());
  std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << in_flight;
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(lock(store)) << "whoever is next follows the row, and tells the journal";
  }
  put_back(older);
  script_->sent.clear();
  will(grants("refresh-a-3", "access-a-3"));
  advance(Seconds(900));

  EXPECT_FALSE(refresh({}));

  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(OneStateTest, P4_AnAnswerThatWaitsOutlivesARemovalThatTheJournalWasNotToldOf) {
  leave_an_answer(grants("refresh-a-3", "access-a-3"));
  const std::string waiting = file_bytes(journal(uid_));
  {
    Store store = *Store::open(without_providers(), OpenMode::use);
    ASSERT_TRUE(store.remove(uid_));
  }
  std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << waiting;

  ASSERT_TRUE(undo()) << "whoever is next follows the row, and keeps what waits";
  EXPECT_TRUE(refresh());

  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-a-3");
  EXPECT_THAT(sent(), IsEmpty());
}

// The database has to know that there is a journal, or nobody would notice when it is lost.
TEST_F(OneStateTest, P1_AFirstRefreshThatTheDatabaseDoesNotHearOfSendsNothingHoweverOften) {
  const Uid fresh = [&] {
    Store store = open(OpenMode::use);
    return add_login(store, "fresh");
  }();
  {
    Store impatient = open_impatient();
    const FileLock outsider = lock_database();
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(rotate(impatient, fresh, {.force = true}));
      EXPECT_THAT(sent(), IsEmpty()) << "attempt " << i;
    }
  }
  will(grants("refresh-fresh-2", "access-fresh-2"));
  ASSERT_TRUE(rotate(open(OpenMode::use), fresh, {.force = true}));
  fs::remove(open(OpenMode::look).engine().place(fresh).path());
  script_->sent.clear();

  EXPECT_FALSE(rotate(open(OpenMode::use), fresh, {.force = true}));

  EXPECT_THAT(sent(), IsEmpty()) << "its journal was lost, and its bearer lives";
}

}  // namespace
}  // namespace authdb::test
