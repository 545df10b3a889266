#include "store/timestamp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace authdb {
namespace {

using nlohmann::json;

constexpr Instant kMay = at_millis(1'778'841'000'000);  // 2026-05-15T10:30:00Z

std::optional<Instant> strict(const json& value) {
  const auto parsed = parse_time(value, NaiveTime::reject);
  return parsed ? std::optional(parsed->at) : std::nullopt;
}

class SpelledTime : public ::testing::TestWithParam<json> {};

TEST_P(SpelledTime, IsTheSameInstant) { EXPECT_EQ(strict(GetParam()), kMay) << GetParam(); }

INSTANTIATE_TEST_SUITE_P(Timestamp, SpelledTime,
                         ::testing::Values(1778841000, 1778841000.0, 1778841000000, 1778841000000.0,
                                           "1778841000", "1778841000.0", " 1778841000 ",
                                           "1.778841e9", "1778841000000", "2026-05-15T10:30:00Z",
                                           " 2026-05-15T10:30:00Z\n", "2026-05-15T10:30:00+00:00",
                                           "2026-05-15T10:30:00-00:00", "2026-05-15T10:30:00+0000",
                                           "2026-05-15T10:30:00+00", "2026-05-15T12:30:00+02:00",
                                           "2026-05-15T05:00:00-0530", "2026-05-15 10:30:00+00:00",
                                           "2026-05-15T10:30+00:00", "2026-05-15T10:30Z",
                                           "20260515T103000+0000", "20260515T103000Z",
                                           "20260515T1030Z", "2026-05-15T10:30:00.000Z",
                                           "2026-05-15T10:30:00.0000009Z", "2026-05-15T10:30:00,0Z",
                                           "2026-W20-5T10:30:00Z", "2026W205T103000Z"));

class UnknownTime : public ::testing::TestWithParam<json> {};

TEST_P(UnknownTime, IsUnknownNeverZero) {
  EXPECT_FALSE(parse_time(GetParam(), NaiveTime::reject)) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(
    Timestamp, UnknownTime,
    ::testing::Values(json(nullptr), json(true), json(false), json::array({1778841000}),
                      json::object({{"at", 1778841000}}), json(0), json(-1), json(-1778841000),
                      json(0.0000001), json(1e300), json(1e18),
                      json(std::numeric_limits<std::uint64_t>::max()),
                      json(std::numeric_limits<std::int64_t>::min()),
                      json(std::numeric_limits<double>::quiet_NaN()),
                      json(std::numeric_limits<double>::infinity()),
                      json(-std::numeric_limits<double>::infinity()), json(""), json("   "),
                      json("nan"), json("NaN"), json("inf"), json("-inf"), json("Infinity"),
                      json("1e999"), json("0"), json("-5"), json("0x6a06f968"), json("1_000"),
                      json("soon"), json("2026-05-15"), json("20260515T"), json("2026-05-15T"),
                      json("2026-05-15T10:30:00")));

INSTANTIATE_TEST_SUITE_P(
    Malformed, UnknownTime,
    ::testing::Values("2026-05-15T10:30:00z", "2026-05-15T24:00:00Z", "2026-05-15T10:60:00Z",
                      "2026-05-15T10:30:61Z", "2026-02-30T10:30:00Z", "2026-13-01T00:00:00Z",
                      "2026-05-15T10:30:00+24:00", "2026-05-15T10:30:00+02:60",
                      "2026-05-15T10:30:00 +00:00", "2026-05-15T10:30:00.Z",
                      "2026-05-15T10:30:00Z tomorrow", "2026-05-15t10:30:00Z", "26-05-15T10:30:00Z",
                      "2026-5-15T10:30:00Z", "2026--5-15T10:30:00Z", "2026-05-15T-1:30:00Z",
                      "2026-05-15T10:30:00+1", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z",
                      "2026-W54-1T00:00:00Z", "2026-W20-8T00:00:00Z", "2026-W00-1T00:00:00Z",
                      "2027-W53-1T00:00:00Z"));

TEST(Timestamp, ANumberAboveATrillionIsMilliseconds) {
  EXPECT_EQ(from_epoch(1'778'841'000'250.0), kMay + Milliseconds(250));
  EXPECT_EQ(from_epoch(1e12), std::nullopt);  // in seconds: the year 33658
}

TEST(Timestamp, FractionsOfSecondsAreKeptToTheMillisecond) {
  EXPECT_EQ(strict(1778841000.402), kMay + Milliseconds(402));
  EXPECT_EQ(strict("2026-05-15T10:30:00.5Z"), kMay + Milliseconds(500));
  EXPECT_EQ(strict("2026-05-15T10:30:00,25Z"), kMay + Milliseconds(250));
}

TEST(Timestamp, MoreDigitsThanMillisecondsAreCutNotRounded) {
  EXPECT_EQ(strict("2026-05-15T10:30:00.402999999999Z"), kMay + Milliseconds(402));
}

TEST(Timestamp, AShortNumericStringIsAnEpochNotAYear) {
  EXPECT_EQ(strict("2026"), at_millis(2'026'000));
}

TEST(Timestamp, WeekDatesOfTheYearsEdgesAreRight) {
  EXPECT_EQ(strict("2021-W01-1T00:00:00Z"), strict("2021-01-04T00:00:00Z"));
  EXPECT_EQ(strict("2020-W53-5T00:00:00Z"), strict("2021-01-01T00:00:00Z"));
  EXPECT_EQ(strict("2025-W01-1T00:00:00Z"), strict("2024-12-30T00:00:00Z"));
}

TEST(Timestamp, ANaiveTimeIsUnknownInAnswersAndUtcInFiles) {
  EXPECT_FALSE(parse_iso("2026-05-15T10:30:00", NaiveTime::reject));
  const auto in_file = parse_iso("2026-05-15T10:30:00", NaiveTime::utc);
  ASSERT_TRUE(in_file);
  EXPECT_EQ(in_file->at, kMay);
  EXPECT_TRUE(in_file->naive);
}

TEST(Timestamp, ATimeWithAnOffsetIsNotNaive) {
  EXPECT_FALSE(parse_iso("2026-05-15T10:30:00Z", NaiveTime::utc)->naive);
}

TEST(Timestamp, WhatIsWrittenIsReadBackAsTheSameInstant) {
  for (const std::int64_t ms :
       {std::int64_t{1}, std::int64_t{999}, std::int64_t{1'778'841'000'000},
        std::int64_t{1'778'841'000'001}, std::int64_t{1'778'841'059'999},
        std::int64_t{1'709'164'800'000}, std::int64_t{253'402'300'799'999}}) {
    const auto back = parse_iso(format_iso(at_millis(ms)), NaiveTime::reject);
    ASSERT_TRUE(back) << format_iso(at_millis(ms));
    EXPECT_EQ(to_millis(back->at), ms);
  }
}

TEST(Timestamp, MillisecondsAreWrittenOnlyWhereThereAreAny) {
  EXPECT_EQ(format_iso(kMay), "2026-05-15T10:30:00Z");
  EXPECT_EQ(format_iso(kMay + Milliseconds(40)), "2026-05-15T10:30:00.040Z");
}

TEST(Lifetime, IsAPositiveNumberOfSeconds) {
  EXPECT_EQ(parse_lifetime(900), Milliseconds(900'000));
  EXPECT_EQ(parse_lifetime("900"), Milliseconds(900'000));
  EXPECT_EQ(parse_lifetime(1.5), Milliseconds(1500));
}

TEST(Lifetime, IsUnknownOtherwise) {
  for (const json& value :
       {json(true), json(false), json(nullptr), json(0), json(-900), json(1e-9), json(1e300),
        json(std::numeric_limits<double>::infinity()),
        json(std::numeric_limits<double>::quiet_NaN()), json(""), json(" "), json("soon"),
        json("inf"), json("-1"), json(3'153'600'001), json::array({900})}) {
    EXPECT_EQ(parse_lifetime(value), std::nullopt) << value;
  }
}

}  // namespace
}  // namespace authdb
