// Where sources are looked for, and whose they are.
#include "migrate/sources.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/migrate/support.h"
#include "tests/store/variable.h"

namespace authdb::migrate {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
namespace fs = std::filesystem;
using testing::from;
using testing::TempDir;

const char* kEmpty = "{\"providers\":{}}";

std::vector<std::string> found(const std::vector<Document>& documents, const fs::path& base) {
  std::vector<std::string> names;
  for (const Document& document : documents) {
    names.push_back(document.profile + " " + document.path.lexically_relative(base).string());
  }
  return names;
}

using test::Variable;

TEST(Sources, AHermesRootIsItsFilesAndThoseOfItsProfiles) {
  const TempDir dir;
  for (const char* name :
       {"auth.json", ".anthropic_oauth.json", "shared/nous_auth.json", "profiles/forge/auth.json",
        "profiles/atlas/auth.json", "profiles/atlas/.anthropic_oauth.json", "profiles/empty/.env",
        "auth.json.corrupt", "auth.lock"}) {
    dir.write(name, kEmpty);
  }

  const auto documents = read_sources(from({dir.path()}));

  ASSERT_TRUE(documents);
  EXPECT_THAT(
      found(*documents, dir.path()),
      ElementsAre("default auth.json", "default .anthropic_oauth.json",
                  "default shared/nous_auth.json", "atlas profiles/atlas/auth.json",
                  "atlas profiles/atlas/.anthropic_oauth.json", "forge profiles/forge/auth.json"));
}

TEST(Sources, AFileBelowProfilesIsThatProfiles) {
  const TempDir dir;
  const auto root = dir.write("auth.json", kEmpty);
  const auto forge = dir.write("profiles/forge/auth.json", kEmpty);

  const auto documents = read_sources(from({root, forge}));

  ASSERT_TRUE(documents);
  EXPECT_THAT(found(*documents, dir.path()),
              ElementsAre("default auth.json", "forge profiles/forge/auth.json"));
}

TEST(Sources, AProfilesDirectoryIsThatProfiles) {
  const TempDir dir;
  const auto forge = dir.write("profiles/forge/auth.json", kEmpty).parent_path();

  const auto documents = read_sources(from({forge / ""}));

  ASSERT_TRUE(documents);
  EXPECT_THAT(found(*documents, dir.path()), ElementsAre("forge profiles/forge/auth.json"));
}

TEST(Sources, AFileNamedTwiceIsReadOnce) {
  const TempDir dir;
  const auto path = dir.write("auth.json", kEmpty);

  EXPECT_THAT(*read_sources(from({path, dir.path(), dir.path() / "." / "auth.json"})), SizeIs(1));
}

TEST(Sources, AFileThatTwoProfilesLinkToIsBothOfTheirs) {
  const TempDir dir;
  const auto path = dir.write("auth.json", kEmpty);
  fs::create_directories(dir.path() / "profiles" / "atlas");
  fs::create_symlink(path, dir.path() / "profiles" / "atlas" / "auth.json");

  EXPECT_THAT(found(*read_sources(from({dir.path()})), dir.path()),
              ElementsAre("default auth.json", "atlas profiles/atlas/auth.json"));
}

TEST(Sources, ThePreferredSourceIsReadAsWell) {
  const TempDir dir;
  const auto root = dir.write("auth.json", kEmpty);
  auto options = from({root});
  options.prefer = dir.write("profiles/forge/auth.json", kEmpty);

  EXPECT_THAT(*read_sources(options), SizeIs(2));
}

TEST(Sources, OneThatIsMissingFailsAloneAndNamed) {
  const TempDir dir;
  const auto root = dir.write("auth.json", kEmpty);

  const auto documents = read_sources(from({dir.path() / "nothing.json", root}));

  ASSERT_TRUE(documents);
  ASSERT_THAT(*documents, SizeIs(2));
  EXPECT_FALSE((*documents)[0].failure);
  ASSERT_TRUE((*documents)[1].failure);
  EXPECT_THAT((*documents)[1].failure->message, HasSubstr("nothing.json"));
}

TEST(Sources, NothingAtAllIsNotFoundWithWhatWasLookedFor) {
  const TempDir dir;

  const auto documents = read_sources(from({dir.path(), dir.path() / "gone.json"}));

  ASSERT_FALSE(documents);
  EXPECT_EQ(documents.error().code, Errc::not_found);
  EXPECT_THAT(documents.error().message, HasSubstr((dir.path() / "auth.json").string()));
  EXPECT_THAT(documents.error().message, HasSubstr("gone.json"));
}

TEST(Sources, AnUnreadableFileIsAFailureNotAnAbsence) {
  const TempDir dir;
  fs::create_symlink("auth.json",
                     dir.path() / "auth.json");  // root may read any file, but not this

  const auto documents = read_sources(from({dir.path()}));

  ASSERT_TRUE(documents);
  ASSERT_TRUE((*documents)[0].failure);
  EXPECT_EQ((*documents)[0].failure->code, Errc::refused);
}

TEST(Sources, WithoutPathsTheUsualHomeIsRead) {
  const TempDir dir;
  dir.write(".hermes/auth.json", kEmpty);
  const Variable home("HOME", dir.path());
  const Variable hermes("HERMES_HOME", "");

  const auto documents = read_sources({});

  ASSERT_TRUE(documents);
  EXPECT_THAT(found(*documents, dir.path()), ElementsAre("default .hermes/auth.json"));
}

TEST(Sources, WithoutPathsTheOtherToolsPlacesAreReadToo) {
  const TempDir dir;
  dir.write(".codex/auth.json", R"({"OPENAI_API_KEY": "sk-FAKE"})");
  dir.write("share/opencode/auth.json", R"({"groq": {"type": "api", "key": "k_FAKE"}})");
  const Variable home("HOME", dir.path());
  const Variable hermes("HERMES_HOME", "");
  const Variable codex("CODEX_HOME", "");
  const Variable share("XDG_DATA_HOME", dir.path() / "share");

  const auto documents = read_sources({});

  ASSERT_TRUE(documents);
  ASSERT_THAT(*documents, SizeIs(2));
  EXPECT_EQ((*documents)[0].format, "codex");
  EXPECT_EQ((*documents)[1].format, "opencode");
}

TEST(Sources, HermesHomeIsResolvedAsHermesDoes) {
  const Variable home("HOME", "/home/pat");
  const auto root = [](const std::string& value) {
    const Variable hermes("HERMES_HOME", value);
    return well_known_places().front().string();
  };

  EXPECT_EQ(root(""), "/home/pat/.hermes");
  EXPECT_EQ(root("/home/pat/.hermes/profiles/atlas"), "/home/pat/.hermes");
  EXPECT_EQ(root("/opt/data"), "/opt/data");
  EXPECT_EQ(root("/opt/data/"), "/opt/data");
  EXPECT_EQ(root("/opt/data/profiles/atlas"), "/opt/data");
  EXPECT_EQ(root("/home/pat/.hermes-two"), "/home/pat/.hermes-two");
}

TEST(Sources, HermesSharedDirectoryIsLookedIntoWhereItIsSet) {
  const Variable shared("HERMES_SHARED_AUTH_DIR", "/srv/hermes");
  EXPECT_THAT(well_known_places(), ::testing::Contains(fs::path("/srv/hermes/nous_auth.json")));
}

TEST(Sources, EachToolIsLookedForWhereItsVariableSays) {
  const Variable home("HOME", "/home/pat");
  struct {
    const char* variable;
    const char* usual;
    const char* set;
  } const places[] = {
      {"CODEX_HOME", "/home/pat/.codex/auth.json", "/srv/x/auth.json"},
      {"CLAUDE_CONFIG_DIR", "/home/pat/.claude/.credentials.json", "/srv/x/.credentials.json"},
      {"CLAUDE_SECURESTORAGE_CONFIG_DIR", "/home/pat/.claude/.credentials.json",
       "/srv/x/.credentials.json"},
      {"QWEN_HOME", "/home/pat/.qwen/oauth_creds.json", "/srv/x/oauth_creds.json"},
      {"PI_CODING_AGENT_DIR", "/home/pat/.pi/agent/auth.json", "/srv/x/auth.json"},
      {"XDG_DATA_HOME", "/home/pat/.local/share/opencode/auth.json", "/srv/x/opencode/auth.json"}};
  for (const auto& place : places) {
    {
      const Variable unset(place.variable, "");
      EXPECT_THAT(well_known_places(), ::testing::Contains(fs::path(place.usual)));
    }
    const Variable set(place.variable, "/srv/x");
    EXPECT_THAT(well_known_places(), ::testing::Contains(fs::path(place.set))) << place.variable;
    EXPECT_THAT(well_known_places(), Not(::testing::Contains(fs::path(place.usual))))
        << place.variable;
  }
}

TEST(Sources, TheAccountsBesideCodexsFileAreReadToo) {
  const TempDir dir;
  for (const char* name : {"auth.json", "accounts/work.auth.json", "accounts/home/auth.json",
                           "accounts/registry.json", "accounts/notes.txt"}) {
    dir.write(fs::path(".codex") / name, R"({"OPENAI_API_KEY": "sk-FAKE"})");
  }
  const Variable home("HOME", dir.path());
  const Variable hermes("HERMES_HOME", "");
  const Variable codex("CODEX_HOME", "");

  const auto documents = read_sources({});

  ASSERT_TRUE(documents);
  EXPECT_THAT(found(*documents, dir.path()),
              ElementsAre("default .codex/auth.json", "default .codex/accounts/home/auth.json",
                          "default .codex/accounts/work.auth.json"));
}

TEST(Sources, WhatWasLookedForInVainIsNamedAsItIsCalled) {
  const TempDir dir;
  fs::create_directories(dir.path() / ".claude");
  const Variable home("HOME", dir.path());

  const auto documents = read_sources({});

  ASSERT_FALSE(documents);
  EXPECT_THAT(documents.error().message,
              AllOf(HasSubstr((dir.path() / ".claude/.credentials.json").string()),
                    Not(HasSubstr(".claude/auth.json"))));
}

TEST(Sources, WithoutAHomeNothingIsLookedForWhereTheProcessStands) {
  // A user number without an entry in the password database is taken on, which is for root.
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody without an entry";
  const pid_t child = ::fork();
  if (child == 0) {
    for (const char* name :
         {"HOME", "XDG_DATA_HOME", "HERMES_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR",
          "CLAUDE_SECURESTORAGE_CONFIG_DIR", "QWEN_HOME", "PI_CODING_AGENT_DIR"}) {
      ::unsetenv(name);
    }
    ::_exit(::setuid(987654) == 0 && well_known_places().empty() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);

  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Sources, ADirectoryWhoseNameCanBeNoProfilesFailsAlone) {
  const TempDir dir;
  dir.write("auth.json", kEmpty);
  for (const std::string name : {"\xff\xfe", "line\nend", "\x1b[31m", "del\x7f"}) {
    dir.write_json(fs::path("profiles") / name / "auth.json",
                   testing::pool("nous", {testing::grant_row("aaa", "r1")}));
  }
  const auto documents = read_sources(from({dir.path()}));

  ASSERT_THAT(*documents, SizeIs(5));
  for (const Document& document : *documents) {
    EXPECT_EQ(document.failure.has_value(), document.profile != "default");
  }
  EXPECT_TRUE(plan(*documents, nullptr, {})) << "and the others are imported";
}

}  // namespace
}  // namespace authdb::migrate
