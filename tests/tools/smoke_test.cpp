// The five smoke scenarios of the two-stage flow, with the real executable: a login that another
// tool's file brought, the simulator as portal, curl as the client of the inference endpoint.
#include "store/timestamp.h"
#include "tests/portal/process.h"
#include "tests/tools/harness.h"
#include "tools/portal/portal.h"

namespace authdb::cli {
namespace {

using portal::Finished;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class SmokeTest : public testing::Test {
 protected:
  // A login whose access token ends in `expires_in`, and no agent key.
  void seed(Seconds expires_in) {
    portal::Adoption known;
    known.access_token = "seed-oauth-FAKE";
    known.refresh_token = "seed-refresh-FAKE";
    known.access_expires_in = std::chrono::seconds(86400);
    portal_.adopt(known);
    const nlohmann::json row{{"id", "seed"},
                             {"label", "seed"},
                             {"auth_type", "oauth"},
                             {"source", "device_code"},
                             {"scope", "inference:mint_agent_key"},
                             {"access_token", "seed-oauth-FAKE"},
                             {"refresh_token", "seed-refresh-FAKE"},
                             {"expires_at", format_iso(system_now() + expires_in)},
                             {"portal_base_url", portal_.base_url()}};
    const nlohmann::json file{{"version", 1},
                              {"providers", nlohmann::json::object()},
                              {"credential_pool", {{"nous", {row}}}}};
    write_file(dir_ / "hermes/auth.json", file.dump());
    const Finished migrated = authdb({"migrate", (dir_ / "hermes").string()});
    ASSERT_EQ(migrated.code, 0) << migrated.err;
  }

  Finished authdb(const std::vector<std::string>& words) const {
    std::vector<std::string> command{"/usr/bin/env",
                                     "-i",
                                     "HOME=" + dir_.path().string(),
                                     "AUTHDB_STORE=" + (dir_ / "store/auth.db").string(),
                                     "AUTHDB_KEY_FILE=" + (dir_ / "seal.key").string(),
                                     AUTHDB_BINARY};
    command.insert(command.end(), words.begin(), words.end());
    return portal::run(command);
  }
  // The bearer, which is one bare line.
  std::string token(std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"token", "nous"};
    words.insert(words.end(), more.begin(), more.end());
    const Finished got = authdb(words);
    EXPECT_EQ(got.code, 0) << got.err;
    EXPECT_EQ(std::count(got.out.begin(), got.out.end(), '\n'), 1);
    return got.out.substr(0, got.out.find('\n'));
  }
  int chat(const std::string& bearer) const {
    return portal::curl(portal_.base_url() + "/v1/chat/completions",
                        {"-H", "Authorization: Bearer " + bearer, "-d", R"({"messages":[]})"})
        .status;
  }
  std::vector<std::string> paths() const {
    std::vector<std::string> out;
    for (const auto& request : portal_.requests()) {
      out.push_back(request.path.substr(request.path.rfind('/') + 1));
    }
    return out;
  }

  TempDir dir_;
  portal::Portal portal_;
};

TEST_F(SmokeTest, InitialMint) {
  seed(Seconds{86400});

  EXPECT_THAT(token(), StartsWith(portal::kAgentKeyPrefix));
  EXPECT_THAT(paths(), ElementsAre("agent-key"));
  EXPECT_EQ(portal_.requests()[0].bearer, portal::fingerprint("seed-oauth-FAKE"));
}

TEST_F(SmokeTest, ExpiringAccessTokenIsRefreshedThenMintedWith) {
  seed(Seconds{30});

  EXPECT_THAT(token(), StartsWith(portal::kAgentKeyPrefix));
  EXPECT_THAT(paths(), ElementsAre("token", "agent-key"));
  EXPECT_NE(portal_.requests()[1].bearer, portal::fingerprint("seed-oauth-FAKE"));
  EXPECT_EQ(portal_.token("seed-refresh-FAKE").state, "spent");
  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
}

TEST_F(SmokeTest, InferenceGetsTheAgentKey) {
  seed(Seconds{86400});

  EXPECT_EQ(chat(token()), 200);
  EXPECT_THAT(paths(), ElementsAre("agent-key", "completions"));
  EXPECT_EQ(chat(token()), 200) << "from the store, in the next process";
  EXPECT_THAT(paths(), ElementsAre("agent-key", "completions", "completions"));
}

TEST_F(SmokeTest, RejectedByInferenceIsMintedAnewAndTriedAgain) {
  seed(Seconds{86400});
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kInference;
  fault.status = 401;
  fault.body = R"({"error":{"code":"invalid_api_key","message":"401"}})";
  portal_.add_fault(fault);

  const std::string first = token();
  ASSERT_EQ(chat(first), 401);
  const std::string second = token({"--rejected", portal::fingerprint(first)});
  EXPECT_NE(second, first);
  EXPECT_EQ(chat(second), 200);
  EXPECT_THAT(paths(), ElementsAre("agent-key", "completions", "agent-key", "completions"));
}

TEST_F(SmokeTest, DeadGrantEndsBeforeTheMintAndSaysWhatToDo) {
  seed(Seconds{30});
  portal::Fault fault;
  fault.status = 400;
  fault.body =
      R"({"error":"invalid_grant","error_description":"refresh token is no longer valid"})";
  portal_.add_fault(fault);
  const Finished got = authdb({"token", "nous"});

  EXPECT_EQ(got.code, 4);
  EXPECT_EQ(got.out, "");
  EXPECT_THAT(got.err, HasSubstr("refresh token is no longer valid"));
  EXPECT_THAT(got.err, HasSubstr("Log in again"));
  EXPECT_THAT(got.err, Not(HasSubstr("seed-refresh-FAKE")));
  EXPECT_THAT(paths(), ElementsAre("token"));
}

TEST_F(SmokeTest, RefusedMintRefreshesOnceAndMintsOnceMore) {
  seed(Seconds{86400});
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kAgentKey;
  fault.status = 401;
  fault.body = R"({"error":"invalid_token"})";
  portal_.add_fault(fault);

  EXPECT_EQ(chat(token()), 200);
  EXPECT_THAT(paths(), ElementsAre("agent-key", "token", "agent-key", "completions"));
}

}  // namespace
}  // namespace authdb::cli
