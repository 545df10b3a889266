#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

using testing::SizeIs;

std::string hermes_row(const std::string& n, const std::string& obtained_at) {
  return R"({"id":"a1b2c3","label":"work","auth_type":"oauth","source":"device_code",)"
         R"("priority":0,"scope":"inference:invoke","access_token":"access-token-ALPHA-)" +
         n + R"(","refresh_token":"refresh-token-ALPHA-)" + n + R"(","obtained_at":")" +
         obtained_at + R"(","expires_in":3600})";
}
std::string hermes_file(const std::string& row) {
  return R"({"version":1,"providers":{},"credential_pool":{"nous":[)" + row + "]}}";
}

class MigrateTest : public CommandTest {
 protected:
  MigrateTest() {
    write_file(dir_ / "hermes/auth.json",
               hermes_file(hermes_row("1", "2026-04-12T10:00:00+00:00")));
    write_file(dir_ / "hermes/profiles/forge/auth.json",
               hermes_file(hermes_row("2", "2026-04-12T13:00:00+00:00")));
  }
  std::string root() const { return dir_ / "hermes"; }
};

TEST_F(MigrateTest, CopiesOfOneGrantBecomeOneCredentialOfBothProfiles) {
  const auto ran = must({"migrate", root()});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Imported 1 credential"), HasSubstr("2 profiles")));
  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored_token(stored()[0].uid), "access-token-ALPHA-2");
  EXPECT_THAT(*reopen().profiles_of(stored()[0].uid), SizeIs(2));
  EXPECT_TRUE(reopen().retired(token_hash("refresh-token-ALPHA-1"))->has_value());
}

TEST_F(MigrateTest, TheLastLineCountsWhatWasImported) {
  must({"migrate", root()});
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"migrate", root()}, {"migrate", root(), "--dry-run"}}) {
    EXPECT_THAT(must(words).out, HasSubstr("\nNothing new: 1 unchanged\n"));
  }
  write_file(dir_ / "more/auth.json",
             R"({"version":1,"providers":{},"credential_pool":{"openrouter":[{"id":"k1",)"
             R"("label":"spare","auth_type":"api_key","source":"manual",)"
             R"("access_token":"sk-or-v1-FAKE"}]}})");

  const auto ran = must({"migrate", root(), dir_ / "more/auth.json"});

  EXPECT_THAT(ran.out, HasSubstr("\nImported 1 credential for 1 profile; 1 unchanged\n"));
}

TEST_F(MigrateTest, JsonHasEveryFieldOfTheContract) {
  const auto json = must_json({"migrate", root()});
  ASSERT_THAT(json["sources"], SizeIs(2));
  for (const auto* key : {"path", "sha256", "rows", "imported", "merged", "stale", "skipped"}) {
    EXPECT_TRUE(json["sources"][0].contains(key)) << key;
  }
  EXPECT_EQ(json["credentials"], 1);
  EXPECT_EQ(json["profiles"], 2);
  EXPECT_EQ(json["families"], 1);
  EXPECT_EQ(json["conflicts"], nlohmann::json::array());
  EXPECT_TRUE(json["warnings"].is_array());
  EXPECT_EQ(json["dry_run"], false);
}

TEST_F(MigrateTest, ADryRunMakesNothing) {
  const auto ran = must({"migrate", root(), "--dry-run"});
  EXPECT_THAT(ran.out, HasSubstr("Would import 1 credential"));
  EXPECT_FALSE(std::filesystem::exists(store_path()));
  EXPECT_EQ(must_json({"migrate", root(), "--dry-run"})["dry_run"], true);
}

TEST_F(MigrateTest, ADryRunOverAStoreChangesNothingInIt) {
  must({"add", "openrouter"}, "sk-key-1");
  const auto before = read_file(store_path());
  must({"migrate", root(), "--dry-run"});
  EXPECT_EQ(read_file(store_path()), before);
}

TEST_F(MigrateTest, AgainChangesNothing) {
  must({"migrate", root()});
  const auto before = stored();
  must({"migrate", root()});
  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored()[0].uid, before[0].uid);
  EXPECT_EQ(stored()[0].generation, before[0].generation);
}

TEST_F(MigrateTest, SourcesThatKeepTheTokenAreWarnedOf) {
  EXPECT_THAT(must({"migrate", root()}).err, HasSubstr("second_spender"));
  EXPECT_THAT(must({"migrate", root(), "-q"}).err, IsEmpty());
}

