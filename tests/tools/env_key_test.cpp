// API keys that an imported file says are in a variable of the environment: the file is a
// stranger's word, and the variable whatever the process has.
#include "store/fingerprint.h"
#include "tests/tools/harness.h"

namespace authdb::cli {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr const char* kHome = "https://openrouter.ai/api/v1";

std::string print_of(const std::string& secret) { return fingerprint(token_hash(secret)); }

// As Hermes writes a key that it borrows, with its fingerprint unless that is empty.
json env_row(const std::string& variable, const std::string& fingerprint,
             const std::string& base_url = kHome) {
  json row{{"id", variable},
           {"label", "label of " + variable},
           {"auth_type", "api_key"},
           {"source", "env:" + variable},
           {"base_url", base_url}};
  if (!fingerprint.empty()) row["secret_fingerprint"] = fingerprint;
  return row;
}

class EnvKeyTest : public CommandTest {
 protected:
  std::string file() const { return dir_ / "auth.json"; }
  void write(const std::string& provider, const std::vector<json>& rows) {
    write_file(file(), json{{"credential_pool", {{provider, json(rows)}}}}.dump());
  }
  void import(const std::string& provider, const json& row) {
    write(provider, {row});
    must({"migrate", file()});
  }
  // Into a store that has nothing else.
  void import_alone(const std::string& provider, const json& row) {
    std::filesystem::remove_all(store_path().parent_path());
    import(provider, row);
  }
  // In every form that a bearer leaves by; all must be of one mind.
  Ran token(const std::string& provider = "openrouter") {
    Ran first = run({"token", provider});
    for (const std::vector<std::string>& form :
         {std::vector<std::string>{"--format", "header"}, {"--format", "env=X"}, {"--json"}}) {
      std::vector<std::string> words{"token", provider};
      words.insert(words.end(), form.begin(), form.end());
      const Ran other = run(words);
      EXPECT_EQ(other.status, first.status) << form.back();
      EXPECT_EQ(other.out.empty(), first.status != 0) << form.back();
    }
    return first;
  }
};

TEST_F(EnvKeyTest, AValueThatIsNotTheImportedOneIsRefusedAndNamed) {
  json raw = env_row("OPENROUTER_API_KEY", "");
  raw["access_token"] = "sk-or-1";
  for (const json& row : {raw, env_row("OPENROUTER_API_KEY", print_of("sk-or-1"))}) {
    import_alone("openrouter", row);
    env_["OPENROUTER_API_KEY"] = "sk-or-ANOTHER";

    const Ran ran = token();

    EXPECT_EQ(ran.status, 7);
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, AllOf(HasSubstr("label of OPENROUTER_API_KEY"),
                               HasSubstr("OPENROUTER_API_KEY is not the key that was imported"),
                               HasSubstr("authdb migrate --allow-env OPENROUTER_API_KEY"),
                               HasSubstr("authdb add openrouter"), Not(HasSubstr("sk-or"))));
    env_["OPENROUTER_API_KEY"] = "sk-or-1";
    EXPECT_EQ(token().out, "sk-or-1\n");
  }
}

TEST_F(EnvKeyTest, WithoutAFingerprintOnlyTheProvidersOwnVariablesAreRead) {
  env_["AWS_SECRET_ACCESS_KEY"] = "aws-SECRET-1";
  env_["OPENROUTER_API_KEY"] = "sk-or-1";
  env_["XAI_API_KEY"] = "sk-xai-1";
  const auto served = [&](const std::string& provider, const json& row) {
    import_alone(provider, row);
    const Ran ran = token(provider);
    if (ran.status != 0) {
      EXPECT_EQ(ran.status, 7) << row;
      EXPECT_EQ(ran.out, "") << row;
      EXPECT_THAT(ran.err, AllOf(HasSubstr("--allow-env"), Not(HasSubstr("SECRET-1")))) << row;
    }
    return ran.status == 0;
  };

  EXPECT_TRUE(served("openrouter", env_row("OPENROUTER_API_KEY", "")));
  EXPECT_TRUE(served("xai-oauth", env_row("XAI_API_KEY", "", "https://api.x.ai/v1")));
  EXPECT_FALSE(served("openrouter", env_row("AWS_SECRET_ACCESS_KEY", "")));
  EXPECT_FALSE(served("deepseek", env_row("OPENROUTER_API_KEY", "", "")));
  EXPECT_FALSE(served("custom:evil", env_row("OPENROUTER_API_KEY", "", "")));
  EXPECT_FALSE(served("openrouter", env_row("OPENROUTER_API_KEY_2", "")));
}

