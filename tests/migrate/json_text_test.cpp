#include "migrate/formats/json_text.h"

#include "tests/migrate/support.h"

namespace authdb::migrate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string refusal(std::string_view text) {
  const auto parsed = parse_json(text, "/home/pat/auth.json");
  return parsed ? "" : parsed.error().message;
}

TEST(JsonText, KeepsEveryKindOfValue) {
  const std::string text = R"({"a":[1,-2,1.5,true,false,null,"x",{},[]],"b":{"c":"d"}})";

  const auto parsed = parse_json(text, "p");

  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->dump(), text);
}

TEST(JsonText, ToleratesAByteOrderMarkAndDoesNotCountIt) {
  EXPECT_TRUE(parse_json("\xEF\xBB\xBF{\"a\":1}", "p"));
  EXPECT_THAT(refusal("\xEF\xBB\xBF{!"), HasSubstr("line 1, column 2"));
}

TEST(JsonText, AMistakeIsNamedByPathLineAndColumn) {
  EXPECT_EQ(refusal("{\n  \"a\": 1,\n  \"b\": !\n}"),
            "/home/pat/auth.json, line 3, column 8: not valid JSON");
}

TEST(JsonText, ColumnsCountCharactersNotBytes) {
  EXPECT_THAT(refusal("{\"\xC3\xA4\xE2\x82\xAC\": !}"), HasSubstr("line 1, column 8"));
}

TEST(JsonText, ATrailingCommaIsNotTakenForATruncation) {
  EXPECT_EQ(refusal("{\"a\":1,}"), "/home/pat/auth.json, line 1, column 8: not valid JSON");
}

TEST(JsonText, EveryPrefixOfADocumentIsRefusedAtItsEnd) {
  const std::string whole = testing::contents(testing::sample("13_anthropic_oauth_singleton.json"));
  const auto size = whole.find_last_of('}');
  int cuts = 0;
  for (std::size_t n = 0; n < size; ++n, ++cuts) {
    EXPECT_THAT(refusal(std::string_view(whole).substr(0, n)),
                HasSubstr("the text ends before the JSON does"))
        << n;
  }
  EXPECT_GT(cuts, 100);
}

TEST(JsonText, TheTruncatedSampleIsRefusedWithItsLastPosition) {
  const std::string text = testing::contents(testing::sample("10_malformed_truncated.json"));

  EXPECT_EQ(refusal(text),
            "/home/pat/auth.json, line 40, column 6: the text ends before the JSON does");
}

TEST(JsonText, ARefusalNeverQuotesTheText) {
  const auto parsed = parse_json("{\"access_token\": \"sk-secret\", sk-secret}", "p");

  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().message + parsed.error().hint, Not(HasSubstr("sk-secret")));
  EXPECT_EQ(parsed.error().code, Errc::refused);
}

TEST(JsonText, AKeyThatOccursTwiceIsRefused) {
  EXPECT_THAT(refusal("{\"a\":1,\n\"a\":2}"), HasSubstr("line 2, column 3: a key that"));
  EXPECT_EQ(refusal("{\"a\":{\"a\":1}}"), "") << "in different objects it may";
}

TEST(JsonText, DepthIsBounded) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };

  EXPECT_EQ(refusal(nested(kMaxDepth)), "");
  EXPECT_THAT(refusal(nested(kMaxDepth + 1)), HasSubstr("column 65: nested too deeply"));
  EXPECT_THAT(refusal(std::string(1 << 20, '[')), HasSubstr("nested too deeply"));
}

TEST(JsonText, InvalidUtf8IsRefusedWhereItIs) {
  for (const char* bad : {"\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
    EXPECT_THAT(refusal("{\"a\":\n \"x" + std::string(bad) + "\"}"),
                HasSubstr("line 2, column 4: invalid UTF-8"));
  }
}

TEST(JsonText, WhatIsNoJsonIsRefused) {
  for (const char* bad : {"", " \n", "nul", "{} {}", "{\"a\":NaN}", "\x1f\x8b", "{\"a\":1e999}"}) {
    EXPECT_NE(refusal(bad), "") << bad;
  }
}

TEST(JsonText, WipingLeavesNoStringInTheTree) {
  nlohmann::json tree{{"a", "secret-a-that-is-no-short-string"},
                      {"b", {"secret-b", {{"c", "secret-c"}}}}};

  wipe_strings(tree);

  EXPECT_THAT(tree.dump(), Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace authdb::migrate
