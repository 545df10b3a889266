// Journals that an older authdb left: their bytes are made here by hand, as it wrote them.
#include <sqlite3.h>

#include <cstring>

#include "store/journal_format.h"
#include "store/parcel.h"
#include "tests/store/attempt_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using journal_format::checksum_of;
using journal_format::DiskHead;
using journal_format::DiskMark;
using journal_format::own_checksum;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Where an older authdb put things.
constexpr std::size_t kMarkAt = 1024;
constexpr std::size_t kSlotAt = 12288;
constexpr std::size_t kSlotSize = 10240;
constexpr std::size_t kFileSize = 32768;
constexpr std::size_t kLongPayload = (1 << 20) + (64 << 10);
constexpr std::size_t kHeader = 272;

enum class Was : std::uint8_t { intent = 1, answered = 2, settled = 3 };
enum class Mark : std::uint64_t { none = 0, sent = 1, resolved = 2 };

struct OldRecord {
  Was was = Was::settled;
  std::uint64_t number = 0;
  std::int64_t generation = 1;
  std::string token;  // whose hash is in it
  Sealed payload = {};
};

template <typename T>
void put(std::string& image, std::size_t at, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(image.data() + at, &value, sizeof(value));
}
void put_text(std::string& image, std::size_t at, const std::string& text) {
  std::copy(text.begin(), text.end(), image.begin() + static_cast<std::ptrdiff_t>(at));
}
std::span<const unsigned char> bytes_in(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

class JournalFormat1Test : public StoreTest {
 protected:
  // A login as a store has it that an older authdb made: its row knows of no revision.
  void SetUp() override {
    Store store = open();
    uid_ = add_login(store);
    store_id_ = store.id();
    boot_id_ = store.engine().boot_id();
    ASSERT_EQ(store.find(uid_)->renewal.revision, 0);
    advance(Seconds(901));
    begin_journal();
  }

  void begin_journal() {
    image_.assign(kFileSize, '\0');
    DiskHead head;
    std::memcpy(head.magic.data(), "authdb journal 1\n", head.magic.size());
    std::copy(store_id_.begin(), store_id_.end(), head.store_id.begin());
    std::copy(uid_.begin(), uid_.end(), head.uid.begin());
    head.checksum = own_checksum(head);
    put(image_, 0, head);
  }

  void put_record(int slot, const OldRecord& record) {
    std::string header(kHeader, '\0');
    put(header, 0, record.number);
    put(header, 8, std::int64_t{1});  // family
    put(header, 16, record.generation);
    put(header, 24, std::int64_t{4711});  // pid
    put(header, 32, to_millis(now()));
    put(header, 40, std::uint64_t{record.payload.size()});
    put(header, 48, hash(record.token));
    put_text(header, 112, boot_id_);
    put_text(header, 148, "older");
    put_text(header, 180, "default");
    put(header, 244, std::int32_t{record.was == Was::answered ? 200 : 0});
    put(header, 248, record.was);
    put(header, 250, std::uint8_t{record.was == Was::answered});  // complete
    put(header, 256, checksum_of(bytes_in(header), record.payload));
    const auto place = static_cast<std::size_t>(slot);
    std::size_t at = kSlotAt + place * kSlotSize;
    put_text(image_, at, header);
    at = record.payload.size() <= kSlotSize - kHeader ? at + kHeader
                                                      : kFileSize + place * kLongPayload;
    image_.resize(std::max(image_.size(), at + record.payload.size()));
    std::copy(record.payload.begin(), record.payload.end(),
              image_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  void put_mark(std::uint64_t number, Mark mark) {
    DiskMark disk{number, static_cast<std::uint64_t>(mark), {}};
    disk.checksum = own_checksum(disk);
    put(image_, kMarkAt, disk);
  }

  void write_journal() {
    fs::create_directories(journal(uid_).parent_path());
    std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << image_;
    fs::permissions(journal(uid_), fs::perms::owner_read | fs::perms::owner_write);
  }

  Sealed sealed_grant(std::int64_t generation) {
    const Store store = open(OpenMode::use);
    const Held held = *store.unseal(uid_);
    const std::string number = std::to_string(generation);
    Grant grant;
    grant.access_token = Secret::copy_of("access-a-" + number);
    grant.refresh_token = Secret::copy_of("refresh-a-" + number);
    grant.obtained_at = now();
    grant.expires_at = now() + Seconds(900);
    return store.engine().seal(pack(held.row.identity, grant), uid_, kGrantColumn, generation);
  }
  Sealed sealed_answer(const Reply& reply) {
    const Store store = open(OpenMode::use);
    return store.engine().seal(Secret::copy_of(reply.body), uid_, kAnswerColumn, 1);
  }

  // The grant that stands in the row, settled, as every old journal had it after its first attempt.
  void put_settled(std::int64_t generation = 1) {
    put_record(0, {Was::settled, 3, generation, "refresh-a-" + std::to_string(generation),
                   sealed_grant(generation)});
    put_mark(2, Mark::sent);
  }
  void put_intent(Mark mark) {
    put_settled();
    put_record(1, {Was::intent, 4, 1, "refresh-a-1"});
    put_mark(4, mark);
  }
  void put_answered(const Reply& reply) {
    put_intent(Mark::sent);
    put_record(1, {Was::answered, 5, 1, "refresh-a-1", sealed_answer(reply)});
  }

  CredentialState read() {
    write_journal();
    const auto seen = Journal::look({dir_.path() / "store" / "auth.db.d", store_id_, uid_});
    EXPECT_TRUE(seen) << (seen ? "" : seen.error().message);
    return seen ? seen->state() : CredentialState();
  }

  // What taking the lock, twice, makes of the row. A second look is what the first one left.
  Credential after_two_locks() {
    for (int i = 0; i < 2; ++i) {
      Store store = open(OpenMode::use);
      const auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
      EXPECT_TRUE(locked) << (locked ? "" : locked.error().message);
    }
    EXPECT_THAT(sent(), IsEmpty());
    return *open(OpenMode::look).find(uid_);
  }
  // As before the database had a table of revisions.
  void make_the_row_older() {
    sqlite3* raw = nullptr;
    ASSERT_EQ(sqlite3_open(database().c_str(), &raw), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(raw, "DELETE FROM renewal", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(raw);
  }
  Result<Rotated> refresh() {
    Store store = open(OpenMode::use);
    return rotate(store, uid_, {.force = true});
  }
  bool is_format_2() { return file_bytes(journal(uid_)).compare(0, 17, "authdb journal 2\n") == 0; }

  Uid uid_;
  std::string store_id_;
  std::string boot_id_;
  std::string image_;
};

// ---- what is read ------------------------------------------------------------------------------

TEST_F(JournalFormat1Test, ASettledGrantIsReadAsAnIdleState) {
  put_settled();

  const CredentialState state = read();

  EXPECT_TRUE(state.legacy);
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.revision, 3);
  EXPECT_EQ(state.generation, 1);
  EXPECT_EQ(state.hash, hash("refresh-a-1"));
  EXPECT_FALSE(state.grant.empty());
}

TEST_F(JournalFormat1Test, AnIntentIsReadWithItsAttemptAndTheSettledGrant) {
  put_intent(Mark::none);

  const CredentialState state = read();

  EXPECT_EQ(state.phase, Phase::intent);
  EXPECT_EQ(state.revision, 4);
  EXPECT_EQ(state.hash, hash("refresh-a-1"));
  EXPECT_EQ(state.attempt.pid, 4711);
  EXPECT_EQ(state.attempt.boot_id, boot_id_);
  EXPECT_EQ(state.attempt.process, "older");
  EXPECT_EQ(state.attempt.profile, "default");
  EXPECT_EQ(state.attempt.started_at, now());
  EXPECT_FALSE(state.grant.empty());
}

TEST_F(JournalFormat1Test, TheMarkOfAnIntentIsItsPhase) {
  put_intent(Mark::sent);
  EXPECT_EQ(read().phase, Phase::sent);
  put_intent(Mark::resolved);
  EXPECT_EQ(read().phase, Phase::idle);
  put_mark(3, Mark::none);
  EXPECT_EQ(read().phase, Phase::sent) << "a mark of another attempt";
  image_[kMarkAt] = 'X';
  EXPECT_EQ(read().phase, Phase::sent) << "a damaged mark";
}

TEST_F(JournalFormat1Test, AnAnswerIsReadWithItsBody) {
  const Reply reply = grants("refresh-a-2", "access-a-2");
  put_answered(reply);

  const CredentialState state = read();

  EXPECT_EQ(state.phase, Phase::answered);
  EXPECT_EQ(state.attempt.http_status, 200);
  EXPECT_TRUE(state.attempt.complete);
  const Store store = open(OpenMode::use);
  EXPECT_EQ(text(store.engine().open(state.answer, uid_, kAnswerColumn, 1)), reply.body);
}

TEST_F(JournalFormat1Test, AJournalWithoutAnyRecordSaysNothing) {
  EXPECT_EQ(read().revision, 0);
  EXPECT_EQ(after_two_locks().hold, Hold::none);
}

// ---- what comes of it --------------------------------------------------------------------------

TEST_F(JournalFormat1Test, LookingAtAnOldJournalMoreThanOnceCastsNoDoubtOnIt) {
  put_settled();
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::none);
}

TEST_F(JournalFormat1Test, AnIntentThatWasNotSentIsForgotten) {
  put_intent(Mark::none);
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::none);
}

TEST_F(JournalFormat1Test, P4_AnIntentThatWasSentIsUncertain) {
  put_intent(Mark::sent);
  write_journal();

  const Credential row = after_two_locks();

  EXPECT_EQ(row.hold, Hold::uncertain);
  EXPECT_EQ(row.renewal.losses.count, 1);
  EXPECT_TRUE(is_format_2());
}

TEST_F(JournalFormat1Test, ARefusalThatCostNothingIsNoDoubt) {
  put_intent(Mark::resolved);
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::none);
}

TEST_F(JournalFormat1Test, P4_AnAnswerIsSettledWithoutARequest) {
  put_answered(grants("refresh-a-2", "access-a-2"));
  write_journal();

  EXPECT_EQ(after_two_locks().generation, 2);

  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-a-2");
  EXPECT_TRUE(is_format_2());
}

TEST_F(JournalFormat1Test, P4_AnAnswerLongerThanASlotIsSettledToo) {
  Reply reply = grants("refresh-a-2", "access-a-2");
  reply.body.insert(1, R"("padding":")" + std::string(20'000, 'p') + R"(",)");
  put_answered(reply);
  write_journal();

  EXPECT_EQ(after_two_locks().generation, 2);
}

TEST_F(JournalFormat1Test, P4_AnAnswerWaitsUntilItsProviderIsKnownAgain) {
  put_answered(grants("refresh-a-2", "access-a-2"));
  write_journal();
  StoreOptions without_providers = options();
  without_providers.endpoint_for = {};
  for (int i = 0; i < 2; ++i) {
    Store store = *Store::open(without_providers, OpenMode::use);
    EXPECT_FALSE(LockedCredential::acquire(store, uid_, {Milliseconds(0)}));
  }

  EXPECT_EQ(after_two_locks().generation, 2);
}

TEST_F(JournalFormat1Test, P2_ASettledGrantThatIsNewerThanTheRowIsAdopted) {
  put_settled(/*generation=*/3);
  write_journal();

  const Credential row = after_two_locks();

  EXPECT_EQ(row.generation, 3);
  EXPECT_EQ(row.hold, Hold::none);
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-a-3");
  EXPECT_TRUE(*open(OpenMode::look).retired(hash("refresh-a-1")));
}

TEST_F(JournalFormat1Test, P4_AnAnswerToANewerGrantThanTheRowsWaitsForItsProvider) {
  put_settled(/*generation=*/3);
  put_record(1, {Was::answered, 5, 3, "refresh-a-3", [&] {
                   const Store store = open(OpenMode::use);
                   return store.engine().seal(
                       Secret::copy_of(grants("refresh-a-4", "access-a-4").body), uid_,
                       kAnswerColumn, 3);
                 }()});
  put_mark(4, Mark::sent);
  write_journal();
  StoreOptions without_providers = options();
  without_providers.endpoint_for = {};
  {
    Store store = *Store::open(without_providers, OpenMode::use);
    EXPECT_FALSE(LockedCredential::acquire(store, uid_, {Milliseconds(0)}));
  }

  EXPECT_EQ(after_two_locks().generation, 4);
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-a-4");
}

TEST_F(JournalFormat1Test, TheNextRecordMakesItAJournalOfOurs) {
  put_settled();
  write_journal();
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(refresh());

  EXPECT_TRUE(is_format_2());
  EXPECT_THAT(sent(), ElementsAre("refresh-a-1"));
  script_->sent.clear();
  const Credential row = after_two_locks();
  EXPECT_EQ(row.generation, 2);
  EXPECT_GT(row.renewal.revision, 3) << "no number is given twice";
  EXPECT_EQ(row.hold, Hold::none);
}

TEST_F(JournalFormat1Test, AResolvedMarkCastsNoDoubtOnAFirstRecordThatIsNoIntent) {
  put_intent(Mark::resolved);
  write_journal();
  {
    Store store = open(OpenMode::use);
    auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
    ASSERT_TRUE(locked);
    ASSERT_TRUE(LockedCredential::set_hold({&*locked}, Hold::none));
  }
  ASSERT_TRUE(is_format_2());

  EXPECT_EQ(after_two_locks().hold, Hold::none);
}

TEST_F(JournalFormat1Test, AHoldThatOnlyTheRowKnowsStays) {
  {
    Store store = open(OpenMode::use);
    auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
    ASSERT_TRUE(LockedCredential::set_hold({&*locked}, Hold::handed_over));
  }
  make_the_row_older();
  put_settled();
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::handed_over);
}

