// What a credential's journal knows decides, also where the database could not be told or has
// forgotten it: refusals, owners, doubts, removals, holds, spent tokens.
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/backup.h"
#include "store/key_rotation.h"
#include "tests/store/one_state_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JournalKnowsTest : public OneStateTest {
 protected:
  static Reply grants_to(const std::string& owner, const std::string& n) {
    Reply reply = grants("refresh-a-" + n, "access-a-" + n);
    if (!owner.empty()) reply.body.insert(1, R"("sub":")" + owner + R"(",)");
    return reply;
  }
  static Reply refusal() {
    return {400, R"({"error":"invalid_grant","error_description":"no longer valid"})"};
  }
  // Kept until `outsider` goes.
  void keeps_database_locked(Reply& reply, std::optional<FileLock>& outsider) {
    reply.meanwhile = [&] { outsider = lock_database(); };
  }

  // What another tool's file would bring: a login that begins no journal of its own.
  CredentialChange imported(const std::string& label, const std::string& refresh) {
    CredentialChange change = login(label, "access-of-" + refresh, refresh, now());
    change.kind = AttemptKind::import;
    change.origin = Origin::import;
    return change;
  }
  Result<Applied> import(const std::string& label, const std::string& refresh) {
    Change all;
    all.credentials.push_back(imported(label, refresh));
    return open(OpenMode::use).apply(all);
  }

  void expect_not_imported(const std::string& token, Retirement reason) {
    const auto late = import("copy", token);
    ASSERT_TRUE(late) << late.error().message;
    EXPECT_TRUE(late->stale_plan);
    const auto known = open(OpenMode::look).retired(hash(token));
    ASSERT_TRUE(known && *known);
    EXPECT_EQ((*known)->reason, reason);
  }

  Uid add_another() {
    Store store = open(OpenMode::use);
    return add_login(store, "b");
  }

  // A process whose journal is deleted while its request is under way, and which then dies.
  void die_without_a_journal(const Uid& uid) {
    const pid_t child = ::fork();
    if (child == 0) {
      Reply reply = grants("refresh-new", "access-new");
      reply.meanwhile = [&] {
        fs::remove(journal(uid));
        ::_exit(0);
      };
      will(std::move(reply));
      Store store = open(OpenMode::use);
      (void)rotate(store, uid, {.force = true});
      ::_exit(1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "no request was made";
  }
  void expect_uncertain(const Uid& uid) {
    Store store = open(OpenMode::use);
    EXPECT_FALSE(rotate(store, uid, {.force = true}));
    EXPECT_THAT(sent(), IsEmpty());
    EXPECT_EQ(store.find(uid)->hold, Hold::uncertain);
  }

  void execute(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(database().c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  void spoil_row() {
    execute("UPDATE token_set SET refresh_token = zeroblob(length(refresh_token))");
  }
  void spoil_grant() {
    Store store = open(OpenMode::use);
    const auto locked = acquire_lock(store, uid_, {Milliseconds(0)});
    CredentialState state = locked->state;
    state.revision = 0;
    state.grant.assign(state.grant.size(), 0);
    ASSERT_TRUE(locked->journal.write(std::move(state), /*durable=*/false));
  }
};

// ---- whose it is --------------------------------------------------------------------------------

// Else the next login under its label would take it for one of nobody, and displace it.
TEST_F(JournalKnowsTest, P5_AnOlderDatabaseLearnsWhoseThePairIsAndWhereItGoes) {
  const std::string copy = copy_of_database();
  CredentialChange theirs = login("a", "access-b-1", "refresh-b-1", now());
  theirs.uid = uid_;
  theirs.planned_against = row().generation;
  theirs.new_family = true;
  theirs.identity->portal_base_url = "https://portal.example";
  Change all;
  all.credentials.push_back(std::move(theirs));
  ASSERT_TRUE(open(OpenMode::use).apply(all));
  will(grants_to("me", "3"));
  ASSERT_TRUE(refresh());
  put_back(copy);
  ASSERT_EQ(row().identity.account, "");

  ASSERT_TRUE(lock(open(OpenMode::use)));

  EXPECT_EQ(row().identity.account, "me");
  EXPECT_EQ(row().identity.portal_base_url, "https://portal.example");
}

TEST_F(JournalKnowsTest, P4_AStrangersAnswerIsNotHandedOutWhenTheDatabaseCannotBeWritten) {
  will(grants_to("me", "3"));
  ASSERT_TRUE(refresh());
  Reply theirs = grants_to("somebody else", "4");
  std::optional<FileLock> outsider;
  keeps_database_locked(theirs, outsider);
  will(theirs);

  const auto misdirected = rotate(open_impatient(), uid_, {.force = true});

  ASSERT_FALSE(misdirected) << text(misdirected->held.access_token);
  EXPECT_THAT(misdirected.error().message, HasSubstr("another account"));
  outsider.reset();
  EXPECT_FALSE(refresh());
  EXPECT_EQ(row().hold, Hold::conflict);
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->access_token), "access-a-3");
}

TEST_F(JournalKnowsTest, P4_AfterAnAnswerThatNamesNobodyAStrangersIsStillNoticed) {
  will(grants_to("me", "3"));
  ASSERT_TRUE(refresh());
  will(grants_to("", "4"));
  ASSERT_TRUE(refresh());
  will(grants_to("somebody else", "5"));

  EXPECT_FALSE(refresh());

  EXPECT_EQ(row().hold, Hold::conflict);
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->access_token), "access-a-4");
}

