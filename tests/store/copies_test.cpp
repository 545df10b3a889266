// Copies and older states of the store, put back or imported at any moment of a chain of rotations:
// no spent token is ever sent or becomes current (P2).
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/backup.h"
#include "tests/store/store_fixture.h"

namespace authdb::test {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kChain = 6;

class CopiesTest : public StoreTest {
 protected:
  void SetUp() override {
    Store store = open();
    uid_ = add_login(store);
  }

  static std::string token(int generation) { return "refresh-a-" + std::to_string(generation); }
  void rotate_to(int generation) {
    Store store = open(OpenMode::use);
    will(grants(token(generation), "access-a-" + std::to_string(generation)));
    const auto rotated = rotate(store, uid_, {.force = true});
    ASSERT_TRUE(rotated) << rotated.error().message;
  }
  fs::path copy_of(int generation) { return dir_.path() / ("copy-" + std::to_string(generation)); }
  // auth.db as it stands, its log folded in.
  void keep_copy(int generation) {
    {
      Store store = open(OpenMode::use);
      ASSERT_TRUE(store.add_profile("p" + std::to_string(generation)));  // checkpoints at close
    }
    fs::copy_file(database(), copy_of(generation));
  }
  void put_back(const fs::path& copy) {
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database().string() + suffix);
    fs::copy_file(copy, database());
  }
  // What an auth.json of that generation amounts to, imported as a login of nobody knows when.
  Result<Applied> import(Store& store, int generation, const Uid& uid = {}) {
    CredentialChange change = login("stale", "access-a-" + std::to_string(generation),
                                    token(generation), now() - Seconds(10));
    change.origin = Origin::import;
    change.kind = AttemptKind::import;
    if (!uid.empty()) {
      change.uid = uid;
      change.planned_against = store.find(uid)->generation;
    }
    Change all;
    all.credentials.push_back(std::move(change));
    return store.apply(all);
  }
  std::vector<std::string> current_tokens() {
    std::vector<std::string> tokens;
    const Store store = open(OpenMode::look);
    const auto rows = store.list({});
    for (const Credential& row : *rows) {
      const auto held = store.unseal(row.uid);
      if (row.refresh_hash) tokens.push_back(text(held->refresh_token));
    }
    return tokens;
  }
  // What the server sees when every bearer has run out.
  std::vector<std::string> sent_by_refreshing(const std::string& next) {
    advance(Seconds(1000));
    script_->sent.clear();
    script_->replies.clear();
    will(grants(next, "access-" + next));
    Store store = open(OpenMode::use);
    (void)rotate(store, uid_, {});
    return script_->sent;
  }

  Uid uid_;
};

TEST_F(CopiesTest, P2_ADatabasePutBackAtAnyGenerationSendsOnlyTheNewestToken) {
  keep_copy(1);
  for (int generation = 2; generation <= kChain; ++generation) {
    rotate_to(generation);
    keep_copy(generation);
  }
  int newest = kChain;
  for (int generation = 1; generation <= kChain; ++generation) {
    put_back(copy_of(generation));

    const auto sent = sent_by_refreshing(token(newest + 1));

    // Its newest grant may have been served from the journal; if anything was sent, it was that.
    for (const auto& one : sent) EXPECT_EQ(one, token(newest)) << "put back: " << generation;
    if (!sent.empty()) ++newest;
    for (int spent = 1; spent < newest; ++spent) {
      EXPECT_TRUE(*open(OpenMode::look).retired(hash(token(spent))))
          << "put back: " << generation << ", spent: " << spent;
    }
    EXPECT_THAT(current_tokens(), ElementsAre(token(newest)));
  }
}

TEST_F(CopiesTest, P2_AStaleImportOfAnyPastGenerationAtAnyMomentBringsNoSpentTokenBack) {
  for (int generation = 1; generation <= kChain; ++generation) {
    if (generation > 1) rotate_to(generation);
    for (int stale = 1; stale <= generation; ++stale) {
      Store store = open(OpenMode::use);
      (void)import(store, stale);
      (void)import(store, stale, uid_);
      ASSERT_THAT(current_tokens(), ElementsAre(token(generation)))
          << "imported " << stale << " at " << generation;
      if (store.find(uid_)->generation != generation) break;
    }
  }
}

TEST_F(CopiesTest, P2_AStaleImportAfterADatabaseWasPutBackIsStillStale) {
  keep_copy(1);
  for (int generation = 2; generation <= kChain; ++generation) rotate_to(generation);
  for (int stale = 1; stale < kChain; ++stale) {
    put_back(copy_of(1));
    Store store = open(OpenMode::use);

    (void)import(store, stale, uid_);
    { auto recovered = LockedCredential::acquire(store, uid_, {Milliseconds(1000)}); }
    (void)import(store, stale);

    EXPECT_THAT(current_tokens(), ElementsAre(token(kChain))) << stale;
  }
}

