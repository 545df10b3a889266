// The rules by which a credential's state changes: values in, values out.
#include "store/state.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "store/rotation.h"

namespace authdb::test {
namespace {

constexpr Instant kNow = at_millis(1'790'000'000'000);
constexpr std::array kPhases = {Phase::idle, Phase::intent, Phase::answered, Phase::sent};
constexpr std::array kHolds = {Hold::none, Hold::conflict, Hold::uncertain, Hold::handed_over};

Sealed bytes_from(const std::string& text) { return {text.begin(), text.end()}; }

TokenHash hash_of(unsigned char byte) {
  TokenHash hash{};
  hash.fill(byte);
  return hash;
}

CredentialState state_in(Phase phase, Hold hold) {
  CredentialState state;
  state.revision = 5;
  state.family = 2;
  state.generation = 3;
  state.hash = hash_of(1);
  state.hold = hold;
  state.phase = phase;
  state.attempt.pid = 7;
  state.attempt.process = "test";
  state.attempt.started_at = kNow - Seconds(2);
  state.grant = bytes_from("grant");
  state.renewal.failures = 1;
  state.renewal.failing_since = kNow - Seconds(60);
  if (phase == Phase::answered) state.answer = bytes_from("answer");
  return state;
}

// `check` sees every phase and hold, before the event and after it.
template <typename Check>
void for_every_state(const Event& what, const Check& check) {
  for (const Phase phase : kPhases) {
    for (const Hold hold : kHolds) {
      const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                         "phase " + std::to_string(static_cast<int>(phase)) +
                                             ", hold " + std::to_string(static_cast<int>(hold)));
      const CredentialState before = state_in(phase, hold);
      check(before, decide(before, what, kNow));
    }
  }
}

// What no event but another grant touches: P5.
void expect_same_grant(const CredentialState& before, const CredentialState& after) {
  EXPECT_EQ(after.family, before.family);
  EXPECT_EQ(after.generation, before.generation);
  EXPECT_EQ(after.hash, before.hash);
  EXPECT_EQ(after.grant, before.grant);
  EXPECT_EQ(after.removed_at, before.removed_at);
}

Hold doubted(Hold hold) { return hold == Hold::none ? Hold::uncertain : hold; }

// ---- each event, in every phase and hold -------------------------------------------------------

TEST(DecideTest, AnAttemptThatBeginsChangesNothingButThePhaseAndItsNote) {
  AttemptNote note;
  note.pid = 8;
  note.boot_id = "boot";
  for_every_state(event::Began{note}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, Phase::intent);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.attempt.pid, 8);
    EXPECT_EQ(after.attempt.boot_id, "boot");
    EXPECT_EQ(after.renewal.failures, before.renewal.failures);
  });
}

TEST(DecideTest, P4_AnAnswerIsKeptBesideTheGrantAndItsSizeRemembered) {
  event::Answered answered{bytes_from("new answer"), 200, true, kNow};
  for_every_state(answered, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, Phase::answered);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.answer, bytes_from("new answer"));
    EXPECT_EQ(after.answer_size, after.answer.size());
    EXPECT_EQ(after.attempt.http_status, 200);
    EXPECT_TRUE(after.attempt.complete);
    EXPECT_EQ(after.attempt.started_at, kNow);
    EXPECT_EQ(after.attempt.pid, before.attempt.pid);
  });
}

TEST(DecideTest, P5_ALossIsCountedAndMakesAFreeTokenUncertain) {
  for_every_state(event::Lost{bytes_from("odd")}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, Phase::idle);
    EXPECT_EQ(after.hold, doubted(before.hold));
    EXPECT_EQ(after.answer, bytes_from("odd")) << "an answer that could not be read is kept";
    EXPECT_EQ(after.renewal.failures, 2);
    EXPECT_EQ(after.renewal.failing_since, before.renewal.failing_since);
    EXPECT_EQ(after.renewal.losses.count, 1);
    EXPECT_EQ(after.renewal.losses.first_at, before.attempt.started_at);
    EXPECT_EQ(after.renewal.losses.last_at, kNow) << "when the loss was found";
    EXPECT_EQ(after.renewal.losses.pid, 7);
    EXPECT_EQ(after.renewal.losses.process, "test");
  });
}

