// Power cuts. A model of the disk drops what was not synced, at every call that a rotation makes,
// and the next holder comes in another run of the machine. A killed process only tests atomicity:
// the page cache outlives it.
#include <algorithm>
#include <optional>

#include "tests/disk/disk_fixture.h"
#include "tests/disk/power_model.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// How far a rotation had come.
enum class Stage {
  preparing,  // nothing was sent
  waiting,    // the request is on its way
  answered,   // the answer's bytes were read
  secured,    // and are durable: nothing may lose them from here
};

struct Moment {
  Stage stage;
  std::string call;  // the one that is not made any more
  PowerModel::Image image;
};

const PowerModel::Landed kNothing = [](const std::string&, std::size_t) { return false; };
const PowerModel::Landed kEverything = [](const std::string&, std::size_t) { return true; };

class PowerLossTest : public DiskTest {
 protected:
  // One rotation, cut short before each of its calls.
  std::vector<Moment> moments_of_a_rotation(Store& store, PowerModel& model) {
    std::vector<Moment> moments;
    Stage stage = Stage::preparing;
    const std::string journal_path = journal(uid_).string();
    model.at_each_call = [&](const Call& call) {
      if (stage == Stage::preparing && !begun_.empty()) stage = Stage::waiting;
      // The protocol's order: the answer is in the journal before anything else is written.
      if (stage == Stage::answered && call.path != journal_path) stage = Stage::secured;
      moments.push_back({stage, call.text(), model.image()});
      if (stage == Stage::answered && call.op == Op::sync) stage = Stage::secured;
    };
    Reply reply = padded(granting(1), padding_);
    reply.meanwhile = [&] { stage = Stage::answered; };
    will_only(std::move(reply));
    begun_.clear();
    const auto rotated = rotate(store, uid_, {});
    EXPECT_TRUE(rotated) << rotated.error().message;
    moments.push_back({Stage::secured, "(returned)", model.image()});
    model.at_each_call = {};
    return moments;
  }

  // The next holder, in the next run of the machine, on what the power cut left.
  void check(const Moment& moment, const PowerModel::Landed& landed, const std::string& variant) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                       "cut before: " + moment.call + "; " + variant);
    const TemporaryDirectory after;
    moment.image.write_to(after.path(), landed);
    StoreOptions there = counted_options();
    there.path = after.path() / "store" / "auth.db";
    there.key_file = after.path() / "config" / "seal.key";
    there.boot_id = "another boot";
    begun_.clear();
    will_only(granting(7));

    auto store = Store::open(there, OpenMode::use);
    ASSERT_TRUE(store) << store.error().message;
    // Recovers, and sends nothing.
    ASSERT_TRUE(LockedCredential::acquire(*store, uid_, {Milliseconds(0)}));
    const auto row = store->find(uid_);
    ASSERT_TRUE(row) << row.error().message;
    const auto recovered = store->unseal(uid_);
    ASSERT_TRUE(recovered) << recovered.error().message;
    const bool has_successor = text(recovered->refresh_token) == refresh_token(1);
    EXPECT_EQ(row->generation, has_successor ? generation_ + 1 : generation_);
    EXPECT_TRUE(has_successor || text(recovered->refresh_token) == refresh_token(0));

    EXPECT_TRUE(has_successor || moment.stage < Stage::secured) << "the new token is lost";
    EXPECT_TRUE(!has_successor || moment.stage > Stage::preparing);
    if (moment.stage >= Stage::waiting && !has_successor) {
      EXPECT_EQ(row->hold, Hold::uncertain) << "a token that was sent is taken for unsent";
    }
    const auto next = rotate(*store, uid_, {});
    ASSERT_TRUE(next) << next.error().message;
    if (has_successor) {
      EXPECT_THAT(begun_, IsEmpty());
      EXPECT_TRUE(*store->retired(hash(refresh_token(0))));
    } else {
      EXPECT_THAT(begun_, ElementsAre(refresh_token(0)));  // for the first time, or as a replay
    }
  }

  // Whatever of the unsynced writes reached the disk: none, all, all of one file, and each sector
  // alone and all but each one of those in `torn`. Returns how many ways there were.
  int check_every_way(const Moment& moment, const std::string& torn) {
    check(moment, kNothing, "nothing unsynced landed");
    const auto unsynced = moment.image.unsynced();
    if (unsynced.empty()) return 1;
    check(moment, kEverything, "everything landed");
    int ways = 2;
    for (const auto& [file, sectors] : unsynced) {
      check(
          moment, [&, only = file](const std::string& path, std::size_t) { return path == only; },
          "only " + file + " landed");
      ++ways;
      if (file != torn) continue;
      // The mark, and the record with the beginning of its answer; of the rest of a long one a few
      // sectors stand for all.
      for (std::size_t i = 0; i < sectors.size(); i += i < 4 ? 1 : 1 + sectors.size() / 4) {
        const std::size_t one = sectors[i];
        const auto is_it = [&](const std::string& path, std::size_t sector) {
          return path == torn && sector == one;
        };
        const std::string name = "sector " + std::to_string(one) + " of the journal";
        check(moment, is_it, "only " + name);
        check(
            moment, [&](const auto& path, auto sector) { return !is_it(path, sector); },
            "all but " + name);
        ways += 2;
      }
      if (HasFailure()) break;
    }
    return ways;
  }

  void sweep(const std::vector<Moment>& moments, std::size_t at_least) {
    EXPECT_GE(moments.size(), at_least) << "re-argue the protocol before changing this";
    int ways = 0;
    for (const Moment& moment : moments) {
      ways += check_every_way(moment, journal(uid_).string().substr(dir_.path().string().size()));
      if (HasFailure()) return;
    }
    EXPECT_GT(ways, static_cast<int>(2 * moments.size())) << "hardly anything was unsynced";
  }

  std::size_t padding_ = 0;  // what an answer has in it besides
};

