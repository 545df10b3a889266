// authdb-prove as a user runs it: its page, its exit codes, and what it leaves behind.
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/crash/crash_test.h"

namespace authdb::prove {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class KitTest : public CrashTest {
 protected:
  Finished prove(std::vector<std::string> words) const {
    words.insert(words.begin(), AUTHDB_PROVE_BINARY);
    const std::string home = "HOME=" + scratch_.path().string();
    return run({std::move(words), {"PATH=/usr/bin:/bin", home}}, std::chrono::minutes(4));
  }
  Finished soak(std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {scratch_.path(), "--only", "soak",   "--seconds", "2",
                                      "--processes",   "2",      "--seed", "7"};
    words.insert(words.end(), more.begin(), more.end());
    return prove(std::move(words));
  }
  // The command that ships, but for one verb.
  std::string authdb_that_cannot(const std::string& verb) const {
    const auto file = scratch_.path() / "authdb";
    std::ofstream(file) << "#!/bin/sh\n[ \"$1\" != " << verb << " ] || exit 1\nexec "
                        << AUTHDB_BINARY << " \"$@\"\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file;
  }
};

TEST_F(KitTest, APageEndsWithTheVerdictAndNothingIsLeftBehind) {
  const Finished finished = soak();
  EXPECT_EQ(finished.code, 0) << finished.out << finished.err;
  EXPECT_THAT(finished.out, AllOf(StartsWith("machine "), HasSubstr("\nfile system "),
                                  HasSubstr("--seed 7 --processes 2 --seconds 2 --only soak\n"),
                                  HasSubstr("\nVERDICT         partly proved: ")));
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
}

TEST_F(KitTest, TheJsonIsThePage) {
  const Finished finished = soak({"--json"});
  EXPECT_EQ(finished.code, 0) << finished.out << finished.err;
  EXPECT_EQ(finished.err, "");
  const auto page = nlohmann::json::parse(finished.out);
  EXPECT_EQ(page.at("verdict"), "partly proved");
  EXPECT_EQ(page.at("seed"), 7);
  EXPECT_EQ(page.at("soak").at("rounds"), 1);
  EXPECT_GT(page.at("soak").at("actions"), 0);
  EXPECT_EQ(page.at("violations"), nlohmann::json::array());
}

TEST_F(KitTest, WhatIsViolatedEndsWith1AndIsKept) {
  const Finished finished = soak({"--json", "--authdb", authdb_that_cannot("refresh")});
  EXPECT_EQ(finished.code, 1);
  const auto page = nlohmann::json::parse(finished.out);
  EXPECT_EQ(page.at("verdict"), "NOT PROVED");
  EXPECT_GT(page.at("soak").at("unexplained"), 0);
  EXPECT_THAT(page.at("violations").at(0), HasSubstr("seed 7"));
  EXPECT_TRUE(std::filesystem::exists(page.at("evidence").get<std::string>() +
                                      "/round-7/home/store/auth.db"));
}

TEST_F(KitTest, WrongUsageEndsWith2AndSaysWhatToDo) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"--only", "luck"}, {"--seconds", "soon"}, {"--processes", "0"}, {"/no/such/place"}}) {
    const Finished finished = prove(words);
    EXPECT_EQ(finished.code, 2) << words.front();
    EXPECT_THAT(finished.err, AllOf(StartsWith("authdb-prove: "), HasSubstr("\n  ")));
    EXPECT_EQ(finished.out, "");
  }
}

TEST_F(KitTest, WithoutACommandToTestItEndsWith7) {
  const Finished finished = prove({scratch_.path(), "--authdb", "/no/such/authdb"});
  EXPECT_EQ(finished.code, 7);
  EXPECT_THAT(finished.err, HasSubstr("name it with --authdb PATH"));
}

}  // namespace
}  // namespace authdb::prove
