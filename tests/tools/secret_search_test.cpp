// P7 from outside: the real executable does all that it can do, as loud as it gets, against the
// simulator; then everything that it said and left is searched for every secret that it met, in
// every form that text takes.
#include <signal.h>

#include <fstream>

#include "tests/tools/child.h"
#include "tools/portal/portal.h"
#include "tools/prove/search.h"

namespace authdb::cli {
namespace {

namespace fs = std::filesystem;
using portal::Fault;
using portal::When;
using testing::HasSubstr;
using testing::IsEmpty;

// A key with every character in it that some form of writing changes.
constexpr const char* kOddKey = R"(sk-or-v1-FAKE+/="\&%<key>'$1)";

std::vector<fs::path> test_data() {
  std::vector<fs::path> all;
  for (const char* folder : {"samples", "nasty"}) {
    for (const auto& entry : fs::directory_iterator(fs::path(AUTHDB_TEST_DATA) / folder)) {
      if (entry.path().extension() == ".json") all.push_back(entry.path());
    }
  }
  return all;
}

bool is_name_of_a_secret(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c | 0x20; });
  return name.ends_with("token") || name.ends_with("key") || name.ends_with("secret") ||
         name == "access" || name == "refresh";
}

class SecretSearchTest : public ProcessTest {
 protected:
  SecretSearchTest() {
    now_ = system_now();
    env_["HERMES_PORTAL_BASE_URL"] = portal_.base_url();
    env_["NOUS_INFERENCE_BASE_URL"] = portal_.base_url() + "/v1";
    env_["TMPDIR"] = dir_ / "tmp";
    env_["PATH"] = (dir_ / "bin").string() + ":/usr/bin:/bin";
    fs::create_directories(dir_ / "tmp");
    const nlohmann::json provider{
        {"id", "sim"},
        {"client_id", "app"},
        {"token_endpoint", portal_.base_url() + "/oauth/token"},
        {"revocation_endpoint", portal_.base_url() + "/oauth/revoke"},
        {"device_authorization_endpoint", portal_.base_url() + "/api/oauth/device/code"},
        {"authorization_endpoint", portal_.base_url() + "/oauth/authorize"},
        {"scope", "inference:invoke"}};
    write_file(dir_ / "config/authdb/providers.d/sim.json", provider.dump());
    // What nobody here gets to see is known by what it begins with.
    for (const auto prefix :
         {portal::kRefreshPrefix, portal::kAccessPrefix, portal::kAgentKeyPrefix,
          std::string_view("dev_SIM_"), std::string_view("code_SIM_")}) {
      search_.add(prefix, "what begins with " + std::string(prefix));
    }
  }

  // ---- What is secret --------------------------------------------------------------------------

  void learn(std::string_view secret, const std::string& name) { search_.add(secret, name); }

  // Whatever the store and its key file hold by now.
  void learn_from_the_store() {
    for (std::istringstream lines(read_file(dir_ / "key/seal.key")); !lines.eof();) {
      std::string id;
      std::string key;
      lines >> id >> key;
      if (key.size() == 64) learn_seal_key(key);
    }
    if (!fs::exists(store_path())) return;
    now_ = system_now();
    const Store store = reopen();
    for (const Credential& row : stored()) {
      const auto held = store.unseal(row.uid);
      if (!held) continue;
      learn(held->access_token.reveal(), "an access token of " + row.identity.label);
      learn(held->refresh_token.reveal(), "a refresh token of " + row.identity.label);
      learn(held->agent_key.reveal(), "an agent key of " + row.identity.label);
    }
  }
  void learn_seal_key(const std::string& hex) {
    std::string bytes;
    for (std::size_t at = 0; at < hex.size(); at += 2) {
      bytes += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
    }
    learn(bytes, "a seal key");
  }
  // Whatever stands below a name that says so, and is no word of a person's.
  void learn_from(const nlohmann::json& tree, const std::string& name = {}) {
    if (tree.is_structured()) {
      for (const auto& [key, value] : tree.items())
        learn_from(value, tree.is_object() ? key : name);
    } else if (tree.is_string() && is_name_of_a_secret(name)) {
      const auto text = tree.get<std::string>();
      if (text.size() >= 16) learn(text, name);
    }
  }