TEST_F(PowerLossTest, P4_ARotationCutOffAnywhereIsRecoveredOrUncertain) {
  make_store(2);
  Store store = *try_open();
  PowerModel model(dir_.path());
  const Watching watching(dir_.path(), model);

  sweep(moments_of_a_rotation(store, model), 14);
}

TEST_F(PowerLossTest, P4_AFirstRotationCutOffAnywhereIsRecoveredOrUncertain) {
  make_store(0);
  forget_journal();
  Store store = *try_open();
  PowerModel model(dir_.path());
  const Watching watching(dir_.path(), model);

  sweep(moments_of_a_rotation(store, model), 22);
}

// The journal's last word on the rotation before is not synced yet.
TEST_F(PowerLossTest, P4_TheSecondOfTwoRotationsCutOffAnywhereIsRecoveredOrUncertain) {
  make_store(1);
  Store store = *try_open();
  PowerModel model(dir_.path());
  const Watching watching(dir_.path(), model);
  will_only(granting(1));
  ASSERT_TRUE(rotate(store, uid_, {}));
  generation_ += 1;
  advance(Seconds(901));

  sweep(moments_of_a_rotation(store, model), 14);
}

// An answer that is too long for a slot is written elsewhere.
TEST_F(PowerLossTest, P4_ARotationWithALongAnswerCutOffAnywhereIsRecoveredOrUncertain) {
  make_store(1);
  padding_ = 12'000;
  Store store = *try_open();
  PowerModel model(dir_.path());
  const Watching watching(dir_.path(), model);

  sweep(moments_of_a_rotation(store, model), 14);
}

// Counters are committed without a sync, into the same log; and the log is moved into the database
// from time to time.
TEST_F(PowerLossTest, P3_UnsyncedCountersAndCheckpointsDoNotMakeARotationLessDurable) {
  make_store(1);
  Store store = *try_open();
  PowerModel model(dir_.path());
  const Watching watching(dir_.path(), model);

  bool checkpointed = false;
  for (int turn = 0; turn < 60 && !checkpointed; ++turn) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(store.touch(uid_));
    const auto moments = moments_of_a_rotation(store, model);
    checkpointed = std::any_of(moments.begin(), moments.end(), [](const Moment& moment) {
      return moment.call == "write /store/auth.db";
    });
    for (const Moment& moment : moments) {
      if (checkpointed || moment.stage == Stage::secured) {
        check(moment, kNothing, "nothing unsynced landed");
        check(
            moment, [](const std::string& path, std::size_t) { return path == "/store/auth.db"; },
            "only the database landed");
      }
      if (HasFailure()) return;
    }
    will_only(granting(1));
    generation_ += 1;
    advance(Seconds(901));
  }
  EXPECT_TRUE(checkpointed) << "the log was never moved into the database: this tests half";
}

