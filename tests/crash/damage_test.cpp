#include "tools/prove/damage.h"

#include "tests/crash/crash_test.h"

namespace authdb::prove {
namespace {

constexpr std::size_t kStride = 151;  // a sample; authdb-prove --long does every byte

class JournalDamageTest : public CrashTest {
 protected:
  DamageResult damage(JournalAt state) {
    DamageResult result = damage_journal(state, AUTHDB_BINARY, scratch_.path(), kStride);
    expect_none(result.violations);
    EXPECT_GT(result.cases, 10U);
    EXPECT_GT(result.refused, 0U);  // its head was hit
    return result;
  }
};

TEST_F(JournalDamageTest, ADamagedIntentIsNeverReuse) {
  EXPECT_EQ(damage(JournalAt::intent).uncertain, 0U);
}

TEST_F(JournalDamageTest, ADamagedSentMarkStillSaysSent) {
  const auto result = damage(JournalAt::sent);
  EXPECT_EQ(result.served, 0U);
}

TEST_F(JournalDamageTest, ADamagedAnswerIsRecoveredOrUncertain) {
  const auto result = damage(JournalAt::answered);
  EXPECT_GT(result.served, 0U);
  EXPECT_GT(result.uncertain, 0U);
}

TEST_F(JournalDamageTest, ADamagedSettledJournalCostsNothing) {
  EXPECT_EQ(damage(JournalAt::settled).uncertain, 0U);
}

}  // namespace
}  // namespace authdb::prove