// ---- what is doubted ---------------------------------------------------------------------------

TEST_F(JournalFormat1Test, P4_PutBackBesideARowThatKnowsRevisionsItMakesTheTokenUncertain) {
  put_settled();
  write_journal();
  will(grants("refresh-a-2", "access-a-2"));
  ASSERT_TRUE(refresh());
  script_->sent.clear();
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::uncertain);
  EXPECT_EQ(text(open(OpenMode::look).unseal(uid_)->refresh_token), "refresh-a-2");
}

TEST_F(JournalFormat1Test, P4_AnIntentWhoseRecordIsDamagedIsNotForgotten) {
  put_intent(Mark::sent);
  image_[kSlotAt + kSlotSize] ^= 1;
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::uncertain);
}

TEST_F(JournalFormat1Test, ALostRecordWhoseAttemptIsKnownToBeHarmlessIsNoDoubt) {
  put_intent(Mark::resolved);
  image_[kSlotAt + kSlotSize] ^= 1;
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::none);
}

TEST_F(JournalFormat1Test, P4_ADamagedAnswerIsNotTakenForNone) {
  put_answered(grants("refresh-a-2", "access-a-2"));
  image_[kSlotAt + kSlotSize + kHeader] ^= 1;
  write_journal();

  EXPECT_EQ(after_two_locks().hold, Hold::uncertain);
}

}  // namespace
}  // namespace authdb::test