TEST_F(JournalKnowsTest, P4_AnOlderDatabaseFromBeforeALoginDoesNotHideWhoseTheLoginIs) {
  const std::string older = copy_of_database();
  ASSERT_TRUE(log_in("refresh-of-the-login"));
  will(grants_to("me", "4"));
  ASSERT_TRUE(refresh());
  put_back(older);
  advance(Seconds(1000));  // so that the one that recovers it sends it, too
  will(grants_to("somebody else", "5"));

  EXPECT_FALSE(refresh());

  EXPECT_EQ(row().hold, Hold::conflict);
}

TEST_F(JournalKnowsTest, P5_WhatAnImportPutsInItsPlaceMayBeSomebodyElses) {
  will(grants_to("me", "3"));
  ASSERT_TRUE(refresh());
  CredentialChange newer = imported("a", "refresh-of-a-tool");
  newer.uid = uid_;
  newer.identity.reset();
  newer.planned_against = 3;
  Change all;
  all.credentials.push_back(std::move(newer));
  ASSERT_TRUE(open(OpenMode::use).apply(all));
  will(grants_to("somebody else", "5"));

  EXPECT_TRUE(refresh());
  EXPECT_EQ(row().hold, Hold::none);
}

// ---- refusals -----------------------------------------------------------------------------------

TEST_F(JournalKnowsTest, P4_ARefusalThatCouldNotBeWrittenToTheDatabaseIsRemembered) {
  advance(Seconds(1000));
  Reply no = refusal();
  std::optional<FileLock> outsider;
  keeps_database_locked(no, outsider);
  will(no);
  ASSERT_EQ(rotate(open_impatient(), uid_, {}).error().code, Errc::login_needed);
  outsider.reset();
  ASSERT_EQ(row().health.status, Status::ok) << "it could not be told";
  script_->sent.clear();

  EXPECT_EQ(refresh({}).error().code, Errc::login_needed);

  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(row().health.status, Status::dead);
}

TEST_F(JournalKnowsTest, P4_ARefusalThatAnOlderDatabaseHasForgottenIsRemembered) {
  advance(Seconds(1000));
  const std::string before = copy_of_database();
  will(refusal());
  ASSERT_FALSE(refresh({}));
  script_->sent.clear();
  put_back(before);

  EXPECT_EQ(refresh({}).error().code, Errc::login_needed);

  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(row().health.status, Status::dead);
}

TEST_F(JournalKnowsTest, P2_AVerdictInAnOlderDatabaseDoesNotBuryANewerLogin) {
  advance(Seconds(1000));
  will(refusal());
  ASSERT_FALSE(refresh({}));
  const std::string dead = copy_of_database();
  ASSERT_TRUE(log_in("refresh-new"));
  put_back(dead);

  const auto after = refresh({});

  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(text(after->held.access_token), "access-refresh-new");
  EXPECT_EQ(row().health.status, Status::ok);
}

// ---- a journal that is lost ---------------------------------------------------------------------

TEST_F(JournalKnowsTest, P1_WhoeverDiesBeforeTheDatabaseLearnsOfADoubtLeavesIt) {
  fs::remove(journal(uid_));
  {
    const FileLock outsider = lock_database();
    Store store = open(OpenMode::use);
    (void)lock(store);
  }
  ASSERT_EQ(row().hold, Hold::none) << "it could not be told";

  expect_uncertain(uid_);
}

