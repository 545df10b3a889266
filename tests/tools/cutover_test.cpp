// Cut over, live with it, go back: as a person runs it.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <sys/file.h>

#include "store/files.h"
#include "store/rotation.h"
#include "store/timestamp.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class CutoverCommand : public CommandTest {
 protected:
  CutoverCommand() { lay_out("rt-of-hermes-1"); }

  void lay_out(const std::string& refresh) {
    const nlohmann::json row{{"id", "a1b2c3"},
                             {"label", "work"},
                             {"auth_type", "oauth"},
                             {"source", "manual:device_code"},
                             {"access_token", "at-of-" + refresh},
                             {"refresh_token", refresh},
                             {"expires_at", format_iso(now_ + Seconds{3600})}};
    const nlohmann::json tree{{"version", 1},
                              {"credential_pool", {{"qwen-oauth", nlohmann::json::array_t{row}}}}};
    std::filesystem::create_directories(home());
    write_file(file(), tree.dump(2));
  }
  std::filesystem::path home() const { return dir_ / "hermes"; }
  std::filesystem::path file() const { return home() / "auth.json"; }
  nlohmann::json row() const {
    return nlohmann::json::parse(read_file(file()))["credential_pool"]["qwen-oauth"][0];
  }
  Ran cut_over() { return must({"migrate", "--cutover", home().string()}); }
  void answer(const std::string& access) {
    http_->answer(200, nlohmann::json{{"access_token", access},
                                      {"refresh_token", "rt-after-" + access},
                                      {"expires_in", 3600}}
                           .dump());
  }
};

TEST_F(CutoverCommand, SaysWhatWasReplacedAndWhereItIsKept) {
  const auto json = must_json({"migrate", "--cutover", home().string()});

  ASSERT_THAT(json["cutover"]["files"], SizeIs(1));
  EXPECT_THAT(json["cutover"]["restart"], IsEmpty());
  EXPECT_THAT(json["warnings"], IsEmpty()) << "nobody else spends any more";
  const auto kept = json["cutover"]["files"][0]["kept"].get<std::string>();
  EXPECT_EQ(
      nlohmann::json::parse(read_file(kept))["credential_pool"]["qwen-oauth"][0]["refresh_token"],
      "rt-of-hermes-1");
  EXPECT_EQ(row()["refresh_token"], nullptr);
}

TEST_F(CutoverCommand, AFileIsHandedOverByItsNameAlone) {
  must({"migrate", file().string()});
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(home());

  const auto ran = run({"export", "--hand-over", "-o", "auth.json"});

  std::filesystem::current_path(before);
  EXPECT_EQ(ran.status, 0) << ran.err;
}

TEST_F(CutoverCommand, ARefreshReachesTheToolAndAFreshTokenWritesNothing) {
  cut_over();
  const auto before = std::filesystem::last_write_time(file());
  EXPECT_EQ(must({"token", "qwen"}).out, "at-of-rt-of-hermes-1\n");
  EXPECT_EQ(std::filesystem::last_write_time(file()), before);

  now_ += Seconds{3590};
  answer("at-refreshed-by-token");
  EXPECT_EQ(must({"token", "qwen"}).out, "at-refreshed-by-token\n");
  EXPECT_EQ(row()["access_token"], "at-refreshed-by-token");
  EXPECT_EQ(row()["expires_at"], format_iso(now_ + Seconds{3600}));

  answer("at-refreshed-by-force");
  must({"refresh", "qwen"});
  EXPECT_EQ(row()["access_token"], "at-refreshed-by-force");
  EXPECT_THAT(read_file(file()), Not(HasSubstr("rt-after")));
}

