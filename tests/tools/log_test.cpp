#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LogTest : public CommandTest {
 protected:
  LogTest() {
    must({"add", "acme", "--grant", "--label", "work"}, grant_json());
    now_ += Seconds{3'600};
    http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
    must({"refresh", "acme"});
    now_ += Seconds{3'600};
    http_->answer(400, R"({"error":"invalid_grant"})");
    run({"refresh", "acme"});
  }
};

TEST_F(LogTest, TellsWhatHappenedInOrder) {
  const auto json = must_json({"log"});
  ASSERT_THAT(json, SizeIs(3));
  EXPECT_EQ(json[0]["kind"], "login");
  EXPECT_EQ(json[1]["kind"], "refresh");
  EXPECT_EQ(json[1]["outcome"], "committed");
  EXPECT_EQ(json[1]["from_generation"], 1);
  EXPECT_EQ(json[1]["to_generation"], 2);
  EXPECT_EQ(json[1]["profile"], "default");
  EXPECT_EQ(json[2]["outcome"], "rejected");
  EXPECT_EQ(json[2]["error_code"], "invalid_grant");
}

TEST_F(LogTest, ATableForPeople) {
  const auto out = must({"log"}).out;
  EXPECT_THAT(out, HasSubstr("1→2"));
  EXPECT_THAT(out, HasSubstr("400 invalid_grant"));
}

TEST_F(LogTest, FailuresAreWhatDidNotWork) {
  const auto json = must_json({"log", "--failures"});
  ASSERT_THAT(json, SizeIs(1));
  EXPECT_EQ(json[0]["outcome"], "rejected");
}

TEST_F(LogTest, SinceIsATimeOrHowLongAgo) {
  EXPECT_THAT(must_json({"log", "--since", "3600"}), SizeIs(2));
  EXPECT_THAT(must_json({"log", "--since", "1m"}), SizeIs(1));
  EXPECT_THAT(must_json({"log", "--since", "2026-04-12T14:20:00Z"}), SizeIs(2));
  EXPECT_THAT(must_json({"log", "--since", "2026-04-12T14:20:00.001Z"}), SizeIs(1));
  EXPECT_EQ(run({"log", "--since", "yesterday"}).status, 2);
}

TEST_F(LogTest, OfAProviderAndATarget) {
  EXPECT_THAT(must_json({"log", "acme", "work"}), SizeIs(3));
  must({"add", "openrouter"}, "sk-key-1");
  EXPECT_THAT(must_json({"log", "acme"}), SizeIs(3));
  EXPECT_EQ(run({"log", "acne"}).status, 3);
  EXPECT_EQ(run({"log", "acme", "wrok"}).status, 3);
}

TEST_F(LogTest, ARemovedCredentialStillHasAPast) {
  const auto uid = stored()[0].uid;
  must({"remove", "acme", uid});
  EXPECT_FALSE(must_json({"log", "acme", uid}).empty());
}

TEST_F(LogTest, WithoutEntriesStdoutIsEmpty) {
  EXPECT_THAT(must({"log", "--since", "2030-01-01T00:00:00Z"}).out, IsEmpty());
  EXPECT_EQ(must_json({"log", "--since", "2030-01-01T00:00:00Z"}), nlohmann::json::array());
}

}  // namespace
}  // namespace authdb::cli