TEST_F(JournalKnowsTest, P1_AJournalDeletedDuringAnImportedTokensFirstAttemptLeavesItUncertain) {
  Store store = open(OpenMode::use);
  const Uid uid = add(store, imported("b", "refresh-b-1"));
  ASSERT_FALSE(fs::exists(journal(uid)));
  die_without_a_journal(uid);

  expect_uncertain(uid);
}

TEST_F(JournalKnowsTest, P1_AJournalDeletedDuringALoginsFirstAttemptLeavesItUncertain) {
  Store store = open(OpenMode::use);
  const Uid uid = add_login(store, "b");
  ASSERT_TRUE(fs::exists(journal(uid)));
  die_without_a_journal(uid);

  expect_uncertain(uid);
}

TEST_F(JournalKnowsTest, ANewApiKeyBeginsNoJournal) {
  CredentialChange key = login("key", "sk-1", "", now());
  key.identity->auth_type = AuthType::api_key;
  Store store = open(OpenMode::use);

  const Uid uid = add(store, std::move(key));

  EXPECT_FALSE(fs::exists(journal(uid)));
}

// Takes the journal from under its lock before the first byte may leave.
class Sabotaged final : public TokenEndpoint {
 public:
  Sabotaged(std::function<void()> sabotage, std::vector<bool>& allowed)
      : sabotage_(std::move(sabotage)), allowed_(allowed) {}
  Answer send(const Secret&, const std::function<bool()>& sent) override {
    sabotage_();
    allowed_.push_back(sent());
    return {};
  }
  Judgement judge(const Answer&) const override { return {}; }
  TokenPolicy policy() const override { return {}; }

 private:
  std::function<void()> sabotage_;
  std::vector<bool>& allowed_;
};

TEST_F(JournalKnowsTest, P1_WithAJournalThatWasRemovedOrReplacedUnderItsLockNothingIsSent) {
  const auto remove = [&] { fs::remove(journal(uid_)); };
  const auto replace = [&] {
    const fs::path copy = journal(uid_).string() + ".copy";
    fs::copy_file(journal(uid_), copy);
    fs::rename(copy, journal(uid_));
  };
  for (const auto& sabotage : {std::function<void()>(replace), std::function<void()>(remove)}) {
    std::vector<bool> allowed;
    StoreOptions made = options();
    made.endpoint_for = [&](const Identity&) {
      return std::make_unique<Sabotaged>(sabotage, allowed);
    };
    const auto failed = rotate(*Store::open(made, OpenMode::use), uid_, {.force = true});

    EXPECT_FALSE(failed);
    EXPECT_THAT(allowed, ElementsAre(false));
    EXPECT_EQ(row().renewal.losses.count, 0);
  }
}

// ---- tokens that only a journal knows -----------------------------------------------------------

TEST_F(JournalKnowsTest, P2_ATokenThatOnlyAnotherJournalKnowsAsSpentIsNotImported) {
  const std::string before = copy_of_database();
  {
    Store store = open(OpenMode::use);
    const Uid b = add_login(store, "b");
    will(grants("refresh-b-2", "access-b-2"));
    ASSERT_TRUE(rotate(store, b, {.force = true}));
  }
  put_back(before);

  expect_not_imported("refresh-b-1", Retirement::spent);
}

TEST_F(JournalKnowsTest, P1_ATokenThatOnlyAnotherJournalKnowsAsRemovedIsNotImported) {
  const std::string before = copy_of_database();
  {
    Store store = open(OpenMode::use);
    const Uid b = add_login(store, "b");
    ASSERT_TRUE(store.remove(b));
  }
  put_back(before);

  expect_not_imported("refresh-b-1", Retirement::removed);
}

// ---- removals -----------------------------------------------------------------------------------

TEST_F(JournalKnowsTest, P1_AnAnswerThatWaitedWhenItsLoginWasRemovedIsSettledAfterAnUndo) {
  leave_an_answer(grants("refresh-a-3", "access-a-3"));
  ASSERT_TRUE(Store::open(without_providers(), OpenMode::use)->remove(uid_));
  const auto undone = undo();
  ASSERT_TRUE(undone) << undone.error().message;

  const auto settled = refresh();

  ASSERT_TRUE(settled) << settled.error().message;
  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(text(settled->held.access_token), "access-a-3");
  will(grants("refresh-a-4", "access-a-4"));
  ASSERT_TRUE(refresh());
  EXPECT_THAT(sent(), ElementsAre("refresh-a-3"));
}

