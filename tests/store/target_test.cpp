#include "store/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace authdb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<PoolEntry> pool() {
  std::vector<PoolEntry> made(3);
  const char* const labels[] = {"Work", "home", "2"};
  for (std::size_t i = 0; i < made.size(); ++i) {
    Credential& row = made[i].credential;
    row.uid = std::string(11, 'a') + static_cast<char>('x' + i);
    row.identity.label = labels[i];
    row.identity.foreign_id = "row-" + std::to_string(i);
    row.access_fingerprint = "sha256:access" + std::to_string(i);
    row.agent_key_fingerprint = "sha256:agent" + std::to_string(i);
    row.refresh_hash = token_hash(std::string_view(labels[i]));
    made[i].position = static_cast<std::int64_t>(i) + 1;
  }
  return made;
}

std::int64_t picked(std::string_view target) {
  const auto all = pool();
  const auto found = pick_target(all, target);
  return found ? (*found)->position : 0;
}

TEST(Target, IsFoundByEveryName) {
  EXPECT_EQ(picked("aaaaaaaaaaay"), 2);
  EXPECT_EQ(picked("sha256:access1"), 2);
  EXPECT_EQ(picked("sha256:agent1"), 2);
  EXPECT_EQ(picked(fingerprint(token_hash(std::string_view("home")))), 2);
  EXPECT_EQ(picked("row-1"), 2);
  EXPECT_EQ(picked("home"), 2);
  EXPECT_EQ(picked("#1"), 1);
  EXPECT_EQ(picked("1"), 1);
}

TEST(Target, LabelsAreMatchedWhateverTheirCase) { EXPECT_EQ(picked("wORK"), 1); }

TEST(Target, ALabelThatLooksLikeAPlaceWinsOverThePlace) {
  EXPECT_EQ(picked("2"), 3);
  EXPECT_EQ(picked("#2"), 2);
}

TEST(Target, AmbiguityIsAUsageErrorNamingTheCandidates) {
  auto all = pool();
  all[0].credential.identity.label = "home";

  const auto found = pick_target(all, "home");

  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::usage);
  EXPECT_THAT(found.error().message, HasSubstr("#1 aaaaaaaaaaax"));
  EXPECT_THAT(found.error().message, HasSubstr("#2 aaaaaaaaaaay"));
}

TEST(Target, OfTwoWithOneBearerTheOneThatCanReplaceItIsMeant) {
  auto all = pool();
  const std::string bearer = fingerprint(token_hash(std::string_view("bearer")));
  all[0].credential.access_fingerprint = all[1].credential.access_fingerprint = bearer;
  all[0].credential.refresh_hash.reset();

  const auto found = pick_target(all, bearer);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ((*found)->position, 2);
}

TEST(Target, NothingMatchesAnEmptyOrImpossibleName) {
  for (const char* target : {"", "#", "#0", "-1", "4", "#99999999999999999999", "sha256:", "1 "}) {
    EXPECT_EQ(picked(target), 0) << target;
  }
}

TEST(Target, AnEmptyPoolIsNotFoundNotACrash) {
  EXPECT_EQ(pick_target({}, "home").error().code, Errc::not_found);
}

TEST(Target, AMisspeltNameIsToldTheNearestOne) {
  const auto all = pool();

  EXPECT_THAT(pick_target(all, "hoem").error().hint, HasSubstr("\"home\""));
}

TEST(Nearest, IsBestFirstWithoutRepetitionAndAtMostThree) {
  EXPECT_THAT(nearest("codex", {"codec", "codex", "codex", "codes", "coder", "nous"}),
              ElementsAre("codex", "codec", "codes"));
  EXPECT_THAT(nearest("zzzzzz", {"nous"}), IsEmpty());
}

}  // namespace
}  // namespace authdb
