// Logging out of a real server: the simulator, as an issuer that a user's own file names.
#include "oauth/revocation.h"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "bearer_fixture.h"
#include "store/file_lock.h"
#include "tools/portal/portal.h"

namespace authdb::oauth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class RevocationTest : public BearerTest {
 protected:
  explicit RevocationTest(const std::string& secret = {}) : portal_(with_secret(secret)) {
    portal_.freeze();
    portal_.set_now_ms(now_);
    http_ = curl_transport();
    provider_ = "acme";
    describe(R"("issuer":")" + portal_.base_url() + R"(")");
    const portal::Grant grant = portal_.create_grant();
    family_ = grant.family;
    Seed seed = jwt_seed();
    seed.provider = "acme";
    seed.access = grant.access_token;
    seed.refresh = grant.refresh_token;
    seed.expires_in = Seconds{900};
    uid_ = add(seed);
  }
  static portal::Options with_secret(const std::string& secret) {
    portal::Options options;
    options.client_secret = secret;
    options.clock_ms = to_millis(kStart);
    return options;
  }
  void describe(const std::string& fields) {
    const auto file = directory_ / "providers.d" / "acme.json";
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << R"({"id":"acme","client_id":"my-client",)" << fields << "}";
    std::filesystem::permissions(file, std::filesystem::perms(0600));
    registry_ = ProviderRegistry::load(file.parent_path());
    ASSERT_THAT(registry_.problems(), testing::IsEmpty());
  }
  LoggedOut log_out(bool keep_remote = false) {
    auto store = open();
    const auto done = oauth::log_out(store, parts(), uid_, "default", keep_remote);
    EXPECT_TRUE(done) << done.error().message;
    return done.value_or(LoggedOut{});
  }
  void take_back() {
    CredentialChange back;
    back.uid = uid_;
    back.planned_against = 1;
    back.restore = true;
    Change change;
    change.credentials.push_back(std::move(back));
    ASSERT_TRUE(open().apply(change));
  }
  bool revoked() const { return portal_.counters().families.at(family_).revoked; }
  // Of the ledger's revocations: outcome and HTTP status.
  std::string ledger() {
    const auto rows = open().query(
        "SELECT group_concat(outcome || ' ' || coalesce(http_status, '-')) FROM attempt "
        "WHERE kind = 'revoke'");
    return std::get<std::string>(rows->rows.at(0).at(0));
  }

  portal::Portal portal_;
  std::string family_;
  Uid uid_;
};

TEST_F(RevocationTest, EndsTheSessionAtTheServerAndSaysSoInTheLedger) {
  EXPECT_EQ(log_out().remote, Remote::revoked);

  EXPECT_TRUE(revoked());
  EXPECT_EQ(open().find(uid_).error().code, Errc::not_found);
  EXPECT_EQ(ledger(), "committed 200");
}

TEST_F(RevocationTest, WhatComesBackAfterItIsDead) {
  log_out();
  take_back();

  const auto row = open().find(uid_);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->health.status, Status::dead);
  EXPECT_EQ(row->health.error_reason, "revoked");
  EXPECT_EQ(bearer().error().code, Errc::login_needed);
}

TEST_F(RevocationTest, P8_ThatItIsOverIsKnownToTheJournalWhereAnOlderDatabaseIsPutBack) {
  namespace fs = std::filesystem;
  const fs::path database = directory_ / "store" / "auth.db";
  fs::copy_file(database, directory_ / "older.db");
  log_out();
  take_back();
  for (const char* end : {"-wal", "-shm"}) fs::remove(database.string() + end);
  fs::copy_file(directory_ / "older.db", database, fs::copy_options::overwrite_existing);

  const auto store = open();
  const auto lock = LockedCredential::acquire(store, uid_, {.wait = store.lock_wait()});

  ASSERT_TRUE(lock) << lock.error().message;
  EXPECT_EQ(lock->held().row.health.status, Status::dead);
}