// As after a commit that failed, and turned up when the log was read again.
TEST_F(JournalKnowsTest, P5_AnAnswerThatIsInTheRowAlreadyIsSettled) {
  leave_an_answer(grants("refresh-a-3", "access-a-3"));
  const std::string answered = file_bytes(journal(uid_));
  const JournalPlace place{dir_.path() / "store" / "auth.db.d", open(OpenMode::look).id(), uid_};
  const auto revision = Journal::look(place)->state().revision;
  ASSERT_TRUE(refresh());
  std::ofstream(journal(uid_), std::ios::binary) << answered;
  execute("UPDATE renewal SET waiting = 1, revision = " + std::to_string(revision));

  const auto settled = refresh();

  ASSERT_TRUE(settled) << settled.error().message;
  EXPECT_THAT(sent(), IsEmpty());
  EXPECT_EQ(text(settled->held.access_token), "access-a-3");
  EXPECT_EQ(text(settled->held.refresh_token), "refresh-a-3");
  will(grants("refresh-a-4", "access-a-4"));
  ASSERT_TRUE(refresh());
  EXPECT_THAT(sent(), ElementsAre("refresh-a-3"));
}

TEST_F(JournalKnowsTest, P1_ARemovedLoginWhoseJournalIsLostComesBackAsUncertain) {
  leave_an_answer(grants("refresh-a-3", "access-a-3"));
  ASSERT_TRUE(Store::open(without_providers(), OpenMode::use)->remove(uid_));
  fs::remove(journal(uid_));

  const auto undone = undo();

  ASSERT_TRUE(undone) << undone.error().message;
  EXPECT_EQ(open(OpenMode::look).find(uid_)->hold, Hold::uncertain);
  EXPECT_FALSE(refresh());
  EXPECT_THAT(sent(), IsEmpty());
}

// New keys are known to the journal before the row: it is ahead then.
TEST_F(JournalKnowsTest, P2_AJournalThatWasLostAndComesBackIsOlderThanWhatHappenedMeanwhile) {
  uid_ = add_another();
  {
    Store store = open(OpenMode::use);
    ASSERT_TRUE(store.remove(uid_));
    ASSERT_TRUE(rotate_key(store));
  }
  const fs::path saved = dir_.path() / "saved.journal";
  fs::rename(journal(uid_), saved);
  const auto undone = undo(/*generation=*/1);
  ASSERT_TRUE(undone) << undone.error().message;
  fs::rename(saved, journal(uid_));

  ASSERT_TRUE(lock(open(OpenMode::use)));

  EXPECT_TRUE(open(OpenMode::look).find(uid_)) << "the undo is forgotten";
}

// No attempt can have been made: its row would mirror what began the journal.
TEST_F(JournalKnowsTest, P5_WhoeverDiesBeforeAChangeIsInAJournalThatWasNotBegunLeavesNoDoubt) {
  ASSERT_TRUE(import("b", "refresh-b-1"));
  Store store = open(OpenMode::use);
  const auto rows = store.list({});
  for (const Credential& row : *rows) {
    if (row.identity.label == "b") uid_ = row.uid;
  }
  ASSERT_TRUE(lock(store));
  for (const char* newer : {"refresh-b-2", "refresh-b-3"}) {
    const std::string before = file_bytes(journal(uid_));
    Change all;
    all.credentials.push_back(imported("b", newer));
    all.credentials.back().uid = uid_;
    all.credentials.back().planned_against = store.find(uid_)->generation;
    const auto applied = store.apply(all);
    ASSERT_TRUE(applied && !applied->stale_plan);
    std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << before;

    ASSERT_TRUE(lock(store));

    EXPECT_EQ(store.find(uid_)->hold, Hold::none) << newer;
  }
}

// A login begins its journal, and its row learns of that later.
TEST_F(JournalKnowsTest, P2_AJournalThatItsRowDidNotKnowOfIsOlderThanWhatHappenedMeanwhile) {
  Change begun;
  begun.credentials.push_back(login("c", "access-c-1", "refresh-c-1", now()));
  Store store = open(OpenMode::use);
  uid_ = store.apply(begun)->uids.at(0);
  const fs::path saved = dir_.path() / "saved.journal";
  fs::rename(journal(uid_), saved);
  ASSERT_TRUE(store.remove(uid_));
  fs::rename(saved, journal(uid_));

  EXPECT_FALSE(lock(store)) << "the removal is forgotten";
}