TEST(DecideTest, P5_AnUnspentTokenIsAsGoodAsBeforeAndRests) {
  for_every_state(event::Unspent{}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, Phase::idle);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.renewal.losses.count, 0);
    EXPECT_EQ(after.renewal.failures, 2);
    EXPECT_EQ(after.renewal.rest_since, kNow);
    EXPECT_EQ(after.renewal.rest_until, kNow + Seconds(2));
  });
}

TEST(DecideTest, P4_ANoForGoodEndsTheDoubtAndNoOtherHold) {
  for_every_state(event::Refused{}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, Phase::idle);
    EXPECT_EQ(after.hold, before.hold == Hold::uncertain ? Hold::none : before.hold);
    EXPECT_EQ(after.renewal.failures, 2);
    EXPECT_TRUE(after.renewal.refused);
    EXPECT_FALSE(after.renewal.rest_until) << "the server answered: there is nothing to wait for";
  });
}

TEST(DecideTest, P4_ANoForGoodLastsUntilAnotherGrant) {
  const CredentialState refused = decide(state_in(Phase::sent, Hold::none), event::Refused{}, kNow);
  for (const Event& what : std::vector<Event>{
           event::Began{}, event::Answered{}, event::Lost{}, event::Unspent{}, event::Ended{},
           event::Forgotten{}, event::OnHold{}, event::Doubted{}, event::Removed{kNow},
           event::Rejected{"x"}, event::Rested{}, event::MintFailed{}, event::Minted{}}) {
    EXPECT_TRUE(decide(refused, what, kNow).renewal.refused) << what.index();
  }
  EXPECT_FALSE(decide(refused, event::Moved{}, kNow).renewal.refused);
}

TEST(DecideTest, ASessionThatDidNotEndAfterAllIsAsBefore) {
  const CredentialState before = state_in(Phase::idle, Hold::none);
  const CredentialState ended = decide(before, event::Ended{}, kNow);
  EXPECT_FALSE(decide(ended, event::Ended{false}, kNow).renewal.refused);
}

TEST(DecideTest, P8_RejectedBearersAreCountedOnceEachAndNothingElseChanges) {
  for_every_state(event::Rejected{"one"}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, before.phase);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.answer, before.answer);
    EXPECT_EQ(after.renewal.failures, before.renewal.failures);
    EXPECT_EQ(after.renewal.rejected, "one");
    EXPECT_EQ(after.renewal.rejections, 1);
    EXPECT_EQ(decide(after, event::Rejected{"one"}, kNow).renewal.rejections, 1);
    EXPECT_EQ(decide(after, event::Rejected{"two"}, kNow).renewal.rejections, 2);
    EXPECT_EQ(decide(after, event::Rejected{"strange", false}, kNow).renewal.rejections, 1);
    EXPECT_EQ(decide(after, event::Rested{}, kNow).renewal.rejections, 0);
  });
}

TEST(DecideTest, P4_ASessionThatIsKnownToHaveEndedIsRefusedAndNothingElseChanges) {
  for_every_state(event::Ended{}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_TRUE(after.renewal.refused);
    EXPECT_EQ(after.phase, before.phase);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.answer, before.answer);
    EXPECT_EQ(after.renewal.failures, before.renewal.failures);
  });
}

TEST(DecideTest, AForgottenAttemptIsNobodysFailure) {
  for_every_state(event::Forgotten{}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, Phase::idle);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.renewal.failures, before.renewal.failures);
    EXPECT_EQ(after.renewal.losses.count, 0);
  });
}

TEST(DecideTest, P4_AMisdirectedAnswerIsKeptAndTheTokenThatItSpentIsNot) {
  for_every_state(event::Misdirected{}, [](const auto& before, const auto& after) {
    EXPECT_EQ(after.phase, Phase::idle);
    EXPECT_EQ(after.hold, Hold::conflict);
    EXPECT_FALSE(after.hash);
    EXPECT_EQ(after.answer, before.answer);
    EXPECT_EQ(after.grant, before.grant);
    EXPECT_EQ(after.generation, before.generation);
  });
}

