// Every call that changes a file fails, one at a time and for good, during everything that changes
// the store. P1, P4, P5: nothing is sent that is not written down first, no token that arrived is
// lost, none is sent twice, and a failure changes no token.
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <set>

#include "oauth/new_session.h"
#include "tests/disk/disk_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Trouble kTroubles[] = {
    {"NoSpaceOnce", ENOSPC, Trouble::Kind::once},
    {"NoSpaceStays", ENOSPC, Trouble::Kind::stays},
    {"QuotaOnce", EDQUOT, Trouble::Kind::once},
    {"QuotaStays", EDQUOT, Trouble::Kind::stays},
    {"InputOutputErrorOnce", EIO, Trouble::Kind::once},
    {"InputOutputErrorStays", EIO, Trouble::Kind::stays},
    {"InputOutputErrorReportedLate", EIO, Trouble::Kind::late},
    {"ReadOnlyOnce", EROFS, Trouble::Kind::once},
    {"ReadOnlyStays", EROFS, Trouble::Kind::stays},
    {"NoDescriptorOnce", EMFILE, Trouble::Kind::once},
    {"NoDescriptorStays", EMFILE, Trouble::Kind::stays},
};

// What every error must say: it is for later, which file, and what to do.
void expect_helpful(const Error& error) {
  EXPECT_EQ(error.code, Errc::try_later) << error.message;
  EXPECT_THAT(error.message, HasSubstr("/authdb-test-"));
  EXPECT_FALSE(error.hint.empty()) << error.message;
}

class DiskFaultTest : public DiskTest, public ::testing::WithParamInterface<Trouble> {
 protected:
  // Keeps the store as it is now: each turn of a sweep begins with it.
  void keep() {
    fs::copy(dir_.path() / "store", dir_.path() / "kept", fs::copy_options::recursive);
  }
  void put_back() {
    fs::remove_all(dir_.path() / "store");
    fs::remove_all(runtime_.path() / "authdb");
    fs::copy(dir_.path() / "kept", dir_.path() / "store", fs::copy_options::recursive);
    begun_.clear();
  }

  // `act` with the fault at the first, the second, ... call until it gets through unharmed, and
  // `check` after each; the disk is well again then. Returns how many calls there were.
  int sweep(const std::function<void()>& act, const std::function<void()>& check) {
    for (int nth = 1;; ++nth) {
      put_back();
      Fault fault(GetParam(), nth);
      {
        const Watching watching(dir_.path(), fault);
        act();
      }
      const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                         "fault " + std::to_string(nth) + ": " + fault.where());
      check();
      if (!fault.struck() || HasFailure()) return nth - 1;
    }
  }

  // A refactoring that writes less is welcome; one after which nothing is swept is not.
  static int at_least(int writes, int opens) { return GetParam().error == EMFILE ? opens : writes; }

  void sweep_rotation(int points) {
    keep();
    std::optional<Result<Rotated>> result;
    const int swept = sweep(
        [&] {
          will_only(granting(1));
          result.emplace(rotate_now());
        },
        [&] { check_rotation(*result); });
    EXPECT_GE(swept, points) << "re-argue the protocol before changing this";
  }

  void check_rotation(const Result<Rotated>& result) {
    if (begun_.empty()) {
      ASSERT_FALSE(result);
      expect_helpful(result.error());
      expect_unchanged();
    } else {
      ASSERT_TRUE(result) << "a token that had arrived was dropped: " << result.error().message;
      EXPECT_EQ(text(result->held.refresh_token), refresh_token(1));
      const auto row = open(OpenMode::look).find(uid_);
      EXPECT_TRUE(row->generation == generation_ + 1 || !result->warning.empty())
          << "not in the database, and the caller is not told";
    }
    expect_next_process_goes_on();
  }

  void expect_unchanged() {
    const auto row = open(OpenMode::look).find(uid_);
    EXPECT_EQ(row->generation, generation_);
    EXPECT_EQ(row->refresh_hash, hash(refresh_token(0)));
    EXPECT_EQ(row->health.status, Status::ok);
    EXPECT_EQ(row->hold, Hold::none);
  }

  // There is space again, and somebody else comes.
  void expect_next_process_goes_on() {
    advance(Seconds(1));  // so long an attempt that failed rests
    will_only(granting(1));
    const auto next = rotate_now();
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_EQ(text(next->held.refresh_token), refresh_token(1));
    EXPECT_THAT(begun_, ElementsAre(refresh_token(0))) << "sent twice, or not at all";
    EXPECT_TRUE(*open(OpenMode::look).retired(hash(refresh_token(0))));

    // Once more, or twice where the first one finds that it only had to be settled.
    will_only(granting(2));
    for (int i = 0; i < 2 && begun_.size() < 2; ++i) {
      const auto after = rotate_now({.force = true});
      ASSERT_TRUE(after) << after.error().message;
    }
    EXPECT_THAT(begun_, ElementsAre(refresh_token(0), refresh_token(1)));
    EXPECT_EQ(open(OpenMode::look).find(uid_)->generation, generation_ + 2);
  }
};