TEST_F(CopiesTest, P2_AStaleImportAfterARestoreIsStillStale) {
  ASSERT_TRUE(back_up(open(OpenMode::look), dir_.path() / "backup"));
  for (int generation = 2; generation <= kChain; ++generation) rotate_to(generation);
  for (const bool rebuilt : {false, true}) {
    if (rebuilt) {
      for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database().string() + suffix);
    }
    ASSERT_TRUE(restore(options(), dir_.path() / "backup"));
    for (int stale = 1; stale < kChain; ++stale) {
      Store store = open(OpenMode::use);
      (void)import(store, stale);
      EXPECT_THAT(current_tokens(), ElementsAre(token(kChain))) << stale;
    }
  }
}

TEST_F(CopiesTest, P2_AStaleImportAfterARemovalBringsNothingBack) {
  for (int generation = 2; generation <= kChain; ++generation) rotate_to(generation);
  ASSERT_TRUE(open(OpenMode::use).remove(uid_));
  for (int stale = 1; stale <= kChain; ++stale) {
    Store store = open(OpenMode::use);
    (void)import(store, stale);
    EXPECT_THAT(current_tokens(), IsEmpty()) << stale;
  }
}

// In a mount name space of its own, so that nothing is left mounted.
class MountTest : public CopiesTest {
 protected:
  // Runs `body` in a child that may mount; its exit status, or nullopt where mounting is not
  // allowed.
  template <typename F>
  std::optional<int> mounting(F&& body) {
    constexpr int kNotAllowed = 77;
    const pid_t child = ::fork();
    if (child == 0) {
      const bool may = ::unshare(CLONE_NEWNS) == 0 &&
                       ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
      ::_exit(may ? body() : kNotAllowed);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return code == kNotAllowed ? std::nullopt : std::optional(code);
  }
};

TEST_F(MountTest, ADirectoryThatIsMountedTwiceIsOneStoreWithOneLock) {
  const fs::path other = dir_.path() / "other";
  fs::create_directory(other);
  const auto outcome = mounting([&] {
    if (::mount((dir_.path() / "store").c_str(), other.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return 77;
    }
    StoreOptions there = options();
    there.path = other / "auth.db";
    there.lock_wait = Milliseconds(0);
    auto second = Store::open(there, OpenMode::use);
    Store first = open(OpenMode::use);
    if (!second) return 1;
    const auto locked = LockedCredential::acquire(first, uid_, {Milliseconds(0)});
    if (!locked) return 2;
    const auto refused = LockedCredential::acquire(*second, uid_, {Milliseconds(0)});
    if (refused || refused.error().code != Errc::busy) return 3;
    return second->add_profile("through the other name") && first.profiles()->size() == 2 ? 0 : 4;
  });
  if (!outcome) GTEST_SKIP() << "bind mounts are not allowed here";
  EXPECT_EQ(*outcome, 0);
}

TEST_F(MountTest, ADatabaseThatIsMountedAsASingleFileIsRefused) {
  const fs::path other = dir_.path() / "other";
  fs::create_directory(other);
  fs::copy(dir_.path() / "store" / "auth.db.d", other / "auth.db.d", fs::copy_options::recursive);
  std::ofstream(other / "auth.db").close();
  const auto outcome = mounting([&] {
    if (::mount(database().c_str(), (other / "auth.db").c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return 77;
    }
    StoreOptions there = options();
    there.path = other / "auth.db";
    const auto refused = Store::open(there, OpenMode::use);
    return !refused && refused.error().code == Errc::refused ? 0 : 1;
  });
  if (!outcome) GTEST_SKIP() << "bind mounts are not allowed here";
  EXPECT_EQ(*outcome, 0);
}

TEST_F(CopiesTest, ARestoreIntoAHardLinkedDatabaseIsRefused) {
  ASSERT_TRUE(back_up(open(OpenMode::look), dir_.path() / "backup"));
  fs::create_hard_link(database(), dir_.path() / "other name");

  const auto refused = restore(options(), dir_.path() / "backup");

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
}

TEST_F(CopiesTest, ARestoreThroughASymbolicLinkReachesTheOneStore) {
  ASSERT_TRUE(back_up(open(OpenMode::look), dir_.path() / "backup"));
  rotate_to(2);
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(database().string() + suffix);
  fs::create_directory_symlink(dir_.path() / "store", dir_.path() / "linked");
  StoreOptions linked = options();
  linked.path = dir_.path() / "linked" / ".." / "linked" / "auth.db";

  ASSERT_TRUE(restore(linked, dir_.path() / "backup"));

  EXPECT_THAT(current_tokens(), ElementsAre(token(2)));
}

}  // namespace
}  // namespace authdb::test