  // ---- Where it may not be ---------------------------------------------------------------------

  void expect_none_in(const std::string& text, const std::string& where) {
    EXPECT_THAT(search_.found_in(text), IsEmpty()) << where;
  }
  // Files that are meant to hold them: the key, other tools' files and what was exported.
  bool may_hold_them(const fs::path& path) const {
    const auto place = path.lexically_relative(dir_.path()).begin()->string();
    return place == "key" || place == "tools" || place == "out" || path == dir_ / "stdin";
  }
  void expect_none_on_disk() {
    EXPECT_THAT(search_.found_below(dir_.path(), [&](const auto& p) { return may_hold_them(p); }),
                IsEmpty());
  }
  void expect_none_in_process(pid_t pid) {
    const fs::path process = "/proc/" + std::to_string(pid);
    for (const char* what : {"environ", "cmdline"}) {
      const std::string text = read_file(process / what);
      EXPECT_THAT(text, testing::Not(IsEmpty()));
      expect_none_in(text, std::string(what) + " of a process");
    }
  }
  Ran judged(const std::vector<std::string>& words, const Ran& ran, bool delivers) {
    const std::string said = testing::PrintToString(words);
    EXPECT_FALSE(ran.dumped_core) << said;
    EXPECT_GE(ran.status, 0) << said;
    learn_from_the_store();
    expect_none_in(ran.err, "stderr of " + said);
    if (!delivers) expect_none_in(ran.out, "stdout of " + said);
    return ran;
  }

  // ---- Traffic ---------------------------------------------------------------------------------

  Ran loud(std::vector<std::string> words, const std::string& input = {}) {
    words.emplace_back("-v");
    return judged(words, spawn(words, input), false);
  }
  // As loud(); its result is a secret by intention.
  Ran deliver(std::vector<std::string> words, const std::string& input = {}) {
    words.emplace_back("-v");
    return judged(words, spawn(words, input), true);
  }
  void must_loud(std::vector<std::string> words, const std::string& input = {}) {
    const auto ran = loud(std::move(words), input);
    EXPECT_EQ(ran.status, 0) << testing::PrintToString(ran);
  }
  // A login that the portal knows; its access token has expired.
  portal::Grant log_in(const std::string& label, const std::string& scope = "inference:invoke") {
    auto grant = portal_.create_grant({.client_id = "hermes-cli", .scope = scope});
    learn(grant.access_token, "an access token of " + label);
    learn(grant.refresh_token, "a refresh token of " + label);
    const nlohmann::json input{{"access_token", grant.access_token},
                               {"refresh_token", grant.refresh_token},
                               {"scope", grant.scope},
                               {"obtained_at", "2026-01-01T00:00:00Z"},
                               {"expires_in", 60}};
    must_loud({"add", "nous", "--grant", "--label", label}, input.dump());
    return grant;
  }
  // Processes that are stopped dead before and after the portal has acted.
  void die_while(const std::vector<std::string>& words, Fault fault) {
    Child child(words, env_);
    ASSERT_TRUE(portal_.wait_until([&] { return portal_.delayed() > 0; })) << fault.drip.count();
    expect_none_in_process(child.pid());
    child.signal(SIGKILL);
    const auto ran = child.finish();
    expect_none_in(ran.err + ran.out, "the dead one's words");
    portal_.release();
    portal_.clear_faults();
    expect_none_on_disk();
  }
  static std::vector<Fault> answers(const std::string& token);
  void browse_with(const std::string& script) {
    write_file(dir_ / "bin/xdg-open", "#!/bin/sh\n" + script);
    fs::permissions(dir_ / "bin/xdg-open", fs::perms::owner_all);
  }