TEST(DecideTest, P2_AnotherGrantTakesThePlaceOfAllThatConcernedTheLastOne) {
  const event::Moved moved{3, 4, hash_of(2), Hold::none, bytes_from("next grant")};
  for_every_state(moved, [](const auto&, const auto& after) {
    EXPECT_EQ(after.phase, Phase::idle);
    EXPECT_EQ(after.family, 3);
    EXPECT_EQ(after.generation, 4);
    EXPECT_EQ(after.hash, hash_of(2));
    EXPECT_EQ(after.hold, Hold::none);
    EXPECT_EQ(after.grant, bytes_from("next grant"));
    EXPECT_TRUE(after.answer.empty());
    EXPECT_EQ(after.renewal.failures, 0);
    EXPECT_FALSE(after.renewal.failing_since);
  });
}

TEST(DecideTest, AHoldIsTheOneThatIsAskedForAndNothingElseChanges) {
  for (const Hold hold : kHolds) {
    for_every_state(event::OnHold{hold}, [&](const auto& before, const auto& after) {
      expect_same_grant(before, after);
      EXPECT_EQ(after.phase, before.phase);
      EXPECT_EQ(after.hold, hold);
      EXPECT_EQ(after.answer, before.answer);
    });
  }
}

TEST(DecideTest, P4_ADoubtMakesAFreeTokenUncertainAndLiftsNoHold) {
  for_every_state(event::Doubted{}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, Phase::idle);
    EXPECT_EQ(after.hold, doubted(before.hold));
    EXPECT_EQ(after.renewal.losses.count, 0) << "nobody knows of a request";
  });
}

TEST(DecideTest, P2_ARemovalTakesTheTokenAndLiftsNoHoldAndAnAnswerThatWaitsStays) {
  for_every_state(event::Removed{kNow}, [](const auto& before, const auto& after) {
    const bool waits = before.phase == Phase::answered;
    EXPECT_EQ(after.phase, waits ? Phase::answered : Phase::idle);
    EXPECT_EQ(after.removed_at, kNow);
    EXPECT_FALSE(after.hash);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.generation, before.generation);
    EXPECT_EQ(after.answer, before.answer);
  });
}

TEST(DecideTest, AResetEndsTheRestAndTheRefusalsAndNothingElse) {
  for_every_state(event::Rested{}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, before.phase);
    EXPECT_EQ(after.hold, before.hold);
    EXPECT_EQ(after.renewal.failures, before.renewal.failures);
    EXPECT_FALSE(after.renewal.rest_since);
    EXPECT_FALSE(after.renewal.rest_until);
    EXPECT_EQ(after.renewal.refusals, 0);
    EXPECT_FALSE(after.renewal.refused_since);
  });
}

TEST(DecideTest, AMintThatFailedMakesItRestAndAMintEndsThatAndNeitherTouchesTheGrant) {
  for_every_state(event::MintFailed{Seconds{90}}, [](const auto& before, const auto& after) {
    expect_same_grant(before, after);
    EXPECT_EQ(after.phase, before.phase);
    EXPECT_EQ(after.answer, before.answer);
    EXPECT_EQ(after.renewal.failures, before.renewal.failures + 1);
    EXPECT_EQ(rests_until(after.renewal, kNow), kNow + Seconds{90});

    const CredentialState minted = decide(after, event::Minted{}, kNow);
    expect_same_grant(before, minted);
    EXPECT_EQ(minted.phase, before.phase);
    EXPECT_EQ(minted.renewal.failures, 0);
    EXPECT_FALSE(rests_until(minted.renewal, kNow));
    EXPECT_EQ(minted.renewal.losses.count, before.renewal.losses.count);
  });
}

TEST(DecideTest, EveryEventMakesAStateOfAnOlderFormatAStateOfOurs) {
  const std::vector<Event> all = {
      event::Began{},       event::Answered{}, event::Lost{},       event::Unspent{},
      event::Refused{},     event::Ended{},    event::Forgotten{},  event::Misdirected{},
      event::Moved{},       event::OnHold{},   event::Doubted{},    event::Removed{},
      event::Rejected{"x"}, event::Rested{},   event::MintFailed{}, event::Minted{}};
  ASSERT_EQ(all.size(), std::variant_size_v<Event>);
  CredentialState old = state_in(Phase::idle, Hold::none);
  old.legacy = true;
  for (std::size_t at = 0; at < all.size(); ++at) {
    EXPECT_EQ(all[at].index(), at);
    EXPECT_FALSE(decide(old, all[at], kNow).legacy);
    EXPECT_EQ(decide(old, all[at], kNow).revision, old.revision) << "given when it is written";
  }
}

