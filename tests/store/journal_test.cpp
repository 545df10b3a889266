// The journal by itself: a record is a whole state, two slots hold two of them in turn, and the
// mark tells whether the token of an intent may have left.
#include "store/journal.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "store/journal_format.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using journal_format::kFileSize;
using journal_format::kMarkAt;
using journal_format::kSlotSize;
using ::testing::HasSubstr;

constexpr const char* kUid = "abcdefghijkl";

Sealed bytes_from(const std::string& text) { return {text.begin(), text.end()}; }

Renewal some_renewal() {
  Renewal renewal;
  renewal.losses = {3, kNoon + Seconds(1), 4, "loser", kNoon + Seconds(2)};
  renewal.failures = 5;
  renewal.failing_since = kNoon + Seconds(3);
  renewal.rest_since = kNoon + Seconds(4);
  renewal.rest_until = kNoon + Seconds(5);
  renewal.refusals = 6;
  renewal.refused_since = kNoon + Seconds(6);
  renewal.refused = true;
  renewal.rejected = "sha256:0123456789abcdef";  // all that the field takes
  renewal.rejections = 3;
  return renewal;
}

AttemptNote some_attempt() {
  AttemptNote note;
  note.pid = 7;
  note.boot_id = "6a4b1c1e-5f5e-4f0a-9a35-0123456789ab";  // all that the field takes
  note.process = "test";
  note.profile = "default";
  note.started_at = kNoon + Seconds(7);
  note.rescue = "/run/user/1000/authdb";
  note.http_status = 200;
  note.complete = true;
  return note;
}

// No field has the value that it has where nothing was said.
CredentialState full_state(Phase phase = Phase::answered) {
  CredentialState state;
  state.revision = 10;
  state.family = 2;
  state.generation = 9;
  state.hash.emplace().fill(0xab);
  state.hold = Hold::uncertain;
  state.removed_at = kNoon;
  state.phase = phase;
  state.renewal = some_renewal();
  state.attempt = some_attempt();
  state.answer_size = 8;
  state.grant = bytes_from("the grant");
  state.answer = bytes_from("the answer");
  return state;
}

void expect_same(const Losses& read, const Losses& written) {
  EXPECT_EQ(read.count, written.count);
  EXPECT_EQ(read.first_at, written.first_at);
  EXPECT_EQ(read.pid, written.pid);
  EXPECT_EQ(read.process, written.process);
  EXPECT_EQ(read.last_at, written.last_at);
}

void expect_same(const Renewal& read, const Renewal& written) {
  expect_same(read.losses, written.losses);
  EXPECT_EQ(read.failures, written.failures);
  EXPECT_EQ(read.failing_since, written.failing_since);
  EXPECT_EQ(read.rest_since, written.rest_since);
  EXPECT_EQ(read.rest_until, written.rest_until);
  EXPECT_EQ(read.refusals, written.refusals);
  EXPECT_EQ(read.refused_since, written.refused_since);
  EXPECT_EQ(read.refused, written.refused);
  EXPECT_EQ(read.rejected, written.rejected);
  EXPECT_EQ(read.rejections, written.rejections);
}

void expect_same(const AttemptNote& read, const AttemptNote& written) {
  EXPECT_EQ(read.pid, written.pid);
  EXPECT_EQ(read.boot_id, written.boot_id);
  EXPECT_EQ(read.process, written.process);
  EXPECT_EQ(read.profile, written.profile);
  EXPECT_EQ(read.started_at, written.started_at);
  EXPECT_EQ(read.rescue, written.rescue);
  EXPECT_EQ(read.http_status, written.http_status);
  EXPECT_EQ(read.complete, written.complete);
}

void expect_same(const CredentialState& read, const CredentialState& written) {
  EXPECT_EQ(read.revision, written.revision);
  EXPECT_FALSE(read.legacy);
  EXPECT_EQ(read.family, written.family);
  EXPECT_EQ(read.generation, written.generation);
  EXPECT_EQ(read.hash, written.hash);
  EXPECT_EQ(read.hold, written.hold);
  EXPECT_EQ(read.removed_at, written.removed_at);
  EXPECT_EQ(read.phase, written.phase);
  EXPECT_EQ(read.answer_size, written.answer_size);
  EXPECT_EQ(read.grant, written.grant);
  EXPECT_EQ(read.answer, written.answer);
  expect_same(read.renewal, written.renewal);
  expect_same(read.attempt, written.attempt);
}

