#include "tools/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace authdb::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class ArgumentsTest : public testing::Test {
 protected:
  ArgumentsTest() {
    arguments_.positional("PROVIDER", provider_, "whose");
    arguments_.positional("TARGET", target_, "which", Need::optional);
    arguments_.option("--label", "L", label_, "what to call it");
    arguments_.flag("-q,--quiet", quiet_, "say less");
  }
  Errc error_of(std::vector<std::string> words) {
    const auto parsed = arguments_.parse(std::move(words));
    return parsed ? Errc{} : parsed.error().code;
  }
  std::string message_of(std::vector<std::string> words) {
    const auto parsed = arguments_.parse(std::move(words));
    return parsed ? "" : parsed.error().message + "\n" + parsed.error().hint;
  }

  std::string provider_;
  std::string target_;
  std::optional<std::string> label_;
  bool quiet_ = false;
  Arguments arguments_;
};

TEST_F(ArgumentsTest, OptionsMayStandAnywhere) {
  ASSERT_TRUE(arguments_.parse({"--label=work", "nous", "-q", "#2"}));
  EXPECT_EQ(provider_, "nous");
  EXPECT_EQ(target_, "#2");
  EXPECT_EQ(label_, "work");
  EXPECT_TRUE(quiet_);
}

TEST_F(ArgumentsTest, ADashIsAValue) {
  ASSERT_TRUE(arguments_.parse({"nous", "--label", "-"}));
  EXPECT_EQ(label_, "-");
}

TEST_F(ArgumentsTest, WhatFollowsTwoDashesIsNoOption) {
  ASSERT_TRUE(arguments_.parse({"nous", "--", "--label"}));
  EXPECT_EQ(target_, "--label");
  EXPECT_FALSE(label_);
}

TEST_F(ArgumentsTest, OnlyRequiredPositionalsAreMissed) {
  ASSERT_TRUE(arguments_.parse({}));
  const auto complete = arguments_.check_complete();
  ASSERT_FALSE(complete);
  EXPECT_EQ(complete.error().code, Errc::usage);
  EXPECT_THAT(complete.error().message, HasSubstr("PROVIDER"));
}

TEST_F(ArgumentsTest, AnUnknownOptionNamesTheNearest) {
  const auto message = message_of({"nous", "--labl", "x"});
  EXPECT_THAT(message, HasSubstr("--labl"));
  EXPECT_THAT(message, HasSubstr("--label"));
}

TEST_F(ArgumentsTest, AnOptionWithoutItsValueIsAMistake) {
  EXPECT_EQ(error_of({"nous", "--label"}), Errc::usage);
}

TEST_F(ArgumentsTest, AnOptionGivenTwiceIsAMistake) {
  EXPECT_EQ(error_of({"nous", "--label", "a", "--label", "b"}), Errc::usage);
}

TEST_F(ArgumentsTest, NoMessageRepeatsAValue) {
  const std::string secret = "sk-SECRET";
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"a", "b", secret},
                                             {"a", "--wrong=" + secret},
                                             {"a", "--wrong", secret},
                                             {"a", "-x" + secret},
                                             {"a", "--quiet=" + secret},
                                             {"a", "-q=" + secret},
                                             {"a", "--label", secret, "--label", secret}}) {
    Arguments fresh;
    std::string a;
    std::string b;
    std::optional<std::string> label;
    bool quiet = false;
    fresh.positional("A", a, "");
    fresh.positional("B", b, "", Need::optional);
    fresh.option("--label", "L", label, "");
    fresh.flag("-q,--quiet", quiet, "");
    const auto parsed = fresh.parse(words);
    ASSERT_FALSE(parsed) << testing::PrintToString(words);
    EXPECT_EQ(parsed.error().code, Errc::usage);
    EXPECT_THAT(parsed.error().message + parsed.error().hint, Not(HasSubstr("SECRET")));
  }
}

TEST_F(ArgumentsTest, TheSynopsisComesFromTheDeclarations) {
  EXPECT_EQ(arguments_.usage("verb"), "usage: authdb verb PROVIDER [TARGET] [--label L] [--quiet]");
}

}  // namespace
}  // namespace authdb::cli
