// The journal damaged at every byte, by every bit, sector by sector, or cut at any length, in every
// state that an attempt can leave it in. What it says afterwards is what it said before, or that it
// cannot be trusted; never something else.
#include <algorithm>

#include "store/journal_format.h"
#include "tests/store/attempt_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using journal_format::kFileSize;
using journal_format::kHolderAt;

enum class Left { idle, intent, sent, answered, answered_long, handed_over, removed };
constexpr Left kEveryState[] = {Left::idle,     Left::intent,        Left::sent,
                                Left::answered, Left::answered_long, Left::handed_over,
                                Left::removed};
std::string name_of_state(Left left) {
  static constexpr std::array kNames = {
      "Idle", "Intent", "Sent", "Answered", "AnsweredAtLength", "HandedOver", "Removed"};
  return kNames.at(static_cast<std::size_t>(left));
}
bool is_answered(Left left) { return left == Left::answered || left == Left::answered_long; }
bool was_sent(Left left) { return left == Left::sent || is_answered(left); }

// A credential at generation 2 whose journal has its grant, and then an attempt that was left in
// the middle, a hold or a removal.
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
      row_ = store.engine().backend->view()->load(uid_)->row;
    }
    script_->sent.clear();
    whole_ = file_bytes(journal(uid_));
    newest_ = acquire()->state();
    damage_file(whole_);  // without our name as its holder
  }

  void leave(Store& store) {
    if (GetParam() == Left::idle) return;
    if (GetParam() == Left::handed_over) return hand_over(store);
    if (GetParam() == Left::removed) return remove(store);
    leave_attempt(*acquire_lock(store, uid_, {Milliseconds(0)}));
  }

  void remove(Store& store) { ASSERT_TRUE(store.remove(uid_)); }

  void hand_over(Store& store) {
    auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
    ASSERT_TRUE(LockedCredential::set_hold({&*locked}, Hold::handed_over));
  }

  void leave_attempt(Locked& locked) {
    if (GetParam() == Left::intent) return leave_intent(locked, now());
    if (GetParam() == Left::sent) return leave_sent(locked, now());
    std::string body = grants("refresh-a-3", "access-a-3").body;
    const bool is_long = GetParam() == Left::answered_long;
    if (is_long) body.insert(1, R"("padding":")" + std::string(11'000, 'p') + R"(",)");
    leave_answered(locked, body, now());
  }

  Result<Journal> acquire() {
    return Journal::acquire({dir_.path() / "store" / "auth.db.d", store_id_, uid_}, Milliseconds(0),
                            {1, kNoon, "host", "test"});
  }

  void damage_file(const std::string& bytes) {
    std::ofstream(journal(uid_), std::ios::binary | std::ios::trunc) << bytes;
  }

  // What the journal says is what it said, or what it said before that, or that it is not to be
  // trusted. What the row knows better it does not contradict: the row's revision is ahead then.
  void expect_not_misread(const std::string& what) {
    const auto read = acquire();
    if (!read) {
      EXPECT_EQ(read.error().code, Errc::refused) << what;
      return;
    }
    const CredentialState& state = read->state();
    const Side side = newer_side(state, row_);
    if (state.revision == newest_.revision) {
      EXPECT_EQ(journal_format::record_of(state), journal_format::record_of(newest_)) << what;
      EXPECT_TRUE(state.phase == newest_.phase || state.phase == Phase::sent) << what;
    } else {
      EXPECT_LT(state.revision, newest_.revision) << what;
    }
    if (was_sent(GetParam())) {
      EXPECT_TRUE(state.phase >= Phase::answered || read->lost_its_last_word() ||
                  side == Side::row_and_lost)
          << what << ": a token that was sent is taken for unsent";
    }
    if (GetParam() == Left::handed_over || GetParam() == Left::removed) {
      EXPECT_TRUE(state.revision == newest_.revision || side == Side::row ||
                  side == Side::row_and_lost)
          << what << ": what the row knows is forgotten";
    }
    for (const auto& [spent, generation] : read->spent()) {
      EXPECT_EQ(spent, hash("refresh-a-1")) << what;
      EXPECT_EQ(generation, 1) << what;
    }
  }

  // Bytes that say something: those that are not zero, of the zeroes some, and of a long payload,
  // whose bytes are all alike to its checksum, some. Before that is a hole, which nobody reads.
  bool is_telling(std::size_t at) const {
    if (at < kFileSize) return whole_[at] != 0 || at % 64 == 0;
    return at % (whole_[at] != 0 ? 128 : 32'768) == 0;
  }

  std::string without_sectors(std::size_t first, std::size_t count) const {
    std::string damaged = whole_;
    const std::size_t end = std::min((first + count) * kSector, damaged.size());
    std::fill(damaged.begin() + static_cast<off_t>(first * kSector),
              damaged.begin() + static_cast<off_t>(end), '\0');
    return damaged;
  }

  // The next holder on a damaged journal, in a store as it was. True if it settled the answer.
  bool next_holder_is_careful(const std::string& damaged, const std::string& what) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, what);
    fs::remove_all(dir_.path() / "store");
    fs::copy(dir_.path() / "kept", dir_.path() / "store", fs::copy_options::recursive);
    damage_file(damaged);
    Store store = open(OpenMode::use);
    const auto locked = LockedCredential::acquire(store, uid_, {Milliseconds(0)});
    EXPECT_TRUE(sent().empty());
    if (GetParam() == Left::removed) {
      EXPECT_FALSE(locked);
      EXPECT_EQ(store.find(uid_).error().code, Errc::not_found) << "a removal is forgotten";
    }
    if (!locked && locked.error().code == Errc::refused) {
      EXPECT_NE(locked.error().message.find(journal(uid_).string()), std::string::npos);
      EXPECT_EQ(file_bytes(journal(uid_)), damaged) << "it is kept as it was";
    }
    return locked && settled_or_careful(*store.find(uid_));
  }

  bool settled_or_careful(const Credential& row) {
    const bool has_answer = row.generation == 3;
    EXPECT_TRUE(!has_answer || is_answered(GetParam()));
    if (was_sent(GetParam()) && !has_answer) {
      EXPECT_EQ(row.hold, Hold::uncertain) << "a token that was sent is taken for unsent";
    }
    if (GetParam() == Left::handed_over) {
      EXPECT_EQ(row.hold, Hold::handed_over) << "a hold is forgotten";
    }
    return has_answer;
  }

  static constexpr std::size_t kSector = 512;

  Uid uid_;
  std::string store_id_;
  std::string whole_;
  CredentialState newest_;
  Credential row_;
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
    if (!is_telling(length) && (length % 16 != 1 || length > kFileSize)) continue;
    fs::resize_file(journal(uid_), length);
    expect_not_misread("cut at " + std::to_string(length));
    ++swept;
    // The holder's name, which every lock writes, makes a short file longer again.
    if (length < 2 * kHolderAt) damage_file(whole_.substr(0, length));
  }
  EXPECT_GT(swept, 2'000);
}