TEST_F(RevocationTest, P1_ATokenThatIsSpentIsNotSentToBeRevoked) {
  http_ = http_script_;
  describe(R"("token_endpoint":"http://127.0.0.1:1/token",)"
           R"("revocation_endpoint":"http://127.0.0.1:1/revoke")");
  answer(200, R"({"access_token":"opaque","refresh_token":"rt-theirs",)"
              R"("account_id":"somebody-else"})");
  {
    auto store = open();
    CredentialChange known;
    known.uid = uid_;
    known.planned_against = 1;
    known.new_family = true;
    known.origin = Origin::login;
    known.grant.emplace();
    known.grant->access_token = Secret::copy_of("opaque-1");
    known.grant->refresh_token = Secret::copy_of("rt-ours");
    known.grant->account = "me";
    Change change;
    change.credentials.push_back(std::move(known));
    ASSERT_TRUE(store.apply(change));
  }
  EXPECT_FALSE(source().refresh(uid_, "default", false));
  ASSERT_EQ(open().find(uid_)->hold, Hold::conflict);
  const auto asked = http_script_->seen.size();

  EXPECT_EQ(log_out().remote, Remote::failed);
  EXPECT_EQ(http_script_->seen.size(), asked) << "nothing was sent";
}

TEST_F(RevocationTest, KeptSessionLivesOnAndComesBackAlive) {
  EXPECT_EQ(log_out(true).remote, Remote::kept);
  EXPECT_FALSE(revoked());
  EXPECT_EQ(portal_.requests().size(), 0U);

  take_back();
  pass(Seconds{900});
  portal_.set_now_ms(now_);
  EXPECT_EQ(bearer()->action, Action::refreshed);
}

TEST_F(RevocationTest, ServerThatFailsIsToldOfAndTheCredentialIsGoneAllTheSame) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kRevoke;
  fault.status = 503;
  portal_.add_fault(fault);
  const LoggedOut done = log_out();

  EXPECT_EQ(done.remote, Remote::failed);
  EXPECT_THAT(done.message, HasSubstr("status 503"));
  EXPECT_EQ(open().find(uid_).error().code, Errc::not_found);
  EXPECT_EQ(ledger(), "rejected 503");

  take_back();
  EXPECT_EQ(open().find(uid_)->health.status, Status::ok);
  EXPECT_EQ(log_out().remote, Remote::revoked);
}

TEST_F(RevocationTest, P8_ANoThatComesWith200IsNoEndAndAPageTellsNothing) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kRevoke;
  fault.status = 200;
  fault.body = R"({"error":"temporarily_unavailable"})";
  portal_.add_fault(fault);
  EXPECT_EQ(log_out().remote, Remote::failed);
  EXPECT_EQ(ledger(), "rejected 200");

  take_back();
  fault.body = "<html>Please wait</html>";
  portal_.add_fault(fault);
  EXPECT_EQ(log_out().remote, Remote::failed);
  EXPECT_EQ(ledger(), "rejected 200,uncertain 200");
}

TEST_F(RevocationTest, LostAnswerIsUncertain) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kRevoke;
  fault.drop = portal::When::kAfter;
  portal_.add_fault(fault);

  EXPECT_EQ(log_out().remote, Remote::failed);
  EXPECT_EQ(ledger(), "uncertain -");

  take_back();
  EXPECT_EQ(open().find(uid_)->health.status, Status::dead) << "it may be over";
  pass(Seconds{900});
  portal_.set_now_ms(now_);
  EXPECT_EQ(bearer().error().code, Errc::login_needed);
}

// Is gone as soon as its request may begin.
class DyingHttp final : public HttpTransport {
 public:
  Answer perform(const HttpRequest& request, const std::function<bool()>& sent) override {
    if (request.method == "POST" && sent()) ::_exit(0);
    return curl_->perform(request, sent);
  }

 private:
  std::shared_ptr<HttpTransport> curl_ = curl_transport();
};