class JournalTest : public ::testing::Test {
 protected:
  JournalPlace place(const std::string& store_id = "store", const Uid& uid = kUid) {
    return {dir_.path(), store_id, uid};
  }
  Result<Journal> acquire(const JournalPlace& where) {
    return Journal::acquire(where, Milliseconds(0), {1, kNoon, "host", "test"});
  }
  Journal acquire() {
    auto journal = acquire(place());
    EXPECT_TRUE(journal) << (journal ? "" : journal.error().message);
    return std::move(*journal);
  }
  fs::path path() { return place().path(); }
  bool has(const std::string& text) { return file_bytes(path()).find(text) != std::string::npos; }

  CredentialState idle(const std::string& grant = "grant 1") {
    CredentialState state = full_state(Phase::idle);
    state.revision = 0;  // the next one
    state.grant = bytes_from(grant);
    state.answer.clear();
    return state;
  }
  CredentialState intent() {
    CredentialState state = idle();
    state.phase = Phase::intent;
    return state;
  }

  void damage(off_t at, std::size_t count = 1) {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at) << std::string(count, 'X');
  }
  // A byte of the record that was written last, or of the one before.
  void damage_slot(int slot) { damage(journal_format::slot_at(slot) + 40); }

  void leave_idle_and_then_an_intent(bool sent = false) {
    Journal journal = acquire();
    ASSERT_TRUE(journal.write(idle(), /*durable=*/true));    // slot 0, revision 1
    ASSERT_TRUE(journal.write(intent(), /*durable=*/true));  // slot 1, revision 2
    if (!sent) return;
    ASSERT_TRUE(journal.mark_sent());
  }

  TemporaryDirectory dir_;
};

TEST_F(JournalTest, ANewJournalIsCompletePreallocatedAndPrivate) {
  const Journal journal = acquire();

  EXPECT_EQ(journal.state().revision, 0);
  EXPECT_FALSE(journal.lost_its_last_word());
  struct stat st {};
  ASSERT_EQ(::stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_size, 32768);
  EXPECT_GE(st.st_blocks * 512, 32768);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

// ---- records -----------------------------------------------------------------------------------

TEST_F(JournalTest, EveryFieldOfARecordIsReadBack) {
  ASSERT_TRUE(acquire().write(full_state(), /*durable=*/true));

  expect_same(acquire().state(), full_state());
}

TEST_F(JournalTest, EveryFieldThatSaysNothingIsReadBackSayingNothing) {
  CredentialState blank;
  blank.revision = 1;
  ASSERT_TRUE(acquire().write(blank, /*durable=*/true));

  expect_same(acquire().state(), blank);
}

TEST_F(JournalTest, EveryPhaseAndHoldIsReadBack) {
  for (const Phase phase : {Phase::idle, Phase::intent, Phase::answered, Phase::sent}) {
    for (const Hold hold : {Hold::none, Hold::conflict, Hold::uncertain, Hold::handed_over}) {
      CredentialState state = full_state(phase == Phase::sent ? Phase::intent : phase);
      state.hold = hold;
      {
        Journal journal = acquire();
        ASSERT_TRUE(journal.write(state, /*durable=*/true));
        ASSERT_TRUE(phase != Phase::sent || journal.mark_sent());
      }
      EXPECT_EQ(acquire().state().phase, phase);
      EXPECT_EQ(acquire().state().hold, hold);
    }
  }
}

TEST_F(JournalTest, TheNewestWholeRecordCounts) {
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(acquire().write(idle("grant " + std::to_string(i)), /*durable=*/false));
    const Journal journal = acquire();
    EXPECT_EQ(journal.state().grant, bytes_from("grant " + std::to_string(i)));
    EXPECT_EQ(journal.state().revision, i);
  }
  damage_slot(0);  // the fifth one's

  const Journal journal = acquire();

  EXPECT_EQ(journal.state().grant, bytes_from("grant 4"));
}

TEST_F(JournalTest, ARevisionThatIsAheadIsTakenAndOneThatIsBehindIsNot) {
  Journal journal = acquire();
  CredentialState ahead = idle();
  ahead.revision = 7;
  ASSERT_TRUE(journal.write(ahead, /*durable=*/false));
  ASSERT_TRUE(journal.write(idle(), /*durable=*/false));

  EXPECT_EQ(journal.state().revision, 8);
}