TEST_F(EnvKeyTest, AKeyIsNotServedBesideABaseUrlThatIsNoneOfItsProviders) {
  env_["OPENROUTER_API_KEY"] = "sk-or-1";
  for (const std::string& print : {print_of("sk-or-1"), std::string()}) {
    for (const char* where : {"https://evil.example/v1", "http://openrouter.ai/api/v1",
                              "https://openrouter.ai@evil/"}) {
      import_alone("openrouter", env_row("OPENROUTER_API_KEY", print, where));

      const Ran ran = token();

      EXPECT_EQ(ran.status, 7) << where;
      EXPECT_EQ(ran.out, "") << where;
      EXPECT_THAT(ran.err, Not(HasSubstr("sk-or-1")));
    }
  }
}

TEST_F(EnvKeyTest, OfAProviderThatNobodyKnowsOnlyTheUserCanSayThatAKeyMayGoThere) {
  env_["TOGETHER_KEY"] = "sk-tg-1";
  import("custom:together.ai",
         env_row("TOGETHER_KEY", print_of("sk-tg-1"), "https://api.together.example/v1"));
  const Ran refused = token("custom:together.ai");
  EXPECT_EQ(refused.status, 7);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("api.together.example"), HasSubstr("--allow-env")));

  const Ran allowed = must({"migrate", file(), "--allow-env", "TOGETHER_KEY"});

  EXPECT_THAT(allowed.out, HasSubstr("https://api.together.example/v1"));
  EXPECT_EQ(token("custom:together.ai").out, "sk-tg-1\n");
}

TEST_F(EnvKeyTest, AllowEnvIsRememberedForItsRowAlone) {
  write("openrouter", {env_row("MY_OWN_KEY", ""), env_row("OTHER_KEY", "")});
  env_["MY_OWN_KEY"] = "sk-own-1";
  env_["OTHER_KEY"] = "sk-other-1";
  must({"migrate", file()});
  EXPECT_EQ(token().status, 7);

  must({"migrate", file(), "--allow-env", "MY_OWN_KEY"});
  EXPECT_EQ(must({"token", "openrouter", "--credential", "1"}).out, "sk-own-1\n");
  EXPECT_EQ(run({"token", "openrouter", "--credential", "2"}).status, 7);

  must({"migrate", file()});
  env_["MY_OWN_KEY"] = "sk-own-2";
  EXPECT_EQ(must({"token", "openrouter", "--credential", "1"}).out, "sk-own-2\n");
  must({"migrate", file(), "--allow-env", "MY_OWN_KEY", "--allow-env", "OTHER_KEY"});
  EXPECT_EQ(must({"token", "openrouter", "--credential", "2"}).out, "sk-other-1\n");
}

TEST_F(EnvKeyTest, AllowEnvTakesWhateverTheVariableHoldsFromThenOn) {
  import("openrouter", env_row("OPENROUTER_API_KEY", print_of("sk-or-1")));
  env_["OPENROUTER_API_KEY"] = "sk-or-2";
  EXPECT_EQ(token().status, 7);

  must({"migrate", file(), "--allow-env", "OPENROUTER_API_KEY"});

  EXPECT_EQ(token().out, "sk-or-2\n");
  EXPECT_THAT(stored(), SizeIs(1));
}

