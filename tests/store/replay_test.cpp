// The replay rule: a token whose answer never came is sent again only when nothing works any more,
// and whoever is told of it learns when it was sent and by which process.
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kReuse =
    R"({"error":"invalid_grant","error_description":"Refresh token reuse detected"})";

class ReplayTest : public StoreTest {
 protected:
  // A credential whose refresh got no answer while its bearer, which lives 900 s, was 800 s old.
  Uid lose_an_answer(Store& store) {
    const Uid uid = add_login(store);
    advance(Seconds(800));
    will({.silence = true});
    EXPECT_TRUE(rotate(store, uid, {}));
    return uid;
  }
  void bearer_ends() { advance(Seconds(101)); }
  std::string me() { return "process " + std::to_string(::getpid()) + " ("; }
};

TEST_F(ReplayTest, AForcedRefreshMeanwhileSaysWhoLostItAndWhenItIsSentAgain) {
  Store store = open();
  const Uid uid = lose_an_answer(store);
  const Instant lost_at = now();
  advance(Seconds(30));

  const auto refused = rotate(store, uid, {.force = true});

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::try_later);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr(me()), HasSubstr(format_iso(lost_at))));
  EXPECT_THAT(
      refused.error().hint,
      AllOf(HasSubstr("again from " + format_iso(lost_at + Seconds(100))), HasSubstr("--replay")));
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(ReplayTest, ALiveAgentKeyHoldsAReplayBackAsWell) {
  Store store = open();
  const Uid uid = lose_an_answer(store);
  bearer_ends();
  auto locked = LockedCredential::acquire(store, uid, {Milliseconds(0)});
  ASSERT_TRUE(locked);
  AgentKey key;
  key.secret = Secret::copy_of("agent-key-1");
  key.expires_at = now() + Seconds(600);
  ASSERT_TRUE(locked->keep_agent_key(key, locked->begin_attempt(AttemptKind::mint, "")));

  const auto refused = locked->rotate({});

  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().hint, HasSubstr(format_iso(now() + Seconds(600))));
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(ReplayTest, TheGraceOfAProviderCountsFromTheFirstUse) {
  script_->policy.reuse_grace = Seconds(10);
  Store store = open();
  const Uid uid = lose_an_answer(store);
  advance(Seconds(6));
  will({.silence = true});
  ASSERT_TRUE(rotate(store, uid, {}));
  ASSERT_EQ(sent().size(), 2u);
  advance(Seconds(6));  // 6 s after the second use, 12 s after the first

  EXPECT_EQ(rotate(store, uid, {})->action, Action::cached);
  EXPECT_EQ(sent().size(), 2u);
}

TEST_F(ReplayTest, InsideTheGraceReplaysBackOffToo) {
  script_->policy.reuse_grace = Seconds(60);
  Store store = open();
  const Uid uid = lose_an_answer(store);
  for (int i = 0; i < 20; ++i) {
    will({.silence = true});
    EXPECT_EQ(text(rotate(store, uid, {})->held.access_token), "access-a-1");
  }

  EXPECT_EQ(sent().size(), 2u) << "a server in trouble got a storm";
}

TEST_F(ReplayTest, AClockSteppedBackDoesNotStretchTheBackOff) {
  Store store = open();
  const Uid uid = lose_an_answer(store);
  bearer_ends();
  for (int i = 0; i < 3; ++i) {
    will({.silence = true});
    ASSERT_FALSE(rotate(store, uid, {}));
    advance(Seconds(60));
  }
  const std::size_t before = sent().size();
  will({.silence = true});
  ASSERT_FALSE(rotate(store, uid, {}));
  ASSERT_EQ(sent().size(), before + 1);
  ASSERT_FALSE(rotate(store, uid, {}));
  ASSERT_EQ(sent().size(), before + 1) << "no back-off";

  // An hour back; whether the old bearer lives again by that clock is another question.
  const std::string rejected = store.find(uid)->access_fingerprint;
  advance(-Milliseconds(3'600'000));
  will({.silence = true});
  ASSERT_FALSE(rotate(store, uid, {.rejected = rejected}));
  EXPECT_EQ(sent().size(), before + 2);
  ASSERT_FALSE(rotate(store, uid, {.rejected = rejected}));
  EXPECT_EQ(sent().size(), before + 2) << "each call sends";
}

TEST_F(ReplayTest, ARejectedReplayBlamesTheFirstLostAnswerAndCountsTheOthers) {
  Store store = open();
  const Uid uid = lose_an_answer(store);
  const Instant lost_at = now();
  bearer_ends();
  will({.silence = true});
  ASSERT_FALSE(rotate(store, uid, {}));
  const Instant again_at = now();
  advance(Seconds(6));
  will({.status = 400, .body = kReuse});

  const auto dead = rotate(store, uid, {});

  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, Errc::login_needed);
  EXPECT_THAT(dead.error().hint,
              AllOf(HasSubstr("our own lost answer, not an outsider"), HasSubstr(me()),
                    HasSubstr(format_iso(lost_at)),
                    HasSubstr("sent 2 times, the last time at " + format_iso(again_at)),
                    Not(HasSubstr("something else has a copy"))));
}

TEST_F(ReplayTest, WhoAsksAfterARejectedReplayIsToldTheSame) {
  Store store = open();
  const Uid uid = lose_an_answer(store);
  bearer_ends();
  will({.status = 400, .body = kReuse});
  ASSERT_FALSE(rotate(store, uid, {}));

  EXPECT_THAT(store.find(uid)->health.error_message,
              AllOf(HasSubstr("our own lost answer"), HasSubstr(me())));
}

TEST_F(ReplayTest, A429ToAReplayLeavesTheFirstAttemptUncertain) {
  Store store = open();
  const Uid uid = lose_an_answer(store);
  bearer_ends();
  will({.status = 429, .body = "slow down"});

  ASSERT_FALSE(rotate(store, uid, {}));

  EXPECT_EQ(store.find(uid)->hold, Hold::uncertain);
}

TEST_F(ReplayTest, ANewLoginEndsTheUncertainty) {
  Store store = open();
  const Uid uid = lose_an_answer(store);
  CredentialChange fresh = login("a", "access-b-1", "refresh-b-1", now());
  fresh.uid = uid;
  fresh.identity.reset();
  fresh.bindings.clear();
  fresh.planned_against = store.find(uid)->generation;
  fresh.new_family = true;
  add(store, std::move(fresh));
  will(grants("refresh-b-2", "access-b-2"));

  const auto rotated = rotate(store, uid, {.force = true});

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_EQ(sent().back(), "refresh-b-1");
  EXPECT_EQ(store.find(uid)->hold, Hold::none);
}

}  // namespace
}  // namespace authdb::test