INSTANTIATE_TEST_SUITE_P(Sweep, DiskFaultTest, ::testing::ValuesIn(kTroubles),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(DiskFaultTest, P4_ARefreshThatTheDiskFailsSendsNothingOrLosesNothing) {
  make_store(1);
  sweep_rotation(at_least(12, 8));
}

TEST_P(DiskFaultTest, P4_TheFirstRefreshThatTheDiskFailsSendsNothingOrLosesNothing) {
  make_store(0);
  forget_journal();
  sweep_rotation(at_least(20, 12));
}

TEST_P(DiskFaultTest, P4_ARefreshThatNeedsMoreRoomAndThatTheDiskFailsSendsNothingOrLosesNothing) {
  make_store_with_a_long_answer();
  sweep_rotation(at_least(13, 8));
}

TEST_P(DiskFaultTest, P5_AFailedMintChangesNoToken) {
  make_store(1);
  will(granting(1));
  ASSERT_TRUE(rotate_now());
  generation_ += 1;
  keep();

  const int swept = sweep(
      [&] {
        auto store = try_open();
        if (!store) return;
        auto locked = LockedCredential::acquire(*store, uid_, {Milliseconds(0)});
        if (!locked) return;
        AgentKey key;
        key.secret = Secret::copy_of("agent-key");
        key.obtained_at = now();
        key.expires_at = now() + Seconds(1800);
        const auto kept =
            locked->keep_agent_key(key, locked->begin_attempt(AttemptKind::mint, "default"));
        if (!kept) expect_helpful(kept.error());
      },
      [&] {
        expect_unchanged();
        const auto held = open(OpenMode::use).unseal(uid_);
        ASSERT_TRUE(held) << held.error().message;
        EXPECT_TRUE(!held->row.has_agent_key || text(held->agent_key) == "agent-key");
      });

  EXPECT_GE(swept, at_least(8, 6));
}

TEST_P(DiskFaultTest, P5_AnImportThatTheDiskFailsIsWholeOrNotThere) {
  make_store(1);
  keep();

  bool succeeded = false;
  const int swept = sweep(
      [&] {
        succeeded = false;
        auto store = try_open();
        if (!store) return expect_helpful(store.error());
        Change change;
        change.credentials.push_back(login("a", "access-b-1", "refresh-b-1", now()));
        change.credentials.back().uid = uid_;
        change.credentials.back().planned_against = generation_;
        change.credentials.back().new_family = true;
        change.credentials.push_back(login("c", "access-c-1", "refresh-c-1", now()));
        change.profiles.push_back("imported");
        const auto applied = store->apply(change);
        if (!applied) return expect_helpful(applied.error());
        succeeded = true;
      },
      [&] {
        Store store = open(OpenMode::use);
        const auto row = store.find(uid_);
        const bool there = row->family == 2;
        EXPECT_TRUE(there || !succeeded);
        EXPECT_EQ(store.list({})->size(), there ? 2u : 1u);
        EXPECT_EQ(store.profiles()->size(), there ? 2u : 1u);
        EXPECT_EQ(store.retired(hash(refresh_token(0)))->has_value(), there);
        if (!there) return expect_next_process_goes_on();
        EXPECT_EQ(text(store.unseal(uid_)->refresh_token), "refresh-b-1");
      });

  EXPECT_GE(swept, at_least(8, 6));
}

TEST_P(DiskFaultTest, P5_ALoginThatTheDiskFailsIsKeptOnceAndWithItsToken) {
  make_store(1);
  keep();

  std::optional<Result<oauth::KeptSession>> kept;
  const int swept = sweep(
      [&] {
        kept.reset();
        auto store = try_open();
        if (!store) return expect_helpful(store.error());
        oauth::NewSession session;
        session.identity.provider = "nous";
        session.identity.auth_type = AuthType::oauth;
        session.grant = std::move(*login("b", "access-b-1", "refresh-b-1", now()).grant);
        kept.emplace(oauth::keep_session(*store, session, {}));
      },
      [&] {
        Store store = open(OpenMode::use);
        const auto rows = store.list({});
        ASSERT_TRUE(rows) << rows.error().message;
        int owners = 0;
        for (const Credential& row : *rows) {
          EXPECT_TRUE(row.refresh_hash) << row.identity.label << " is left without a token";
          owners += row.refresh_hash == hash("refresh-b-1") ? 1 : 0;
        }
        EXPECT_LE(owners, 1);
        if (!kept || !*kept) return;
        EXPECT_EQ(store.find((*kept)->uid)->refresh_hash, hash("refresh-b-1"));
      });

  EXPECT_GE(swept, at_least(8, 3));
}

TEST_P(DiskFaultTest, P5_ARemovalThatTheDiskFailsIsWholeOrNotThere) {
  make_store(1);
  keep();

  bool succeeded = false;
  const int swept = sweep(
      [&] {
        auto store = try_open();
        const auto removed = store ? store->remove(uid_) : fail(store.error());
        succeeded = removed.has_value();
        if (!removed) expect_helpful(removed.error());
      },
      [&] {
        Store store = open(OpenMode::use);
        const bool gone = !store.find(uid_);
        EXPECT_TRUE(gone || !succeeded);
        EXPECT_EQ(store.retired(hash(refresh_token(0)))->has_value(), gone);
        if (!gone) expect_next_process_goes_on();
      });

  EXPECT_GE(swept, at_least(8, 6));
}

TEST_P(DiskFaultTest, P5_AFailedStatusUpdateChangesNoToken) {
  make_store(1);
  keep();

  const int swept = sweep(
      [&] {
        auto store = try_open();
        if (!store) return expect_helpful(store.error());
        Report report;
        report.http_status = 429;
        if (const auto reported = store->report(uid_, report); !reported) {
          expect_helpful(reported.error());
        }
        if (const auto touched = store->touch(uid_); !touched) expect_helpful(touched.error());
      },
      [&] {
        const auto row = open(OpenMode::look).find(uid_);
        EXPECT_EQ(row->generation, generation_);
        expect_next_process_goes_on();
      });

  EXPECT_GE(swept, at_least(8, 6));
}

TEST_P(DiskFaultTest, AStoreThatCouldNotBeMadeCanBeMadeLater) {
  fs::create_directory(dir_.path() / "kept");

  const int swept = sweep(
      [&] {
        // By a program of its own, whose calls nobody fails.
        const std::string here = dir_.path().string();
        ASSERT_EQ(std::system(("rm -rf " + here + "/store " + here + "/config").c_str()), 0);
        const auto made = try_open(OpenMode::create);
        if (!made) expect_helpful(made.error());
      },
      [&] {
        auto store = try_open(OpenMode::create);
        ASSERT_TRUE(store) << store.error().message;
        uid_ = add_login(*store);
        EXPECT_EQ(text(try_open()->unseal(uid_)->access_token), "access-a-1");
      });

  EXPECT_GE(swept, at_least(40, 18));
}

// A fault in the middle of looking is an error, or does not matter; it is never an empty store.
TEST_P(DiskFaultTest, P6_WhoLooksSeesTheStoreOrAnError) {
  make_store(1);
  keep();

  const int swept = sweep(
      [&] {
        const auto store = try_open(OpenMode::look);
        if (!store) return expect_helpful(store.error());
        const auto rows = store->list({});
        if (!rows) return expect_helpful(rows.error());
        EXPECT_EQ(rows->size(), 1u);
        const auto held = store->unseal(uid_);
        if (!held) return expect_helpful(held.error());
        EXPECT_EQ(text(held->refresh_token), refresh_token(0));
      },
      [&] { expect_unchanged(); });

  EXPECT_GE(swept, at_least(1, 5));
}

// ---- a disk that is full for good --------------------------------------------------------------

class FullDiskTest : public DiskTest, public ::testing::WithParamInterface<bool> {
 protected:
  // Everything fails that wants space; with a log that a killed writer left, or without.
  void SetUp() override {
    DiskTest::SetUp();
    make_store(1);
    if (!GetParam()) return;
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = try_open();
      ::_exit(store && store->add_profile("in the log") ? 0 : 1);  // closes nothing
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
    ASSERT_GT(fs::file_size(database().string() + "-wal"), 0u);
  }

  static constexpr Trouble kFull{"full", ENOSPC, Trouble::Kind::stays};
};

INSTANTIATE_TEST_SUITE_P(Wal, FullDiskTest, ::testing::Bool(), [](const auto& instance) {
  return instance.param ? "WithALogOfAKilledWriter" : "ClosedCleanly";
});

TEST_P(FullDiskTest, TheFirstToOpenTheStoreReadsIt) {
  Fault full(kFull, 1);
  const Watching watching(dir_.path(), full);

  const auto store = try_open(OpenMode::look);

  ASSERT_TRUE(store) << store.error().message;
  EXPECT_TRUE(full.struck()) << "SQLite asked for no space: this tests nothing";
  EXPECT_EQ(store->list({})->size(), 1u);
  EXPECT_EQ(store->profiles()->size(), GetParam() ? 2u : 1u);
  EXPECT_EQ(store->query("SELECT label FROM freshness")->rows.size(), 1u);
  EXPECT_EQ(text(store->unseal(uid_)->access_token), "access-a-2");
}

TEST_P(FullDiskTest, ALiveBearerIsServed) {
  will(granting(1));
  ASSERT_TRUE(rotate_now());
  Fault full(kFull, 1);
  const Watching watching(dir_.path(), full);

  const auto served = rotate_now();

  ASSERT_TRUE(served) << served.error().message;
  EXPECT_EQ(text(served->held.access_token), "access-a-3");
  EXPECT_EQ(served->action, Action::cached);
}

// Whoever reads alone keeps everybody else out while it does: not a moment longer.
TEST_P(FullDiskTest, WhoReadAloneKeepsNobodyOutAfterwards) {
  Fault full(kFull, 1);
  std::optional<Watching> watching(std::in_place, dir_.path(), full);
  const auto gateway = try_open(OpenMode::use);
  ASSERT_TRUE(gateway);
  ASSERT_TRUE(gateway->list({}));
  watching.reset();  // space again, and the gateway lives on

  // Not in a child: fork() closes what is idle.
  auto other = try_open();
  ASSERT_TRUE(other) << other.error().message;
  const auto added = other->add_profile("by somebody else");

  EXPECT_TRUE(added) << "kept out by an idle reader: " << added.error().message;
  EXPECT_THAT(*gateway->profiles(), ::testing::Contains("by somebody else"));
}

// Two views at once in one thread: the second must not wait for the first.
TEST_P(FullDiskTest, TheKeysAreCheckedWhileARowIsRead) {
  Fault full(kFull, 1);
  const Watching watching(dir_.path(), full);
  const auto store = try_open(OpenMode::use);
  ASSERT_TRUE(store);

  const auto extra = store->unseal_extra(uid_);
  const auto locked = LockedCredential::acquire(*store, uid_, {Milliseconds(0)});

  EXPECT_TRUE(extra) << extra.error().message;
  EXPECT_TRUE(locked) << locked.error().message;
}

TEST_P(FullDiskTest, AWriteSaysThatTheDiskIsFull) {
  Fault full(kFull, 1);
  const Watching watching(dir_.path(), full);
  auto store = try_open(OpenMode::use);
  ASSERT_TRUE(store);

  Change change;
  change.credentials.push_back(login("b", "access-b", "refresh-b", now()));

  const auto added = store->apply(change);

  ASSERT_FALSE(added);
  expect_helpful(added.error());
  EXPECT_THAT(added.error().hint, HasSubstr("Free space"));
}

TEST_P(FullDiskTest, NothingIsSentWhileTheIntentCannotBeWritten) {
  will(granting(1));
  Fault full(kFull, 1);
  const Watching watching(dir_.path(), full);

  const auto refused = rotate_now();

  ASSERT_FALSE(refused);
  expect_helpful(refused.error());
  EXPECT_THAT(begun_, IsEmpty());
}

// ---- the last resorts --------------------------------------------------------------------------

// From the moment the answer is there, nothing can be written any more.
class AnswerOnFullDiskTest : public DiskTest {
 protected:
  void SetUp() override {
    DiskTest::SetUp();
    make_store(1);
  }
  Result<Rotated> rotate_while_the_disk_fills(const fs::path& root) {
    return rotate_while_the_disk_fills(root, granting(1));
  }
  Result<Rotated> rotate_while_the_disk_fills(const fs::path& root, Reply reply) {
    std::optional<Watching> watching;
    Fault full({"full", ENOSPC, Trouble::Kind::stays}, 1);
    reply.meanwhile = [&] { watching.emplace(root, full); };
    will_only(std::move(reply));
    return rotate_now();
  }
};

TEST_F(AnswerOnFullDiskTest, P4_TheTokenGoesToTheRescueFileAndComesBack) {
  const auto rotated = rotate_while_the_disk_fills(dir_.path());

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(text(rotated->held.refresh_token), refresh_token(1));
  EXPECT_THAT(rotated->warning, HasSubstr((runtime_.path() / "authdb").string()));
  EXPECT_FALSE(fs::is_empty(runtime_.path() / "authdb"));
  const auto next = rotate_now();
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(next->action, Action::recovered);
  EXPECT_EQ(text(next->held.refresh_token), refresh_token(1));
  EXPECT_THAT(begun_, ElementsAre(refresh_token(0)));
  EXPECT_TRUE(fs::is_empty(runtime_.path() / "authdb"));
}

TEST_F(AnswerOnFullDiskTest, P1_ARescueFileThatCannotBeReadKeepsItsPredecessorFromBeingSent) {
  ASSERT_TRUE(rotate_while_the_disk_fills(dir_.path()));
  advance(Seconds(901));
  will_only(granting(7));
  Fault no_descriptor({"no descriptor", EMFILE, Trouble::Kind::once}, 1);
  const Watching watching(runtime_.path(), no_descriptor);

  const auto refused = rotate_now();

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::try_later);
  EXPECT_THAT(begun_, ElementsAre(refresh_token(0)));
  EXPECT_FALSE(fs::is_empty(runtime_.path() / "authdb"));
}