TEST_F(EnvKeyTest, AllowEnvDoesNotLeadAKeyToAStrangersHost) {
  import("openrouter", env_row("AWS_SECRET_ACCESS_KEY", "", "https://evil.example/v1"));
  env_["AWS_SECRET_ACCESS_KEY"] = "aws-SECRET-1";

  must({"migrate", file(), "--allow-env", "AWS_SECRET_ACCESS_KEY"});

  EXPECT_EQ(token().status, 7);
}

TEST_F(EnvKeyTest, AFileCannotAllowItself) {
  env_["AWS_SECRET_ACCESS_KEY"] = "aws-SECRET-1";
  json row = env_row("AWS_SECRET_ACCESS_KEY", "");
  row["authdb_allow_env"] = "AWS_SECRET_ACCESS_KEY";
  import("openrouter", row);
  EXPECT_EQ(token().status, 7);

  row["refresh_token"] = "rt-FAKE-1";  // then it is no reference, and merged in another way
  write("openrouter", {row});
  must({"migrate", file(), "--include-env"});
  ASSERT_THAT(stored(), SizeIs(2));
  EXPECT_EQ(run({"token", "openrouter", "--credential", "2"}).status, 7);
}

TEST_F(EnvKeyTest, AllowEnvThatNamesNoKeyOfTheFilesIsAMistake) {
  import("openrouter", env_row("OPENROUTER_API_KEY", print_of("sk-or-1")));
  for (const char* name : {"OPENROUTER_KEY", "", "PATH=x", "A B", "AUTHDB_STORE"}) {
    const Ran ran = run({"migrate", file(), "--allow-env", name});
    EXPECT_EQ(ran.status, 2) << name;
    EXPECT_THAT(ran.err, HasSubstr("--allow-env")) << name;
  }
}

TEST_F(EnvKeyTest, WhatIsNoNameOrIsOursIsNeverRead) {
  for (const char* name : {"", "PATH=x", "A B", "%41", "1KEY", "K\xc3\x89Y", "A\nB", "AUTHDB_KEY",
                           "AUTHDB_PROFILE_KEY"}) {
    env_[name] = "sk-odd-SECRET-1";
    import_alone("openrouter", env_row(name, print_of("sk-odd-SECRET-1")));
    const Ran ran = token();
    EXPECT_EQ(ran.status, 7) << name;
    EXPECT_THAT(ran.err, Not(HasSubstr("SECRET-1"))) << name;
  }
  env_["my_key"] = "sk-small-1";
  import_alone("openrouter", env_row("my_key", print_of("sk-small-1")));
  EXPECT_EQ(token().out, "sk-small-1\n");
}

TEST_F(EnvKeyTest, WhatIsNoKeyIsNotHandedOut) {
  const std::string huge((1 << 20) + 1, 'x');
  for (const std::string& value : {std::string("two words"), std::string("sk-1\nX-Injected: 1"),
                                   std::string("sk-1\n"), std::string("caf\xc3\xa9"), huge}) {
    env_["OPENROUTER_API_KEY"] = value;
    import_alone("openrouter", env_row("OPENROUTER_API_KEY", print_of(value)));
    const Ran ran = token();
    EXPECT_EQ(ran.status, 7) << value.size();
    EXPECT_THAT(ran.err, HasSubstr("OPENROUTER_API_KEY")) << value.size();
    EXPECT_LT(ran.err.size(), 2000U);
  }
  import_alone("openrouter", env_row("OPENROUTER_API_KEY", ""));
  env_["OPENROUTER_API_KEY"] = "";
  EXPECT_EQ(token().status, 3);
  env_.erase("OPENROUTER_API_KEY");
  EXPECT_THAT(token().err, HasSubstr("OPENROUTER_API_KEY is not set"));
}

TEST_F(EnvKeyTest, OneThatIsRefusedGivesWayToTheNextOfThePool) {
  import("openrouter", env_row("AWS_SECRET_ACCESS_KEY", ""));
  env_["AWS_SECRET_ACCESS_KEY"] = "aws-SECRET-1";
  must({"add", "openrouter"}, "sk-spare-1");

  const Ran ran = must({"token", "openrouter"});

  EXPECT_EQ(ran.out, "sk-spare-1\n");
  EXPECT_THAT(ran.err, HasSubstr("AWS_SECRET_ACCESS_KEY"));
}