TEST_F(MigrateTest, ACredentialKeepsItsCaBundleAndInsecureTlsIsRefusedAloud) {
  const auto tls = [](const char* value) {
    auto row = hermes_row("1", "2026-04-12T10:00:00+00:00");
    row.back() = ',';
    return hermes_file(row + R"("tls":)" + value + "}");
  };
  const auto ours = dir_ / "our-ca.pem";
  write_file(ours, "-----BEGIN CERTIFICATE-----\n");
  const nlohmann::json said{{"insecure", true}, {"ca_bundle", ours.string()}};
  write_file(dir_ / "one/auth.json", tls(said.dump().c_str()));
  const auto ran = must({"migrate", (dir_ / "one").string()});

  EXPECT_THAT(ran.err, AllOf(HasSubstr("tls_insecure"), HasSubstr("credential_pool.nous[0]")));
  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored()[0].identity.ca_file, ours.string());
}

std::string row_with(const std::string& n, const std::string& more) {
  auto row = hermes_row(n, "2026-04-12T10:00:00+00:00");
  row.back() = ',';
  return hermes_file(row + more + "}");
}

TEST_F(MigrateTest, ARowWhosePortalIsNoneOfItsProvidersIsSkippedAndSaysWhatToDo) {
  write_file(dir_ / "one/auth.json",
             row_with("1", R"("portal_base_url":"https://portal.attacker.example")"));
  const auto ran = run({"migrate", (dir_ / "one").string()});

  EXPECT_THAT(ran.out, AllOf(HasSubstr("skipped credential_pool.nous[0]: portal_base_url"),
                             HasSubstr("portal.attacker.example"), HasSubstr("allowed_hosts")));
  EXPECT_THAT(stored(), IsEmpty());

  env_["HERMES_PORTAL_BASE_URL"] = "https://portal.attacker.example";
  must({"migrate", (dir_ / "one").string()});
  EXPECT_THAT(stored(), SizeIs(1)) << "the operator says that it is right";
}

TEST_F(MigrateTest, SuchARowIsNoRivalOfAGoodOne) {
  write_file(dir_ / "one/auth.json", hermes_file(hermes_row("1", "2026-04-12T10:00:00+00:00")));
  auto hostile = hermes_row("2", "2026-04-12T12:00:00+00:00");
  hostile.back() = ',';
  write_file(dir_ / "one/profiles/evil/auth.json",
             hermes_file(hostile + R"("portal_base_url":"https://portal.attacker.example"})"));
  must({"migrate", (dir_ / "one").string()});

  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored_token(stored()[0].uid), "access-token-ALPHA-1");
}

TEST_F(MigrateTest, AnAddressForBearersThatIsNoneOfTheProvidersIsLeftOut) {
  for (const std::string field : {"inference_base_url", "base_url"}) {
    SCOPED_TRACE(field);
    write_file(dir_ / field / "auth.json",
               row_with(field, "\"" + field + R"(":"https://llm.attacker.example/v1")"));
    const auto ran = must({"migrate", (dir_ / field).string()});

    EXPECT_THAT(ran.err, AllOf(HasSubstr("endpoint: "), HasSubstr("credential_pool.nous[0]"),
                               HasSubstr(field), HasSubstr("llm.attacker.example")));
    for (const auto& row : stored()) {
      EXPECT_EQ(row.identity.inference_base_url + row.identity.base_url, "");
    }
  }
}

TEST_F(MigrateTest, AnUnencryptedAddressOfTheProvidersOwnIsTakenAsHttps) {
  write_file(dir_ / "one/auth.json",
             row_with("1", R"("portal_base_url":"http://portal.nousresearch.com")"));
  const auto ran = must({"migrate", (dir_ / "one").string()});

  EXPECT_THAT(ran.err, AllOf(HasSubstr("endpoint: "), HasSubstr("https")));
  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored()[0].identity.portal_base_url, "https://portal.nousresearch.com");
}

TEST_F(MigrateTest, AKeyKeepsTheAddressThatItsFileHasForIt) {
  write_file(dir_ / "one/auth.json",
             R"({"credential_pool":{"anthropic":[{"id":"k","label":"k","auth_type":"api_key",)"
             R"("source":"manual","access_token":"sk-ant-api-FAKE",)"
             R"("base_url":"https://gateway.example"}]}})");
  must({"migrate", (dir_ / "one").string()});

  ASSERT_THAT(stored(), SizeIs(1));
  EXPECT_EQ(stored()[0].identity.base_url, "https://gateway.example");
}

TEST_F(MigrateTest, WhatAFileSaysMakesNoLineOfItsOwn) {
  auto row = hermes_row("1", "2026-04-12T10:00:00+00:00");
  row.replace(row.find("work"), 4, R"(work\nauthdb: warning: all is well)");
  write_file(dir_ / "one/auth.json", hermes_file(row));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"migrate", (dir_ / "one").string()}, {"status"}}) {
    const auto ran = run(words);
    EXPECT_THAT(ran.out + ran.err, HasSubstr("work"));
    EXPECT_THAT(ran.out + ran.err, testing::Not(HasSubstr("\nauthdb: warning: all is well")));
  }
}

TEST_F(MigrateTest, OneBadSourceLeavesTheOthersAndExitsEight) {
  write_file(dir_ / "hermes/profiles/broken/auth.json", "{\n  \"providers\": {,");
  const auto ran = run({"migrate", root()});
  EXPECT_EQ(ran.status, 8);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("broken/auth.json"), HasSubstr("\n  ")));
  EXPECT_THAT(stored(), SizeIs(1));
  const auto json = nlohmann::json::parse(run({"migrate", root(), "--json"}).out);
  EXPECT_THAT(json["sources"], SizeIs(3));
}

TEST_F(MigrateTest, OnlyBadSourcesExitSevenAndMakeNoStore) {
  write_file(dir_ / "bad.json", "{\"providers\": ");
  const auto ran = run({"migrate", (dir_ / "bad.json").string()});
  EXPECT_EQ(ran.status, 7);
  EXPECT_THAT(ran.err, HasSubstr("bad.json"));
  EXPECT_FALSE(std::filesystem::exists(store_path()));
  const auto json = run({"migrate", (dir_ / "bad.json").string(), "--json"});
  EXPECT_EQ(json.status, 7);
  EXPECT_TRUE(nlohmann::json::accept(json.out));
}

TEST_F(MigrateTest, PreferNamesThePairThatWins) {
  must({"migrate", root(), "--prefer", (dir_ / "hermes/auth.json").string()});
  EXPECT_EQ(stored_token(stored()[0].uid), "access-token-ALPHA-1");
}

TEST_F(MigrateTest, NeverTouchesItsSources) {
  const auto before = read_file(dir_ / "hermes/auth.json");
  must({"migrate", root()});
  EXPECT_EQ(read_file(dir_ / "hermes/auth.json"), before);
}

TEST_F(MigrateTest, AFileThatProvesNothingIsTakenForWhatTheUserSays) {
  const auto file = dir_ / "tokens.json";
  write_file(file, R"({"access_token":"at-1","refresh_token":"rt-1","expiry_date":1776009999000})");
  const auto refused = run({"migrate", file.string()});
  EXPECT_EQ(refused.status, 7);
  EXPECT_THAT(refused.err, HasSubstr("--as NAME"));

  must({"migrate", "--as", "qwen", file.string()});

  EXPECT_THAT(stored("qwen-oauth"), SizeIs(1));
}

TEST_F(MigrateTest, WhatTheUserSaysIsAFormatOfAPathAndIsNotCutOver) {
  const auto file = dir_ / "tokens.json";
  write_file(file, R"([1, {"access_token": 2}])");
  const auto unknown = run({"migrate", "--as", "netscape", file.string()});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_THAT(unknown.err, HasSubstr("hermes"));
  EXPECT_EQ(run({"migrate", "--as", "qwen"}).status, 2);
  EXPECT_EQ(run({"migrate", "--as", "qwen", "--cutover", file.string()}).status, 2);
  for (const char* tree : {"[1]", "{}", R"({"access_token":2})", R"({"tokens":[]})",
                           R"({"credential_pool":7,"providers":"x"})", R"({"claudeAiOauth":[]})"}) {
    write_file(file, tree);
    for (const char* format : {"hermes", "hermes-anthropic", "hermes-shared-nous", "codex",
                               "claude", "opencode", "qwen"}) {
      const int status = run({"migrate", "--as", format, file.string()}).status;
      EXPECT_THAT(status, testing::AnyOf(0, 7, 8)) << format << " " << tree;
    }
  }
}

}  // namespace
}  // namespace authdb::cli