TEST_F(AnswerOnFullDiskTest, P4_WhereNothingCanBeWrittenTheCallerIsTold) {
  ::setenv("XDG_RUNTIME_DIR", (dir_.path() / "run").c_str(), 1);

  const auto rotated = rotate_while_the_disk_fills(dir_.path());

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(text(rotated->held.refresh_token), refresh_token(1));
  EXPECT_THAT(rotated->warning, HasSubstr("NOTHING could be written"));
  EXPECT_EQ(open(OpenMode::look).find(uid_)->generation, generation_);
}

TEST_F(AnswerOnFullDiskTest, P8_AnAnswerForAnotherAccountThatWasNotKeptIsNotCalledKept) {
  ::setenv("XDG_RUNTIME_DIR", (dir_.path() / "run").c_str(), 1);
  Reply mine = granting(1);
  mine.body.insert(1, R"("sub":"me",)");
  will_only(std::move(mine));
  ASSERT_TRUE(rotate_now());
  advance(Seconds(901));
  Reply theirs = grants("refresh-z-1", "access-z-1");
  theirs.body.insert(1, R"("sub":"somebody else",)");

  const auto misdirected = rotate_while_the_disk_fills(dir_.path(), std::move(theirs));

  ASSERT_FALSE(misdirected);
  EXPECT_THAT(misdirected.error().message, HasSubstr("another account"));
  EXPECT_THAT(misdirected.error().hint, HasSubstr("NOTHING could be written"));
}