TEST_F(CutoverCommand, ABearerDoesNotWaitUntilAToolHasDoneItsOwnWork) {
  cut_over();
  Fd tool(::open((home() / "auth.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(tool.get(), LOCK_EX), 0);
  now_ += Seconds{3590};
  answer("at-1");
  const auto start = std::chrono::steady_clock::now();

  const auto ran = must({"token", "qwen"});

  EXPECT_LT(std::chrono::steady_clock::now() - start, Seconds{10});
  EXPECT_EQ(ran.out, "at-1\n");
  EXPECT_THAT(ran.err, AllOf(HasSubstr("not up to date"), HasSubstr("auth.lock")));
  EXPECT_EQ(row()["access_token"], "at-of-rt-of-hermes-1");

  tool = Fd();
  answer("at-2");
  must({"refresh", "qwen"});
  EXPECT_EQ(row()["access_token"], "at-2");
}

TEST_F(CutoverCommand, RestoredFromABackupOfBeforeTheFilesAreNamedThatAreNotSuppliedAnyMore) {
  must({"migrate", home().string()});
  const auto backup = (dir_ / "backup.db").string();
  must({"backup", backup});
  cut_over();
  for (const char* suffix : {"", "-wal", "-shm"})
    std::filesystem::remove(store_path().string() + suffix);

  const auto ran = must({"restore", backup});

  EXPECT_THAT(ran.err, AllOf(HasSubstr(file().string() + " is not kept up to date"),
                             HasSubstr("authdb migrate --cutover")));
  cut_over();
  answer("at-after");
  must({"refresh", "qwen", "--replay"});
  EXPECT_EQ(row()["access_token"], "at-after") << "what it says helps";
}

TEST_F(CutoverCommand, ADryRunTouchesNothing) {
  const auto before = read_file(file());
  must({"migrate", "--cutover", "--dry-run", home().string()});
  EXPECT_EQ(read_file(file()), before);
  EXPECT_FALSE(std::filesystem::exists(store_path()));
}

TEST_F(CutoverCommand, RunningGoesWithCutoverOnly) {
  EXPECT_EQ(run({"migrate", "--running", home().string()}).status, 2);
}

TEST_F(CutoverCommand, HandingOverIsTheWayBackAndMigrateTakesItBack) {
  cut_over();
  const auto json = must_json({"export", "--hand-over"});
  ASSERT_THAT(json, SizeIs(1));
  EXPECT_EQ(row()["refresh_token"], "rt-of-hermes-1");
  EXPECT_THAT(must({"status"}).out, HasSubstr("handed over"));
  now_ += Seconds{3700};
  EXPECT_EQ(run({"token", "qwen"}).status, 5);
  EXPECT_THAT(http_->urls(), IsEmpty());

  lay_out("rt-of-hermes-2");
  must({"migrate", home().string()});
  EXPECT_EQ(must({"token", "qwen"}).out, "at-of-rt-of-hermes-2\n");
}

TEST_F(CutoverCommand, HandingOverNeedsAFileAndNoFormat) {
  EXPECT_EQ(run({"export", "--hand-over"}).status, 3) << "there is no store yet";
  EXPECT_EQ(run({"export", "--format", "vault"}).status, 2) << "no store has such a format";
  cut_over();
  EXPECT_EQ(run({"export", "--hand-over", "--format", "hermes"}).status, 2);
  EXPECT_EQ(run({"export", "--hand-over", "-o", (home() / "absent.json").string()}).status, 3);
  EXPECT_EQ(run({"export", "--hand-over", "--profile", "nobody"}).status, 3);
}

TEST_F(CutoverCommand, ALoginThatAnotherHoldsForTooLongIsExitSixAndNotHandedOver) {
  cut_over();
  const auto before = read_file(file());
  const Store other = reopen(OpenMode::use);
  const auto holder = LockedCredential::acquire(other, stored()[0].uid, {Milliseconds{0}});
  ASSERT_TRUE(holder) << holder.error().message;
  lock_wait_ = Milliseconds{20};

  const auto ran = run({"export", "--hand-over"});

  EXPECT_EQ(ran.status, 6) << testing::PrintToString(ran);
  EXPECT_THAT(ran.err, HasSubstr("Nothing was changed"));
  EXPECT_EQ(read_file(file()), before);
  EXPECT_EQ(stored()[0].hold, Hold::none);
}

TEST_F(CutoverCommand, P8_AFileThatWasPutBackIsNamedUntilItIsSuppliedAgain) {
  cut_over();
  const std::string earlier = read_file(file());
  answer("at-2");
  must({"refresh", "qwen"});
  write_file(file(), earlier);
  now_ += Seconds{120};

  EXPECT_THAT(must({"status"}).out, HasSubstr("not up to date"));
  const auto found = run({"doctor"});
  EXPECT_EQ(found.status, 5);
  EXPECT_THAT(found.out, AllOf(HasSubstr(file().string()), HasSubstr("not up to date"),
                               HasSubstr("authdb keep-fresh --once --project")));

  must({"keep-fresh", "--once", "--project"});
  EXPECT_EQ(row()["access_token"], "at-2");
  EXPECT_EQ(run({"doctor"}).status, 0);
}

TEST_F(CutoverCommand, P8_AfterADatabaseWasMadeAnewTheFilesAreNamedThatAreNotSuppliedAnyMore) {
  cut_over();
  for (const char* suffix : {"", "-wal", "-shm"})
    std::filesystem::remove(store_path().string() + suffix);

  ::setenv("HERMES_HOME", home().c_str(), 1);  // what was imported is forgotten too
  const auto repaired = run({"doctor", "--repair", "--json"});

  EXPECT_EQ(repaired.status, 5);
  EXPECT_THAT(repaired.out, HasSubstr("projection_forgotten"));
  EXPECT_EQ(run({"doctor"}).status, 5);
  must({"migrate", "--cutover", file().string()});
  EXPECT_EQ(run({"doctor"}).status, 0);
  ::unsetenv("HERMES_HOME");
}

TEST_F(CutoverCommand, WhoseFileIsForgottenIsSaidWithTheWayBack) {
  cut_over();
  must({"export", "--hand-over"});
  EXPECT_THAT(must({"doctor"}).out, HasSubstr("`authdb migrate` takes it back"));
  SQLite::Database(store_path().string(), SQLite::OPEN_READWRITE)
      .exec("DELETE FROM import_receipt");
  EXPECT_THAT(must({"doctor"}).out, AllOf(HasSubstr("does not know any more from which file"),
                                          HasSubstr("authdb migrate --prefer PATH")));
}

TEST_F(CutoverCommand, StatusWarnsOfALoginThatTheToolMadeItself) {
  cut_over();
  lay_out("rt-of-a-new-login");
  EXPECT_THAT(must({"status"}).out,
              AllOf(HasSubstr("logged in again by itself"), HasSubstr("migrate --cutover")));
}

}  // namespace
}  // namespace authdb::cli
