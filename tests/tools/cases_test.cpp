// Files of the shapes that people have, as they reported them. Each stands for a kind.
#include <SQLiteCpp/SQLiteCpp.h>

#include <array>

#include "tests/store/variable.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using nlohmann::json;
using test::Variable;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Cases : public CommandTest {
 protected:
  Cases() { now_ = at_millis(1'795'100'000'000); }  // after what the files were obtained

  static std::string text_of(const std::string& name) {
    return read_file(std::filesystem::path(AUTHDB_TEST_DATA) / "cases" / name);
  }
  std::filesystem::path lay(const std::string& name, const std::string& place) {
    const auto path = dir_ / "files" / place;
    std::filesystem::create_directories(path.parent_path());
    write_file(path, text_of(name));
    std::filesystem::permissions(path, std::filesystem::perms(0600));
    return path;
  }
  std::filesystem::path lay(const std::string& name) { return lay(name, name); }
  std::vector<std::string> kept_copies(const std::filesystem::path& file) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(file.parent_path())) {
      const std::string other = entry.path().filename();
      if (other.find(".migrated-") != std::string::npos) found.push_back(other);
    }
    return found;
  }
  void expect_untouched(const std::string& name, const std::filesystem::path& file) {
    EXPECT_EQ(read_file(file), text_of(name)) << name;
    EXPECT_THAT(kept_copies(file), IsEmpty()) << name;
  }
};

// ---- Who can renew it --------------------------------------------------------------------------

TEST_F(Cases, AGrantThatNobodyHereCanRenewStaysWithItsTool) {
  const auto file = lay("opencode_copilot.json");

  const auto planned = must({"migrate", file.string()});
  const auto cut = must({"migrate", "--cutover", file.string()});

  for (const Ran& ran : {planned, cut}) {
    EXPECT_THAT(ran.err, AllOf(Not(HasSubstr("second_spender")),
                               HasSubstr("keeps its refresh token"), HasSubstr("github-copilot")));
  }
  expect_untouched("opencode_copilot.json", file);
}

TEST_F(Cases, OfAMixedFileOnlyWhatCanBeRenewedChanges) {
  const auto file = lay("opencode_mixed.json");

  const auto planned = must({"migrate", file.string()});
  must({"migrate", "--cutover", file.string()});

  EXPECT_THAT(planned.err, HasSubstr("second_spender: " + file.string()));
  std::string expected = text_of("opencode_mixed.json");
  const std::string token = "\"sk-ant-ort01-invented-mixed\"";
  expected.replace(expected.find(token), token.size(), "\"held-by-authdb\"");
  EXPECT_EQ(read_file(file), expected);
}

TEST_F(Cases, AFileFromWhichNothingIsTakenIsNotRewritten) {
  for (const char* name : {"codex_external_tokens.json", "claude_setup_token.json"}) {
    const auto file = lay(name, std::string(name) + ".d/auth.json");

    must({"migrate", "--cutover", file.string()});

    expect_untouched(name, file);
  }
}

TEST_F(Cases, PisKeysAreImportedAndItsOwnLoginsLeft) {
  const auto file = lay("pi_auth.json");

  must({"migrate", file.string()});
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-or-v1-invented-pi\n");
  must({"migrate", "--cutover", file.string()});

  const auto before = json::parse(text_of("pi_auth.json"));
  const auto after = json::parse(read_file(file));
  for (const char* ours : {"anthropic", "openai-codex"}) {
    EXPECT_EQ(after[ours]["refresh"], "held-by-authdb") << ours;
  }
  for (const char* theirs : {"github-copilot", "google-gemini-cli", "openrouter"}) {
    EXPECT_EQ(after[theirs], before[theirs]) << theirs;
  }
}

// ---- Whose file is it --------------------------------------------------------------------------

TEST_F(Cases, AFileOfAnotherToolIsNotTakenForOneThatLooksAlike) {
  const std::array<std::pair<const char*, const char*>, 5> strangers{{
      {"cursor_auth.json", "Cursor"},
      {"aws_sso_cache.json", "AWS"},
      {"tokens_object.json", "no credential file that we know"},
      {"crush.json", "Crush"},
      {"cline_providers.json", "Cline"},
  }};
  for (const auto& [name, said] : strangers) {
    const auto file = lay(name);

    const auto ran = run({"migrate", "--cutover", file.string()});

    EXPECT_EQ(ran.status, 7) << name << ran.out;
    EXPECT_THAT(ran.err, HasSubstr(said)) << name;
    expect_untouched(name, file);
  }
  EXPECT_THAT(stored(), IsEmpty());
}

TEST_F(Cases, ADatabaseOfAnotherToolIsNamedAndNeverWritten) {
  const auto file = lay("opencode2.db", "share/opencode/opencode.db");

  const auto given = run({"migrate", file.string()});
  const Variable data("XDG_DATA_HOME", dir_ / "files/share");
  const Variable home("HOME", dir_ / "nobody");
  const auto found = run({"migrate"});

  for (const Ran& ran : {given, found}) {
    EXPECT_EQ(ran.status, exit_code(Errc::refused));
    EXPECT_THAT(ran.err, AllOf(HasSubstr(file.string() + " is OpenCode 2's database"),
                               HasSubstr("openai"), HasSubstr("authdb login")));
  }
  expect_untouched("opencode2.db", file);
  for (const auto& entry : std::filesystem::directory_iterator(file.parent_path())) {
    EXPECT_EQ(entry.path(), file);
  }
}