// Fails everything but what fits into the journal as it is: its small entries, and not the record.
class OnlySmallEntries final : public DiskWatcher {
 public:
  explicit OnlySmallEntries(std::string journal) : journal_(std::move(journal)) {}
  int before(const Call& call) override {
    constexpr std::size_t kSmall = 40;
    if (call.op == Op::open && !call.for_writing) return 0;
    const bool fits =
        call.path == journal_ && (call.op != Op::write || call.bytes.size() <= kSmall);
    return fits ? 0 : ENOSPC;
  }

 private:
  std::string journal_;
};

TEST_F(AnswerOnFullDiskTest, P4_ATokenWhoseSuccessorIsNowhereIsOurOwnLostAnswerAndNotRetired) {
  ::setenv("XDG_RUNTIME_DIR", (dir_.path() / "run").c_str(), 1);
  OnlySmallEntries full(journal(uid_).string());
  std::optional<Watching> watching;
  Reply reply = granting(1);
  reply.meanwhile = [&] { watching.emplace(dir_.path(), full); };
  will_only(std::move(reply));
  ASSERT_THAT(rotate_now()->warning, HasSubstr("NOTHING could be written"));
  watching.reset();
  advance(Seconds(901));
  will_only({400, R"({"error":"refresh_token_reused"})"});

  const auto replayed = rotate_now();

  ASSERT_FALSE(replayed);
  EXPECT_THAT(replayed.error().hint, HasSubstr("our own lost answer"));
}

