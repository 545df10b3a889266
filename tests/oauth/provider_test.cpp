#include "oauth/provider.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "fakes.h"
#include "oauth/endpoints.h"

namespace authdb::oauth {
namespace {

namespace fs = std::filesystem;

class Providers : public testing::Test {
 protected:
  Providers() {
    std::string name = testing::TempDir() + "providersXXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~Providers() override { fs::remove_all(directory_); }

  fs::path write(const std::string& name, const std::string& text, mode_t mode = 0644) {
    const fs::path path = directory_ / name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
  ProviderRegistry load() { return ProviderRegistry::load(directory_); }

  // The one problem that this file is expected to have.
  ProviderProblem problem(const std::string& text) {
    const fs::path file = write("mine.json", text);
    const ProviderRegistry registry = load();
    EXPECT_EQ(registry.problems().size(), 1U) << text;
    EXPECT_EQ(registry.find("mine"), nullptr) << text;
    EXPECT_NE(registry.find("nous"), nullptr) << "the others still work";
    if (registry.problems().empty()) return {};
    EXPECT_EQ(registry.problems()[0].file, file);
    return registry.problems()[0];
  }

  fs::path directory_;
};

constexpr const char* kMine =
    R"({"id":"mine","client_id":"c","token_endpoint":"https://auth.example/token"})";

std::string mine_with(const std::string& fields) {
  return std::string(kMine).substr(0, std::string(kMine).size() - 1) + "," + fields + "}";
}

TEST_F(Providers, BuiltInOnesWithLoginsAreSevenAndNoneHasMistakes) {
  const ProviderRegistry registry = load();

  for (const ProviderProblem& problem : registry.problems()) {
    ADD_FAILURE() << problem.field << " " << problem.reason;
  }
  std::vector<std::string> ids;
  for (const Provider& provider : registry.all()) {
    if (has_logins(provider)) {
      ids.push_back(provider.id);
      continue;
    }
    EXPECT_FALSE(provider.api_key_env.empty()) << provider.id;
    EXPECT_TRUE(check_allowed(provider, provider.inference_base_url, no_environment()))
        << provider.id;
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"nous", "openai-codex", "anthropic", "xai-oauth",
                                           "qwen-oauth", "minimax-oauth", "spotify"}));
}

TEST_F(Providers, AreFoundByTheirAliasesToo) {
  const ProviderRegistry registry = load();

  for (const auto& [alias, id] : std::map<std::string, std::string>{{"codex", "openai-codex"},
                                                                    {"xai", "xai-oauth"},
                                                                    {"qwen", "qwen-oauth"},
                                                                    {"minimax", "minimax-oauth"},
                                                                    {"nous", "nous"}}) {
    EXPECT_EQ(ProviderRegistry::canonical_id(alias), id);
    ASSERT_NE(registry.find(alias), nullptr) << alias;
    EXPECT_EQ(registry.find(alias)->id, id);
  }
  EXPECT_EQ(ProviderRegistry::canonical_id("other"), "other");
  EXPECT_EQ(registry.find("other"), nullptr);
}

TEST_F(Providers, KnowTheFactsOfTheWire) {
  const ProviderRegistry registry = load();
  const auto url = [&](const char* id) {
    return token_url(*registry.find(id), {}, no_environment()).value_or("none");
  };

  EXPECT_EQ(url("nous"), "https://portal.nousresearch.com/api/oauth/token");
  EXPECT_EQ(url("codex"), "https://auth.openai.com/oauth/token");
  EXPECT_EQ(url("anthropic"), "https://platform.claude.com/v1/oauth/token");
  EXPECT_EQ(url("qwen"), "https://chat.qwen.ai/api/v1/oauth2/token");
  EXPECT_EQ(url("minimax"), "https://api.minimax.io/oauth/token");
  EXPECT_EQ(url("spotify"), "https://accounts.spotify.com/api/token");
  EXPECT_EQ(registry.find("xai")->token_endpoint, "");
  EXPECT_EQ(registry.find("xai")->issuer, "https://auth.x.ai");
  EXPECT_EQ(registry.find("codex")->client_id, "app_EMoamEEZ73f0CkXaXp7hrann");
  EXPECT_EQ(registry.find("nous")->session, Seconds{30 * 86400});
  EXPECT_EQ(registry.find("anthropic")->headers.at("User-Agent"), "axios/1.7.9");
}

TEST_F(Providers, KnowHowALoginIsHad) {
  const ProviderRegistry registry = load();
  const auto nous = *registry.find("nous");
  const auto codex = *registry.find("codex");
  const auto anthropic = *registry.find("anthropic");
  const auto minimax = *registry.find("minimax");
  const auto spotify = *registry.find("spotify");

  EXPECT_EQ(nous.login, "device");
  EXPECT_EQ(nous.device_authorization_endpoint, "/api/oauth/device/code");
  EXPECT_EQ(codex.login, "codex_device");
  EXPECT_EQ(codex.device_token_endpoint, "https://auth.openai.com/api/accounts/deviceauth/token");
  EXPECT_EQ(codex.verification_uri, "https://auth.openai.com/codex/device");
  EXPECT_EQ(codex.redirect_uri, "http://localhost:1455/auth/callback");
  EXPECT_EQ(anthropic.login, "pasted_code");
  EXPECT_EQ(anthropic.authorization_params.at("code"), "true");
  EXPECT_EQ(anthropic.code_body, "json");
  EXPECT_EQ(registry.find("xai")->login, "device");
  EXPECT_TRUE(registry.find("qwen")->device_pkce);
  EXPECT_EQ(minimax.login, "minimax_user_code");
  EXPECT_EQ(minimax.moved_hosts.at("www.minimaxi.io"), "platform.minimaxi.io");
  EXPECT_EQ(spotify.login, "loopback");
  EXPECT_EQ(spotify.redirect_uri, "http://127.0.0.1:43827/spotify/callback");
}

TEST_F(Providers, LeadIsWideEnoughForTwoReadersInARow) {
  write("mine.json", mine_with(R"("skew_s":600)"));
  write("nous.json", R"({"id":"nous","skew_s":30})");
  const ProviderRegistry registry = load();

  for (const Provider& provider : registry.all()) {
    EXPECT_GE(provider.lead, 2 * provider.skew + Seconds{60}) << provider.id;
  }
  EXPECT_EQ(registry.find("mine")->lead, Seconds{1260});
  EXPECT_EQ(registry.find("nous")->lead, Seconds{120}) << "follows a skew that a file changed";
}

TEST_F(Providers, MayBeTheUsersOwn) {
  const fs::path file = write("mine.json", kMine);
  const ProviderRegistry registry = load();

  ASSERT_TRUE(registry.problems().empty()) << registry.problems()[0].reason;
  ASSERT_NE(registry.find("mine"), nullptr);
  EXPECT_EQ(registry.find("mine")->name, "mine");
  EXPECT_EQ(registry.find("mine")->origin.at("client_id"), file.string());
}

TEST_F(Providers, MayHaveApiKeysAlone) {
  write("mine.json", R"({"id":"mine","api_key_env":["MINE_KEY","MINE_TOKEN"]})");
  const ProviderRegistry registry = load();

  ASSERT_TRUE(registry.problems().empty()) << registry.problems()[0].reason;
  ASSERT_NE(registry.find("mine"), nullptr);
  EXPECT_EQ(registry.find("mine")->api_key_env,
            (std::vector<std::string>{"MINE_KEY", "MINE_TOKEN"}));
  EXPECT_EQ(registry.find_oauth("mine"), nullptr) << "there is nothing to refresh";
  EXPECT_EQ(registry.find_oauth("nous"), registry.find("nous"));
  EXPECT_EQ(registry.find_oauth("other"), nullptr);
}

TEST_F(Providers, UsersFieldsOverrideABuiltInAndTheRestStays) {
  const fs::path file = write("nous.json", R"({"id":"nous","skew_s":7})");
  const ProviderRegistry registry = load();

  const Provider& nous = *registry.find("nous");
  EXPECT_EQ(nous.skew, Seconds{7});
  EXPECT_EQ(nous.client_id, "hermes-cli");
  EXPECT_EQ(nous.origin.at("skew_s"), file.string());
  EXPECT_EQ(nous.origin.at("client_id"), "built-in");
  EXPECT_EQ(registry.all().size(), ProviderRegistry::load("/nonexistent").all().size());
}

TEST_F(Providers, EachMistakeNamesItsField) {
  const std::map<std::string, std::string> cases{
      {mine_with(R"("token_url":"x")"), "token_url"},
      {mine_with(R"("scope":7)"), "scope"},
      {mine_with(R"("skew_s":"120")"), "skew_s"},
      {mine_with(R"("skew_s":-1)"), "skew_s"},
      {mine_with(R"("skew_s":1.5)"), "skew_s"},
      {mine_with(R"("skew_s":18446744073709551615)"), "skew_s"},
      {mine_with(R"("floor_s":0)"), "floor_s"},
      {mine_with(R"("issuer":"https://a.example/?tenant=1")"), "issuer"},
      {mine_with(R"("lead_s":60)"), "lead_s"},
      {mine_with(R"("login":"telepathy")"), "login"},
      {mine_with(R"("device_pkce":"yes")"), "device_pkce"},
      {mine_with(R"("code_body":"xml")"), "code_body"},
      {mine_with(R"("revocation_body":"xml")"), "revocation_body"},
      {mine_with(R"("token_body_of":{"pasted":"xml"})"), "token_body_of"},
      {mine_with(R"("authorization_params":{"a":1})"), "authorization_params"},
      {mine_with(R"("verification_uri":"http://a.example/go")"), "verification_uri"},
      {mine_with(R"("device_token_endpoint":"ftp://a.example/go")"), "device_token_endpoint"},
      {mine_with(R"("moved_hosts":{"a.example":"https://b.example/x"})"), "moved_hosts"},
      {mine_with(R"("client_auth":"jwt")"), "client_auth"},
      {mine_with(R"("client_auth":"basic")"), "client_secret_env"},
      {mine_with(R"("token_body":"xml")"), "token_body"},
      {mine_with(R"("refresh_token_in":"query")"), "refresh_token_in"},
      {mine_with(R"("headers":{"A":7})"), "headers"},
      {mine_with(R"("headers":{"A":"x\ny"})"), "headers"},
      {mine_with(R"("headers":[])"), "headers"},
      {mine_with(R"("agent_key":{"min_ttl_s":5})"), "agent_key"},
      {mine_with(R"("agent_key":{"endpoint":"https://a.example/k","x":1})"), "agent_key"},
      {mine_with(R"("allowed_hosts":["https://a.example"])"), "allowed_hosts"},
      {mine_with(R"("allowed_hosts":"a.example")"), "allowed_hosts"},
      {mine_with(R"("errors":[{"code":"x"}])"), "errors"},
      {mine_with(R"("errors":[{"class":"fatal"}])"), "errors"},
      {mine_with(R"("errors":[{"class":"login","statuss":1}])"), "errors"},
      {mine_with(R"("env":{"skew_s":"X"})"), "env"},
      {mine_with(R"("inference_base_url":"http://a.example/")"), "inference_base_url"},
      {mine_with(R"("revocation_endpoint":"/revoke")"), "revocation_endpoint"},
      {mine_with(R"("api_key_env":"MINE_KEY")"), "api_key_env"},
      {mine_with(R"("api_key_env":["MINE KEY"])"), "api_key_env"},
      {mine_with(R"("api_key_env":[""])"), "api_key_env"},
      {mine_with(R"("api_key_env":["AUTHDB_STORE"])"), "api_key_env"},
      {R"({"id":"mine","token_endpoint":"https://a.example/t","api_key_env":["MINE_KEY"]})",
       "client_id"},
      {R"({"id":"mine","client_id":"c","api_key_env":["MINE_KEY"]})", "token_endpoint"},
      {R"({"id":"mine","client_id":"c"})", "token_endpoint"},
      {R"({"id":"mine","token_endpoint":"https://a.example/t"})", "client_id"},
      {R"({"id":"mine","client_id":"c","token_endpoint":"http://a.example/t"})", "token_endpoint"},
      {R"({"id":"mine","client_id":"c","token_endpoint":"https://u@a.example/t"})",
       "token_endpoint"},
      {R"({"client_id":"c","token_endpoint":"https://a.example/t"})", "id"},
      {R"({"id":"codex","client_id":"c"})", "id"},
      {R"({"id":"My Own","client_id":"c","token_endpoint":"https://a.example/t"})", "id"},
      {"[]", ""},
      {"{\"id\":", ""},
      {"", ""},
  };
  for (const auto& [text, field] : cases) {
    const ProviderProblem found = problem(text);
    EXPECT_EQ(found.field, field) << text;
    EXPECT_NE(found.reason, "") << text;
  }
}

TEST_F(Providers, FileThatOthersCanWriteIsNotBelieved) {
  for (const mode_t mode : {0664U, 0646U}) {
    write("mine.json", kMine, mode);

    const ProviderRegistry registry = load();

    EXPECT_EQ(registry.find("mine"), nullptr);
    ASSERT_EQ(registry.problems().size(), 1U);
    EXPECT_NE(registry.problems()[0].reason.find("chmod"), std::string::npos);
  }
}

TEST_F(Providers, FilesOfADirectoryThatOthersCanWriteAreNotBelieved) {
  const fs::path file = write("mine.json", kMine);
  ::chmod(file.parent_path().c_str(), 0777);

  const ProviderRegistry registry = load();

  EXPECT_EQ(registry.find("mine"), nullptr);
  ASSERT_EQ(registry.problems().size(), 1U);
  EXPECT_NE(registry.problems()[0].reason.find("chmod go-w"), std::string::npos);
}

TEST_F(Providers, TwoFilesForOneProviderAreAMistakeInTheSecond) {
  write("a.json", kMine);
  const fs::path second = write("b.json", kMine);

  const ProviderRegistry registry = load();

  ASSERT_EQ(registry.problems().size(), 1U);
  EXPECT_EQ(registry.problems()[0].file, second);
  EXPECT_NE(registry.find("mine"), nullptr);
}

TEST_F(Providers, ABuiltInOneWhoseFileCannotBeUsedHasNoLogins) {
  for (const char* text : {"", R"({"id":"nous","token_endpoint":"http://a.example/t"})"}) {
    write("nous.json", text);
    const ProviderRegistry registry = load();

    EXPECT_EQ(registry.find_oauth("nous"), nullptr) << text;
    EXPECT_NE(registry.find("nous"), nullptr) << text;
    EXPECT_NE(registry.find_oauth("codex"), nullptr) << "the others still work";
  }
  write("mine.json", R"({"id":"openai-codex","scope":1})");
  EXPECT_EQ(load().find_oauth("codex"), nullptr) << "whatever its file is called";
  const fs::path file = write("nous.json", R"({"id":"nous","scope":"mine"})");
  EXPECT_NE(load().find_oauth("nous"), nullptr);
  ::chmod(file.parent_path().c_str(), 0777);

  EXPECT_EQ(load().find_oauth("nous"), nullptr);
}

TEST_F(Providers, MissingDirectoryIsNoProblem) {
  EXPECT_TRUE(ProviderRegistry::load(directory_ / "none").problems().empty());
}

// ---- Where tokens may go -----------------------------------------------------------------------

class Endpoints : public testing::Test {
 protected:
  std::string url(const Identity& identity, const Environment& env = no_environment()) const {
    const auto found = token_url(*registry_.find("nous"), identity, env);
    return found ? *found : "refused: " + found.error().message;
  }
  static Identity at_portal(const std::string& portal) {
    Identity identity;
    identity.portal_base_url = portal;
    return identity;
  }
  ProviderRegistry registry_ = ProviderRegistry::load("/nonexistent");
};

TEST_F(Endpoints, StoredPortalOnLoopbackIsAlwaysAllowed) {
  EXPECT_EQ(url(at_portal("http://127.0.0.1:8123/")), "http://127.0.0.1:8123/api/oauth/token");
  EXPECT_EQ(url(at_portal("http://localhost:8123")), "http://localhost:8123/api/oauth/token");
}

TEST_F(Endpoints, StoredPortalElsewhereIsRefusedByName) {
  EXPECT_NE(url(at_portal("https://evil.example"))
                .find("refused: tokens of nous are not sent to "
                      "evil.example"),
            std::string::npos);
  EXPECT_NE(url(at_portal("http://portal.nousresearch.com")).find("not encrypted"),
            std::string::npos);
  EXPECT_NE(url(at_portal("garbage")).find("refused"), std::string::npos);
}

TEST_F(Endpoints, EnvironmentWinsOverWhatIsStoredAndOverTheList) {
  const auto env = environment({{"HERMES_PORTAL_BASE_URL", "https://staging.example//"}});

  EXPECT_EQ(url(at_portal("http://127.0.0.1:1"), env), "https://staging.example/api/oauth/token");
}

TEST_F(Endpoints, EnvironmentHasAnAliasThatComesSecond) {
  EXPECT_EQ(url({}, environment({{"NOUS_PORTAL_BASE_URL", "http://127.0.0.1:2"}})),
            "http://127.0.0.1:2/api/oauth/token");
  EXPECT_EQ(url({}, environment({{"NOUS_PORTAL_BASE_URL", "http://127.0.0.1:2"},
                                 {"HERMES_PORTAL_BASE_URL", "http://127.0.0.1:1"}})),
            "http://127.0.0.1:1/api/oauth/token");
  EXPECT_EQ(url({}, environment({{"HERMES_PORTAL_BASE_URL", ""}})),
            "https://portal.nousresearch.com/api/oauth/token");
}

TEST_F(Endpoints, EnvironmentMayNotTurnOffEncryption) {
  EXPECT_NE(url({}, environment({{"HERMES_PORTAL_BASE_URL", "http://staging.example"}}))
                .find("not encrypted"),
            std::string::npos);
}

TEST_F(Endpoints, DeadHostIsRewritten) {
  for (const char* portal : {"https://api.nousresearch.com", "https://API.nousresearch.com/v1/"}) {
    EXPECT_EQ(url(at_portal(portal)), "https://portal.nousresearch.com/api/oauth/token");
  }
}

TEST_F(Endpoints, InferenceBaseComesFromTheEnvironmentThenTheCredentialThenTheProvider) {
  const Provider& nous = *registry_.find("nous");
  Identity identity;
  EXPECT_EQ(inference_base_url(nous, identity, no_environment()),
            "https://inference-api.nousresearch.com/v1");
  identity.base_url = "https://welcome-api.nousresearch.com/b";
  EXPECT_EQ(inference_base_url(nous, identity, no_environment()), identity.base_url);
  identity.inference_base_url = "https://welcome-api.nousresearch.com/i";
  EXPECT_EQ(inference_base_url(nous, identity, no_environment()), identity.inference_base_url);
  EXPECT_EQ(inference_base_url(nous, identity,
                               environment({{"NOUS_INFERENCE_BASE_URL", "https://e.example"}})),
            "https://e.example");
}

TEST_F(Endpoints, AGrantsInferenceBaseIsItsProvidersAndAKeysIsItsOwn) {
  const Provider& nous = *registry_.find("nous");
  Identity identity;
  identity.inference_base_url = "https://i.example";
  EXPECT_EQ(inference_base_url(nous, identity, no_environment()),
            "https://inference-api.nousresearch.com/v1");
  EXPECT_EQ(inference_base_url(Provider{}, identity, no_environment()), "https://i.example");
  identity.auth_type = AuthType::api_key;
  EXPECT_EQ(inference_base_url(nous, identity, no_environment()), "https://i.example");
}

TEST_F(Endpoints, AStoredBaseUrlIsUsedAsItIsOrWithHttpsOrNotAtAll) {
  const Provider& nous = *registry_.find("nous");
  const auto usable = [&](const std::string& url) {
    return usable_base_url(nous, url, no_environment()).value_or("refused");
  };
  EXPECT_EQ(usable("https://portal.nousresearch.com/"), "https://portal.nousresearch.com/");
  EXPECT_EQ(usable("http://portal.nousresearch.com/x"), "https://portal.nousresearch.com/x");
  EXPECT_EQ(usable("https://api.nousresearch.com"), "https://api.nousresearch.com") << "moved";
  EXPECT_EQ(usable("http://127.0.0.1:9"), "http://127.0.0.1:9");
  for (const char* url : {"https://portal.example", "http://portal.example",
                          "http://portal.nousresearch.com:8080", "ftp://portal.nousresearch.com",
                          "https://portal.nousresearch.com@portal.example", "portal"}) {
    EXPECT_EQ(usable(url), "refused") << url;
  }
}

TEST_F(Endpoints, WildcardAllowsSubdomainsAndNothingThatOnlyEndsAlike) {
  const Provider& xai = *registry_.find("xai");

  EXPECT_TRUE(check_allowed(xai, "https://auth.x.ai/t", no_environment()));
  EXPECT_TRUE(check_allowed(xai, "https://a.b.x.ai/t", no_environment()));
  EXPECT_FALSE(check_allowed(xai, "https://evilx.ai/t", no_environment()));
  EXPECT_FALSE(check_allowed(xai, "https://x.ai.evil.example/t", no_environment()));
}

TEST_F(Endpoints, CaFileOfTheOperatorComesFirstThenTheCredentials) {
  Provider provider;
  Identity identity;
  const auto file = [&](std::map<std::string, std::string> variables) {
    return ca_file_of(provider, identity, environment(std::move(variables))).value;
  };
  EXPECT_EQ(file({}), "");
  EXPECT_EQ(file({{"SSL_CERT_FILE", "/s"}}), "/s");
  EXPECT_EQ(file({{"SSL_CERT_FILE", "/s"}, {"CURL_CA_BUNDLE", "/b"}}), "/b");
  EXPECT_EQ(file({{"SSL_CERT_FILE", "/s"}, {"CURL_CA_BUNDLE", ""}}), "/s");
  provider.env["ca_file"] = "ACME_CA";
  EXPECT_EQ(file({{"ACME_CA", "/e"}, {"CURL_CA_BUNDLE", "/b"}}), "/e");
  provider.ca_file = "/p";
  EXPECT_EQ(file({{"SSL_CERT_FILE", "/s"}}), "/p");
  identity.ca_file = "/c";
  EXPECT_EQ(file({{"SSL_CERT_FILE", "/s"}}), "/c");
  EXPECT_EQ(file({{"AUTHDB_CA_FILE", "/a"}}), "/a");
}

TEST_F(Endpoints, DirectoriesOfAuthoritiesCountBesideSslCertFileAlone) {
  Provider provider;
  const auto directory = [&](std::map<std::string, std::string> variables) {
    variables["SSL_CERT_DIR"] = "/d";
    return ca_directory_of(provider, {}, environment(std::move(variables))).value;
  };
  EXPECT_EQ(directory({}), "/d");
  EXPECT_EQ(directory({{"SSL_CERT_FILE", "/s"}}), "/d");
  EXPECT_EQ(directory({{"CURL_CA_BUNDLE", "/b"}}), "");
  EXPECT_EQ(directory({{"AUTHDB_CA_FILE", "/a"}}), "");
  provider.ca_file = "/p";
  EXPECT_EQ(directory({}), "");
}

}  // namespace
}  // namespace authdb::oauth