TEST_F(JournalKnowsTest, P5_ARowThatCannotBeOpenedIsNoObstacleToRemoval) {
  spoil_row();
  ASSERT_FALSE(refresh());

  const auto removed = open(OpenMode::use).remove(uid_);

  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(open(OpenMode::look).find(uid_).error().code, Errc::not_found);
}

TEST_F(JournalKnowsTest, P5_AJournalledGrantThatCannotBeOpenedIsNoObstacleToRemoval) {
  const std::string before = copy_of_database();
  rotate_to(3);
  spoil_grant();
  put_back(before);
  ASSERT_FALSE(refresh()) << "what is newer cannot be had";
  ASSERT_THAT(sent(), IsEmpty());

  const auto removed = open(OpenMode::use).remove(uid_);

  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(open(OpenMode::look).find(uid_).error().code, Errc::not_found);
}

TEST_F(JournalKnowsTest, WhatAnOlderDatabaseHasWipedComesBackFromTheJournal) {
  const Uid other = add_another();
  const std::string before = copy_of_database();
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));
  advance(std::chrono::hours(25));
  ASSERT_TRUE(open(OpenMode::use).remove(other)) << "and what was removed a day ago is wiped";
  const std::string wiped = copy_of_database();
  put_back(before);
  ASSERT_TRUE(undo());
  put_back(wiped);
  will(grants("refresh-a-3", "access-a-3"));

  const auto back = undo();

  ASSERT_TRUE(back) << back.error().message;
  ASSERT_TRUE(refresh());
  EXPECT_THAT(sent(), ElementsAre("refresh-a-2"));
}

TEST_F(JournalKnowsTest, P1_ALoginThatWasHandedOverAndRemovedIsStillHandedOverWhenItIsRestored) {
  const fs::path kept = dir_.path() / "backup.db";
  ASSERT_TRUE(back_up(open(OpenMode::use), kept));
  put_on_hold(Hold::handed_over);
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));

  const auto restored = restore(options(), kept);

  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(row().hold, Hold::handed_over);
  EXPECT_FALSE(refresh());
  EXPECT_THAT(sent(), IsEmpty());
}

// ---- bearers ------------------------------------------------------------------------------------

TEST_F(JournalKnowsTest, P8_ANewBearerThatIsOverBeforeItCanBeHandedOutIsNotHandedOut) {
  Reply late = grants("refresh-a-3", "access-a-3", 900);
  late.meanwhile = [&] { advance(Seconds(900)); };
  will(late);

  const auto over = refresh();

  ASSERT_FALSE(over) << text(over->held.access_token);
  EXPECT_EQ(over.error().code, Errc::try_later);
  EXPECT_THAT(over.error().message, HasSubstr("was over before"));
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-a-3");
}

TEST_F(JournalKnowsTest, AHalfAnswerIsNoRejectedBearer) {
  Store store = open(OpenMode::use);
  lock(store)->note_rejected(fingerprint(Secret::copy_of("access-a-2")));
  will(grants("refresh-a-3", ""));
  const auto half = rotate(store, uid_, {});
  ASSERT_FALSE(half);
  EXPECT_THAT(half.error().message, HasSubstr("no whole bearer"));
  will(grants("refresh-a-4", "access-a-4"));

  const auto whole = rotate(store, uid_, {});

  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_THAT(sent(), ElementsAre("refresh-a-2", "refresh-a-3"));
}

TEST_F(JournalKnowsTest, ASecondHalfAnswerInARowRests) {
  advance(Seconds(1000));
  will(grants("refresh-a-3", ""));
  will(grants("refresh-a-4", ""));
  ASSERT_FALSE(refresh({}));
  EXPECT_EQ(row().renewal.rest_until, std::nullopt);
  ASSERT_FALSE(refresh({}));

  EXPECT_EQ(row().renewal.rest_until, now() + Seconds(1));
  EXPECT_FALSE(refresh({}));
  EXPECT_THAT(sent(), ElementsAre("refresh-a-2", "refresh-a-3"));
}

}  // namespace
}  // namespace authdb::test