  portal::Portal portal_{{.era = portal::Era::kBoth, .auto_approve_device = true}};
  prove::SecretSearch search_;
};

// Every kind of answer to a refresh. Some of them repeat the token that they are about.
std::vector<Fault> SecretSearchTest::answers(const std::string& token) {
  const std::string says = R"({"error":"invalid_grant","error_description":"not )" + token + "\"}";
  std::vector<Fault> all{
      {.drop = When::kBefore},
      {.drop = When::kAfter},
      {.status = 429, .body = says, .retry_after = "1"},
      {.status = 503, .body = token},
      {.status = 500, .body = token, .when = When::kAfter},
      {.status = 408, .body = says},
      {.status = 400, .body = says},
      {.status = 400, .body = R"({"error":"refresh_token_reused","error_description":"a\u0000b"})"},
      {.status = 401, .body = "{}"},
      {.status = 401, .body = says},
      {.status = 403,
       .body = R"({"error":{"code":"subscription_required","message":")" + token + "\"}}"},
      {.status = 404, .body = token, .content_type = "text/plain"},
      {.status = 200, .body = token, .content_type = "text/plain"},
      {.status = 200, .body = says},
      {.redirect = "http://127.0.0.1:1/?refresh_token=" + token},
      {.html = true},
      {.when = When::kAfter, .malformed = true},
      {.merge = {{"access_token", nullptr}}},
      {.merge = {{"refresh_token", nullptr}}},
      {.merge = {{"access_token", 17}}},
      {.merge = {{"refresh_token", {token}}}},
      {.merge = {{"access_token", token + "\n" + token}}},
      {.merge = {{"access_token", token + " and a space"}}},
      {.merge = {{"expires_in", token}, {"scope", 17}, {"token_type", token}}},
      {.merge = {{"agent_key", token}, {token, token}}},
      {.huge_bytes = 300'000},
      {.cut_after = 40},
      {.cut_after = -20},
  };
  for (const auto wrapping :
       {portal::Wrapping::kGzip, portal::Wrapping::kForm, portal::Wrapping::kBom,
        portal::Wrapping::kPrefix, portal::Wrapping::kTrailing, portal::Wrapping::kData}) {
    all.push_back({.wrapping = wrapping});
  }
  return all;
}

TEST_F(SecretSearchTest, NoFormIsOverlooked) {
  prove::SecretSearch search;
  search.add(kOddKey, "it");
  write_file(dir_ / "secret", kOddKey);
  const auto forms = [&](const std::string& command) {
    const std::string filter = "cd " + dir_.path().string() + "; " + command + " > form";
    EXPECT_EQ(std::system(filter.c_str()), 0) << command;
    return search.found_in(read_file(dir_ / "form"));
  };
  EXPECT_THAT(forms("cat secret"), testing::Contains("it, as it is"));
  for (const char* before : {"", "x", "xy"}) {
    for (const char* base : {"base64", "basenc --base64url"}) {
      EXPECT_THAT(forms("(printf '" + std::string(before) + "'; cat; printf z) < secret | " + base +
                        " -w0"),
                  testing::Not(IsEmpty()))
          << before << base;
    }
  }
  EXPECT_THAT(forms("od -An -v -tx1 secret | tr -d ' \\n'"), testing::Contains("it, in hex"));
  EXPECT_THAT(forms("python3 -c 'import json,sys; print(json.dumps(open(\"secret\").read()))'"),
              testing::Contains("it, as in JSON"));
  EXPECT_THAT(forms("python3 -c 'import sys,urllib.parse as u; "
                    "print(u.quote(open(\"secret\").read(),\"\"))'"),
              testing::Not(IsEmpty()));
  EXPECT_THAT(search.found_in("an innocent line"), IsEmpty());
}

