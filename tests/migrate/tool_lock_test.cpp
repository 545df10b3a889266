// The locks of tools that exist only while they are held.
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <latch>

#include "tests/migrate/cutover_fixture.h"

namespace authdb::migrate {
namespace {

using ::testing::Contains;
using Kind = LockRule::Kind;

// A tool's file in its place, what its tool makes while it is at work, and for how long that is
// respected.
struct Owned {
  const char* name;
  const char* sample;
  const char* file;
  const char* lock;
  Kind kind;
  Seconds stale;
};

const Owned kOwned[] = {
    {"ClaudesRefresh", "claude.json", ".claude/.credentials.json", ".claude/.oauth_refresh.lock",
     Kind::directory, Seconds{60}},
    {"ClaudesOlderRefresh", "claude.json", ".claude/.credentials.json", ".claude.lock",
     Kind::directory, Seconds{60}},
    {"ClaudesWrite", "claude.json", ".claude/.credentials.json", ".claude/.storage-write.lock",
     Kind::directory, Seconds{15}},
    {"Qwens", "qwen.json", ".qwen/oauth_creds.json", ".qwen/oauth_creds.lock", Kind::file,
     Seconds{35}},
    {"Pis", "pi_auth.json", ".pi/agent/auth.json", ".pi/agent/auth.json.lock", Kind::directory,
     Seconds{30}},
};

void touch(const fs::path& path, Seconds ago) {
  const auto at = std::chrono::duration_cast<Seconds>(
      std::chrono::system_clock::now().time_since_epoch() - ago);
  const timespec time{at.count(), 0};
  const timespec times[] = {time, time};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

class ToolLockTest : public CutoverTest, public ::testing::WithParamInterface<Owned> {
 protected:
  void SetUp() override {
    CutoverTest::SetUp();
    fs::create_directories(file().parent_path());
    std::ofstream(file()) << contents(fs::path(AUTHDB_TEST_DATA) / "cases" / GetParam().sample);
  }
  fs::path file() const { return home_.path() / GetParam().file; }
  fs::path lock() const { return home_.path() / GetParam().lock; }
  void tool_takes_it() const {
    if (GetParam().kind == Kind::directory) {
      fs::create_directory(lock());
    } else {
      std::ofstream(lock()) << "an id of the tool's";
    }
  }
  Result<CutOver> cut_file(Store& store) const {
    return cut_over(store, {from({file()}), /*although_running=*/true, Milliseconds(0)});
  }
  // What is there besides the file itself and what the cut-over keeps on purpose.
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const auto& root : {home_.path(), file().parent_path()}) {
      for (const auto& entry : fs::directory_iterator(root)) {
        const std::string name = entry.path().filename();
        if (name.find(".lock") != std::string::npos) names.push_back(name);
      }
    }
    return names;
  }
};

TEST_P(ToolLockTest, ACutOverWaitsForItAndChangesNothingWithoutIt) {
  const std::string before = contents(file());
  tool_takes_it();
  Store store = open();

  const auto done = cut_file(store);

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::busy);
  EXPECT_THAT(done.error().message, HasSubstr(lock().string()));
  EXPECT_EQ(contents(file()), before);
  EXPECT_TRUE(fs::exists(lock()));
  EXPECT_THAT(*store.list({}), IsEmpty());
}

TEST_P(ToolLockTest, OneThatWasLeftBehindIsTakenOverAndNoneIsLeft) {
  tool_takes_it();
  touch(lock(), GetParam().stale + Seconds(2));
  Store store = open();

  const auto done = cut_file(store);

  ASSERT_TRUE(done) << done.error().message;
  EXPECT_THAT(done->files, SizeIs(1));
  EXPECT_FALSE(fs::exists(lock()));
  for (const std::string& name : left()) EXPECT_THAT(name, Not(HasSubstr("stale")));
}

TEST_P(ToolLockTest, OneThatIsAsYoungAsItsToolAllowsIsLeftAlone) {
  tool_takes_it();
  touch(lock(), GetParam().stale - Seconds(5));
  Store store = open();

  EXPECT_EQ(error_of(cut_file(store)), Errc::busy);
  EXPECT_TRUE(fs::exists(lock()));
}

