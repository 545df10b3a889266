// Key rotation and pruning: under load, cut short anywhere, and with processes that know only the
// old keys.
#include "store/key_rotation.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "store/engine.h"
#include "store/journal.h"
#include "store/locked.h"
#include "store/rescue.h"
#include "tests/store/attempt_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class KeyRotationTest : public StoreTest {
 protected:
  void SetUp() override {
    Store store = open();
    uid_ = add_login(store);
    CredentialChange key = login("key", "sk-1", "", now());
    key.identity->auth_type = AuthType::api_key;
    key.extra = Secret::copy_of(R"({"foreign":"field"})");
    key_uid_ = add(store, std::move(key));
    rotate_token(store);  // so that there is a journal with a grant in it
  }

  void rotate_token(Store& store) {
    ++generation_;
    will(grants(token("refresh"), token("access")));
    const auto rotated = rotate(store, uid_, {.force = true});
    ASSERT_TRUE(rotated) << rotated.error().message;
  }
  std::string token(const std::string& kind) const {
    return kind + "-a-" + std::to_string(generation_);
  }

  std::vector<std::string> keys_in_file() {
    std::vector<std::string> ids;
    const auto keys = read_keys(options().key_file);
    for (const SealKey& key : *keys) ids.push_back(hex(key.id));
    return ids;
  }
  // Every key that anything of the store is sealed with.
  std::vector<std::string> keys_in_use() {
    std::vector<std::string> ids;
    const Store store = open(OpenMode::look);
    const auto counts = store.engine().backend->view()->cells_by_key();
    for (const auto& [id, cells] : counts) ids.push_back(hex(id));
    for (const KeyId& id : Journal::keys_of(journal(uid_))) ids.push_back(hex(id));
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
  }
  // A process that knows nothing but the files gets every secret.
  void expect_all_readable() {
    const Store store = open(OpenMode::look);
    const auto held = store.unseal(uid_);
    ASSERT_TRUE(held) << held.error().message;
    EXPECT_EQ(text(held->refresh_token), token("refresh"));
    EXPECT_EQ(text(store.unseal(key_uid_)->access_token), "sk-1");
    EXPECT_EQ(text(*store.unseal_extra(key_uid_)), R"({"foreign":"field"})");
  }

  Uid uid_;
  Uid key_uid_;
  int generation_ = 1;
};

TEST_F(KeyRotationTest, EverythingIsSealedWithTheNewKeyAndTheOldOneCanGo) {
  const auto before = keys_in_file();
  Store store = open(OpenMode::use);

  const auto report = rotate_key(store);

  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(report->resumed);
  EXPECT_THAT(report->left, IsEmpty());
  EXPECT_GE(report->cells, 4);
  EXPECT_EQ(report->journals, 1);
  EXPECT_EQ(keys_in_file(), (std::vector{report->key, before[0]}));
  EXPECT_EQ(keys_in_use(), std::vector{report->key});
  const auto pruned = prune_keys(store);
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_EQ(pruned->dropped, before);
  EXPECT_EQ(keys_in_file(), std::vector{report->key});
  expect_all_readable();
}