TEST_P(JournalDamageTest, WithAnySectorsLostItIsNeverMisread) {
  const std::size_t sectors = whole_.size() / kSector;
  for (std::size_t first = 0; first < sectors && !HasFailure(); ++first) {
    if (first * kSector > kFileSize && !is_telling(first * kSector)) continue;
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, sectors - first}) {
      damage_file(without_sectors(first, count));
      expect_not_misread(std::to_string(count) + " sectors from " + std::to_string(first));
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
    std::string damaged = whole_;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
    if (next_holder_is_careful(damaged, "byte " + std::to_string(at))) ++recovered;
    ++swept;
  }
  for (std::size_t first = 0; first * kSector < kFileSize && !HasFailure(); ++first) {
    const std::string what = "sectors from " + std::to_string(first);
    if (next_holder_is_careful(without_sectors(first, 1), "one of the " + what)) ++recovered;
    next_holder_is_careful(without_sectors(first, whole_.size()), "all " + what);
    next_holder_is_careful(whole_.substr(0, first * kSector), "cut before the " + what);
  }
  EXPECT_GT(swept, 60);
  EXPECT_EQ(recovered > 0, is_answered(GetParam()));
}

class StrangersJournalTest : public StoreTest {
 protected:
  void expect_kept(const Uid& uid, const std::string& foreign) {
    std::ofstream(journal(uid), std::ios::binary | std::ios::trunc) << foreign;
    Store store = open(OpenMode::use);
    will(grants("refresh-x", "access-x"));
    const auto refused = rotate(store, uid, {.force = true});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::refused);
    EXPECT_NE(refused.error().message.find(journal(uid).string()), std::string::npos);
    EXPECT_FALSE(refused.error().hint.empty());
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(file_bytes(journal(uid)), foreign);
  }

  // A journal of somebody else.
  std::string foreign(const std::string& store_id, const Uid& uid) {
    const JournalPlace place{dir_.path() / "other.d", store_id, uid};
    EXPECT_TRUE(Journal::acquire(place, Milliseconds(0), {}));
    return file_bytes(place.path());
  }
};

// Another store's, another credential's, or no journal at all: kept and reported.
TEST_F(StrangersJournalTest, AStrangersJournalIsKeptAndReported) {
  Uid uid;
  std::string store_id;
  {
    Store store = open();
    store_id = store.id();
    uid = add_login(store);
    will(grants("refresh-a-2", "access-a-2"));
    ASSERT_TRUE(rotate(store, uid, {.force = true}));
  }
  script_->sent.clear();

  expect_kept(uid, "not a journal\n");
  expect_kept(uid, "");
  expect_kept(uid, std::string(kFileSize, '\0'));
  expect_kept(uid, foreign("of another store", uid));
  expect_kept(uid, foreign(store_id, uid.substr(0, 2) + "zzzzzzzzzz"));
}

}  // namespace
}  // namespace authdb::test