TEST_P(ToolLockTest, OneOfTheFutureIsNobodysToTakeAndSaysSo) {
  tool_takes_it();
  touch(lock(), -Seconds(14'400));
  Store store = open();

  const auto done = cut_file(store);

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::busy);
  EXPECT_THAT(done.error().message, HasSubstr("in the future"));
}

TEST_P(ToolLockTest, WhatNoToolMakesThereIsRefusedByName) {
  if (GetParam().kind == Kind::directory) {
    std::ofstream(lock()) << "";
  } else {
    fs::create_directory(lock());
  }
  touch(lock(), Seconds(3'600));
  const bool may_lack = std::string(GetParam().lock) == ".claude.lock";
  Store store = open();

  const auto done = cut_file(store);

  EXPECT_EQ(done.has_value(), may_lack);  // which Claude Code goes on without
  if (!may_lack) {
    EXPECT_EQ(done.error().code, Errc::refused);
    EXPECT_THAT(done.error().message, HasSubstr(lock().string()));
  }
  EXPECT_TRUE(fs::exists(lock()));
}

TEST_P(ToolLockTest, AHeldOneKeepsItsToolOutAndIsKeptFresh) {
  std::optional<ToolLocks> held;
  const Document document = read_document(file(), "default");
  const ToolFile owned{file(), document.format};
  {
    auto taken = lock_tools({owned}, Milliseconds(0));
    ASSERT_TRUE(taken) << taken.error().message;
    held.emplace(std::move(*taken));
  }
  EXPECT_EQ(fs::is_directory(lock()), GetParam().kind == Kind::directory);

  // The tool's own way in.
  const bool made =
      GetParam().kind == Kind::directory
          ? ::mkdir(lock().c_str(), 0777) == 0
          : ::open(lock().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) >= 0;
  EXPECT_FALSE(made);
  held.reset();
  EXPECT_FALSE(fs::exists(lock()));
}

TEST_P(ToolLockTest, AProjectionThatIsKeptOutSaysSoAndComesLater) {
  Store store = open();
  ASSERT_TRUE(cut_file(store));
  const auto projections = *store.projections();
  if (projections.empty()) return;  // a provider that cannot be renewed here
  tool_takes_it();

  const auto kept_out = project_all(store, Milliseconds(0));

  ASSERT_TRUE(kept_out);
  EXPECT_THAT(kept_out->at(0).warning, HasSubstr(lock().filename().string()));
}

INSTANTIATE_TEST_SUITE_P(Tools, ToolLockTest, ::testing::ValuesIn(kOwned),
                         [](const auto& owned) { return std::string(owned.param.name); });

using MadeLockTest = CutoverTest;

TEST_F(MadeLockTest, IsTouchedWhileItIsHeld) {
  const LockRule rule{Kind::directory, home_.path() / "x.lock", Seconds{1}};
  const auto held = MadeLock::make(rule, std::chrono::steady_clock::now());
  ASSERT_TRUE(held);
  const auto before = fs::last_write_time(rule.path);

  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (fs::last_write_time(rule.path) == before) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
}

TEST_F(MadeLockTest, TakenAwayMeanwhileItIsNotRemovedFromItsNewOwner) {
  const LockRule rule{Kind::directory, home_.path() / "x.lock", Seconds{60}};
  {
    const auto held = MadeLock::make(rule, std::chrono::steady_clock::now());
    ASSERT_TRUE(held);
    fs::remove(rule.path);
    fs::create_directory(home_.path() / "another");  // or it may get the same inode again
    fs::create_directory(rule.path);
    touch(rule.path, Seconds(1));
  }
  EXPECT_TRUE(fs::exists(rule.path));
}

TEST_F(MadeLockTest, OneThatIsNotEmptyStaysAndIsNamed) {
  const LockRule rule{Kind::directory, home_.path() / "x.lock", Seconds{60}};
  fs::create_directory(rule.path);
  std::ofstream(rule.path / "notes") << "somebody's";
  touch(rule.path, Seconds(3'600));

  const auto held = MadeLock::make(rule, std::chrono::steady_clock::now());

  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Errc::refused);
  EXPECT_TRUE(fs::exists(rule.path / "notes"));
}

TEST_F(MadeLockTest, OfManyWhoTakeOverWhatWasLeftBehindOneHasIt) {
  const LockRule rule{Kind::directory, home_.path() / "x.lock", Seconds{60}};
  for (int round = 0; round < 300; ++round) {
    fs::create_directory(rule.path);
    touch(rule.path, Seconds(3'600));
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    std::latch together(8);
    std::vector<std::thread> all;
    for (int i = 0; i < 8; ++i) {
      all.emplace_back([&] {
        together.arrive_and_wait();
        const auto held = MadeLock::make(rule, std::chrono::steady_clock::now());
        if (!held) return;
        const int now = ++inside;
        most = std::max(most.load(), now);
        std::this_thread::yield();
        --inside;
      });
    }
    for (auto& thread : all) thread.join();
    EXPECT_LE(most, 1);
    std::error_code error;
    fs::remove(rule.path, error);
  }
}

}  // namespace
}  // namespace authdb::migrate