TEST_F(KeyRotationTest, TheKeyFileStaysPrivateAndKeepsItsComments) {
  const std::string before = file_bytes(options().key_file);
  std::ofstream(options().key_file, std::ios::app) << "# mine: a copy is in the safe\n";
  Store store = open(OpenMode::use);

  ASSERT_TRUE(rotate_key(store));
  ASSERT_TRUE(prune_keys(store));

  const std::string after = file_bytes(options().key_file);
  EXPECT_EQ(fs::status(options().key_file).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_THAT(after, HasSubstr("# mine: a copy is in the safe\n"));
  EXPECT_EQ(after.substr(0, after.find('\n')), before.substr(0, before.find('\n')));
  EXPECT_THAT(after, HasSubstr("# store " + store.id() + "\n"));
  EXPECT_EQ(std::distance(fs::directory_iterator(options().key_file.parent_path()), {}), 1);
}

// An older database and its journal agree after a rotation of the key as they did before it.
TEST_F(KeyRotationTest, P2_AJournalThatWasSealedAnewStillMendsAnOlderDatabase) {
  Store store = open(OpenMode::use);
  ASSERT_TRUE(rotate_key(store));
  const std::string old_copy = file_bytes(database());
  const std::string old_log = file_bytes(database().string() + "-wal");
  rotate_token(store);
  ASSERT_TRUE(rotate_key(store));
  { Store gone = std::move(store); }
  std::ofstream(database(), std::ios::binary) << old_copy;
  std::ofstream(database().string() + "-wal", std::ios::binary) << old_log;
  fs::remove(database().string() + "-shm");
  script_->sent.clear();
  Store later = open(OpenMode::use);

  const auto adopted = LockedCredential::acquire(later, uid_, {Milliseconds(0)});

  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(text(adopted->held().refresh_token), token("refresh"));
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(KeyRotationTest, AStoreThatLoadedTheOldKeysReadsAndWritesWithTheNew) {
  Store gateway = open(OpenMode::use);
  ASSERT_TRUE(gateway.unseal(uid_));
  Store operator_ = open(OpenMode::use);
  ASSERT_TRUE(rotate_key(operator_));
  ASSERT_TRUE(prune_keys(operator_));

  const auto held = gateway.unseal(uid_);
  ASSERT_TRUE(held) << held.error().message;
  rotate_token(gateway);

  EXPECT_EQ(keys_in_use(), keys_in_file());
  expect_all_readable();
}

TEST_F(KeyRotationTest, AStoreThatLoadedTheOldKeysAddsWithTheNew) {
  Store gateway = open(OpenMode::use);
  ASSERT_TRUE(gateway.unseal(uid_));
  Store operator_ = open(OpenMode::use);
  ASSERT_TRUE(rotate_key(operator_));
  ASSERT_TRUE(prune_keys(operator_));

  const Uid added = add_login(gateway, "b");

  EXPECT_EQ(keys_in_use(), keys_in_file());
  EXPECT_TRUE(open(OpenMode::look).unseal(added));
}

// The holder has its request in the air, sealed its journal with the old key and will go on doing
// so; rotation and prune have to wait for it.
TEST_F(KeyRotationTest, P4_AHolderInTheMiddleOfARequestLosesNothing) {
  Store gateway = open(OpenMode::use);
  ASSERT_TRUE(gateway.unseal(uid_));
  std::thread operator_thread;
  std::atomic<bool> named{false};
  Reply reply = grants("refresh-a-3", "access-a-3");
  reply.meanwhile = [&] {
    const Sealed before = gateway.engine().backend->view()->meta("key_id");
    operator_thread = std::thread([&] {
      Store store = open(OpenMode::use);
      const auto report = rotate_key(store);
      EXPECT_TRUE(report && report->left.empty());
      const auto pruned = prune_keys(store);
      EXPECT_TRUE(pruned);
      EXPECT_THAT(pruned->dropped, SizeIs(1));
    });
    // The answer comes when the store seals with another key already.
    while (gateway.engine().backend->view()->meta("key_id") == before) std::this_thread::yield();
    named = true;
  };
  generation_ = 3;
  will(std::move(reply));

  const auto rotated = rotate(gateway, uid_, {.force = true});
  operator_thread.join();

  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_TRUE(named);
  EXPECT_EQ(keys_in_use(), keys_in_file());
  expect_all_readable();
}

TEST_F(KeyRotationTest, WhileAHolderDoesNotLetGoItsOldKeyIsNotDropped) {
  Store gateway = open(OpenMode::use);
  auto locked = LockedCredential::acquire(gateway, uid_, {Milliseconds(0)});
  ASSERT_TRUE(locked);
  StoreOptions impatient = options();
  impatient.lock_wait = Milliseconds(20);
  Store operator_ = *Store::open(impatient, OpenMode::use);

  const auto report = rotate_key(operator_);
  const auto pruned = prune_keys(operator_);

  ASSERT_TRUE(report) << report.error().message;
  ASSERT_THAT(report->left, SizeIs(1));
  EXPECT_EQ(report->left[0].code, Errc::busy);
  ASSERT_FALSE(pruned);
  EXPECT_EQ(pruned.error().code, Errc::busy);
  EXPECT_THAT(keys_in_file(), SizeIs(2));
  { auto let_go = std::move(*locked); }
  const auto finished = rotate_key(operator_);
  EXPECT_TRUE(finished->resumed);
  EXPECT_EQ(finished->key, report->key);
  EXPECT_THAT(prune_keys(operator_)->dropped, SizeIs(1));
  expect_all_readable();
}

TEST_F(KeyRotationTest, P4_AnAnswerThatWasJournalledBeforeIsSettledAfterRotationAndPrune) {
  {
    Store gateway = open(OpenMode::use);
    const auto locked = acquire_lock(gateway, uid_, {Milliseconds(0)});
    leave_answered(*locked, grants("refresh-a-3", "access-a-3").body, now());
  }
  Store operator_ = open(OpenMode::use);
  ASSERT_TRUE(rotate_key(operator_));
  ASSERT_THAT(prune_keys(operator_)->dropped, SizeIs(1));
  script_->sent.clear();
  Store later = open(OpenMode::use);

  const auto recovered = LockedCredential::acquire(later, uid_, {Milliseconds(0)});

  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(text(recovered->held().refresh_token), "refresh-a-3");
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(KeyRotationTest, ARescueFileIsSealedAnewToo) {
  ::setenv("XDG_RUNTIME_DIR", (dir_.path() / "run").c_str(), 1);
  Store store = open(OpenMode::use);
  {
    const auto locked = acquire_lock(store, uid_, {Milliseconds(0)});
    leave_sent(*locked, now());
    const auto answered = answered_with(*locked, grants("refresh-a-3", "access-a-3").body, now());
    ASSERT_TRUE(write_rescue_file(store.engine().place(uid_), answered));
  }

  ASSERT_TRUE(rotate_key(store));
  ASSERT_THAT(prune_keys(store)->dropped, SizeIs(1));
  Store later = open(OpenMode::use);
  const auto recovered = LockedCredential::acquire(later, uid_, {Milliseconds(0)});
  ::unsetenv("XDG_RUNTIME_DIR");

  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(text(recovered->held().refresh_token), "refresh-a-3");
}

TEST_F(KeyRotationTest, AnOlderKeyFilePutBackIsToldByItsKeyNotAsDamage) {
  const std::string old_file = file_bytes(options().key_file);
  std::string key;
  {
    Store store = open(OpenMode::use);
    key = rotate_key(store)->key;
  }
  std::ofstream(options().key_file, std::ios::trunc) << old_file;

  const auto refused = open(OpenMode::look).unseal(uid_);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_THAT(refused.error().message, HasSubstr("key " + key + ", which is not in the file"));
}

TEST_F(KeyRotationTest, AKeyIsNotSealedWithBeforeTheStoreNamesIt) {
  ASSERT_TRUE(add_key(options().key_file, open(OpenMode::look).id(), Milliseconds(0)));
  const auto keys = keys_in_file();
  Store store = open(OpenMode::use);

  rotate_token(store);

  EXPECT_EQ(keys_in_use(), std::vector{keys[1]});
  EXPECT_THAT(prune_keys(store)->dropped, IsEmpty());
  EXPECT_TRUE(rotate_key(store)->resumed);
  EXPECT_EQ(keys_in_use(), std::vector{keys[0]});
}

TEST_F(KeyRotationTest, TwoStoresThatShareAKeyFileDoNotPruneEachOthersKeys) {
  StoreOptions second = options();
  second.path = dir_.path() / "second" / "auth.db";
  Store other = *Store::open(second, OpenMode::create);
  const Uid theirs = add_login(other, "theirs");
  Store store = open(OpenMode::use);
  ASSERT_THAT(keys_in_file(), SizeIs(2));

  for (Store* rotating : {&store, &other, &store}) {
    ASSERT_TRUE(rotate_key(*rotating));
    ASSERT_TRUE(prune_keys(*rotating));
  }

  EXPECT_THAT(keys_in_file(), SizeIs(2));
  expect_all_readable();
  EXPECT_TRUE(Store::open(second, OpenMode::look)->unseal(theirs));
}

TEST_F(KeyRotationTest, TwoRotationsAtOnceBothFinishAndNothingIsLost) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      Store store = open(OpenMode::use);
      const auto report = rotate_key(store);
      EXPECT_TRUE(report) << report.error().message;
    });
  }
  for (auto& thread : threads) thread.join();
  Store store = open(OpenMode::use);
  for (int i = 0; i < 2 && keys_in_use().size() > 1; ++i) ASSERT_TRUE(rotate_key(store));

  EXPECT_THAT(keys_in_use(), SizeIs(1));
  ASSERT_TRUE(prune_keys(store));
  expect_all_readable();
}

