// Whose grant an answer brings, where the access token, the id token and the answer itself may each
// have another name for the same account.
#include "oauth/grant_owner.h"

#include "bearer_fixture.h"
#include "store/rotation.h"

namespace authdb::oauth {
namespace {

using testing::HasSubstr;

class GrantOwnerTest : public BearerTest {
 protected:
  static std::string jwt(const std::string& subject) {
    return fake_jwt(R"({"sub":")" + subject + R"("})");
  }
  static std::string member(const std::string& name, const std::string& value) {
    return "\"" + name + "\":\"" + value + "\"";
  }

  void refresh(const std::string& body, bool complete = true) {
    Answer next = answered(200, body);
    next.complete = complete;
    http_script_->answers.push_back(std::move(next));
    source().refresh(uid_, "default", false);
    pass(Seconds{600});  // any rest is over
  }
  // The first answer of a login: everything is in it.
  void refresh_fully(const std::string& access, const std::string& id, const std::string& token) {
    refresh("{" + member("access_token", access) + "," + member("id_token", id) + "," +
            member("refresh_token", token) + "}");
  }
  void expect_current(const std::string& token) {
    EXPECT_EQ(text(open().unseal(uid_)->refresh_token), token);
    EXPECT_NE(open().find(uid_)->hold, Hold::conflict);
  }
  void expect_set_aside() { EXPECT_EQ(open().find(uid_)->hold, Hold::conflict); }

  Uid uid_ = add(jwt_seed());
};

TEST_F(GrantOwnerTest, P4_AnAnswerThatWasCutBeforeItsAccessTokenIsNotTakenForAnotherAccounts) {
  refresh_fully(jwt("pairwise-1"), jwt("user-1"), "rt-2");
  expect_current("rt-2");

  refresh("{" + member("id_token", jwt("user-1")) + "," + member("refresh_token", "rt-3") +
              R"(,"access_token":"ey)",
          /*complete=*/false);

  expect_current("rt-3");
}

TEST_F(GrantOwnerTest, P4_ASubjectBesideAnOpaqueTokenIsNotComparedWithTheOneOfAClaim) {
  refresh_fully(jwt("pairwise-1"), jwt("user-1"), "rt-2");
  refresh("{" + member("access_token", "opaque") + "," + member("refresh_token", "rt-3") + "," +
          member("sub", "internal-1") + "}");
  expect_current("rt-3");
  refresh("{" + member("access_token", jwt("pairwise-1")) + "," + member("refresh_token", "rt-4") +
          "}");

  expect_current("rt-4");
}

TEST_F(GrantOwnerTest, EachPlaceThatNamesAnotherAccountIsNoticed) {
  for (const auto& [name, theirs] :
       {std::pair("access_token", jwt("pairwise-2")), std::pair("id_token", jwt("user-2")),
        std::pair("sub", std::string("internal-2"))}) {
    Seed seed = jwt_seed();
    seed.refresh = "seed of " + std::string(name);
    uid_ = add(seed);
    refresh("{" + member("access_token", jwt("pairwise-1")) + "," +
            member("id_token", jwt("user-1")) + "," + member("sub", "internal-1") + "," +
            member("refresh_token", "rt of " + std::string(name)) + "}");
    expect_current("rt of " + std::string(name));
    refresh("{" + member(name, theirs) + "," + member("refresh_token", "theirs") + "}");

    expect_set_aside();
  }
}

TEST_F(GrantOwnerTest, AnAnswerThatNamesNobodyForgetsNobody) {
  refresh_fully("opaque-2", jwt("user-1"), "rt-2");
  refresh("{" + member("access_token", "opaque-3") + "," + member("refresh_token", "rt-3") + "}");
  expect_current("rt-3");
  refresh_fully("opaque-4", jwt("user-2"), "rt-4");

  expect_set_aside();
}

}  // namespace
}  // namespace authdb::oauth
