#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class SqlTest : public CommandTest {
 protected:
  SqlTest() { must({"add", "openrouter", "--label", "a,\"b\""}, "sk-key-1"); }
};

TEST_F(SqlTest, IsATableCsvOrJson) {
  const std::string query = "SELECT label, 1 AS n, NULL AS missing FROM freshness";
  EXPECT_EQ(must({"sql", query}).out, "label  n  missing\na,\"b\"  1\n");
  EXPECT_EQ(must({"sql", query, "--csv"}).out, "label,n,missing\r\n\"a,\"\"b\"\"\",1,\r\n");
  const auto json = must_json({"sql", query});
  ASSERT_THAT(json, SizeIs(1));
  EXPECT_EQ(json[0], (nlohmann::json{{"label", "a,\"b\""}, {"n", 1}, {"missing", nullptr}}));
}

TEST_F(SqlTest, WithoutAQueryStdinIsRead) {
  EXPECT_EQ(must({"sql", "--csv"}, "SELECT count(*) AS n\nFROM freshness;\n").out, "n\r\n1\r\n");
  EXPECT_EQ(run({"sql"}, " \n").status, 2);
}

TEST_F(SqlTest, CannotWriteAndCannotReadWhatIsSealed) {
  for (const auto* query : {"DELETE FROM credential", "UPDATE credential SET label = 'x'",
                            "SELECT access_token FROM token_set", "SELECT * FROM token_set",
                            "SELECT secret FROM agent_key", "CREATE TABLE t (x)",
                            "ATTACH ':memory:' AS other", "nonsense"}) {
    const auto ran = run({"sql", query});
    EXPECT_EQ(ran.status, 2) << query << testing::PrintToString(ran);
    EXPECT_THAT(ran.out, IsEmpty()) << query;
  }
  EXPECT_THAT(stored(), SizeIs(1));
}

TEST_F(SqlTest, EveryExampleRuns) {
  const auto examples = must_json({"sql", "--examples"});
  EXPECT_GE(examples.size(), 8U);
  for (const auto& example : examples) {
    const auto ran = run({"sql", example["sql"].get<std::string>()});
    EXPECT_EQ(ran.status, 0) << example["name"] << testing::PrintToString(ran);
  }
}

TEST_F(SqlTest, ExamplesCanBePastedAsTheyAre) {
  const auto text = must({"sql", "--examples"}).out;
  EXPECT_THAT(text, HasSubstr("-- needs a login\nSELECT "));
}

TEST_F(SqlTest, SeesTheClockOfTheCommand) {
  EXPECT_EQ(must({"sql", "--csv", "SELECT datetime('now') AS t"}).out,
            "t\r\n2026-04-12 13:20:00\r\n");
}

}  // namespace
}  // namespace authdb::cli