TEST_F(SecretSearchTest, P7_NothingOfWhatIsImportedIsSaidOrLeftInClear) {
  for (const fs::path& file : test_data()) {
    learn_from(nlohmann::json::parse(read_file(file), nullptr, false, true));
  }
  ASSERT_GT(search_.size(), 40U);
  for (const fs::path& file : test_data()) {
    const fs::path copy = dir_ / "tools" / file.filename();
    write_file(copy, read_file(file));
    loud({"migrate", copy});
  }
  for (const char* word : {"status", "list", "log", "doctor"}) {
    loud({word});
    loud({word, "--json"});
  }
  loud({"migrate", "--dry-run", "--json", dir_ / "tools"});
  deliver({"export"});
  expect_none_on_disk();
}

TEST_F(SecretSearchTest, P7_NothingOfWhatIsFetchedIsSaidOrLeftInClear) {
  learn(kOddKey, "the odd key");
  must_loud({"add", "openrouter", "--label", "odd"}, kOddKey);
  loud({"add", "openrouter", kOddKey});
  loud({"add", "openrouter", std::string("--api-key=") + kOddKey});
  int number = 0;
  for (const std::size_t kinds = answers("").size(); number < static_cast<int>(kinds); ++number) {
    const std::string label = "login-" + std::to_string(number);
    const auto grant = log_in(label);
    portal_.add_fault(answers(grant.refresh_token).at(static_cast<std::size_t>(number)));
    deliver({"token", "nous", "--credential", label});
    loud({"refresh", "nous", label, "--replay"});
    portal_.clear_faults();
  }
  EXPECT_GE(portal_.counters().totals.token_posts, number);
  expect_none_on_disk();
}

TEST_F(SecretSearchTest, P7_NoLoginLeavesItsCodesOrItsGrantInClear) {
  must_loud({"login", "sim", "--label", "device"});
  must_loud({"login", "sim", "--label", "device", "--json"});
  env_["DISPLAY"] = ":nowhere";
  browse_with(
      "echo \"$@\" > $HOME/browser; tr '\\0' '\\n' < /proc/self/environ >> $HOME/browser\n"
      "curl -sL \"$1\" > $HOME/page\n");
  for (int twice = 0; twice < 2; ++twice) {
    Terminal terminal;
    Plumbing plumbing;
    plumbing.terminal = terminal.slave();
    Child child({"login", "sim", "--browser", "--label", "browser", "-v"}, env_, plumbing);
    const std::string shown = terminal.read_to_end();
    EXPECT_EQ(child.finish().status, 0) << shown;
    learn_from_the_store();
    expect_none_in(shown, "the terminal");
  }
  EXPECT_THAT(read_file(dir_ / "browser"), HasSubstr("state="));
  Fault no;
  no.endpoint = portal::Endpoint::kDevice;
  no.status = 400;
  no.body = R"({"error":"invalid_client","device_code":"dev_SIM_1"})";
  portal_.add_fault(no);
  EXPECT_NE(loud({"login", "sim"}).status, 0);
  must_loud({"logout", "sim", "1"});
  expect_none_on_disk();
}

TEST_F(SecretSearchTest, P7_NothingIsInClearWhereAProcessDiesOrWhileItWorks) {
  for (const bool after : {false, true}) {
    for (const int drip : {0, 1}) {
      const std::string label =
          std::string(after ? "after" : "before") + (drip != 0 ? "-dripping" : "");
      log_in(label);
      Fault fault;
      (after ? fault.delay_after : fault.delay_before) = std::chrono::hours(1);
      fault.drip = std::chrono::milliseconds(drip);
      portal_.add_fault(fault);
      die_while({"refresh", "nous", label, "-v"}, fault);
      loud({"status"});
      deliver({"token", "nous", "--credential", label});
      loud({"doctor", "--repair", "--json"});
    }
  }
  expect_none_on_disk();
}

