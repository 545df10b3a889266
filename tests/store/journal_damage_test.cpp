// The journal damaged at every byte, by every bit, sector by sector, or cut at any length, in every
// state that an attempt can leave it in. What it says afterwards is what it said before, or that it
// cannot be trusted; never something else.
#include <algorithm>

#include "store/engine.h"
#include "store/locked.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;

enum class Left { settled, intent, sent, resolved, answered, answered_long };
constexpr Left kEveryState[] = {Left::settled,  Left::intent,   Left::sent,
                                Left::resolved, Left::answered, Left::answered_long};
std::string name_of_state(Left left) {
  static constexpr std::array kNames = {"Settled",  "Intent",   "Sent",
                                        "Resolved", "Answered", "AnsweredAtLength"};
  return kNames.at(static_cast<std::size_t>(left));
}
bool was_sent(Left left) { return left != Left::settled && left != Left::intent; }
bool is_answered(Left left) { return left >= Left::answered; }

// A credential at generation 2 whose journal has its grant, and then an attempt that was left in
// the middle.
class JournalDamageTest : public StoreTest, public ::testing::WithParamInterface<Left> {
 protected:
  void SetUp() override {
    {
      Store store = open();
      uid_ = add_login(store);
      advance(Seconds(901));
      will(grants("refresh-a-2", "access-a-2"));
      ASSERT_TRUE(rotate(store, uid_, {}));
      advance(Seconds(901));
      store_id_ = store.id();
      leave(store);
    }
    script_->sent.clear();
    whole_ = file_bytes(journal(uid_));
  }

  void leave(Store& store) {
    if (GetParam() == Left::settled) return;
    Engine& engine = store.engine();
    auto open_journal = acquire();
    ASSERT_TRUE(open_journal);
    JournalRecord record;
    record.family = 1;
    record.generation = 2;
    record.hash = hash("refresh-a-2");
    record.boot_id = engine.boot_id();
    record.process = "gone";
    record.profile = "default";
    record.pid = 7;
    record.started_at = now();
    ASSERT_TRUE(open_journal->write_intent(record));
    if (GetParam() == Left::intent) return;
    ASSERT_TRUE(open_journal->write_sent());
    if (GetParam() == Left::resolved) open_journal->write_resolved();
    if (!is_answered(GetParam())) return;
    record.http_status = 200;
    record.complete = 1;
    std::string body = grants("refresh-a-3", "access-a-3").body;
    const bool is_long = GetParam() == Left::answered_long;
    if (is_long) body.insert(1, R"("padding":")" + std::string(11'000, 'p') + R"(",)");
    record.payload = engine.seal(Secret::copy_of(body), uid_, kAnswerColumn, 2);
    payload_ = record.payload;
    ASSERT_TRUE(open_journal->write_answered(record));
  }

  Result<Journal> acquire() {
    return Journal::acquire(dir_.path() / "store" / "auth.db.d", store_id_, uid_, Milliseconds(0),
                            {1, kNoon, "host", "test"});
  }

  void damage_file(const std::string& bytes) {
    std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << bytes;
  }

  // What the journal says is what it said, or that it is not to be trusted.
  void expect_not_misread(const std::string& what) {
    const auto read = acquire();
    if (!read) {
      EXPECT_EQ(read.error().code, Errc::refused) << what;
      return;
    }
    const JournalMark mark = read->mark();
    const bool doubtful = mark == JournalMark::sent || mark == JournalMark::damaged;
    switch (GetParam()) {
      case Left::settled:
      case Left::intent:  // nothing was sent: whatever it says, nothing is lost
        EXPECT_NE(mark, JournalMark::resolved) << what;
        break;
      case Left::resolved:
        EXPECT_NE(mark, JournalMark::sent) << what;
        break;
      case Left::sent:
        EXPECT_TRUE(doubtful) << what;
        break;
      case Left::answered:
      case Left::answered_long:
        EXPECT_TRUE(doubtful || read->record().payload == payload_) << what;
        break;
    }
    if (read->settled()) {
      EXPECT_EQ(read->settled()->hash, hash("refresh-a-2")) << what;
      EXPECT_EQ(read->settled()->generation, 2) << what;
    }
    for (const auto& [spent, generation] : read->spent()) {
      EXPECT_EQ(spent, hash("refresh-a-1")) << what;
      EXPECT_EQ(generation, 1) << what;
    }
  }