// ---- a credential without a refresh token ------------------------------------------------------

TEST(DecideTest, WithoutARefreshTokenThereIsNothingToBeUncertainOf) {
  CredentialState state = state_in(Phase::sent, Hold::none);
  state.hash.reset();

  EXPECT_EQ(decide(state, event::Doubted{}, kNow).hold, Hold::none);
  const CredentialState lost = decide(state, event::Lost{}, kNow);
  EXPECT_EQ(lost.hold, Hold::none);
  EXPECT_EQ(lost.renewal.losses.count, 0);
}

// ---- counts ------------------------------------------------------------------------------------

TEST(DecideTest, TheFirstOfSeveralLossesIsRememberedAndTheLast) {
  CredentialState state = state_in(Phase::sent, Hold::none);
  state = decide(state, event::Lost{}, kNow);
  AttemptNote second;
  second.pid = 8;
  second.process = "other";
  second.started_at = kNow + Seconds(100);
  state = decide(state, event::Began{second}, kNow + Seconds(100));
  state = decide(state, event::Lost{}, kNow + Seconds(101));

  EXPECT_EQ(state.renewal.losses.count, 2);
  EXPECT_EQ(state.renewal.losses.first_at, kNow - Seconds(2));
  EXPECT_EQ(state.renewal.losses.pid, 7);
  EXPECT_EQ(state.renewal.losses.process, "test");
  EXPECT_EQ(state.renewal.losses.last_at, kNow + Seconds(101));
}

TEST(DecideTest, FailuresCountFromTheFirstOne) {
  CredentialState state;
  state = decide(state, event::Unspent{}, kNow);
  state = decide(state, event::Refused{}, kNow + Seconds(9));

  EXPECT_EQ(state.renewal.failures, 2);
  EXPECT_EQ(state.renewal.failing_since, kNow);
}

// ---- rests -------------------------------------------------------------------------------------

TEST(RestTest, EachFailureDoublesTheRestUpToAMinute) {
  CredentialState state;
  for (const int seconds : {1, 2, 4, 8, 16, 32, 60, 60, 60}) {
    state = decide(state, event::Unspent{}, kNow);
    EXPECT_EQ(state.renewal.rest_until, kNow + Seconds(seconds));
  }
  state.renewal.failures = 1'000'000;
  EXPECT_EQ(decide(state, event::Unspent{}, kNow).renewal.rest_until, kNow + Seconds(60));
}

TEST(RestTest, WhatTheServerAsksForCountsInsteadAndZeroIsOneSecond) {
  const auto rest = [](Seconds asked) {
    const auto state = decide(CredentialState(), event::Unspent{asked, false}, kNow);
    return *state.renewal.rest_until - kNow;
  };
  EXPECT_EQ(rest(Seconds(0)), Seconds(1));
  EXPECT_EQ(rest(Seconds(1)), Seconds(1));
  EXPECT_EQ(rest(Seconds(30)), Seconds(30));
  EXPECT_EQ(rest(Seconds(3600)), Seconds(3600));
  EXPECT_EQ(rest(Seconds(-5)), Seconds(1));
}