TEST_F(SecretSearchTest, P7_NothingIsInClearInTheLifeOfAStore) {
  learn(kOddKey, "the odd key");
  must_loud({"add", "openrouter", "--label", "odd"}, kOddKey);
  log_in("work", "inference:mint_agent_key");
  const auto bearer = deliver({"token", "nous"}).out;
  deliver({"token", "nous", "--json"});
  deliver({"token", "nous", "--format", "header"});
  deliver({"token", "nous", "--rejected", "-"}, bearer);
  deliver({"token", "nous", "--rejected", bearer.substr(0, bearer.size() - 1)});
  must_loud({"mint", "nous"});
  Fault refused;
  refused.endpoint = portal::Endpoint::kAgentKey;
  refused.status = 403;
  refused.body = "no key for " + bearer;
  portal_.add_fault(refused);
  loud({"mint", "nous"});
  const std::string fingerprint = stored("nous")[0].access_fingerprint;
  for (const char* status : {"401", "429", "402", "500", "200"}) {
    loud({"report", "nous", fingerprint, "--status", status, "--body", "-"},
         R"({"error":{"message":"your key )" + bearer + R"( is over"}})");
    loud({"report", "openrouter", "odd", "--status", status, "--body", "-"}, kOddKey);
  }
  loud({"reset", "nous"});
  loud({"keep-fresh", "--once", "--project", "--json"});

  // Another tool's file: cut over, and handed back.
  const auto other = portal_.create_grant();
  learn(other.access_token, "the tool's access token");
  learn(other.refresh_token, "the tool's refresh token");
  const nlohmann::json row{{"id", "a1b2c3"},
                           {"label", "tool"},
                           {"auth_type", "oauth"},
                           {"source", "manual:device_code"},
                           {"access_token", other.access_token},
                           {"refresh_token", other.refresh_token},
                           {"scope", other.scope}};
  const fs::path tool = dir_ / "tools/auth.json";
  write_file(tool, nlohmann::json{{"version", 1},
                                  {"credential_pool", {{"nous", nlohmann::json::array_t{row}}}}}
                       .dump());
  must_loud({"migrate", "--cutover", "--json", tool});
  must_loud({"refresh", "nous", "tool"});
  prove::SecretSearch spent;
  spent.add(portal::kRefreshPrefix, "a refresh token");
  EXPECT_THAT(spent.found_in(read_file(tool)), IsEmpty());
  deliver({"export", "-o", dir_ / "out/auth.json"});
  fs::create_directories(dir_ / "out");
  must_loud({"export", "-o", dir_ / "out/auth.json"});
  EXPECT_THAT(spent.found_in(read_file(dir_ / "out/auth.json")), IsEmpty());
  must_loud({"export", "--reveal-refresh", "-o", dir_ / "out/copy.json"});
  must_loud({"export", "--hand-over", "-o", tool});

  must_loud({"backup", dir_ / "backup.db"});
  must_loud({"key", "rotate"});
  must_loud({"remove", "openrouter", "odd"});
  must_loud({"undo"});
  must_loud({"restore", dir_ / "backup.db"});
  must_loud({"key", "prune"});
  loud({"remove", "nous", "work"});
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"status"},
                                             {"list"},
                                             {"log"},
                                             {"log", "--failures"},
                                             {"doctor"},
                                             {"providers", "nous"},
                                             {"profile", "list"},
                                             {"sql", "SELECT * FROM attempt"},
                                             {"sql", "SELECT * FROM credential"},
                                             {"sql", "SELECT * FROM token_set"},
                                             {"sql", "SELECT hex(access_token) FROM token_set"},
                                             {"sql", "SELECT * FROM rotation JOIN nowhere"}}) {
    loud(words);
    auto as_json = words;
    as_json.emplace_back("--json");
    loud(as_json);
  }
  expect_none_on_disk();
}

}  // namespace
}  // namespace authdb::cli