TEST_F(Cases, ADatabaseWithoutLoginsIsNoSourceByItself) {
  const auto file = lay("opencode2.db", "share/opencode/opencode.db");
  SQLite::Database(file.string(), SQLite::OPEN_READWRITE).exec("DELETE FROM credential");
  const Variable data("XDG_DATA_HOME", dir_ / "files/share");
  const Variable home("HOME", dir_ / "nobody");

  EXPECT_EQ(run({"migrate"}).status, exit_code(Errc::not_found));
}

TEST_F(Cases, AStoreOfOursIsNoSource) {
  must({"add", "openrouter"}, "sk-invented");

  const auto ran = run({"migrate", store_path().string()});

  EXPECT_EQ(ran.status, exit_code(Errc::refused));
  EXPECT_THAT(ran.err, HasSubstr("is a store of authdb's own"));
}

TEST_F(Cases, AKeyThatIsLeftBehindIsNamedAndTold) {
  const auto file = lay("many_keys.json");

  const auto ran = run({"migrate", file.string()});

  EXPECT_EQ(ran.status, 8);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("ANTHROPIC_API_KEY"), HasSubstr("OPENROUTER_API_KEY")));
  EXPECT_EQ(must({"token", "openai"}).out, "sk-proj-invented-many\n");
}

TEST_F(Cases, AKnownFileWithoutACredentialForUsIsNoFailure) {
  const auto file = lay("claude_mcp_only.json", ".claude/.credentials.json");

  const auto alone = must({"migrate", file.string()});

  EXPECT_THAT(alone.out, HasSubstr("mcpOAuth"));
  const auto qwen = lay("qwen_no_resource.json", ".qwen/oauth_creds.json");
  must({"migrate", qwen.string()});
  EXPECT_EQ(must({"token", "qwen"}).out, "qw-invented-access-1\n");
}

// ---- What it is called -------------------------------------------------------------------------

TEST_F(Cases, APoolIsReachedByItsIdBeforeAnAliasCounts) {
  const auto file = lay("hermes_alias_names.json", ".hermes/auth.json");
  must({"migrate", file.string()});

  EXPECT_EQ(must({"token", "xai"}).out, "xai-invented-key-1\n");
  EXPECT_EQ(must({"token", "minimax"}).out, "mm-invented-key-1\n");
  EXPECT_THAT(must({"status", "xai"}).out, HasSubstr("grok-key"));
}

TEST_F(Cases, OneGrantInTwoToolsIsOneCredential) {
  const auto opencode = lay("opencode_xai.json");
  must({"migrate", opencode.string()});
  const std::string token = json::parse(text_of("opencode_xai.json"))["xai"]["access"];
  for (const char* name : {"xai-oauth", "xai"}) {
    EXPECT_EQ(must({"token", name}).out, token + "\n") << name;
  }
  const auto hermes = lay("hermes_xai.json", ".hermes/auth.json");

  const auto both = must({"migrate", opencode.string(), hermes.string()});

  EXPECT_EQ(stored().size(), 1U);
  EXPECT_THAT(both.err, AllOf(HasSubstr("second_spender: " + opencode.string()),
                              HasSubstr("second_spender: " + hermes.string())));
  must({"migrate", "--cutover", opencode.string(), hermes.string()});
  http_->answer(200, R"({"issuer":"https://auth.x.ai",
                         "token_endpoint":"https://auth.x.ai/oauth2/token"})");
  http_->answer(200, grant_json({"xai-access-2", "xai-refresh-2"}));
  must({"refresh", "xai-oauth"});
  EXPECT_EQ(json::parse(read_file(opencode))["xai"]["access"], "xai-access-2");
  EXPECT_EQ(json::parse(read_file(hermes))["providers"]["xai-oauth"]["tokens"]["access_token"],
            "xai-access-2");
}

// ---- Its tool's own lock ------------------------------------------------------------------------

struct Locked {
  const char* name;
  const char* sample;
  const char* place;
  const char* lock;
  bool is_directory;
  const char* provider;
};

class CasesOfLocks : public Cases, public testing::WithParamInterface<Locked> {
 protected:
  void SetUp() override {
    Cases::SetUp();
    lock_wait_ = Milliseconds(20);
    file_ = lay(GetParam().sample, GetParam().place);
    lock_ = dir_ / "files" / GetParam().lock;
  }
  void tool_takes_it() const {
    if (GetParam().is_directory) {
      std::filesystem::create_directory(lock_);
    } else {
      write_file(lock_, "an id of the tool's");
    }
  }
  std::filesystem::path file_;
  std::filesystem::path lock_;
};