TEST_F(RevocationTest, P8_WhoDiesWhileItIsSentLeavesACredentialThatIsDeadIfItIsTakenBack) {
  const pid_t child = ::fork();
  if (child == 0) {
    http_ = std::make_shared<DyingHttp>();
    log_out();
    ::_exit(1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);

  take_back();

  EXPECT_EQ(open().find(uid_)->health.status, Status::dead);
}

TEST_F(RevocationTest, P5_ANoThatTheDatabaseCouldNotTakeLeavesTheLoginAlive) {
  http_ = http_script_;
  describe(R"("token_endpoint":"http://127.0.0.1:1/token",)"
           R"("revocation_endpoint":"http://127.0.0.1:1/revoke")");
  class Locking final : public HttpTransport {
   public:
    explicit Locking(std::string gate) : gate_(std::move(gate)) {}
    Answer perform(const HttpRequest&, const std::function<bool()>& sent) override {
      if (!sent()) return {};
      outsider_ = std::move(**FileLock::acquire(gate_, Milliseconds(0)));
      return answered(503, "not now");
    }

   private:
    std::string gate_;
    std::optional<FileLock> outsider_;
  };
  http_ = std::make_shared<Locking>((directory_ / "store" / "auth.db.d" / "gate").string());
  {
    StoreOptions impatient = options();
    impatient.lock_wait = Milliseconds(20);
    auto store = *Store::open(impatient, OpenMode::use);
    ASSERT_EQ(oauth::log_out(store, parts(), uid_, "default", false)->remote, Remote::failed);
  }
  http_ = http_script_;

  take_back();

  EXPECT_EQ(open().find(uid_)->health.status, Status::ok);
}

TEST_F(RevocationTest, AServersErrorLeavesItOpenWhatItHasDone) {
  portal::Fault fault;
  fault.endpoint = portal::Endpoint::kRevoke;
  fault.status = 502;
  portal_.add_fault(fault);

  EXPECT_EQ(log_out().remote, Remote::failed);
  EXPECT_EQ(ledger(), "uncertain 502");
  take_back();
  EXPECT_EQ(open().find(uid_)->health.status, Status::dead);
}

TEST_F(RevocationTest, ProviderThatOffersNoneIsNotAsked) {
  describe(R"("token_endpoint":")" + portal_.base_url() + R"(/oauth/token")");

  EXPECT_EQ(log_out().remote, Remote::not_offered);
  EXPECT_EQ(portal_.requests().size(), 0U);
}

TEST_F(RevocationTest, IssuerThatIsAwayHoldsNothingUp) {
  portal_.stop();

  EXPECT_EQ(log_out().remote, Remote::failed);
  EXPECT_EQ(open().find(uid_).error().code, Errc::not_found);
}

TEST_F(RevocationTest, NewestTokenIsTheOneThatIsRevoked) {
  pass(Seconds{900});
  portal_.set_now_ms(now_);
  ASSERT_TRUE(bearer());
  const auto newest = fingerprint(open().unseal(uid_)->refresh_token);
  log_out();

  EXPECT_TRUE(revoked());
  const auto row = open().query("SELECT fingerprint FROM rotation WHERE kind = 'revoke'");
  EXPECT_EQ(std::get<std::string>(row->rows.at(0).at(0)), newest);
}

TEST_F(RevocationTest, TokenThatAnotherToolSpendsNowIsLeftToIt) {
  CredentialChange held;
  held.uid = uid_;
  held.planned_against = 1;
  held.hold = Hold::handed_over;
  Change change;
  change.credentials.push_back(std::move(held));
  ASSERT_TRUE(open().apply(change));

  EXPECT_EQ(log_out().remote, Remote::failed);
  EXPECT_FALSE(revoked());
}

// ---- Standard servers, by a file alone ----------------------------------------------------------

class ConfidentialClient : public RevocationTest {
 protected:
  static constexpr const char* kSecret = "s3cr+t/ of:it";
  ConfidentialClient() : RevocationTest(kSecret) { variables_["ACME_SECRET"] = kSecret; }
  void describe_client(const std::string& auth) {
    describe(R"("issuer":")" + portal_.base_url() + R"(","client_auth":")" + auth +
             R"(","client_secret_env":"ACME_SECRET")");
  }
  void make_due() {
    pass(Seconds{900});
    portal_.set_now_ms(now_);
  }
};

TEST_F(ConfidentialClient, ProvesItselfInTheHeaderAndRotates) {
  describe_client("basic");
  make_due();
  const auto got = bearer();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->action, Action::refreshed);
  make_due();
  EXPECT_EQ(bearer()->action, Action::refreshed) << "with the token that the first one brought";
  EXPECT_EQ(portal_.counters().totals.reuse_detected, 0);
}

TEST_F(ConfidentialClient, ProvesItselfInTheBody) {
  describe_client("post");
  make_due();
  EXPECT_EQ(text(bearer()).find("error"), std::string::npos) << text(bearer());
}

TEST_F(ConfidentialClient, WrongSecretIsNoVerdictOnTheLogin) {
  describe_client("basic");
  variables_["ACME_SECRET"] = "wrong-SECRET-value";
  make_due();
  const auto got = bearer();

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::try_later);
  EXPECT_THAT(got.error().message, HasSubstr("invalid_client"));
  EXPECT_THAT(got.error().message, HasSubstr("client_secret_env"));
  EXPECT_THAT(got.error().message, Not(HasSubstr("wrong-SECRET-value")));
  EXPECT_EQ(open().find(uid_)->health.status, Status::ok);
  variables_["ACME_SECRET"] = kSecret;
  pass(Seconds{1});  // so long the endpoint rests
  EXPECT_TRUE(bearer());
}

TEST_F(ConfidentialClient, WithoutItsSecretNothingIsSent) {
  describe_client("basic");
  variables_.clear();
  make_due();

  EXPECT_THAT(text(bearer()), HasSubstr("ACME_SECRET"));
  for (const auto& request : portal_.requests()) EXPECT_NE(request.path, "/oauth/token");
}

}  // namespace
}  // namespace authdb::oauth