TEST(RestTest, ARestLastsUntilItsEndAndNotLonger) {
  Renewal renewal;
  EXPECT_EQ(rests_until(renewal, kNow), std::nullopt);
  renewal.rest_since = kNow;
  renewal.rest_until = kNow + Seconds(10);

  EXPECT_EQ(rests_until(renewal, kNow), kNow + Seconds(10));
  EXPECT_EQ(rests_until(renewal, kNow + Milliseconds(9'999)), kNow + Seconds(10));
  EXPECT_EQ(rests_until(renewal, kNow + Seconds(10)), std::nullopt);
}

TEST(RestTest, ARestThatAClockAheadOfOursHasSetDoesNotCount) {
  Renewal renewal;
  renewal.rest_since = kNow + Seconds(60);  // as much as two clocks may differ
  renewal.rest_until = kNow + Seconds(120);
  EXPECT_EQ(rests_until(renewal, kNow), renewal.rest_until);

  renewal.rest_since = kNow + Milliseconds(60'001);
  EXPECT_EQ(rests_until(renewal, kNow), std::nullopt);
}

TEST(RestTest, ACooldownThatAClockAheadOfOursHasSetDoesNotCount) {
  Health health;
  EXPECT_EQ(cools_until(health, kNow), std::nullopt);
  health.cooldown_until = kNow + Seconds(10);
  EXPECT_EQ(cools_until(health, kNow), kNow + Seconds(10)) << "nobody knows who set it";
  EXPECT_EQ(cools_until(health, kNow + Seconds(10)), std::nullopt);

  health.status_at = kNow + Seconds(60);
  EXPECT_EQ(cools_until(health, kNow), kNow + Seconds(10));
  health.status_at = kNow + Milliseconds(60'001);
  EXPECT_EQ(cools_until(health, kNow), std::nullopt);
}

TEST(RestTest, OnlyRefusalsThatGoOnForAnHourTellThatALoginIsNeeded) {
  CredentialState state;
  for (int i = 0; i < 4; ++i) state = decide(state, event::Unspent{std::nullopt, true}, kNow);
  EXPECT_FALSE(refused_for_long(state.renewal, kNow + std::chrono::hours(2))) << "four are few";
  state = decide(state, event::Unspent{std::nullopt, true}, kNow + std::chrono::minutes(30));
  EXPECT_EQ(state.renewal.refused_since, kNow);
  EXPECT_FALSE(refused_for_long(state.renewal, kNow + std::chrono::minutes(59)));
  EXPECT_TRUE(refused_for_long(state.renewal, kNow + std::chrono::hours(1)));
  EXPECT_FALSE(
      refused_for_long(decide(state, event::Rested{}, kNow).renewal, kNow + std::chrono::hours(1)));
}

TEST(RestTest, WhatAClockAheadHasCountedFromIsCountedFromNowOn) {
  const Instant ahead = kNow + std::chrono::hours(48);
  CredentialState state;
  for (int i = 0; i < 4; ++i) state = decide(state, event::Unspent{std::nullopt, true}, ahead);

  state = decide(state, event::Unspent{std::nullopt, true}, kNow);

  EXPECT_EQ(state.renewal.refused_since, kNow);
  EXPECT_EQ(state.renewal.failing_since, kNow);
  EXPECT_TRUE(refused_for_long(state.renewal, kNow + std::chrono::hours(1)));
}

TEST(RestTest, AReplayWaitsLongerAfterEachLoss) {
  EXPECT_EQ(replay_after(0), Seconds(0));
  EXPECT_EQ(replay_after(1), Seconds(0));
  EXPECT_EQ(replay_after(2), Seconds(5));
  EXPECT_EQ(replay_after(3), Seconds(15));
  EXPECT_EQ(replay_after(4), Seconds(60));
  EXPECT_EQ(replay_after(5), Seconds(300));
  EXPECT_EQ(replay_after(6), Seconds(300));
}

// ---- tables ------------------------------------------------------------------------------------

Side side_of(std::int64_t journal, std::int64_t row) {
  CredentialState state;
  state.revision = journal;
  Credential credential;
  credential.renewal.revision = row;
  return newer_side(state, credential);
}

TEST(NewerSideTest, OfTwoRevisionsTheHigherOneCounts) {
  EXPECT_EQ(side_of(0, 0), Side::same);
  EXPECT_EQ(side_of(7, 7), Side::same);
  EXPECT_EQ(side_of(8, 7), Side::journal);
  EXPECT_EQ(side_of(1, 0), Side::journal);
  EXPECT_EQ(side_of(700, 7), Side::journal);
  EXPECT_EQ(side_of(6, 7), Side::row);
  EXPECT_EQ(side_of(0, 1), Side::row);
}

TEST(NewerSideTest, P2_ARowThatWasWrittenBesideABlankJournalIsNewerThanOneThatWasBegun) {
  EXPECT_EQ(side_of(kFirstRevision, 0), Side::journal);
  EXPECT_EQ(side_of(kFirstRevision, 1), Side::row);
  EXPECT_EQ(side_of(kFirstRevision + 1, 1), Side::journal);
  EXPECT_EQ(side_of(1, kFirstRevision + 1), Side::row) << "2 is given to no other record";
  EXPECT_EQ(side_of(1, kFirstRevision), Side::row_and_lost);
}

TEST(NewerSideTest, P4_ARowThatIsMoreThanOneRevisionAheadHasLostItsJournal) {
  EXPECT_EQ(side_of(5, 7), Side::row_and_lost);
  EXPECT_EQ(side_of(0, 2), Side::row_and_lost);
  EXPECT_EQ(side_of(0, 700), Side::row_and_lost);
}

TEST(NewerSideTest, AJournalOfFormat1IsComparedByGenerations) {
  CredentialState old;
  old.legacy = true;
  old.revision = 100;  // numbers of its records: they mean nothing to a row
  Credential row;
  for (const auto& [journal, stands, side] :
       {std::tuple{3, 3, Side::same}, {4, 3, Side::journal}, {3, 4, Side::row}}) {
    old.generation = journal;
    row.generation = stands;
    EXPECT_EQ(newer_side(old, row), side);
  }
}

TEST(NewerSideTest, P4_AJournalOfFormat1BesideARowThatKnowsRevisionsWasPutBack) {
  CredentialState old;
  old.legacy = true;
  old.revision = 100;
  Credential row;
  row.renewal.revision = 1;
  EXPECT_EQ(newer_side(old, row), Side::row_and_lost);
}

TEST(RecoveryOfTest, EachPhaseHasItsRecovery) {
  CredentialState state;
  state.attempt.boot_id = "this boot";
  const auto of = [&](Phase phase, const std::string& boot_id) {
    state.phase = phase;
    return recovery_of(state, boot_id);
  };
  EXPECT_EQ(of(Phase::idle, "this boot"), Recovery::nothing);
  EXPECT_EQ(of(Phase::intent, "this boot"), Recovery::forget);
  EXPECT_EQ(of(Phase::sent, "this boot"), Recovery::call_lost);
  EXPECT_EQ(of(Phase::answered, "this boot"), Recovery::settle);
  EXPECT_EQ(of(Phase::idle, "the next boot"), Recovery::nothing);
  EXPECT_EQ(of(Phase::intent, "the next boot"), Recovery::call_lost) << "its mark may be missing";
  EXPECT_EQ(of(Phase::sent, "the next boot"), Recovery::call_lost);
  EXPECT_EQ(of(Phase::answered, "the next boot"), Recovery::settle);
}

TEST(RecoveryOfTest, P1_WhereNobodyKnowsWhichBootItIsAnIntentCountsAsSent) {
  CredentialState state;
  state.phase = Phase::intent;
  EXPECT_EQ(recovery_of(state, ""), Recovery::call_lost) << "nobody knew it then, either";
  EXPECT_EQ(recovery_of(state, "this boot"), Recovery::call_lost);
  state.attempt.boot_id = "this boot";
  EXPECT_EQ(recovery_of(state, ""), Recovery::call_lost);
}

TEST(StateOfTest, ARowAloneAmountsToAnIdleStateOfItsOwnRevision) {
  Credential row;
  row.family = 2;
  row.generation = 3;
  row.refresh_hash = hash_of(1);
  row.hold = Hold::handed_over;
  row.removed_at = kNow;
  row.renewal.revision = 9;
  row.renewal.failures = 4;

  const CredentialState state = state_of(row);

  EXPECT_EQ(state.revision, 9);
  EXPECT_EQ(state.family, 2);
  EXPECT_EQ(state.generation, 3);
  EXPECT_EQ(state.hash, row.refresh_hash);
  EXPECT_EQ(state.hold, Hold::handed_over);
  EXPECT_EQ(state.removed_at, kNow);
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.renewal.failures, 4);
  EXPECT_EQ(newer_side(state, row), Side::same);
  row.health.status = Status::dead;
  EXPECT_FALSE(state_of(row).renewal.refused) << "a verdict may be a report's, which can be reset";
}

}  // namespace
}  // namespace authdb::test
