#include <SQLiteCpp/SQLiteCpp.h>

#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

class DoctorCommandTest : public CommandTest {
 protected:
  DoctorCommandTest() {
    must({"add", "acme", "--grant", "--label", "work"}, grant_json());
    http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
    must({"refresh", "acme"});
  }
  std::filesystem::path journal() const {
    const auto uid = stored()[0].uid;
    return store_path().string() + ".d/" + uid.substr(0, 2) + "/" + uid;
  }
  nlohmann::json json_of(const Ran& ran) { return nlohmann::json::parse(ran.out); }
};

TEST_F(DoctorCommandTest, AHealthyStoreExitsWithZero) {
  EXPECT_EQ(must({"doctor"}).out, "Nothing is wrong with the store\n");
  EXPECT_THAT(must_json({"doctor"}), SizeIs(0));
}

TEST_F(DoctorCommandTest, ALoginThatIsInNoPoolIsNoted) {
  must({"profile", "unbind", "default", "acme", "work"});
  const auto ran = must({"doctor"});
  EXPECT_THAT(ran.out, AllOf(StartsWith("note: acme credential "),
                             HasSubstr("authdb profile bind PROFILE acme " + stored()[0].uid)));
}

TEST_F(DoctorCommandTest, P5_WithoutADatabaseAndABackupRepairHasTheLoginsFromTheirJournals) {
  for (const char* suffix : {"", "-wal", "-shm"})
    std::filesystem::remove(store_path().string() + suffix);
  const auto found = run({"doctor"});
  EXPECT_EQ(found.status, 7);
  EXPECT_THAT(found.out, HasSubstr("authdb doctor --repair"));

  const auto repaired = must({"doctor", "--repair"});

  EXPECT_THAT(repaired.out, AllOf(StartsWith("mended: auth.db was missing"),
                                  HasSubstr("authdb restore FILE"), HasSubstr("profile bind")));
  must({"profile", "add", "default"});
  must({"profile", "bind", "default", "acme", stored()[0].uid});
  EXPECT_EQ(must({"token", "acme"}).out, "access-token-ALPHA-2\n");
}

TEST_F(DoctorCommandTest, P8_AnApiKeyThatDoesNotOpenIsNotGreen) {
  must({"add", "openrouter", "--label", "spare"}, "sk-key-1");
  EXPECT_EQ(run({"status", "--check"}).status, 0);
  SQLite::Database(store_path().string(), SQLite::OPEN_READWRITE)
      .exec(
          "UPDATE token_set SET access_token = substr(access_token, 1, 50) WHERE refresh_hash IS "
          "NULL");

  const auto checked = run({"status", "--check"});

  EXPECT_EQ(checked.status, 5);
  EXPECT_THAT(checked.out, HasSubstr("has no bearer that works"));
}

TEST_F(DoctorCommandTest, DamageExitsWithSevenAndRepairHoldsAndKeeps) {
  auto bytes = read_file(journal());
  bytes[0] = 'X';
  write_file(journal(), bytes);
  const auto found = run({"doctor"});
  EXPECT_EQ(found.status, 7);
  EXPECT_THAT(found.out, AllOf(StartsWith("damage: the journal " + journal().string()),
                               HasSubstr("--repair")));

  const auto repaired = run({"doctor", "--repair", "--json"});

  EXPECT_EQ(repaired.status, 5);  // the credential is held now
  const auto json = json_of(repaired);
  EXPECT_EQ(json[0]["code"], "journal_damaged");
  EXPECT_EQ(json[0]["repaired"], true);
  EXPECT_EQ(run({"status", "--check"}).status, 5);
  EXPECT_THAT(run({"status"}).out, HasSubstr("lost, damaged or put back"));
  EXPECT_EQ(http_->urls().size(), 1U);
}

TEST_F(DoctorCommandTest, ALoginThatIsNeededExitsWithFour) {
  http_->answer(400, R"({"error":"invalid_grant"})");
  run({"refresh", "acme"});
  const auto ran = run({"doctor", "--json"});
  EXPECT_EQ(ran.status, 4);
  EXPECT_EQ(json_of(ran)[0]["code"], "needs_login");
}

TEST_F(DoctorCommandTest, WithoutAStoreItSaysSo) {
  std::filesystem::remove_all(dir_ / "store");
  const auto ran = run({"doctor"});
  EXPECT_EQ(ran.status, 3);
  EXPECT_THAT(ran.out, HasSubstr("there is no store"));
}

TEST_F(DoctorCommandTest, APermissionThatIsWrongIsNamedWithItsChmod) {
  std::filesystem::permissions(store_path(), std::filesystem::perms(0644));
  const auto ran = run({"doctor"});
  EXPECT_EQ(ran.status, 7);
  EXPECT_THAT(ran.out, HasSubstr("chmod 600"));
}

}  // namespace
}  // namespace authdb::cli