TEST_F(JournalTest, ARecordThatTheDiskTakesIsTheStateAndNothingElseIsTold) {
  leave_idle_and_then_an_intent();

  const auto seen = Journal::look(place());

  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_EQ(seen->state().phase, Phase::intent);
  EXPECT_EQ(seen->state().revision, 2);
}

TEST_F(JournalTest, P4_AnIntentWhoseAnswerWouldBeBehindTheLimitForFilesIsRefused) {
  Journal journal = acquire();
  ASSERT_TRUE(journal.write(idle(), /*durable=*/true));
  struct rlimit before {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const struct rlimit few { 22 * 1024, before.rlim_max };
  ::setrlimit(RLIMIT_FSIZE, &few);

  const auto written = journal.write(intent(), /*durable=*/true);

  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_FALSE(written) << "there would be no room for its answer";
  EXPECT_EQ(journal.state().phase, Phase::idle);
}

TEST_F(JournalTest, WhoOnlyLooksCannotWrite) {
  leave_idle_and_then_an_intent();
  const std::string before = file_bytes(path());
  auto seen = Journal::look(place());

  EXPECT_FALSE(seen->write(idle(), /*durable=*/false));
  EXPECT_FALSE(seen->mark_sent());

  EXPECT_EQ(file_bytes(path()), before);
}

TEST_F(JournalTest, WhereThereIsNoJournalLookingMakesNone) {
  EXPECT_EQ(Journal::look(place()).error().code, Errc::not_found);
  EXPECT_FALSE(fs::exists(path()));
}

// ---- the mark ----------------------------------------------------------------------------------

TEST_F(JournalTest, TheMarkTellsAnIntentThatWasSentFromOneThatWasNot) {
  leave_idle_and_then_an_intent();
  EXPECT_EQ(acquire().state().phase, Phase::intent);

  ASSERT_TRUE(acquire().mark_sent());

  EXPECT_EQ(acquire().state().phase, Phase::sent);
  EXPECT_EQ(acquire().state().grant, bytes_from("grant 1")) << "the grant is in the intent as well";
}

TEST_F(JournalTest, AMarkOfAnEarlierIntentSaysNothingOfALaterOne) {
  leave_idle_and_then_an_intent(/*sent=*/true);
  ASSERT_TRUE(acquire().write(idle(), /*durable=*/false));

  EXPECT_EQ(acquire().state().phase, Phase::idle);
  ASSERT_TRUE(acquire().write(intent(), /*durable=*/true));
  EXPECT_EQ(acquire().state().phase, Phase::intent);
}

TEST_F(JournalTest, AnIntentWhoseMarkIsDamagedCountsAsSent) {
  leave_idle_and_then_an_intent();
  damage(kMarkAt);

  EXPECT_EQ(acquire().state().phase, Phase::sent);
}

TEST_F(JournalTest, P4_AnIntentWhoseSlotIsDamagedIsNotForgotten) {
  leave_idle_and_then_an_intent(/*sent=*/true);
  damage_slot(1);

  Journal journal = acquire();

  EXPECT_TRUE(journal.lost_its_last_word());
  EXPECT_EQ(journal.state().revision, 1);
  EXPECT_EQ(journal.newest_revision(), 2);
  ASSERT_TRUE(journal.write(idle(), /*durable=*/false));
  EXPECT_EQ(journal.state().revision, 3) << "no later one may be taken for the lost one";
  EXPECT_FALSE(acquire(place()).has_value()) << "it is locked";
}

TEST_F(JournalTest, WhatWasLostIsToldUntilARecordIsWritten) {
  leave_idle_and_then_an_intent();
  damage_slot(1);
  EXPECT_TRUE(acquire().lost_its_last_word());
  EXPECT_TRUE(acquire().lost_its_last_word()) << "having looked is not enough";

  ASSERT_TRUE(acquire().write(idle(), /*durable=*/false));

  EXPECT_FALSE(acquire().lost_its_last_word());
}

TEST_F(JournalTest, ADamagedMarkIsADoubtUntilARecordIsWritten) {
  leave_idle_and_then_an_intent();
  ASSERT_TRUE(acquire().write(idle(), /*durable=*/false));
  damage(kMarkAt);
  EXPECT_TRUE(acquire().lost_its_last_word());

  ASSERT_TRUE(acquire().write(idle(), /*durable=*/false));

  EXPECT_FALSE(acquire().lost_its_last_word());
}

// ---- long records ------------------------------------------------------------------------------

TEST_F(JournalTest, RecordsThatAreLongerThanASlotAreKeptWholeBothOfThem) {
  CredentialState first = full_state();
  first.answer.assign(700'000, 'a');
  CredentialState second = full_state();
  second.revision = 11;
  second.grant.assign(900'000, 'b');
  ASSERT_TRUE(acquire().write(first, /*durable=*/true));
  expect_same(acquire().state(), first);
  ASSERT_TRUE(acquire().write(second, /*durable=*/true));
  expect_same(acquire().state(), second);

  damage_slot(1);

  expect_same(acquire().state(), first);
}

TEST_F(JournalTest, ARecordOfAnyLengthAroundThatOfASlotIsKeptWhole) {
  const std::size_t room = kSlotSize - sizeof(journal_format::DiskRecord);
  for (std::size_t length = room - 2; length <= room + 2; ++length) {
    CredentialState state = idle();
    state.grant.assign(length, 'g');
    ASSERT_TRUE(acquire().write(state, /*durable=*/false));

    EXPECT_EQ(acquire().state().grant, state.grant) << length;
    EXPECT_EQ(fs::file_size(path()) > kFileSize, length > room) << length;
  }
}

TEST_F(JournalTest, ARecordThatNothingHoldsIsNotWrittenAndTheOneBeforeItCounts) {
  leave_idle_and_then_an_intent();
  CredentialState huge = idle();
  huge.grant.assign(journal_format::kLongestRecord + 1, 'g');

  EXPECT_FALSE(acquire().write(huge, /*durable=*/true));

  EXPECT_EQ(acquire().state().phase, Phase::intent);
}

// What is allocated of the file, wherever it lies.
std::int64_t allocated(const fs::path& path) {
  struct stat st {};
  EXPECT_EQ(::stat(path.c_str(), &st), 0);
  return st.st_blocks * 512;
}

TEST_F(JournalTest, P4_AnIntentMakesRoomForAnAnswerThatIsLongerThanTheLastOne) {
  constexpr std::uint32_t kLast = 400'000;
  CredentialState state = intent();
  state.answer_size = kLast;

  ASSERT_TRUE(acquire().write(state, /*durable=*/true));

  EXPECT_GE(allocated(path()), static_cast<std::int64_t>(kFileSize + kLast + kLast / 4));
  EXPECT_EQ(fs::file_size(path()), kFileSize) << "nothing is there yet";
}

TEST_F(JournalTest, AnIntentWhoseAnswerFitsASlotNeedsNoRoom) {
  const auto before = (acquire(), allocated(path()));

  ASSERT_TRUE(acquire().write(intent(), /*durable=*/true));

  EXPECT_EQ(allocated(path()), before);
}

// ---- a write that fails ------------------------------------------------------------------------

TEST_F(JournalTest, ARevisionIsUsedUpOnceItsWriteWasTried) {
  Journal journal = acquire();
  ASSERT_TRUE(journal.write(idle("grant 1"), /*durable=*/true));  // slot 0, revision 1
  {
    const auto no_signal = std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit behind_slot_0{static_cast<rlim_t>(journal_format::slot_at(1)), before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &behind_slot_0);
    EXPECT_FALSE(journal.write(idle("grant 2"), /*durable=*/true));
    ::setrlimit(RLIMIT_FSIZE, &before);
    (void)std::signal(SIGXFSZ, no_signal);
  }
  EXPECT_EQ(journal.state().revision, 1) << "the one before it counts";
  EXPECT_EQ(journal.newest_revision(), 2) << "it may be on disk all the same";

  ASSERT_TRUE(journal.write(idle("grant 3"), /*durable=*/true));

  EXPECT_EQ(journal.state().revision, 3);
}

// ---- nothing is left behind --------------------------------------------------------------------

TEST_F(JournalTest, RewritingLeavesNoByteOfAnOlderRecordThatFitsASlot) {
  for (int i = 1; i <= 4; ++i) {
    ASSERT_TRUE(acquire().write(idle("old grant, long " + std::string(600, 'o')), false));
  }
  ASSERT_TRUE(has("old grant"));

  ASSERT_TRUE(acquire().rewrite(idle("new")));

  EXPECT_FALSE(has("old grant"));
  EXPECT_FALSE(has("ooo"));
  EXPECT_EQ(acquire().state().grant, bytes_from("new"));
  damage_slot(0);
  EXPECT_EQ(acquire().state().grant, bytes_from("new")) << "it is in both";
}

TEST_F(JournalTest, RewritingLeavesNoByteOfAnOlderRecordThatWasTooLongForASlot) {
  for (int i = 1; i <= 2; ++i) {
    ASSERT_TRUE(acquire().write(idle("old grant" + std::string(30'000, 'o')), false));
  }

  ASSERT_TRUE(acquire().rewrite(idle("new")));

  EXPECT_FALSE(has("ooo"));
  EXPECT_EQ(acquire().state().grant, bytes_from("new"));
}

// ---- spent hashes ------------------------------------------------------------------------------

TEST_F(JournalTest, TheLast256SpentHashesAreKept) {
  {
    Journal journal = acquire();
    for (int i = 1; i <= 300; ++i) {
      TokenHash hash{};
      hash[0] = static_cast<unsigned char>(i);
      hash[1] = static_cast<unsigned char>(i >> 8);
      journal.add_spent(hash, i);
    }
  }

  EXPECT_EQ(acquire().spent().size(), 256u);
}

// ---- journals that are not ours ----------------------------------------------------------------

TEST_F(JournalTest, AnotherStoresOrCredentialsJournalIsRefused) {
  leave_idle_and_then_an_intent();
  const JournalPlace other = place("store", "abzzzzzzzzzz");
  fs::copy_file(path(), other.path());

  EXPECT_EQ(acquire(place("other store")).error().code, Errc::refused);
  EXPECT_EQ(acquire(other).error().code, Errc::refused);
  EXPECT_EQ(Journal::look(other).error().code, Errc::refused);
}

TEST_F(JournalTest, SettingAsideKeepsTheDamagedBytesAndMakesABlankJournal) {
  leave_idle_and_then_an_intent(/*sent=*/true);
  damage(0);
  const std::string damaged = file_bytes(path());
  bool told = false;

  const auto aside = Journal::set_aside(place(), Milliseconds(0), {1, kNoon, "host", "test"}, [&] {
    told = true;
    EXPECT_EQ(file_bytes(path()), damaged) << "told before it goes";
  });

  ASSERT_TRUE(aside) << aside.error().message;
  EXPECT_TRUE(told);
  EXPECT_EQ(file_bytes(*aside), damaged);
  EXPECT_THAT(aside->filename().string(), HasSubstr(std::string(kUid) + ".damaged-"));
  EXPECT_EQ(acquire().state().revision, 0);
  EXPECT_FALSE(acquire().lost_its_last_word());
}

TEST_F(JournalTest, ASoundJournalIsNotSetAside) {
  leave_idle_and_then_an_intent();
  const std::string before = file_bytes(path());

  const auto aside = Journal::set_aside(place(), Milliseconds(0), {1, kNoon, "host", "test"},
                                        [] { ADD_FAILURE() << "nothing goes"; });

  ASSERT_TRUE(aside);
  EXPECT_TRUE(aside->empty());
  EXPECT_EQ(file_bytes(path()), before);
}

// ---- one state as bytes ------------------------------------------------------------------------

TEST_F(JournalTest, AStateIsEncodedAndDecodedWhole) {
  const auto back = journal_format::state_in(journal_format::record_of(full_state()));

  ASSERT_TRUE(back);
  expect_same(*back, full_state());
}

TEST_F(JournalTest, WhatIsNotAWholeEncodedStateIsDecodedAsNothing) {
  const auto whole = journal_format::record_of(full_state());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    auto damaged = whole;
    damaged[at] ^= 1;
    EXPECT_FALSE(journal_format::state_in(damaged)) << at;
    EXPECT_FALSE(journal_format::state_in(std::span(whole).first(at))) << at;
  }
  auto longer = whole;
  longer.push_back(0);
  EXPECT_FALSE(journal_format::state_in(longer));
}

}  // namespace
}  // namespace authdb::test
