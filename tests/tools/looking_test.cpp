// P6: looking is free.
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

class LookingTest : public CommandTest {
 protected:
  // auth.db and every file below auth.db.d, byte by byte.
  std::map<std::string, std::string> bytes() const {
    std::map<std::string, std::string> files;
    files["auth.db"] = read_file(store_path());
    for (const auto& file :
         std::filesystem::recursive_directory_iterator(store_path().string() + ".d")) {
      if (file.is_regular_file()) files[file.path()] = read_file(file.path());
    }
    return files;
  }
};

TEST_F(LookingTest, NoVerbThatLooksChangesAByteOrSendsARequest) {
  must({"add", "acme", "--grant", "--label", "work"}, grant_json());
  must({"add", "openrouter"}, "sk-key-1");
  must({"report", "openrouter", "1", "--status", "429"});
  http_->answer(200, grant_json({"access-token-ALPHA-2", "refresh-token-ALPHA-2"}));
  must({"refresh", "acme"});
  now_ += Seconds{100'000};  // everything is due, and the cooldown is over
  const auto before = bytes();
  const auto requests = http_->urls().size();

  for (const auto& words : std::vector<std::vector<std::string>>{{"status"},
                                                                 {"status", "acme", "--check"},
                                                                 {"list"},
                                                                 {"list", "openrouter"},
                                                                 {"log"},
                                                                 {"log", "acme", "work"},
                                                                 {"sql", "SELECT * FROM freshness"},
                                                                 {"sql", "SELECT * FROM pool"},
                                                                 {"sql", "SELECT * FROM rotation"},
                                                                 {"sql", "SELECT * FROM family"},
                                                                 {"doctor"},
                                                                 {"providers"},
                                                                 {"providers", "acme"},
                                                                 {"profile", "list"}}) {
    EXPECT_NE(run(words).status, 2) << testing::PrintToString(words);
    auto json = words;
    json.emplace_back("--json");
    run(json);
    EXPECT_EQ(bytes(), before) << testing::PrintToString(words);
  }
  EXPECT_EQ(http_->urls().size(), requests);
}

}  // namespace
}  // namespace authdb::cli