TEST_P(CasesOfLocks, ACutOverAndAProjectionWaitForItAndLeaveNoneBehind) {
  const std::string before = read_file(file_);
  tool_takes_it();
  const auto kept_out = run({"migrate", "--cutover", file_.string()});
  EXPECT_EQ(kept_out.status, exit_code(Errc::busy)) << kept_out.err;
  EXPECT_THAT(kept_out.err, HasSubstr(lock_.string()));
  EXPECT_EQ(read_file(file_), before);

  std::filesystem::remove(lock_);
  must({"migrate", "--cutover", file_.string()});
  EXPECT_FALSE(std::filesystem::exists(lock_));
  const std::string cut = read_file(file_);
  EXPECT_NE(cut, before);

  tool_takes_it();
  http_->answer(200, grant_json({"invented-access-2", "invented-refresh-2"}));
  const auto refreshed = run({"refresh", GetParam().provider});
  EXPECT_EQ(refreshed.status, exit_code(Errc::busy)) << refreshed.err;
  EXPECT_THAT(refreshed.out, HasSubstr("Refreshed"));
  EXPECT_THAT(refreshed.err, HasSubstr(lock_.string()));
  EXPECT_EQ(read_file(file_), cut);

  std::filesystem::remove(lock_);
  http_->answer(200, grant_json({"invented-access-3", "invented-refresh-3"}));
  must({"refresh", GetParam().provider});
  EXPECT_THAT(read_file(file_),
              AllOf(HasSubstr("invented-access-3"), Not(HasSubstr("invented-refresh-3"))));
  EXPECT_FALSE(std::filesystem::exists(lock_));
}

INSTANTIATE_TEST_SUITE_P(Tools, CasesOfLocks,
                         testing::Values(Locked{"Claude", "claude.json",
                                                ".claude/.credentials.json",
                                                ".claude/.oauth_refresh.lock", true, "anthropic"},
                                         Locked{"Qwen", "qwen.json", ".qwen/oauth_creds.json",
                                                ".qwen/oauth_creds.lock", false, "qwen-oauth"}),
                         [](const auto& locked) { return std::string(locked.param.name); });

// ---- Where it stands ---------------------------------------------------------------------------

TEST_F(Cases, ANestedGrantIsReadAndWrittenWhereItStands) {
  write_file(
      dir_ / "providers.d/acme-oauth.json",
      R"({"id":"acme-oauth","client_id":"c","token_endpoint":"https://acme.example/token"})");
  const auto file = lay("hermes_nested_acme.json", ".hermes/auth.json");
  must({"migrate", file.string()});
  EXPECT_EQ(to_millis(*stored().at(0).expires_at), 2'114'380'800'000);
  http_->answer(200, grant_json({"acme-access-2", "acme-refresh-2"}));
  must({"refresh", "acme-oauth"});

  const auto exported = must({"export"}).out;
  const auto revealed = must({"export", "--reveal-refresh"}).out;

  EXPECT_THAT(exported, AllOf(Not(HasSubstr("acme-nested")), Not(HasSubstr("acme-refresh-2"))));
  const auto block = json::parse(revealed)["providers"]["acme-oauth"];
  EXPECT_EQ(block["tokens"]["access_token"], "acme-access-2");
  EXPECT_EQ(block["tokens"]["refresh_token"], "acme-refresh-2");
  EXPECT_EQ(block["tokens"]["expires_at_ms"], to_millis(now_ + Seconds{3600}));
  EXPECT_FALSE(block.contains("access_token"));
}

TEST_F(Cases, CodexGetsALastRefreshFromTheTokenItself) {
  const auto file = lay("hermes_codex_no_last_refresh.json", ".hermes/auth.json");
  must({"migrate", file.string()});

  const auto exported = json::parse(must({"export", "--format", "codex"}).out);

  EXPECT_EQ(exported["last_refresh"], "2026-11-18T11:06:40Z");
}

TEST_F(Cases, WhenALoginEndsIsReadFromItsFile) {
  auto tree = json::parse(text_of("claude_session_ends.json"));
  const auto file = lay("claude_session_ends.json", ".claude/.credentials.json");
  must({"migrate", file.string()});
  EXPECT_EQ(to_millis(*stored().at(0).session_ends_at), 2'083'000'000'000);
  must({"status", "--check"});

  tree["claudeAiOauth"]["accessToken"] = "sk-ant-oat01-invented-end-2";
  tree["claudeAiOauth"]["refreshToken"] = "sk-ant-ort01-invented-end-2";
  tree["claudeAiOauth"]["refreshTokenExpiresAt"] = to_millis(now_ + Seconds{7200});
  const auto soon = lay("claude_session_ends.json", "soon/.credentials.json");
  write_file(soon, tree.dump());
  must({"migrate", soon.string()});
  EXPECT_EQ(run({"status", "--check"}).status, 5);
}

TEST_F(Cases, AnIdTokenTellsAccountsApart) {
  const auto file = lay("codex_id_token_mail.json", ".codex/auth.json");
  must({"migrate", file.string()});

  EXPECT_THAT(must({"list"}).out, HasSubstr("bea@example.test"));
}

}  // namespace
}  // namespace authdb::cli