// ---- the intent --------------------------------------------------------------------------------

// Fails the nth call of those that make an intent durable: its record, its mark, the sync, and the
// mark that the request begins.
class IntentFault final : public DiskWatcher {
 public:
  IntentFault(std::string journal, int nth) : journal_(std::move(journal)), nth_(nth) {}
  int before(const Call& call) override {
    constexpr off_t kHolderEnds = 1024;  // whose name is written by the way, and may be missing
    if (call.path != journal_ || (call.op == Op::write && call.offset < kHolderEnds)) return 0;
    if (call.op != Op::write && call.op != Op::sync) return 0;
    return ++seen_ == nth_ ? EIO : 0;
  }

 private:
  std::string journal_;
  int nth_;
  int seen_ = 0;
};

TEST_F(DiskTest, P4_NothingIsSentUnlessTheIntentIsWrittenMarkedAndSynced) {
  make_store(1);
  for (int nth = 1; nth <= 4; ++nth) {
    will_only(granting(1));
    IntentFault fault(journal(uid_).string(), nth);
    const Watching watching(dir_.path(), fault);

    const auto refused = rotate_now();

    ASSERT_FALSE(refused) << "fault " << nth;
    expect_helpful(refused.error());
    EXPECT_THAT(begun_, IsEmpty());
  }
}

