#include "migrate/plan/evidence.h"

#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using testing::at;

const Instant kEarly = at("2026-04-14T08:12:31Z");
const Instant kLate = at("2026-04-23T19:05:10Z");

Evidence obtained(Instant when) {
  Evidence e;
  e.obtained = when;
  return e;
}
Evidence issued(Instant when) {
  Evidence e;
  e.issued = when;
  return e;
}
Evidence expires(Instant when) {
  Evidence e;
  e.expires = when;
  return e;
}

TEST(Evidence, TheLaterObtainedIsNewerAndSaysByHowMuch) {
  EXPECT_EQ(compare(obtained(kLate), obtained(kEarly)), Age::newer);
  EXPECT_EQ(compare(obtained(kEarly), obtained(kLate)), Age::older);
  EXPECT_EQ(reason(obtained(kLate), obtained(kEarly), "default"),
            "obtained 2026-04-23T19:05:10Z, 9 d after default's");
}

TEST(Evidence, WhatTheServerIssuedComparesWithWhatWasObtained) {
  EXPECT_EQ(compare(issued(kLate), obtained(kEarly)), Age::newer);
}

TEST(Evidence, AnUnknownTimeIsNotTheOldest) {
  EXPECT_EQ(compare(obtained(kLate), Evidence{}), Age::unknown);
  EXPECT_EQ(compare(Evidence{}, obtained(kLate)), Age::unknown);
  EXPECT_EQ(compare(Evidence{}, Evidence{}), Age::unknown);
}

TEST(Evidence, EqualTimesDecideNothing) {
  EXPECT_EQ(compare(obtained(kLate), obtained(kLate)), Age::unknown);
}

TEST(Evidence, ExpiryDecidesWhereNothingElseDoes) {
  EXPECT_EQ(compare(expires(kLate), expires(kEarly)), Age::newer);

  Evidence shorter = obtained(kLate);
  shorter.expires = kLate + Seconds{60};
  Evidence longer = obtained(kEarly);
  longer.expires = kLate + Seconds{3600};
  EXPECT_EQ(compare(shorter, longer), Age::newer) << "a shorter life is no lesser age";
}

TEST(Evidence, TheTokensOwnExpiryGoesBeforeTheFiles) {
  Evidence a = expires(kLate);
  Evidence b = expires(kEarly);
  a.token_ends = kEarly;
  b.token_ends = kLate;

  EXPECT_EQ(compare(a, b), Age::older);
}

TEST(Evidence, OurClockAgainstTheServersDecidesNothing) {
  Evidence a = obtained(kLate);
  Evidence b = obtained(kEarly);
  a.issued = kEarly;
  b.issued = kLate;

  EXPECT_EQ(compare(a, b), Age::unknown);
}

TEST(Evidence, AStatedTimeReplacesADerivedOne) {
  Evidence a = obtained(kEarly);
  a.derived = true;

  complete(a, obtained(kLate));

  EXPECT_EQ(a.obtained, kLate);
  EXPECT_FALSE(a.derived);
}

}  // namespace
}  // namespace authdb::migrate