  // Bytes that say something: those that are not zero, of the zeroes some, and of a long payload,
  // whose bytes are all alike to its checksum, some. Before that is a hole, which nobody reads.
  bool is_telling(std::size_t at) const {
    if (at < kRecordsEnd) return whole_[at] != 0 || at % 64 == 0;
    return at % (whole_[at] != 0 ? 128 : 32'768) == 0;
  }

  static constexpr std::size_t kRecordsEnd = 32'768;

  Uid uid_;
  std::string store_id_;
  std::string whole_;
  Sealed payload_;
};

INSTANTIATE_TEST_SUITE_P(Left, JournalDamageTest, ::testing::ValuesIn(kEveryState),
                         [](const auto& instance) { return name_of_state(instance.param); });

TEST_P(JournalDamageTest, WithAnyBitOfAnyByteTurnedItIsNeverMisread) {
  int swept = 0;
  std::fstream file(journal(uid_), std::ios::in | std::ios::out | std::ios::binary);
  for (std::size_t at = 0; at < whole_.size() && !HasFailure(); ++at) {
    if (!is_telling(at)) continue;
    for (const int bits : {1, 2, 4, 8, 16, 32, 64, 128, 0x5a, 0xff}) {
      file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(whole_[at] ^ bits)).flush();
      expect_not_misread("byte " + std::to_string(at) + " ^ " + std::to_string(bits));
      ++swept;
    }
    file.seekp(static_cast<std::streamoff>(at)).put(whole_[at]).flush();
  }
  EXPECT_GT(swept, 8'000);
}

TEST_P(JournalDamageTest, CutAtAnyLengthItIsNeverMisread) {
  int swept = 0;
  for (std::size_t length = whole_.size(); length-- > 0 && !HasFailure();) {
    if (!is_telling(length) && (length % 16 != 1 || length > kRecordsEnd)) continue;
    fs::resize_file(journal(uid_), length);
    expect_not_misread("cut at " + std::to_string(length));
    ++swept;
    // The holder's name, which every lock writes, makes a short file longer again.
    if (length < 1024) damage_file(whole_.substr(0, length));
  }
  EXPECT_GT(swept, 2'000);
}

TEST_P(JournalDamageTest, WithAnySectorsLostItIsNeverMisread) {
  // Not the mark's: all zeroes is what it says before the first intent has brought its own.
  constexpr std::size_t kMarkIn = 2;
  const std::size_t sectors = whole_.size() / 512;
  for (std::size_t first = 0; first < sectors && !HasFailure(); ++first) {
    if (first * 512 > kRecordsEnd && !is_telling(first * 512)) continue;
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, sectors - first}) {
      if (first <= kMarkIn && kMarkIn < first + count) continue;
      std::string damaged = whole_;
      for (std::size_t at = first * 512; at < std::min((first + count) * 512, damaged.size());
           ++at) {
        damaged[at] = '\0';
      }
      damage_file(damaged);
      expect_not_misread("sectors from " + std::to_string(first));
    }
  }
  EXPECT_GE(sectors, 64u);
}

// The next holder, with a server to ask: what it makes of a damaged journal is what the crash table
// says of some state, and never a token sent again as if it had not been sent.
TEST_P(JournalDamageTest, P1_TheNextHolderRecoversOrDoubtsAndSendsNothingBlindly) {
  fs::copy(dir_.path() / "store", dir_.path() / "kept", fs::copy_options::recursive);
  int swept = 0;
  int recovered = 0;
  int telling = 0;
  for (std::size_t at = 0; at < whole_.size() && !HasFailure(); ++at) {
    // Every byte of the heads and the mark has been looked at above; here a few stand for all.
    if (!is_telling(at) || ++telling % 9 != 0) continue;
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, "byte " + std::to_string(at));
    fs::remove_all(dir_.path() / "store");
    fs::copy(dir_.path() / "kept", dir_.path() / "store", fs::copy_options::recursive);
    std::string damaged = whole_;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
    damage_file(damaged);
    ++swept;

    Store store = open(OpenMode::use);
    const auto locked = lock_credential(store, uid_, Milliseconds(0));
    if (!locked) {
      EXPECT_EQ(locked.error().code, Errc::refused);
      EXPECT_NE(locked.error().message.find(journal(uid_).string()), std::string::npos);
      EXPECT_EQ(file_bytes(journal(uid_)), damaged) << "it is kept as it was";
      continue;
    }
    const auto row = store.find(uid_);
    const bool has_answer = row->generation == 3;
    EXPECT_TRUE(!has_answer || is_answered(GetParam()));
    if (was_sent(GetParam()) && GetParam() != Left::resolved && !has_answer) {
      EXPECT_EQ(row->hold, Hold::uncertain) << "a token that was sent is taken for unsent";
    }
    if (has_answer) ++recovered;
    EXPECT_TRUE(sent().empty());
  }
  EXPECT_GT(swept, 60);
  EXPECT_EQ(recovered > 0, is_answered(GetParam()));
}

// Another store's, another credential's, or no journal at all: kept and reported.
TEST_P(JournalDamageTest, AStrangersJournalIsKeptAndReported) {
  const auto expect_kept = [&] {
    const std::string foreign = file_bytes(journal(uid_));
    Store store = open(OpenMode::use);
    will(grants("refresh-x", "access-x"));
    const auto refused = rotate(store, uid_, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::refused);
    EXPECT_NE(refused.error().message.find(journal(uid_).string()), std::string::npos);
    EXPECT_FALSE(refused.error().hint.empty());
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(file_bytes(journal(uid_)), foreign);
  };

  damage_file("not a journal\n");
  expect_kept();
  damage_file("");
  expect_kept();
  damage_file(std::string(32768, '\0'));
  expect_kept();

  const fs::path other = dir_.path() / "other.d";
  { ASSERT_TRUE(Journal::acquire(other, "of another store", uid_, Milliseconds(0), {})); }
  fs::copy_file(Journal::path_of(other, uid_), journal(uid_), fs::copy_options::overwrite_existing);
  expect_kept();
  const Uid somebody = uid_.substr(0, 2) + "zzzzzzzzzz";
  { ASSERT_TRUE(Journal::acquire(other, store_id_, somebody, Milliseconds(0), {})); }
  fs::copy_file(Journal::path_of(other, somebody), journal(uid_),
                fs::copy_options::overwrite_existing);
  expect_kept();
}

}  // namespace
}  // namespace authdb::test
