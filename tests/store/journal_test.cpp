#include "store/journal.h"

#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

constexpr const char* kUid = "abcdefghijkl";

class JournalTest : public ::testing::Test {
 protected:
  Result<Journal> acquire(const std::string& store_id = "store", const std::string& uid = kUid) {
    return Journal::acquire(dir_.path(), store_id, uid, Milliseconds(0),
                            {1, kNoon, "host", "test"});
  }
  std::filesystem::path path() { return Journal::path_of(dir_.path(), kUid); }

  static JournalRecord record(std::int64_t generation, const std::string& payload = "") {
    JournalRecord made;
    made.family = 1;
    made.generation = generation;
    made.hash.fill(static_cast<unsigned char>(generation));
    made.boot_id = "boot";
    made.process = "test";
    made.profile = "default";
    made.pid = 7;
    made.started_at = kNoon;
    made.payload.assign(payload.begin(), payload.end());
    return made;
  }

  // The journal as an attempt leaves it that died at `state`.
  void leave(JournalState state) {
    auto journal = acquire();
    ASSERT_TRUE(journal);
    journal->write_settled(record(1, "grant 1"));
    if (state == JournalState::settled) return;
    ASSERT_TRUE(journal->write_intent(record(1)));
    ASSERT_TRUE(journal->write_sent());
    if (state == JournalState::intent) return;
    ASSERT_TRUE(journal->write_answered(record(1, "answer 2")));
  }

  TemporaryDirectory dir_;
};

TEST_F(JournalTest, ANewJournalIsCompletePreallocatedAndPrivate) {
  ASSERT_TRUE(acquire());

  EXPECT_EQ(std::filesystem::file_size(path()), 32768u);
  EXPECT_EQ(std::filesystem::status(path()).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(JournalTest, TheNewestRecordIsReadBack) {
  leave(JournalState::answered);

  const auto journal = acquire();

  ASSERT_TRUE(journal);
  EXPECT_EQ(journal->record().state, JournalState::answered);
  EXPECT_EQ(std::string(journal->record().payload.begin(), journal->record().payload.end()),
            "answer 2");
  EXPECT_EQ(journal->record().boot_id, "boot");
}

TEST_F(JournalTest, AnIntentLeavesTheSettledGrantBesideIt) {
  leave(JournalState::intent);

  const auto journal = acquire();

  EXPECT_EQ(journal->record().state, JournalState::intent);
  EXPECT_EQ(journal->mark(), JournalMark::sent);
  ASSERT_TRUE(journal->settled());
  EXPECT_EQ(journal->settled()->generation, 1);
}

TEST_F(JournalTest, AnAnswerLongerThanASlotIsKeptWhole) {
  const std::string longer(700'000, 'j');
  {
    auto journal = acquire();
    ASSERT_TRUE(journal->write_intent(record(1)));
    ASSERT_TRUE(journal->write_answered(record(1, longer)));
  }

  EXPECT_EQ(acquire()->record().payload.size(), longer.size());
}

TEST_F(JournalTest, TheLast256SpentHashesAreKept) {
  {
    auto journal = acquire();
    for (int i = 1; i <= 300; ++i) {
      TokenHash hash{};
      hash[0] = static_cast<unsigned char>(i);
      journal->add_spent(hash, i);
    }
  }

  const auto journal = acquire();
  EXPECT_EQ(journal->spent().size(), 256u);
}

TEST_F(JournalTest, AnotherStoresOrCredentialsJournalIsRefused) {
  leave(JournalState::settled);

  EXPECT_EQ(acquire("other store").error().code, Errc::refused);
  std::filesystem::create_directories(Journal::path_of(dir_.path(), "abzzzzzzzzzz").parent_path());
  std::filesystem::copy_file(path(), Journal::path_of(dir_.path(), "abzzzzzzzzzz"));
  EXPECT_EQ(acquire("store", "abzzzzzzzzzz").error().code, Errc::refused);
}

TEST_F(JournalTest, TheSettledGrantOutlivesAnyNumberOfFailedAttempts) {
  leave(JournalState::settled);
  for (int attempt = 1; attempt <= 4; ++attempt) {
    auto journal = acquire();
    ASSERT_TRUE(journal->write_intent(record(1)));
    journal->write_resolved();
    ASSERT_TRUE(acquire().error().code == Errc::busy);
  }

  const auto journal = acquire();

  ASSERT_TRUE(journal->settled());
  EXPECT_EQ(std::string(journal->settled()->payload.begin(), journal->settled()->payload.end()),
            "grant 1");
  EXPECT_EQ(journal->record().state, JournalState::intent);
  EXPECT_EQ(journal->mark(), JournalMark::resolved);
}

TEST_F(JournalTest, AnAnswerThatBroughtNothingLeavesTheSettledGrant) {
  leave(JournalState::answered);
  {
    auto journal = acquire();
    ASSERT_TRUE(journal->write_intent(record(1)));
  }

  const auto journal = acquire();

  ASSERT_TRUE(journal->settled());
  EXPECT_EQ(journal->settled()->generation, 1);
}

}  // namespace
}  // namespace authdb::test