// A cell that nobody can open must neither stop the others nor keep a new key from being drawn.
TEST_F(KeyRotationTest, ADamagedCellIsLeftAndReportedAndTheRestGoesOn) {
  const std::string damage =
      "sqlite3 " + database().string() +
      " \"UPDATE token_set SET access_token = CAST(substr(access_token, 1, 5) "
      "|| zeroblob(64) AS BLOB) WHERE credential = 2\"";
  ASSERT_EQ(std::system(damage.c_str()), 0);
  Store store = open(OpenMode::use);

  const auto first = rotate_key(store);
  const auto second = rotate_key(store);
  const auto pruned = prune_keys(store);

  ASSERT_TRUE(first);
  EXPECT_THAT(first->left, SizeIs(1));
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->resumed);
  EXPECT_NE(second->key, first->key);
  EXPECT_THAT(pruned->dropped, SizeIs(1));  // the one between; the damaged cell names the first
  EXPECT_EQ(text(store.unseal(uid_)->refresh_token), token("refresh"));
}

// Dies at the n-th reading of the clock, or when its time is over: between any two of the
// transactions and journals.
TEST_F(KeyRotationTest, P4_KilledAnywhereTheStoreWorksAndRotatingAgainFinishes) {
  int killed = 0;
  for (int delay_us = 0; delay_us < 6000; delay_us += 250) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = Store::open(options(), OpenMode::use);
      (void)store->unseal(uid_);
      (void)!::write(ready[1], "x", 1);
      (void)rotate_key(*store);
      ::_exit(0);
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(delay_us));  // where it dies is the point
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    killed += WIFSIGNALED(status) ? 1 : 0;
    ::close(ready[0]);
    ::close(ready[1]);

    expect_all_readable();
    Store store = open(OpenMode::use);
    const auto report = rotate_key(store);
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_THAT(report->left, IsEmpty());
    EXPECT_EQ(keys_in_use(), std::vector{report->key});
    ASSERT_TRUE(prune_keys(store));
    EXPECT_EQ(keys_in_file(), std::vector{report->key});
    expect_all_readable();
  }
  EXPECT_GT(killed, 0);
}

