#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tools/render/duration.h"
#include "tools/render/json.h"
#include "tools/render/number.h"
#include "tools/render/table.h"
#include "tools/render/text.h"
#include "tools/sql_text.h"

namespace authdb::cli {
namespace {

constexpr Instant kNow = at_millis(1'776'000'000'000);

TEST(Duration, ShowsTheTwoLargestUnits) {
  EXPECT_EQ(duration(Seconds{52'440}), "14h 34m");
  EXPECT_EQ(duration(Seconds{3'542}), "59m 2s");
  EXPECT_EQ(duration(Seconds{12}), "12s");
  EXPECT_EQ(duration(Seconds{90'061}), "1d 1h");
}

TEST(Duration, LeavesOutASecondUnitThatIsZero) {
  EXPECT_EQ(duration(Seconds{3'600}), "1h");
  EXPECT_EQ(duration(Seconds{3'605}), "1h");
  EXPECT_EQ(duration(Seconds{0}), "0s");
}

TEST(Duration, OfThePastIsAsLongAsOfTheFuture) { EXPECT_EQ(duration(Seconds{-3'542}), "59m 2s"); }

TEST(Duration, IsReadWithAndWithoutUnits) {
  EXPECT_EQ(parse_duration("90"), Seconds{90});
  EXPECT_EQ(parse_duration("10m"), Seconds{600});
  EXPECT_EQ(parse_duration("1h30m"), Seconds{5'400});
  EXPECT_EQ(parse_duration("7d"), Seconds{604'800});
}

TEST(Duration, ThatMakesNoSenseIsNotGuessedAt) {
  for (const auto* text : {"", "m", "-5", "1x", "1h30", "5 m", "99999999999999999999", "40000d"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(ParsedInstant, IsATimeAnEpochNumberOrASpanFromNow) {
  EXPECT_EQ(parse_instant("2026-04-12T13:20:00Z", kNow, Towards::past), kNow);
  EXPECT_EQ(parse_instant("1776000000", kNow, Towards::past), kNow);
  EXPECT_EQ(parse_instant("1776000000000", kNow, Towards::past), kNow);
  EXPECT_EQ(parse_instant("2h", kNow, Towards::past), kNow - Seconds{7'200});
  EXPECT_EQ(parse_instant("30", kNow, Towards::future), kNow + Seconds{30});
  EXPECT_EQ(parse_instant("yesterday", kNow, Towards::past), std::nullopt);
}

TEST(Number, OutsideItsBoundsIsNone) {
  EXPECT_EQ(parse_number("429", 100, 599), 429);
  EXPECT_EQ(parse_number("42x", 100, 599), std::nullopt);
  EXPECT_EQ(parse_number("600", 100, 599), std::nullopt);
  EXPECT_EQ(parse_place("0"), std::nullopt);
}

TEST(Printable, ReplacesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("\x1b[31mred\x07"), "?[31mred?");
  EXPECT_EQ(printable("a\xc2\x9b"
                      "b"),
            "a?b");
  EXPECT_EQ(printable("größe ←"), "größe ←");
}

TEST(Quoted, CutsWhatIsLongEnoughToBeAKey) {
  EXPECT_EQ(in_quotes("nous"), "\"nous\"");
  EXPECT_EQ(in_quotes(std::string(60, 'k')), "\"kkkk…\"");
}

TEST(Table, AlignsByCharactersAndLeavesNothingBehindTheLastCell) {
  Table table({"A", "B", "C"});
  table.add({{"größe"}, {"1"}, {""}});
  table.add({{"x"}, {"2"}, {"end"}});
  std::ostringstream out;
  table.draw(out, false);
  EXPECT_EQ(out.str(), "A      B  C\ngröße  1\nx      2  end\n");
}

TEST(Table, IsColouredOnlyWhenAsked) {
  Table table({"A"});
  table.add({{"bad", Tone::bad}});
  std::ostringstream plain;
  std::ostringstream colourful;
  table.draw(plain, false);
  table.draw(colourful, true);
  EXPECT_THAT(plain.str(), testing::Not(testing::HasSubstr("\x1b")));
  EXPECT_THAT(colourful.str(), testing::HasSubstr("\x1b[31mbad\x1b[0m"));
}

TEST(Hanging, WrapsTheMeaningUnderItself) {
  const auto text = hanging("--label L", std::string(60, 'a') + " " + std::string(30, 'b'));
  EXPECT_EQ(text, "  --label L               " + std::string(60, 'a') + "\n" +
                      std::string(26, ' ') + std::string(30, 'b') + "\n");
}

TEST(Json, IsAsciiAndReplacesWhatIsNoUtf8) {
  std::ostringstream out;
  print_json(out, Json{{"label", "a\xff\xe2\x80\xae"}});
  EXPECT_EQ(out.str(), "{\n  \"label\": \"a\\ufffd\\u202e\"\n}\n");
}

TEST(SqlLiteral, DoublesQuotes) { EXPECT_EQ(sql_literal("it's"), "'it''s'"); }

}  // namespace
}  // namespace authdb::cli