// Fails what makes room for the answer, before anything is sent.
class RoomFault final : public DiskWatcher {
 public:
  int before(const Call& call) override {
    if (call.op != Op::allocate) return 0;
    ++asked;
    return ENOSPC;
  }
  int asked = 0;
};

TEST_F(DiskTest, P4_NothingIsSentWhereThereIsNoRoomForTheAnswer) {
  make_store_with_a_long_answer();
  will_only(granting(1));
  RoomFault fault;
  const Watching watching(dir_.path(), fault);

  const auto refused = rotate_now();

  ASSERT_FALSE(refused);
  EXPECT_EQ(fault.asked, 1);
  expect_helpful(refused.error());
  EXPECT_THAT(begun_, IsEmpty());
}

// ---- the means themselves ----------------------------------------------------------------------

// No file becomes longer.
class NoGrowth final : public DiskWatcher {
 public:
  int before(const Call& call) override {
    if (call.op != Op::write && call.op != Op::allocate) return 0;
    std::error_code error;
    const auto size = fs::file_size(call.path, error);
    const auto end = static_cast<std::uintmax_t>(call.offset) + call.bytes.size() +
                     static_cast<std::uintmax_t>(call.size);
    return error || end > size ? ENOSPC : 0;
  }
};

TEST_F(DiskTest, P4_NothingIsSentWhereAJournalThatWasCutShortHasNoRoomForTheAnswer) {
  for (const std::uintmax_t left : {14'000u, 20'000u, 24'000u, 32'000u}) {
    SetUp();
    make_store(1);
    fs::resize_file(journal(uid_), left);
    { (void)rotate_now({.force = true}); }  // what was lost is noticed, where there is space
    fs::resize_file(journal(uid_), left);
    will_only(granting(1));
    begun_.clear();
    NoGrowth full;
    const Watching watching(journal(uid_).parent_path(), full);

    EXPECT_FALSE(rotate_now({.force = true, .replay = true})) << left;

    EXPECT_THAT(begun_, IsEmpty()) << left;
    fs::remove_all(dir_.path() / "store");
  }
}

TEST_F(DiskTest, TheLayerBeneathSeesSqlitesFilesAndOurs) {
  struct Names final : DiskWatcher {
    int before(const Call& call) override {
      seen.insert(call.text());
      return 0;
    }
    std::set<std::string> seen;
  } names;
  make_store(0);
  forget_journal();
  will(granting(1));
  {
    const Watching watching(dir_.path() / "store", names);
    ASSERT_TRUE(rotate_now());
  }

  using ::testing::Contains;
  EXPECT_THAT(names.seen, Contains("write /auth.db-wal"));
  EXPECT_THAT(names.seen, Contains("sync /auth.db-wal"));
  EXPECT_THAT(names.seen, Contains("write /auth.db-shm"));
  EXPECT_THAT(names.seen, Contains("write /auth.db"));
  EXPECT_THAT(names.seen, Contains("rename /auth.db.d/" + uid_.substr(0, 2) + "/" + uid_));
  EXPECT_THAT(names.seen, Contains("sync /auth.db.d/" + uid_.substr(0, 2) + "/" + uid_));
}

}  // namespace
}  // namespace authdb::test