// ---- making things -----------------------------------------------------------------------------

TEST_F(PowerLossTest, P3_WhatALoginWroteIsThereAfterAPowerCut) {
  const fs::path root = dir_.path() / "disk";
  fs::create_directory(root);
  PowerModel model(root);
  const Watching watching(root, model);
  StoreOptions made = options();
  made.path = root / "data" / "authdb" / "auth.db";
  made.key_file = root / "config" / "authdb" / "seal.key";
  std::vector<PowerModel::Image> images;
  std::optional<std::size_t> added;
  model.at_each_call = [&](const Call&) { images.push_back(model.image()); };
  {
    Store store = *Store::open(made, OpenMode::create);
    uid_ = add_login(store);
    added = images.size();
    images.push_back(model.image());
  }

  for (std::size_t at = 0; at < images.size(); ++at) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, "call " + std::to_string(at));
    const TemporaryDirectory after;
    images[at].write_to(after.path(), kNothing);
    StoreOptions there = options();
    there.path = after.path() / "data" / "authdb" / "auth.db";
    there.key_file = after.path() / "config" / "authdb" / "seal.key";
    auto store = Store::open(there, at < *added ? OpenMode::create : OpenMode::use);
    ASSERT_TRUE(store) << store.error().message;
    if (at >= *added) {
      EXPECT_EQ(text(store->unseal(uid_)->refresh_token), "refresh-a-1");
    } else {
      add_login(*store, "again");
    }
    if (HasFailure()) return;
  }
  EXPECT_GE(images.size(), 40u);
}

// A process was killed while it made the store or the journal, and another one went on where it had
// stopped: names that the first one did not live to sync are durable nevertheless.
TEST_F(PowerLossTest, P3_WhatAKilledProcessHalfMadeIsDurableOnceItIsUsed) {
  const fs::path root = dir_.path() / "disk";
  StoreOptions made = counted_options();
  made.path = root / "data" / "authdb" / "auth.db";
  made.key_file = root / "config" / "authdb" / "seal.key";
  const auto work = [&]() -> Result<Rotated> {
    auto store = Store::open(made, OpenMode::create);
    if (!store) return fail(store.error());
    const auto rows = store->list({});
    if (rows && rows->empty()) {
      Change change;
      change.credentials.push_back(login("a", "access-a-1", "refresh-a-1", now()));
      const auto applied = store->apply(change);
      if (!applied) return fail(applied.error());
    }
    const auto there = store->list({});
    if (!there) return fail(there.error());
    uid_ = there->at(0).uid;
    return rotate(*store, uid_, {.force = true});
  };

  int swept = 0;
  for (bool survived = false; !survived && !HasFailure(); ++swept) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                       "killed at " + std::to_string(swept + 1));
    fs::remove_all(root);
    fs::create_directory(root);
    uid_.clear();
    begun_.clear();
    PowerModel model(root);
    const Watching watching(root, model);
    model.dies_at = swept + 1;
    will_only({.before_send = true});
    (void)work();
    survived = model.calls() < model.dies_at;
    model.dies_at = 0;
    will_only(granting(1));
    const auto rotated = work();
    ASSERT_TRUE(rotated) << rotated.error().message;

    const TemporaryDirectory after;
    model.image().write_to(after.path(), kNothing);
    StoreOptions there = options();
    there.path = after.path() / "data" / "authdb" / "auth.db";
    there.key_file = after.path() / "config" / "authdb" / "seal.key";
    const auto store = Store::open(there, OpenMode::use);
    ASSERT_TRUE(store) << store.error().message;
    const auto held = store->unseal(uid_);
    ASSERT_TRUE(held) << held.error().message;
    EXPECT_EQ(text(held->refresh_token), "refresh-a-2");
    EXPECT_TRUE(
        fs::exists(after.path() / "data" / "authdb" / "auth.db.d" / uid_.substr(0, 2) / uid_));
  }
  EXPECT_GE(swept, 60);
}

}  // namespace
}  // namespace authdb::test