// Processes that refresh, read and add, while another one rotates the key and prunes again and
// again.
TEST_F(KeyRotationTest, P4_UnderLoadOfOtherProcessesNoTokenIsLostAndNoDroppedKeySeals) {
  constexpr std::size_t kProcesses = 3;
  constexpr int kRotations = 12;
  std::vector<Uid> uids;
  {
    Store store = open(OpenMode::use);
    for (std::size_t i = 0; i < kProcesses; ++i)
      uids.push_back(add_login(store, std::to_string(i)));
  }
  std::vector<pid_t> children;
  for (std::size_t i = 0; i < kProcesses; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      Store store = *Store::open(options(), OpenMode::use);
      int failed = 0;
      for (int turn = 2; turn < 60; ++turn) {
        const std::string number = std::to_string(i) + "-" + std::to_string(turn);
        will(grants("refresh-" + number, "access-" + number));
        const auto rotated = rotate(store, uids[i], {.force = true});
        if (!rotated || text(rotated->held.refresh_token) != "refresh-" + number) ++failed;
        if (!store.unseal(uids[(i + 1) % kProcesses]) || !store.unseal(key_uid_)) ++failed;
      }
      ::_exit(failed);
    }
    children.push_back(child);
  }
  Store store = open(OpenMode::use);
  for (int i = 0; i < kRotations; ++i) {
    const auto report = rotate_key(store);
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_THAT(report->left, IsEmpty()) << report->left[0].message;
    const auto pruned = prune_keys(store);
    ASSERT_TRUE(pruned) << pruned.error().message;
    ASSERT_THAT(keys_in_file(), SizeIs(1));
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_TRUE(WIFEXITED(status));
  }

  EXPECT_EQ(keys_in_use(), keys_in_file());
  const Store fresh = open(OpenMode::look);
  for (std::size_t i = 0; i < kProcesses; ++i) {
    EXPECT_EQ(text(fresh.unseal(uids[i])->refresh_token), "refresh-" + std::to_string(i) + "-59");
  }
}

TEST_F(KeyRotationTest, ThreadsThatShareOneStoreGoOnReadingWhileItsKeyChanges) {
  Store store = open(OpenMode::use);
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        if (!store.unseal(uid_) || !store.unseal(key_uid_)) ++failed;
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(rotate_key(store));
    EXPECT_TRUE(prune_keys(store));
  }
  stop = true;
  for (auto& reader : readers) reader.join();

  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace authdb::test