TEST_F(EnvKeyTest, AFingerprintThatIsNullIsNone) {
  env_["OPENROUTER_API_KEY"] = "sk-or-1";
  json row = env_row("OPENROUTER_API_KEY", "");
  row["secret_fingerprint"] = nullptr;
  import("openrouter", row);

  must({"migrate", file()});

  EXPECT_EQ(token().out, "sk-or-1\n");
  EXPECT_THAT(stored(), SizeIs(1));
}

TEST_F(EnvKeyTest, TwoKeysOfOneVariableInOneImportStayTwo) {
  write("openrouter", {env_row("OPENROUTER_API_KEY", print_of("sk-or-1"))});
  must({"migrate", file()});
  write("openrouter", {env_row("OPENROUTER_API_KEY", print_of("sk-or-1")),
                       env_row("OPENROUTER_API_KEY", print_of("sk-or-2"))});
  must({"migrate", file()});
  EXPECT_THAT(stored(), SizeIs(2));

  must({"migrate", file()});

  env_["OPENROUTER_API_KEY"] = "sk-or-1";
  EXPECT_EQ(must({"token", "openrouter", "--credential", "1"}).out, "sk-or-1\n");
  EXPECT_EQ(run({"token", "openrouter", "--credential", "2"}).status, 7);
}

TEST_F(EnvKeyTest, AKeyThatOtherProfilesShareIsNotReplacedByOneProfilesFile) {
  const std::string shared = print_of("sk-or-1");
  write_file(
      dir_ / "hermes/auth.json",
      json{{"credential_pool", {{"openrouter", {env_row("OPENROUTER_API_KEY", shared)}}}}}.dump());
  write_file(dir_ / "hermes/profiles/forge/auth.json", read_file(dir_ / "hermes/auth.json"));
  must({"migrate", dir_ / "hermes"});
  ASSERT_THAT(stored(), SizeIs(1));

  import("openrouter", env_row("OPENROUTER_API_KEY", print_of("sk-or-2")));

  EXPECT_THAT(stored(), SizeIs(2));
  env_["OPENROUTER_API_KEY"] = "sk-or-1";
  EXPECT_EQ(must({"token", "openrouter", "--profile", "forge"}).out, "sk-or-1\n");
}

TEST_F(EnvKeyTest, AKeyThatAnotherProfileStillShowsIsNotReplaced) {
  const auto write_key = [&](const std::string& name, const std::string& key) {
    write_file(dir_ / name, json{{"credential_pool",
                                  {{"openrouter", {env_row("OPENROUTER_API_KEY", print_of(key))}}}}}
                                .dump());
  };
  write_key("hermes/auth.json", "sk-or-1");
  must({"migrate", dir_ / "hermes"});
  write_key("hermes/auth.json", "sk-or-2");
  write_key("hermes/profiles/forge/auth.json", "sk-or-1");

  must({"migrate", dir_ / "hermes"});

  EXPECT_THAT(stored(), SizeIs(2));
  env_["OPENROUTER_API_KEY"] = "sk-or-2";
  EXPECT_EQ(must({"token", "openrouter"}).out, "sk-or-2\n");
  env_["OPENROUTER_API_KEY"] = "sk-or-1";
  EXPECT_EQ(must({"token", "openrouter", "--profile", "forge"}).out, "sk-or-1\n");
}

TEST_F(EnvKeyTest, AFileThatSaysWhatTheVariableHoldsNowIsBelievedWhenItIsImportedAgain) {
  import("openrouter", env_row("OPENROUTER_API_KEY", print_of("sk-or-1")));
  env_["OPENROUTER_API_KEY"] = "sk-or-2";
  EXPECT_EQ(token().status, 7);

  import("openrouter", env_row("OPENROUTER_API_KEY", print_of("sk-or-2")));

  EXPECT_EQ(token().out, "sk-or-2\n");
  EXPECT_THAT(stored(), SizeIs(1));
}

}  // namespace
}  // namespace authdb::cli
